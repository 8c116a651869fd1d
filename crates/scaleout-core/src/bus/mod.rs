//! The bus: what an application holds.

mod builder;
mod close;
mod heard;
mod interest;
mod lag;
#[cfg_attr(not(feature = "metrics"), path = "no_metrics.rs")]
mod metrics;
mod publish;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    fmt,
    num::NonZeroU16,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::Instant,
};

use self::{heard::Heard, metrics::Metrics, publish::many};
use crate::{
    Backplane, BusConfig, Counters, Cursor, Error, ErrorKind, Extensions, Health, NodeId, Position, Receipt,
    StateWatch, StreamIndex, StreamState, Subscription,
    budget::{QueueBudget, SharedBudget},
    channel::{check_channel, stream_of},
    counters::AtomicCounters,
    frame,
    mutant::{Mutant, Mutation},
    queue::{SendQueue, SharedQueue},
    state::Status,
    store::{LookUp, Store},
};

#[cfg(feature = "metrics")]
pub use self::metrics::{CounterSource, CounterValue};
pub use self::{
    builder::BusBuilder,
    close::CloseReport,
    lag::Lag,
    publish::{Publish, PublishMany, PublishManyError},
};

/// A node's handle on a backplane: publish, subscribe, resume.
///
/// A cheap clone; all clones are the same node. See the [crate's front page](crate) for a first example. The last
/// clone dropped without [`close`](Self::close) stops at once and warns of the messages that were not sent.
#[derive(Clone)]
pub struct Bus {
    owner: Arc<Owner>,
}

/// Stops the tasks of a bus with the last handle; subscriptions do not keep it running.
struct Owner {
    inner: Arc<Inner>,
    tasks: Vec<AbortHandle>,
}

/// What handles, subscriptions and tasks share.
pub(crate) struct Inner {
    pub(crate) config: BusConfig,
    pub(crate) counters: AtomicCounters,
    backplane: Arc<dyn Backplane>,
    node: NodeId,
    stream_count: NonZeroU16,
    streams: Box<[Lane]>,
    queue_budget: Arc<QueueBudget>,
    tail_budget: Arc<SharedBudget>,
    ring_budget: SharedBudget,
    /// Held by who lets the oldest go: two at once would let go of more than is over.
    evicting: Mutex<()>,
    states: watch::Sender<Vec<StreamState>>,
    heard: Heard,
    metrics: Metrics,
    started: Instant,
    /// `close` has begun.
    closing: AtomicBool,
    /// Nothing will be received any more.
    closed: AtomicBool,
    /// Tells `close` that something was resolved.
    drain: Notify,
    /// Subscriptions without a channel that wait for the bus to close.
    idle: Mutex<Vec<Waker>>,
    mutation: Mutation,
}

/// One stream of a bus. Locks are taken in the order of the fields, and `store` with no other one but `status`.
struct Lane {
    status: Mutex<Status>,
    /// Tells the receiving task that the stream may be wanted, or not any more.
    interest: Notify,
    queue: SharedQueue,
    /// Tells the sending task that there may be something to do.
    wake_sender: Notify,
    /// Tells the sending task to drop its running attempt.
    abandon_attempt: Notify,
    /// Tells the sending task that reception opened, so that it need not wait before its next attempt.
    opened: Notify,
    store: Mutex<Ring>,
}

/// A store, and how many of its bytes the bus's budget knows.
pub(crate) struct Ring {
    store: Store,
    budgeted: usize,
}

impl Bus {
    /// Prepares a bus on `backplane`.
    pub fn builder(backplane: impl Backplane) -> BusBuilder {
        Self::builder_from(Arc::new(backplane))
    }

    /// Prepares a bus on a backplane that is chosen at run time.
    pub fn builder_from(backplane: Arc<dyn Backplane>) -> BusBuilder {
        BusBuilder::new(backplane)
    }

