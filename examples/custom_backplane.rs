//! A backplane of one's own: a log in a `Vec`, in about eighty lines.
//!
//! The contract is in `scaleout_core::backplane`. What keeps it here: ids are places in a log that only grows
//! (rules 3 and 4), the log remembers the last frame number of each node (rule 9), and a reader is a place in
//! the log, so that nobody waits for it (rule 10). The history lives and dies with the process: there is one epoch.
//! It passes the conformance suite (`tests/custom_backplane.rs`).

use std::{
    collections::HashMap,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use scaleout_core::{
    Backplane, Bus, Capabilities, Epoch, Error, ErrorKind, Event, FrameId, NodeId, PayloadId, Received,
    Start, StreamIndex,
};
use tokio::sync::watch;

const EPOCH: Epoch = Epoch(1);
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// What a stream holds.
#[derive(Debug, Default)]
struct Log {
    /// Every payload there was: this demonstration never forgets, a real store would have a retention.
    payloads: Vec<Bytes>,
    /// The last frame number of each node.
    held: HashMap<NodeId, u64>,
}

/// A connection to a log with one stream; clones of one connection close together.
#[derive(Debug, Clone)]
pub(crate) struct VecBackplane {
    log: Arc<Mutex<Log>>,
    /// The length of the log, to wake readers.
    length: watch::Sender<usize>,
    closed: watch::Sender<bool>,
}

impl VecBackplane {
    pub(crate) fn new() -> Self {
        Self { log: Arc::default(), length: watch::Sender::new(0), closed: watch::Sender::new(false) }
    }

    /// Another node's connection to the same log.
    pub(crate) fn connection(&self) -> Self {
        Self { closed: watch::Sender::new(false), ..self.clone() }
    }

    /// The log, also after a panic elsewhere: it is never left half changed.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        if *self.closed.borrow() {
            return Err(ErrorKind::Closed.into());
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(ErrorKind::PayloadTooLarge { actual: payload.len(), limit: MAX_PAYLOAD_BYTES }.into());
        }
        let mut log = self.log();
        let held = log.held.get(&frame.node).copied().unwrap_or(0);
        if held < frame.after {
            return Err(ErrorKind::Rewound { last: held }.into());
        }
        // A number already held is a retry of what has landed; number 0 is a probe.
        if frame.number > held {
            log.held.insert(frame.node, frame.number);
            log.payloads.push(payload);
            self.length.send_replace(log.payloads.len());
        }
        Ok(())
    }
}

impl Backplane for VecBackplane {
    fn stream_count(&self) -> NonZeroU16 {
        NonZeroU16::MIN
    }

    fn capabilities(&self) -> Capabilities {
        let base = Capabilities::default().with_max_payload_bytes(MAX_PAYLOAD_BYTES);
        base.with_replay(true).with_dense_ids(true).with_asks_held(true)
    }

    fn send(&self, _: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.append(frame, payload) }.boxed()
    }

    fn receive(&self, _: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let length = *self.length.borrow();
        let head = length.checked_sub(1).map(|last| PayloadId(last as u64));
        let opened = Event::Opened { epoch: EPOCH, after: None, head: (EPOCH, head), unbroken: true };
        let first = match start {
            Start::Latest => length,
            Start::Backlog { payloads } => length.saturating_sub(payloads),
        };
        let reader = (self.clone(), self.length.subscribe(), first);
        let payloads = stream::unfold(reader, |(connection, mut length, at)| async move {
            length.wait_for(|length| at < *length).await.ok()?;
            let bytes = connection.log().payloads.get(at).cloned()?;
            Some((Event::Payload { id: PayloadId(at as u64), bytes }, (connection, length, at + 1)))
        });
        let mut closed = self.closed.subscribe();
        let end = async move {
            // An error says that the connection is gone, which is an end as well.
            let _ = closed.wait_for(|closed| *closed).await;
        };
        stream::once(async { opened }).chain(payloads).take_until(end).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.closed.send_replace(true);
        async { Ok(()) }.boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backplane = VecBackplane::new();
    let alpha = Bus::builder(backplane.connection()).connect().await?;
    let beta = Bus::builder(backplane.connection()).connect().await?;

    let mut subscription = beta.subscribe(["room:42"]);
    for number in 0..100 {
        alpha.publish("room:42", format!("message {number}")).await?;
    }
    for number in 0..100 {
        let next = tokio::time::timeout(Duration::from_secs(5), subscription.recv()).await?;
        let expected = format!("message {number}");
        match next {
            Some(Received::Message(message)) if message.payload() == expected.as_bytes() => {}
            other => return Err(format!("{expected:?} was expected, not {other:?}").into()),
        }
    }
    println!("100 messages went through a backplane of one's own, in order");
    for bus in [alpha, beta] {
        bus.close(Duration::from_secs(5)).await;
    }
    Ok(())
}
