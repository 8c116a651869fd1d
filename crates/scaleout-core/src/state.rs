//! The state of streams, and of a node as a whole.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{Error, NodeId, StreamIndex};

/// The state of one stream on this node.
#[derive(Debug, Clone)]
pub enum StreamState {
    /// It did not yet reach what the store held when it opened.
    ///
    /// With [`Interest::OnDemand`](crate::Interest::OnDemand) again whenever a first subscription opens it.
    Connecting,
    /// It receives what the store has, and its last send did not fail.
    ///
    /// Where it is not received (publish-only, on demand without a subscription): its last send or probe did not fail.
    Up,
    /// An attempt to connect, receive or send failed; it is tried again for ever.
    Degraded {
        /// Since when.
        since: Instant,
        /// The last failure.
        error: Error,
        /// Failed attempts since then.
        attempts: u32,
    },
    /// The bus is closed.
    Closed,
}

impl StreamState {
    /// Whether it is [`Up`](Self::Up).
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }

    /// `connecting`, `up`, `degraded` or `closed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Degraded { .. } => "degraded",
            Self::Closed => "closed",
        }
    }
}

/// The state of a node, for a readiness probe.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether clients should be sent here: every stream is up, or degraded for less than
    /// [`degraded_grace`](crate::BusConfig::degraded_grace). A stream that is opened on demand, having been up before,
    /// does not count against it.
    pub ready: bool,
    /// This node.
    pub node: NodeId,
    /// The state of each stream, by index.
    pub streams: Vec<StreamState>,
}

/// Tells every change of the streams' states.
#[derive(Debug, Clone)]
pub struct StateWatch(pub(crate) watch::Receiver<Vec<StreamState>>);

impl StateWatch {
    /// The state of `stream`; `None` for one that is not there.
    #[must_use]
    pub fn of(&self, stream: StreamIndex) -> Option<StreamState> {
        self.0.borrow().get(stream.index()).cloned()
    }

    /// The state of each stream now, by index.
    #[must_use]
    pub fn current(&self) -> Vec<StreamState> {
        self.0.borrow().clone()
    }

    /// The states after the next change that was not seen yet, `None` once the bus is closed or dropped.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Vec<StreamState>> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

/// What the tasks of a stream know of its state. Plain values.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Whether the stream opened once, so that messages may be sent.
    pub(crate) opened: bool,
    reception: Reception,
    /// Whether it reached the head of its reception's first `Opened`. Without reception: whether it opened once.
    at_head: bool,
    /// Whether it was ever up.
    pub(crate) was_up: bool,
    receive_fault: Option<Error>,
    send_fault: Option<Error>,
    /// A node that counts the streams differently was heard, and until when that is held against the stream.
    layout_fault: Option<(Error, Duration)>,
    /// The same, heard in the backlog: it counts only if nothing of this node's layout follows.
    suspected: Option<Error>,
    since: Option<Instant>,
    attempts: u32,
    closed: bool,
}

/// How far the reception of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Reception {
    /// There is none.
    #[default]
    None,
    /// It did not open yet.
    Starting,
    /// It opened once.
    Open,
}

/// How long one frame of another layout keeps a stream degraded.
const LAYOUT_FAULT_TIME: Duration = Duration::from_secs(60);

impl Status {
    /// The state of a stream that is received, or not, from the start on.
    pub(crate) fn new(received: bool) -> Self {
        let reception = if received { Reception::Starting } else { Reception::None };
        Self { reception, ..Self::default() }
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.closed && self.at_head && self.fault().is_none()
    }

    /// Whether messages are accepted as while it is up: it is, or only its reception starts again.
    pub(crate) fn is_sendable(&self) -> bool {
        !self.closed && (self.at_head || self.was_up) && self.fault().is_none()
    }

    /// Whether messages wait for the reception to open, so that they lie behind the head it begins with.
    pub(crate) fn holds_sends(&self) -> bool {
        self.reception == Reception::Starting
    }

