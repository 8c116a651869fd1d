//! What cases are written with: a reader, a sender, and the faults of the fixture.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use scaleout_core::{
    Backplane, Capabilities, Epoch, Error, Event, FrameId, NodeId, PayloadId, Start, StreamIndex,
};

use crate::{
    conformance::{Missing, Outcome},
    fixture::{Fault, Fixture, Need},
};

/// The stream that cases use which need only one.
pub(super) const STREAM: StreamIndex = StreamIndex(0);

/// All that a store retains.
pub(super) const EVERYTHING: Start = Start::Backlog { payloads: 10_000 };

/// Events that a case reads at most while it waits for one, so that an endless stream of others ends it too.
const MAX_EVENTS: usize = 20_000;

/// Puts the store through `fault`.
pub(super) async fn inject(fixture: &dyn Fixture, fault: Fault) -> Outcome {
    if fixture.inject(fault).await { Ok(()) } else { Err(Missing(Need::Fault(fault))) }
}

/// Skips the case where a capability is missing.
pub(super) fn require(fixture: &dyn Fixture, need: Need) -> Outcome {
    let node = fixture.node();
    let Capabilities { replay, dense_ids, asks_held, .. } = node.capabilities();
    let has = match need {
        Need::Replay => replay,
        Need::DenseIds => dense_ids,
        Need::AsksHeld => asks_held,
        Need::Streams => node.stream_count().get() > 1,
        _ => true,
    };
    if has { Ok(()) } else { Err(Missing(need)) }
}

/// Waits for `future`, or fails the case.
pub(super) async fn within<F: Future>(patience: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(patience, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing for {patience:?} while waiting for {what}"),
    }
}

/// A payload, with the epoch that it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) epoch: Epoch,
    pub(super) id: PayloadId,
    pub(super) bytes: Bytes,
}

impl Got {
    pub(super) fn position(&self) -> (Epoch, PayloadId) {
        (self.epoch, self.id)
    }
}

/// The bytes of several payloads.
pub(super) fn bytes_of(payloads: &[Got]) -> Vec<Bytes> {
    payloads.iter().map(|got| got.bytes.clone()).collect()
}

/// The fields of an [`Event::Opened`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) epoch: Epoch,
    pub(super) after: Option<(Epoch, PayloadId)>,
    pub(super) head: (Epoch, Option<PayloadId>),
    pub(super) unbroken: bool,
}

/// One reception.
pub(super) struct Reader {
    events: BoxStream<'static, Event>,
    patience: Duration,
    /// Every `Opened` so far.
    pub(super) openings: Vec<Opening>,
    /// Every `Faulted` so far.
    pub(super) faults: Vec<Error>,
}

impl Reader {
    /// A reception on [`STREAM`] that may not be open yet.
    pub(super) fn start(fixture: &dyn Fixture, node: &Arc<dyn Backplane>, start: Start) -> Self {
        Self::start_on(fixture, node, STREAM, start)
    }

    /// A reception on `stream` that may not be open yet.
    pub(super) fn start_on(
        fixture: &dyn Fixture,
        node: &Arc<dyn Backplane>,
        stream: StreamIndex,
        start: Start,
    ) -> Self {
        let events = node.receive(stream, start);
        Self { events, patience: fixture.patience(), openings: Vec::new(), faults: Vec::new() }
    }

    /// A reception on [`STREAM`] of what is sent from now on.
    pub(super) async fn open(fixture: &dyn Fixture, node: &Arc<dyn Backplane>) -> Self {
        Self::open_on(fixture, node, STREAM).await
    }

    /// A reception on `stream` of what is sent from now on.
    pub(super) async fn open_on(
        fixture: &dyn Fixture,
        node: &Arc<dyn Backplane>,
        stream: StreamIndex,
    ) -> Self {
        let mut reader = Self::start_on(fixture, node, stream, Start::Latest);
        reader.opening("a first Opened").await;
        reader
    }