    /// Publishes a message to all subscribers of `channel` on every node.
    ///
    /// Messages are ordered by this call, not by the first poll of what it returns, and dropping that withdraws
    /// nothing. It resolves to `Ok` when the store has the message.
    ///
    /// # Errors
    /// The future yields, sure that the message is not in the store and will not be: `InvalidChannel`,
    /// `PayloadTooLarge`, `QueueFull`, `Unavailable` (by the [`QueuePolicy`](crate::QueuePolicy)), `Expired`, `Dropped`,
    /// `Closed`. And `Unconfirmed`: it was tried, and may be there.
    pub fn publish(&self, channel: impl AsRef<str>, payload: impl Into<Bytes>) -> Publish {
        let (channel, payload) = (channel.as_ref(), payload.into());
        let pushed = self.inner().push(channel, |queue, now| queue.push(now, channel, &payload, &[], true));
        Publish::new(pushed, self.inner().mutation)
    }

    /// Publishes a message with what travels beside its payload, such as the trace that it is part of.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_with(
        &self,
        channel: impl AsRef<str>,
        payload: impl Into<Bytes>,
        extensions: &Extensions,
    ) -> Publish {
        let pushed = self.push_with(channel.as_ref(), &payload.into(), extensions, true);
        Publish::new(pushed, self.inner().mutation)
    }

    /// Publishes without waiting: fails at once, or returns a receipt that may be ignored.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); what fails later, the receipt yields.
    pub fn enqueue(&self, channel: impl AsRef<str>, payload: impl Into<Bytes>) -> Result<Receipt, Error> {
        let (channel, payload) = (channel.as_ref(), payload.into());
        self.inner().push(channel, |queue, now| queue.push(now, channel, &payload, &[], false))
    }

    /// Publishes a message with what travels beside its payload, without waiting.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    pub fn enqueue_with(
        &self,
        channel: impl AsRef<str>,
        payload: impl Into<Bytes>,
        extensions: &Extensions,
    ) -> Result<Receipt, Error> {
        self.push_with(channel.as_ref(), &payload.into(), extensions, false)
    }

    fn push_with(
        &self,
        channel: &str,
        payload: &Bytes,
        extensions: &Extensions,
        wait: bool,
    ) -> Result<Receipt, Error> {
        let extensions = extensions.pairs();
        self.inner().push(channel, |queue, now| queue.push(now, channel, payload, extensions, wait))
    }

    /// Publishes a message however full the send queue is, for the few by which nodes manage themselves.
    ///
    /// It has its place behind what waits already, whose bounds therefore bound how long it waits: a bus under load
    /// that never ends still sends it. Use it for what is small and seldom, such as a sign of life; everything else of
    /// [`publish`](Self::publish) holds.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), but for `QueueFull`.
    pub fn publish_control(&self, channel: impl AsRef<str>, payload: impl AsRef<[u8]>) -> Publish {
        let (channel, payload) = (channel.as_ref(), payload.as_ref());
        let pushed = self.inner().push(channel, |queue, now| queue.push_control(now, channel, payload));
        Publish::new(pushed, self.inner().mutation)
    }

    /// Publishes each of `messages`, in order, as that many calls of [`publish`](Self::publish).
    ///
    /// # Errors
    /// The future yields one error with the indices of all messages that failed.
    pub fn publish_many<C: AsRef<str>, P: Into<Bytes>>(
        &self,
        messages: impl IntoIterator<Item = (C, P)>,
    ) -> PublishMany {
        many(messages.into_iter().map(|(channel, payload)| self.publish(channel, payload)))
    }

    /// Subscribes to channels from now on: to all that is published after this call, perhaps a little from before.
    ///
    /// A name that is no channel (empty, or longer than 1,024 bytes) carries nothing. On a stream that did not open yet,
    /// also one that is opened for it ([`Interest::OnDemand`](crate::Interest::OnDemand)), "now" is when it opens: what this
    /// node publishes after this call lies behind that.
    pub fn subscribe<C: AsRef<str>>(&self, channels: impl IntoIterator<Item = C>) -> Subscription {
        self.begin(channels, None)
    }

    /// Subscribes to channels from where a cursor of any node left off.
    ///
    /// It cannot fail: what the cursor asks for and this node does not have, the subscription tells as a
    /// [`Gap`](crate::Gap). Streams that are absent from the cursor begin "from now".
    pub fn resume<C: AsRef<str>>(
        &self,
        channels: impl IntoIterator<Item = C>,
        cursor: &Cursor,
    ) -> Subscription {
        self.begin(channels, Some(cursor))
    }

    fn begin<C: AsRef<str>>(
        &self,
        channels: impl IntoIterator<Item = C>,
        cursor: Option<&Cursor>,
    ) -> Subscription {
        let mut subscription = Subscription::new(Arc::clone(self.inner()));
        subscription.begin(channels, cursor);
        subscription
    }

    /// Watches the state of every stream.
    #[must_use]
    pub fn state(&self) -> StateWatch {
        StateWatch(self.inner().states.subscribe())
    }

    /// The state of this node, for a readiness probe.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner().health()
    }

    /// What this bus has counted since it started.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner().count()
    }

    /// Exports the counters of something that works over this bus with its own, as long as somebody else holds it too.
    ///
    /// Feature `metrics`. They are registered by this call, with the recorder that is installed by then. Names and labels
    /// hold no channel, and nothing else of which there is no bounded number.
    #[cfg(feature = "metrics")]
    pub fn export_counters(&self, source: Arc<dyn CounterSource>) {
        self.inner().metrics.add(source);
    }

    /// How much of its budgets this bus uses.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner().usage()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &BusConfig {
        &self.inner().config
    }

    /// How long ago the last frame of `node` came, on any stream; `None` where none came in the last ten minutes.
    ///
    /// Every frame is a sign that its node lived a moment ago, whatever channels it names; also those of this node,
    /// which come back while the store and the links to it work. A node that is behind hears late of all alike.
    #[must_use]
    pub fn heard_ago(&self, node: NodeId) -> Option<Duration> {
        self.inner().heard.ago(node, self.inner().now())
    }

    /// How far this node has received each stream; `None` for one that did not open, or that nobody here wants.
    #[must_use]
    pub fn positions(&self) -> Vec<Option<Position>> {
        self.inner().stream_indices().map(|stream| self.inner().ring(stream).head()).collect()
    }

    /// How far this node is behind the store, and how far from losing what it did not receive yet, stream by stream.
    ///
    /// It asks the store, once for each stream. `None` where that cannot be told: the stream did not open here, or the
    /// store has no answer.
    ///
    /// # Errors
    /// The first error of the store.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn lag(&self) -> Result<Vec<Option<Lag>>, Error> {
        let mut lags = Vec::new();
        for (stream, position) in self.inner().stream_indices().zip(self.positions()) {
            let retained = self.inner().backplane.retained(stream).await?;
            lags.push(retained.zip(position).and_then(|(retained, position)| Lag::of(&retained, position)));
        }
        Ok(lags)
    }

    /// The largest payload, in bytes, that a message to `channel` may have.
    ///
    /// [Extensions](Self::publish_with) take their [`encoded_len`](Extensions::encoded_len) of it.
    #[must_use]
    pub fn max_message_bytes(&self, channel: &str) -> usize {
        let limit = self.inner().backplane.capabilities().max_payload_bytes.min(u32::MAX as usize);
        frame::max_message_bytes(limit, channel.len())
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner().node
    }

    /// How many streams the backplane has.
    #[must_use]
    pub fn stream_count(&self) -> NonZeroU16 {
        self.inner().stream_count
    }

    /// The stream that carries `channel`.
    #[must_use]
    pub fn stream_of(&self, channel: &str) -> StreamIndex {
        self.inner().stream_of(channel)
    }

    /// Stops accepting messages, sends what waits, releases what this node holds in the store, ends subscriptions.
    ///
    /// What is not sent within `deadline` fails: `Closed` where it was not tried, else `Unconfirmed`. Subscriptions
    /// yield what this node has received, then `None`. A second call only waits for the first.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the bus half closed: it accepts nothing, and sends what waits.
    pub async fn close(&self, deadline: Duration) -> CloseReport {
        close::close(&self.owner, deadline).await
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.owner.inner
    }
}