    /// Whether the stream has, or is to have, a reception.
    pub(crate) fn is_received(&self) -> bool {
        self.reception != Reception::None
    }

    /// Begins a reception.
    pub(crate) fn want(&mut self) {
        if !self.is_received() {
            self.reception = Reception::Starting;
            self.at_head = false;
        }
    }

    /// Ends the reception. A fault of it stays until a send or a probe is answered.
    pub(crate) fn unwant(&mut self) {
        self.reception = Reception::None;
        self.at_head = self.opened;
        self.suspected = None;
        self.send_fault = self.send_fault.take().or(self.receive_fault.take());
        self.heal();
    }

    /// Notes that a probe was answered, which opens a stream without a reception.
    pub(crate) fn answered(&mut self, now: Duration) {
        if !self.is_received() {
            self.opened = true;
            self.reached_head(now);
        }
    }

    /// Whether it has caught up and receives, so that what does not come does not exist.
    pub(crate) fn is_receiving(&self) -> bool {
        self.reception == Reception::Open && self.at_head && self.receive_fault.is_none()
    }

    /// Whether its reception failed and did not open again yet.
    pub(crate) fn is_broken(&self) -> bool {
        self.receive_fault.is_some()
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.send_fault.is_none()
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn opened(&mut self, at_head: bool, now: Duration) {
        self.opened = true;
        self.reception = Reception::Open;
        self.receive_fault = None;
        if at_head {
            self.reached_head(now);
        }
        self.heal();
    }

    pub(crate) fn reached_head(&mut self, now: Duration) {
        self.at_head = true;
        if let Some(error) = self.suspected.take() {
            self.layout_failed(error, now);
        }
        self.heal();
    }

    pub(crate) fn receive_failed(&mut self, error: Error) {
        self.receive_fault = Some(error);
        self.failed();
    }

    pub(crate) fn send_failed(&mut self, error: Error) {
        self.send_fault = Some(error);
        self.failed();
    }

    pub(crate) fn sent(&mut self) {
        self.send_fault = None;
        self.heal();
    }

    pub(crate) fn layout_failed(&mut self, error: Error, now: Duration) {
        if !self.at_head {
            self.suspected = Some(error);
            return;
        }
        let first = self.layout_fault.is_none();
        self.layout_fault = Some((error, now + LAYOUT_FAULT_TIME));
        if first {
            self.failed();
        }
    }

    /// Forgets another layout in the backlog, since a frame of this node's layout follows it: it was a passing mistake.
    pub(crate) fn clear_suspicion(&mut self) {
        self.suspected = None;
    }

    /// Whether a foreign layout was not heard for a minute.
    pub(crate) fn may_forgive_layout(&self, now: Duration) -> bool {
        self.layout_fault.as_ref().is_some_and(|(_, until)| *until <= now)
    }

    pub(crate) fn forgive_layout(&mut self) {
        self.layout_fault = None;
        self.heal();
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn state(&self) -> StreamState {
        match (self.closed, self.fault(), self.since) {
            (true, ..) => StreamState::Closed,
            (_, Some(error), Some(since)) => {
                StreamState::Degraded { since, error: error.clone(), attempts: self.attempts }
            }
            _ if self.at_head => StreamState::Up,
            _ => StreamState::Connecting,
        }
    }

    fn fault(&self) -> Option<&Error> {
        let layout = self.layout_fault.as_ref().map(|(error, _)| error);
        self.receive_fault.as_ref().or(self.send_fault.as_ref()).or(layout)
    }

    fn failed(&mut self) {
        self.since = self.since.or_else(|| Some(tokio::time::Instant::now().into_std()));
        self.attempts = self.attempts.saturating_add(1);
    }

    fn heal(&mut self) {
        if self.fault().is_none() {
            self.since = None;
            self.attempts = 0;
        }
        self.was_up |= self.is_up();
    }
}