    /// Waits this long for events from now on.
    pub(super) fn be_patient(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The next event.
    pub(super) async fn event(&mut self, what: &str) -> Event {
        let event = within(self.patience, what, self.events.next()).await;
        let event = event.unwrap_or_else(|| panic!("the reception ended while waiting for {what}"));
        match &event {
            Event::Opened { epoch, after, head, unbroken } => {
                let (epoch, after, head, unbroken) = (*epoch, *after, *head, *unbroken);
                self.openings.push(Opening { epoch, after, head, unbroken });
            }
            Event::Faulted(error) => self.faults.push(error.clone()),
            Event::Payload { .. } => {}
        }
        event
    }

    /// The next `Opened`; payloads before it are not read over.
    pub(super) async fn opening(&mut self, what: &str) -> Opening {
        for _ in 0..MAX_EVENTS {
            match self.event(what).await {
                Event::Opened { .. } => return *self.openings.last().expect("an Opened was just recorded"),
                Event::Payload { id, bytes } => panic!("payload {id} ({bytes:?}) instead of {what}"),
                Event::Faulted(_) => {}
            }
        }
        panic!("{MAX_EVENTS} other events while waiting for {what}");
    }

    /// Waits for the next `Opened` where what is appended before it may not come: without [`Need::Replay`].
    pub(super) async fn is_back(&mut self, fixture: &dyn Fixture) {
        if !fixture.capabilities().replay {
            self.until_opened("Opened of the new epoch").await;
        }
    }

    /// What comes up to the next `Opened`.
    pub(super) async fn until_opened(&mut self, what: &str) -> Vec<Got> {
        let mut payloads = Vec::new();
        for _ in 0..MAX_EVENTS {
            let epoch = self.openings.last().map(|opening| opening.epoch);
            match self.event(what).await {
                Event::Opened { .. } => return payloads,
                Event::Payload { id, bytes } => {
                    let epoch = epoch.unwrap_or_else(|| panic!("payload {id} came before any Opened"));
                    payloads.push(Got { epoch, id, bytes });
                }
                Event::Faulted(_) => {}
            }
        }
        panic!("{MAX_EVENTS} other events while waiting for {what}");
    }

    /// The next `Faulted`.
    pub(super) async fn fault(&mut self, what: &str) -> Error {
        for _ in 0..MAX_EVENTS {
            if let Event::Faulted(error) = self.event(what).await {
                return error;
            }
        }
        panic!("{MAX_EVENTS} other events while waiting for {what}");
    }

    /// The next payload, an empty one too.
    pub(super) async fn entry(&mut self, what: &str) -> Got {
        for _ in 0..MAX_EVENTS {
            if let Event::Payload { id, bytes } = self.event(what).await {
                let opening = self.openings.last();
                let opening = opening.unwrap_or_else(|| panic!("payload {id} came before any Opened"));
                return Got { epoch: opening.epoch, id, bytes };
            }
        }
        panic!("{MAX_EVENTS} other events while waiting for {what}");
    }

    /// The next payload that carries something.
    pub(super) async fn payload(&mut self, what: &str) -> Got {
        for _ in 0..MAX_EVENTS {
            let got = self.entry(what).await;
            if !got.bytes.is_empty() {
                return got;
            }
        }
        panic!("{MAX_EVENTS} empty payloads while waiting for {what}");
    }

    /// The next `count` payloads that carry something.
    pub(super) async fn payloads(&mut self, count: usize, what: &str) -> Vec<Got> {
        let mut payloads = Vec::with_capacity(count);
        for index in 0..count {
            payloads.push(self.payload(&format!("{what}, {index} of {count} came")).await);
        }
        payloads
    }

    /// What comes up to `marker`, which is left out; empty payloads too.
    pub(super) async fn entries_until(&mut self, marker: &Bytes, what: &str) -> Vec<Got> {
        let mut entries = Vec::new();
        while entries.len() < MAX_EVENTS {
            let got = self.entry(what).await;
            if got.bytes == *marker {
                return entries;
            }
            entries.push(got);
        }
        panic!("{MAX_EVENTS} payloads while waiting for {what}");
    }

    /// What comes up to `marker`, which is left out; only payloads that carry something.
    pub(super) async fn until(&mut self, marker: &Bytes, what: &str) -> Vec<Got> {
        let mut payloads = self.entries_until(marker, what).await;
        payloads.retain(|got| !got.bytes.is_empty());
        payloads
    }

    /// Reads what is left until the reception ends.
    pub(super) async fn end(&mut self, what: &str) {
        for _ in 0..MAX_EVENTS {
            if within(self.patience, what, self.events.next()).await.is_none() {
                return;
            }
        }
        panic!("{MAX_EVENTS} events while waiting for {what}");
    }
}

/// The send path of one node on one stream, as the bus drives it: one send at a time, numbers in order.
pub(super) struct Sender {
    backplane: Arc<dyn Backplane>,
    stream: StreamIndex,
    node: NodeId,
    number: u64,
    confirmed: u64,
    patience: Duration,
}

impl Sender {
    pub(super) fn new(fixture: &dyn Fixture, backplane: &Arc<dyn Backplane>) -> Self {
        Self::new_on(fixture, backplane, STREAM)
    }

