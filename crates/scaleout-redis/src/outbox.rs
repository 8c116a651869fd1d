//! The events of one reception on their way to whoever polls it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use scaleout_core::Event;
use tokio::sync::Notify;

use crate::group::lock;

/// Events that may wait before a reception counts as slow, and its stream is not read for it.
const MAX_EVENTS: usize = 128;
/// The same for the bytes of their payloads. What one read brings may come on top.
const MAX_BYTES: usize = 4 << 20;

/// A queue between a reader and one reception; each side sees when the other is gone.
///
/// It is bounded by the reader, which looks at [`room`](Self::room) before it reads.
#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    /// Told when there is room again, and when the reception is dropped.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Event>,
    /// Of their payloads.
    bytes: usize,
    waker: Option<Waker>,
    /// The reader waits for room.
    starved: bool,
    /// The reader waited for room, and was told that there is.
    has_room_again: bool,
    /// Nothing will be added.
    ended: bool,
    /// Nobody takes events any more.
    dropped: bool,
}

impl Outbox {
    pub(crate) fn new(changed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed })
    }

    /// Whether `wanted` payloads may be read for it; if not, the reader is told once half of the bounds is free.
    pub(crate) fn room(&self, wanted: usize) -> bool {
        let mut inner = self.lock();
        let has_room = inner.events.len() + wanted <= MAX_EVENTS && inner.bytes <= MAX_BYTES;
        inner.starved = !has_room;
        inner.has_room_again = false;
        has_room
    }

    /// Whether the reader waits for room that there is now.
    pub(crate) fn has_room_again(&self) -> bool {
        self.lock().has_room_again
    }

    pub(crate) fn push(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let waker = {
            let mut inner = self.lock();
            if !inner.dropped {
                inner.bytes += events.iter().map(bytes_of).sum::<usize>();
                inner.events.extend(events.drain(..));
            }
            inner.waker.take()
        };
        events.clear();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells a failed attempt; of several that nobody took yet, the last.
    pub(crate) fn fault(&self, error: scaleout_core::Error) {
        {
            let mut inner = self.lock();
            if inner.events.len() >= MAX_EVENTS && matches!(inner.events.back(), Some(Event::Faulted(_))) {
                inner.events.pop_back();
            }
        }
        self.push(&mut vec![Event::Faulted(error)]);
    }

    pub(crate) fn end(&self) {
        let waker = {
            let mut inner = self.lock();
            inner.ended = true;
            inner.events.clear();
            inner.bytes = 0;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    fn is_half_empty(&self) -> bool {
        self.events.len() <= MAX_EVENTS / 2 && self.bytes <= MAX_BYTES / 2
    }
}

fn bytes_of(event: &Event) -> usize {
    match event {
        Event::Payload { bytes, .. } => bytes.len(),
        Event::Opened { .. } | Event::Faulted(_) => 0,
    }
}

/// The receiving side; dropping it ends the reception.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Arc<Outbox>);

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.0.lock();
        if let Some(event) = inner.events.pop_front() {
            inner.bytes -= bytes_of(&event);
            let has_room_again = inner.starved && inner.is_half_empty();
            // Once is enough: the reader looks for itself.
            inner.starved &= !has_room_again;
            inner.has_room_again |= has_room_again;
            drop(inner);
            if has_room_again {
                self.0.changed.notify_one();
            }
            return Poll::Ready(Some(event));
        }
        if inner.ended {
            return Poll::Ready(None);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        {
            let mut inner = self.0.lock();
            inner.dropped = true;
            inner.events.clear();
        }
        self.0.changed.notify_one();
    }
}
