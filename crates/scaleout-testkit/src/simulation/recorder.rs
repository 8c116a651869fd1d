//! What crosses the seam: a backplane that writes down what its receptions yield.

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};

use scaleout_core::{
    AppName, Backplane, Capabilities, Error, ErrorKind, Event, FrameId, MemoryBackplane, Start, StreamIndex,
    frame::{Frame, Layout},
};
use tokio::time::Instant;

use crate::checker::{Arrival, ArrivalKind, Content, FrameContent};

/// A node's connection, with a record of what it yielded.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    inner: MemoryBackplane,
    began: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) arrivals: Vec<Arrival>,
    /// Sends answered `Rewound`.
    pub(super) rewound: u64,
}

impl Recorder {
    pub(super) fn new(inner: MemoryBackplane, began: Instant) -> Self {
        Self { inner, began, record: Arc::default() }
    }

    /// What was written down so far.
    pub(super) fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_and_count(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let sent = self.inner.send(stream, frame, payload).await;
        if sent.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Rewound { .. })) {
            self.lock().rewound += 1;
        }
        sent
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
        let (recorder, layout) = (self.clone(), layout(self.stream_count()));
        let events = self.inner.receive(stream, start).inspect(move |event| {
            let kind = match event {
                Event::Opened { epoch, after, head, unbroken } => {
                    ArrivalKind::Opened { epoch: *epoch, after: *after, head: *head, unbroken: *unbroken }
                }
                Event::Payload { id, bytes } => {
                    ArrivalKind::Payload { id: *id, len: bytes.len(), content: content(bytes, &layout) }
                }
                Event::Faulted(_) => ArrivalKind::Faulted,
            };
            let arrival = Arrival { at: recorder.began.elapsed(), stream, kind };
            recorder.lock().arrivals.push(arrival);
        });
        events.boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}

/// The layout of all nodes of a run.
pub(super) fn layout(stream_count: NonZeroU16) -> Layout {
    Layout { app: AppName::default().hash(), stream_count }
}

/// What a payload carries.
pub(super) fn content(bytes: &Bytes, layout: &Layout) -> Content {
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
