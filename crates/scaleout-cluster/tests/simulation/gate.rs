//! A backplane that can be cut off from its store.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use scaleout_core::{
    Backplane, Capabilities, Error, Event, FrameId, MemoryBackplane, Retained, Start, StreamIndex,
};
use tokio::sync::Notify;

/// A node's connection; while its gate is closed, what it sends and what comes to it waits, and no error tells.
#[derive(Debug)]
pub(crate) struct Gated {
    pub(crate) inner: MemoryBackplane,
    pub(crate) gate: Gate,
}

/// Opens and closes the way of one node to the store; a cheap clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<(Way, Way)>,
}

#[derive(Debug, Default)]
struct Way {
    closed: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// Closes or opens the two ways.
    pub(crate) fn close(&self, sends: bool, receives: bool) {
        self.shared.0.close(sends);
        self.shared.1.close(receives);
    }
}

impl Way {
    fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
        if !closed {
            self.opened.notify_waiters();
        }
    }

    async fn pass(&self) {
        loop {
            let opened = self.opened.notified();
            if !self.closed.load(Ordering::Relaxed) {
                return;
            }
            opened.await;
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backplane for Gated {
    fn stream_count(&self) -> NonZeroU16 {
        self.inner.stream_count()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.gate.shared.0.pass().await;
            self.inner.send(stream, frame, payload).await
        })
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let gate = self.gate.clone();
        let pass = move |event| {
            let gate = gate.clone();
            async move {
                gate.shared.1.pass().await;
                event
            }
        };
        self.inner.receive(stream, start).then(pass).boxed()
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        self.inner.retained(stream)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}
