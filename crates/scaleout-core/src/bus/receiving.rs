//! The task that receives a stream.

use std::{convert::Infallible, sync::Arc, task::Waker};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::sleep;

use super::{Inner, StreamIndex};
use crate::{
    Backoff, Epoch, Error, ErrorKind, Event, PayloadId, Start,
    frame::Layout,
    receive::{Blank, Inbox, Taken},
    store::{Appended, Notified},
};

/// Nodes whose last frame number a bus remembers, over all streams.
const MAX_NODES: usize = 100_000;

pub(super) async fn run(inner: Arc<Inner>, stream: StreamIndex) {
    loop {
        inner.wanted(stream).await;
        tokio::select! {
            biased;
            never = receive(&inner, stream) => match never {},
            () = inner.unwanted(stream) => {}
        }
    }
}

/// Receives a stream until it is dropped.
async fn receive(inner: &Inner, stream: StreamIndex) -> Infallible {
    let capabilities = inner.backplane.capabilities();
    let layout = Layout { app: inner.config.app.hash(), stream_count: inner.stream_count };
    let max_nodes = (MAX_NODES / usize::from(inner.stream_count.get())).max(1);
    // Without a backlog nothing comes that would show the head to be reached.
    let (dense_ids, replay) =
        (capabilities.dense_ids, capabilities.replay && inner.config.max_backlog_payloads > 0);
    let mut inbox = Inbox::new(layout, dense_ids, replay, max_nodes, inner.mutation);
    let start = match replay {
        true => Start::Backlog { payloads: inner.config.max_backlog_payloads },
        false => Start::Latest,
    };
    let seed = inner.node.0 as u64 ^ u64::from(stream.0) << 1;
    let mut backoff = Backoff::new(inner.config.min_backoff, inner.config.max_backoff, seed);
    loop {
        let mut events = inner.backplane.receive(stream, start);
        while let Some(event) = events.next().await {
            if !matches!(event, Event::Faulted(_)) {
                backoff.reset();
            }
            inner.take(stream, &mut inbox, event).await;
        }
        // Only `close` may end a reception. A backplane that ends it early is asked again.
        let error = Error::new(ErrorKind::Unavailable, "the backplane ended a reception");
        inner.counters.faults.add(1);
        inner.update(stream, |status| status.receive_failed(error));
        sleep(backoff.next_delay().max(inner.config.min_backoff)).await;
    }
}

impl Inner {
    async fn take(&self, stream: StreamIndex, inbox: &mut Inbox, event: Event) {
        match event {
            Event::Opened { epoch, after, head, unbroken } => {
                match self.open(stream, inbox, epoch, after, head, unbroken) {
                    Ok(hole) => self.tell_hole(stream, hole).await,
                    Err(error) => self.receive_failed(stream, error),
                }
            }
            Event::Payload { id, bytes } => {
                let (taken, left, filling) = self.put(stream, inbox, id, bytes);
                if filling && matches!(taken, Taken::Frame { .. }) {
                    self.lane(stream).status().clear_suspicion();
                }
                if let Taken::Frame { sent_at_micros, .. } = taken
                    && !filling
                {
                    self.metrics.received(sent_at_micros);
                }
                self.evict();
                self.account(stream, taken, left).await;
                if filling && self.ring(stream).is_filled() {
                    let now = self.now();
                    self.update(stream, |status| status.reached_head(now));
                }
            }
            Event::Faulted(error) => self.receive_failed(stream, error),
        }
    }

    fn receive_failed(&self, stream: StreamIndex, error: Error) {
        self.counters.faults.add(1);
        self.update(stream, |status| status.receive_failed(error));
    }