    pub(super) fn new_on(fixture: &dyn Fixture, backplane: &Arc<dyn Backplane>, stream: StreamIndex) -> Self {
        let (backplane, node) = (Arc::clone(backplane), NodeId::random());
        Self { backplane, stream, node, number: 0, confirmed: 0, patience: fixture.patience() }
    }

    /// The node that its frames are of.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// A new payload that is its own name.
    pub(super) fn name(&self, number: u64) -> Bytes {
        Bytes::from(format!("{}/{number}", self.node))
    }

    /// Sends the next frame until the store has it; answers its payload.
    pub(super) async fn send(&mut self) -> Bytes {
        let payload = self.name(self.number + 1);
        self.send_bytes(payload.clone()).await;
        payload
    }

    /// Sends several frames, one after the other.
    pub(super) async fn send_many(&mut self, count: usize) -> Vec<Bytes> {
        let mut payloads = Vec::with_capacity(count);
        for _ in 0..count {
            payloads.push(self.send().await);
        }
        payloads
    }

    /// Sends `payload` as the next frame until the store has it.
    pub(super) async fn send_bytes(&mut self, payload: Bytes) {
        self.number += 1;
        let number = self.number;
        let attempts = async {
            loop {
                match self.attempt(number, self.confirmed, payload.clone()).await {
                    Ok(()) => return,
                    Err(error) if is_worth_a_retry(&error) => tokio::time::sleep(RETRY_DELAY).await,
                    Err(error) => panic!("frame {number} was refused: {error}"),
                }
            }
        };
        within(self.patience, "an answer to a send", attempts).await;
        self.confirmed = number;
    }

    /// Sends one frame once, as it is given; what [`send`](Self::send) does next is not touched.
    pub(super) async fn attempt(&self, number: u64, after: u64, payload: Bytes) -> Result<(), Error> {
        let frame = FrameId { node: self.node, number, after };
        let send = self.backplane.send(self.stream, frame, payload);
        within(self.patience, "an answer to a send", send).await
    }

    /// Sends a frame under its own name once; `after` is what was confirmed before.
    pub(super) async fn attempt_named(&self, number: u64, after: u64) -> Result<(), Error> {
        self.attempt(number, after, self.name(number)).await
    }

    /// Sends a frame until the answer is none that another attempt could change.
    pub(super) async fn answer(&self, number: u64, after: u64, payload: Bytes) -> Result<(), Error> {
        let attempts = async {
            loop {
                match self.attempt(number, after, payload.clone()).await {
                    Err(error) if is_worth_a_retry(&error) => tokio::time::sleep(RETRY_DELAY).await,
                    answer => return answer,
                }
            }
        };
        within(self.patience, "a lasting answer to a send", attempts).await
    }

    /// Begins to send a frame, and drops the send at the first point where it waits.
    pub(super) fn begin_and_drop(&self, number: u64, after: u64) {
        use futures_util::FutureExt;

        let frame = FrameId { node: self.node, number, after };
        let send = self.backplane.send(self.stream, frame, self.name(number));
        // It may have been ready at once, which is as good.
        let _ = send.now_or_never();
    }

    /// Asks the store without adding anything.
    pub(super) async fn probe(&self, after: u64) -> Result<(), Error> {
        self.attempt(0, after, Bytes::new()).await
    }

    /// Goes on as if everything up to `number` were sent, and up to `confirmed` were confirmed.
    pub(super) fn go_on_from(&mut self, number: u64, confirmed: u64) {
        self.number = number;
        self.confirmed = confirmed;
    }
}

/// The pause before the next attempt of a send that failed.
const RETRY_DELAY: Duration = Duration::from_millis(20);

fn is_worth_a_retry(error: &Error) -> bool {
    use scaleout_core::ErrorKind::{Timeout, Unavailable};
    matches!(error.kind(), Unavailable | Timeout)
}