/// How much of its budgets a bus uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Messages that wait to be sent or confirmed.
    pub queue_messages: usize,
    /// Bytes of these.
    pub queue_bytes: usize,
    /// Bytes of accepted frames that are kept for repair.
    pub tail_bytes: usize,
    /// Bytes of received frames, their index and channel names.
    pub ring_bytes: usize,
    /// Subscriptions, counted once for each stream that carries their channels.
    pub readers: usize,
}

impl Inner {
    pub(crate) fn stream_count(&self) -> NonZeroU16 {
        self.stream_count
    }

    pub(crate) fn stream_of(&self, channel: &str) -> StreamIndex {
        stream_of(channel, self.stream_count)
    }

    pub(crate) fn ring(&self, stream: StreamIndex) -> MutexGuard<'_, Ring> {
        self.lane(stream).ring()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes a subscription without channels when the bus closes; `false` if it is closed.
    pub(crate) fn wake_at_close(&self, waker: &Waker) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() {
            return false;
        }
        if !idle.iter().any(|held| held.will_wake(waker)) {
            idle.push(waker.clone());
        }
        true
    }

    pub(crate) fn count_look_up(&self, look_up: LookUp) {
        let counters = &self.counters;
        match look_up {
            LookUp::InRing => &counters.lookups_in_ring,
            LookUp::Older { expired: false } => &counters.lookups_older,
            LookUp::Older { expired: true } => &counters.lookups_expired,
            LookUp::Ahead => &counters.lookups_ahead,
            LookUp::Reset => &counters.lookups_reset,
            LookUp::Absent => &counters.lookups_absent,
            LookUp::Unpositioned => &counters.lookups_unpositioned,
        }
        .add(1);
    }

    fn lane(&self, stream: StreamIndex) -> &Lane {
        &self.streams[stream.index()]
    }

    fn stream_indices(&self) -> impl Iterator<Item = StreamIndex> + use<> {
        (0..self.stream_count.get()).map(StreamIndex)
    }

    /// The time since the bus started.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Gives a message to the queue of its stream, in the way of `push`.
    fn push(
        &self,
        channel: &str,
        push: impl FnOnce(&mut SendQueue, Duration) -> Result<Receipt, Error>,
    ) -> Result<Receipt, Error> {
        check_channel(channel)?;
        if self.closing.load(Ordering::Relaxed) {
            return Err(ErrorKind::Closed.into());
        }
        let lane = self.lane(self.stream_of(channel));
        let now = self.now();
        let receipt = lane.queue.with(|queue| push(queue, now))?;
        lane.wake_sender.notify_one();
        Ok(receipt)
    }

    /// Changes what is known of a stream's state, and tells the queue and whoever watches.
    fn update(&self, stream: StreamIndex, change: impl FnOnce(&mut Status)) {
        let lane = self.lane(stream);
        let mut status = lane.status();
        let (opened, attempts) = (status.opened, status.attempts());
        let before = status.state();
        change(&mut status);
        let state = status.state();
        let drop_attempt = lane.queue.with(|queue| {
            if status.opened && !opened {
                queue.set_open();
            }
            queue.hold(status.holds_sends() && !self.mutation.is(Mutant::SendWhileOpening));
            queue.set_up(status.is_sendable())
        });
        if drop_attempt {
            lane.abandon_attempt.notify_one();
        }
        lane.wake_sender.notify_one();
        if before.name() != state.name() || attempts != status.attempts() {
            tell(stream, &before, &state);
            // Under the status lock, so that watchers see changes in their order.
            let state = self.mutated_state(&before, state, status.was_up);
            self.states.send_modify(|states| states[stream.index()] = state);
        }
        drop(status);
        self.resolved();
    }

    fn mutated_state(&self, before: &StreamState, state: StreamState, was_up: bool) -> StreamState {
        match state {
            StreamState::Degraded { .. } if was_up && self.mutation.is(Mutant::AlwaysUp) => StreamState::Up,
            StreamState::Up if was_up && self.mutation.is(Mutant::NeverUpAgain) => match before {
                StreamState::Degraded { .. } => before.clone(),
                _ => state,
            },
            state => state,
        }
    }

    /// Whether every stream was up once.
    fn were_up(&self) -> bool {
        self.streams.iter().all(|lane| lane.status().was_up)
    }

    /// Tells the budget what a ring holds now.
    fn settle_budget(&self, stream: StreamIndex, ring: &mut Ring) {
        let bytes = ring.store.bytes();
        if bytes >= ring.budgeted {
            self.ring_budget.add(bytes - ring.budgeted);
        } else {
            self.ring_budget.sub(ring.budgeted - bytes);
        }
        ring.budgeted = bytes;
        let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1);
        self.ring_budget.set_oldest(stream, ring.store.oldest().map(micros));
    }

    /// Lets the oldest frames of all rings go, and the oldest of all tails, while they are over their bounds.
    fn evict(&self) {
        if !self.ring_budget.over() && !self.tail_budget.over() {
            return;
        }
        let _evicting = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        while self.ring_budget.over() && !self.mutation.is(Mutant::IgnoreRingBudget) {
            let Some(stream) = self.ring_budget.oldest_stream() else { break };
            let mut ring = self.ring(stream);
            if !ring.store.evict() {
                break;
            }
            self.settle_budget(stream, &mut ring);
        }
        while self.tail_budget.over() {
            let Some(stream) = self.tail_budget.oldest_stream() else { break };
            if !self.lane(stream).queue.with(|queue| queue.evict_oldest_tail()) {
                break;
            }
        }
    }

    fn health(&self) -> Health {
        let streams = self.states.borrow().clone();
        let grace = self.config.degraded_grace;
        let ready = streams.iter().all(|state| match state {
            StreamState::Up => true,
            StreamState::Degraded { since, .. } => {
                Instant::now().saturating_duration_since(Instant::from_std(*since)) < grace
            }
            // The first start counts below. What is opened on demand later holds up nobody but who asked for it.
            StreamState::Connecting => true,
            StreamState::Closed => false,
        });
        Health { ready: ready && self.were_up(), node: self.node, streams }
    }

    fn usage(&self) -> Usage {
        let (queue_messages, queue_bytes) = self.queue_budget.used();
        Usage {
            queue_messages,
            queue_bytes,
            tail_bytes: self.tail_budget.used(),
            ring_bytes: self.ring_budget.used(),
            readers: self.streams.iter().map(|lane| lane.ring().store.reader_count()).sum(),
        }
    }

    fn count(&self) -> Counters {
        let mut counters = self.counters.snapshot();
        for lane in &self.streams {
            let queue = lane.queue.with(|queue| queue.counters());
            counters.published += queue.published;
            counters.refused += queue.refused;
            counters.expired += queue.expired;
            counters.dropped += queue.dropped;
            counters.unavailable += queue.unavailable;
            counters.closed += queue.closed;
            counters.too_large += queue.too_large;
            counters.unconfirmed += queue.unconfirmed;
            counters.rewound += queue.rewound;
        }
        if self.mutation.is(Mutant::MiscountDelivered) {
            counters.delivered /= 2;
        }
        counters
    }
}

impl Lane {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for Ring {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl std::ops::DerefMut for Ring {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}

fn tell(stream: StreamIndex, before: &StreamState, state: &StreamState) {
    let stream = stream.0;
    match state {
        StreamState::Degraded { error, attempts: 1, .. } => {
            tracing::warn!(stream, %error, kind = ?error.kind(), "stream degraded");
        }
        StreamState::Degraded { error, attempts, .. } => {
            tracing::debug!(stream, %error, kind = ?error.kind(), attempts, "stream still degraded");
        }
        _ => tracing::info!(stream, from = before.name(), to = state.name(), "stream state"),
    }
}

impl Drop for Inner {
    /// What was read after the end is exported too.
    fn drop(&mut self) {
        self.metrics.export(self);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.inner.is_closed() {
            return;
        }
        self.inner.closing.store(true, Ordering::Relaxed);
        self.tasks.iter().for_each(AbortHandle::abort);
        let report = self.inner.abandon();
        if report != CloseReport::default() {
            let CloseReport { unsent, unconfirmed } = report;
            tracing::warn!(unsent, unconfirmed, "the last bus handle was dropped without close");
        }
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("node", &self.inner().node)
            .field("backplane", &self.inner().backplane)
            .finish_non_exhaustive()
    }
}