    /// Takes an `Opened`; the answer is whether a hole was noted.
    fn open(
        &self,
        stream: StreamIndex,
        inbox: &mut Inbox,
        epoch: Epoch,
        after: Option<(Epoch, PayloadId)>,
        head: (Epoch, Option<PayloadId>),
        unbroken: bool,
    ) -> Result<bool, Error> {
        let (now, mut wakes) = (self.now(), Vec::new());
        let mut ring = self.ring(stream);
        let is_new = ring.epoch() != Some(epoch);
        let opened = inbox.opened(&mut ring, now, epoch, after, head, unbroken);
        ring.release_waiting(&mut wakes);
        let is_filled = ring.is_filled();
        drop(ring);
        wakes.into_iter().for_each(Waker::wake);
        let hole = opened?;
        tracing::debug!(stream = stream.0, %epoch, unbroken, "reception opened");
        if is_new {
            // The history may have forgotten frames of this node: ask, and repair it.
            self.lane(stream).queue.with(|queue| queue.request_probe());
        }
        self.update(stream, |status| {
            if status.is_broken() {
                self.counters.reconnects.add(1);
            }
            status.opened(is_filled, now);
        });
        self.lane(stream).opened.notify_waiters();
        Ok(hole)
    }

    /// Puts a payload into the ring; whether readers were not reached yet, and whether the ring was still being filled.
    fn put(
        &self,
        stream: StreamIndex,
        inbox: &mut Inbox,
        id: PayloadId,
        bytes: Bytes,
    ) -> (Taken, Notified, bool) {
        let (now, mut wakes) = (self.now(), Vec::new());
        let mut ring = self.ring(stream);
        let filling = !ring.is_filled();
        let mut taken = inbox.payload(&mut ring, now, id, bytes);
        let left = match &mut taken {
            Taken::Frame { appended, node, .. } => {
                // What the store retained says nothing of who lives now.
                if !filling {
                    self.heard.note(*node, now);
                }
                ring.notify(appended, &mut wakes)
            }
            _ => Notified::All,
        };
        ring.release_waiting(&mut wakes);
        self.settle_budget(stream, &mut ring);
        drop(ring);
        wakes.into_iter().for_each(Waker::wake);
        (taken, left, filling)
    }

    /// Counts what became of a payload, and tells the readers that were not reached yet.
    async fn account(&self, stream: StreamIndex, taken: Taken, left: Notified) {
        let counters = &self.counters;
        match taken {
            Taken::Refused => counters.refused_payloads.add(1),
            Taken::Frame { mut appended, messages, hole, .. } => {
                counters.received.add(messages);
                self.tell_hole(stream, hole).await;
                if left == Notified::More {
                    self.notify_rest(stream, &mut appended).await;
                }
                if appended.has_readers() {
                    // Readers that share this thread go on before the next frame, which would take this one out of
                    // the processor's caches, and in the end out of the ring.
                    tokio::task::yield_now().await;
                }
            }
            Taken::Blank { blank, hole } => {
                match blank {
                    Blank::Empty => counters.empty.add(1),
                    Blank::Copy => counters.duplicates.add(1),
                    Blank::Foreign(error) => {
                        if counters.foreign.add_first() {
                            tracing::warn!(stream = stream.0, %error, "skipped a payload of somebody else");
                        }
                    }
                    Blank::Unreadable(error) => {
                        if counters.unreadable.add_first() {
                            tracing::warn!(stream = stream.0, %error, "a frame cannot be read");
                        }
                    }
                    Blank::Layout(error) => {
                        counters.mislaid.add(1);
                        let error = Error::new(ErrorKind::Config, error.to_string());
                        let now = self.now();
                        self.update(stream, |status| status.layout_failed(error, now));
                    }
                }
                self.tell_hole(stream, hole).await;
            }
        }
    }

    async fn notify_rest(&self, stream: StreamIndex, appended: &mut Appended) {
        loop {
            tokio::task::yield_now().await;
            let mut wakes = Vec::new();
            let left = self.ring(stream).notify(appended, &mut wakes);
            wakes.into_iter().for_each(Waker::wake);
            if left == Notified::All {
                return;
            }
        }
    }

    /// Tells every reader of the stream of a hole.
    async fn tell_hole(&self, stream: StreamIndex, hole: bool) {
        if !hole {
            return;
        }
        self.counters.holes.add(1);
        let mut next = 0;
        loop {
            let mut wakes = Vec::new();
            let left = self.ring(stream).notify_all(&mut next, &mut wakes);
            wakes.into_iter().for_each(Waker::wake);
            if left == Notified::All {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
