//! A backplane that counts the frames that its store took.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use scaleout::{Backplane, Capabilities, Error, Event, FrameId, Retained, Start, StreamIndex};

/// Counts the frames that were sent.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) backplane: Arc<dyn Backplane>,
    pub(super) frames: Arc<AtomicU64>,
}

#[deny(clippy::missing_trait_methods)]
impl Backplane for Counted {
    fn stream_count(&self) -> NonZeroU16 {
        self.backplane.stream_count()
    }

    fn capabilities(&self) -> Capabilities {
        self.backplane.capabilities()
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        // A probe has none, and puts nothing into the store.
        let count = u64::from(!payload.is_empty());
        let sending = self.backplane.send(stream, frame, payload);
        Box::pin(async move {
            sending.await?;
            self.frames.fetch_add(count, Ordering::Relaxed);
            Ok(())
        })
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        self.backplane.receive(stream, start)
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        self.backplane.retained(stream)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.backplane.close()
    }
}
