//! A backplane that counts what the store took.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use scaleout_core::{Backplane, Capabilities, Error, Event, FrameId, Start, StreamIndex};

/// Counts the frames that were sent.
#[derive(Debug)]
pub struct Counted<B> {
    pub backplane: B,
    pub frames: Arc<AtomicU64>,
}

#[deny(clippy::missing_trait_methods)]
impl<B: Backplane> Backplane for Counted<B> {
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

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.backplane.close()
    }
}
