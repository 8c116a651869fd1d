//! What crosses the seam: a backplane that writes down what its receptions yield.

use std::{
    collections::BTreeSet,
    fmt,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use scaleout_core::{
    AppName, Backplane, Capabilities, Error, ErrorKind, Event, FrameId, NodeId, Retained, Start, StreamIndex,
    frame::{Frame, Layout},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::checker::{Arrival, ArrivalKind, Content, FrameContent};

/// Told of each arrival before the bus is.
type OnArrival = Arc<dyn Fn(&Arrival) + Send + Sync>;

/// A node's connection, with a record of what it yielded.
#[derive(Clone)]
pub(crate) struct Recorder {
    inner: Arc<dyn Backplane>,
    began: Instant,
    /// What it takes to open a reception.
    opening: Duration,
    record: Arc<Mutex<Record>>,
    /// Told when its receptions may go on. Not a `watch`, which wakes its receivers in random order.
    released: Arc<Notify>,
    on_arrival: Option<OnArrival>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) arrivals: Vec<Arrival>,
    /// The streams with a reception.
    pub(crate) receiving: BTreeSet<StreamIndex>,
    /// Whether its receptions are held back.
    held: bool,
    /// Frames that are still to arrive with a broken byte.
    pub(crate) to_break: usize,
    /// Frames that this node cannot read, nor any copy of them.
    broken: BTreeSet<(StreamIndex, NodeId, u64)>,
    /// Sends answered `Rewound`.
    pub(crate) rewound: u64,
}

impl Record {
    /// Whether a frame arrives broken.
    fn breaks(&mut self, frame: (StreamIndex, NodeId, u64)) -> bool {
        if self.to_break > 0 && self.broken.insert(frame) {
            self.to_break -= 1;
        }
        self.broken.contains(&frame)
    }
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Backplane>, began: Instant, opening: Duration) -> Self {
        let (record, released) = (Arc::default(), Arc::default());
        Self { inner, began, opening, record, released, on_arrival: None }
    }

    /// Tells `on_arrival` of each arrival before the bus gets it.
    pub(crate) fn telling(mut self, on_arrival: impl Fn(&Arrival) + Send + Sync + 'static) -> Self {
        self.on_arrival = Some(Arc::new(on_arrival));
        self
    }

    /// What was written down so far.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds its receptions back, as a slow or stalled link does, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.lock().held = held;
        if !held {
            self.released.notify_waiters();
        }
    }

    /// Passes an event on, written down as the bus gets it.
    async fn pass(&self, stream: StreamIndex, event: Event) -> Event {
        loop {
            let released = self.released.notified();
            if !self.lock().held {
                break;
            }
            released.await;
        }
        let layout = layout(self.stream_count());
        let at = self.began.elapsed();
        let mut record = self.lock();
        let (kind, event) = match event {
            Event::Opened { epoch, after, head, unbroken } => {
                (ArrivalKind::Opened { epoch, after, head, unbroken }, event)
            }
            Event::Payload { id, mut bytes } => {
                if let Content::Frame(frame) = content(&bytes, &layout)
                    && record.breaks((stream, frame.node, frame.number))
                {
                    bytes = broken(&bytes);
                }
                let kind = ArrivalKind::Payload { id, len: bytes.len(), content: content(&bytes, &layout) };
                (kind, Event::Payload { id, bytes })
            }
            Event::Faulted(_) => (ArrivalKind::Faulted, event),
        };
        self.keep(&mut record, Arrival { at, stream, kind });
        event
    }

    fn note(&self, stream: StreamIndex, kind: ArrivalKind) {
        let at = self.began.elapsed();
        self.keep(&mut self.lock(), Arrival { at, stream, kind });
    }

    /// In order, since the record is locked.
    fn keep(&self, record: &mut Record, arrival: Arrival) {
        if let Some(on_arrival) = &self.on_arrival {
            on_arrival(&arrival);
        }
        record.arrivals.push(arrival);
    }

    async fn send_and_count(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let sent = self.inner.send(stream, frame, payload).await;
        if sent.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Rewound { .. })) {
            self.lock().rewound += 1;
        }
        sent
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Writes down when a reception begins and ends.
struct Reception {
    recorder: Recorder,
    stream: StreamIndex,
}

impl Reception {
    fn begin(recorder: &Recorder, stream: StreamIndex) -> Self {
        let recorder = recorder.clone();
        recorder.note(stream, ArrivalKind::Began);
        recorder.lock().receiving.insert(stream);
        Self { recorder, stream }
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.recorder.note(self.stream, ArrivalKind::Ended);
        self.recorder.lock().receiving.remove(&self.stream);
    }
}

impl Backplane for Recorder {
    fn stream_count(&self) -> NonZeroU16 {
        self.inner.stream_count()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.send_and_count(stream, frame, payload))
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let reception = Arc::new(Reception::begin(self, stream));
        let recorder = self.clone();
        let opening = async move {
            // A timer of no time at all would be one turn of the others.
            if !recorder.opening.is_zero() {
                sleep(recorder.opening).await;
            }
            recorder.inner.receive(stream, start)
        };
        let events = stream::once(opening).flatten().then(move |event| {
            let reception = Arc::clone(&reception);
            async move { reception.recorder.pass(stream, event).await }
        });
        events.boxed()
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        self.inner.retained(stream)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}

/// The same bytes with the last one changed.
fn broken(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}

/// The layout of all nodes of a run.
pub(crate) fn layout(stream_count: NonZeroU16) -> Layout {
    Layout { app: AppName::default().hash(), stream_count }
}

/// What a payload carries.
pub(crate) fn content(bytes: &Bytes, layout: &Layout) -> Content {
    if bytes.is_empty() {
        return Content::Empty;
    }
    match Frame::decode(bytes, layout) {
        Ok(frame) => Content::Frame(FrameContent {
            node: frame.head.node,
            number: frame.head.number,
            after: frame.head.after,
            messages: frame
                .messages
                .iter()
                .map(|message| {
                    let range = message.payload.start as usize..message.payload.end as usize;
                    (message.channel.to_owned(), bytes.slice(range))
                })
                .collect(),
        }),
        Err(error) if error.is_foreign() => Content::Foreign,
        Err(error) if error.is_layout() => Content::OtherLayout,
        Err(_) => Content::Unreadable,
    }
}
