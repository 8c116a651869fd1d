//! The events of one reception on their way to whoever polls it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use tokio::sync::Notify;

use crate::{Error, Event};

/// Events that may wait before a reception counts as slow, and its stream is not read for it.
const MAX_EVENTS: usize = 128;
/// The same for the bytes of their payloads. What one read brings may come on top.
const MAX_BYTES: usize = 4 << 20;

/// A queue between a reader and one reception; each side sees when the other is gone.
///
/// The reader holds the outbox, and the reception is its [`Events`]. They talk like this:
///
/// - The reader adds what it read with [`push`](Self::push), which wakes whoever polls the reception.
/// - Its bounds are 128 events and 4 MiB of payloads, and the reader keeps them: it asks for [`room`](Self::room)
///   before it reads, and reads for others, or waits, where there is none. What does not fit stays in the store. The
///   bound of bytes counts what is there already, so that what one read brings may come on top.
/// - A reader that was refused is told through `changed` once half of both bounds is free, and finds
///   [`has_room_again`](Self::has_room_again).
/// - Dropping the reception empties the outbox and tells the reader, who finds [`is_dropped`](Self::is_dropped).
/// - [`end`](Self::end) ends the reception from the reader's side.
#[derive(Debug)]
pub struct Outbox {
    /// Held to add, take or look, never while a receiver is woken.
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
    /// An empty outbox, of which one [`Events`] is then made.
    ///
    /// `changed` is what the reader waits for; all outboxes of a reader may share one. It is notified for one waiter,
    /// a notice is kept while nobody waits, and several are one: the reader then looks at all its outboxes.
    #[must_use]
    pub fn new(changed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed })
    }

    /// Whether `wanted` payloads may be read for it; if not, the reader is told once half of both bounds is free.
    ///
    /// More than 128 there is never room for; asking for up to 64 at once is granted when the reader is told.
    #[must_use]
    pub fn room(&self, wanted: usize) -> bool {
        let mut inner = self.lock();
        let has_room = inner.events.len() + wanted <= MAX_EVENTS && inner.bytes <= MAX_BYTES;
        inner.starved = !has_room;
        inner.has_room_again = false;
        has_room
    }

    /// Whether room was refused, and is there since; asking for [`room`](Self::room) clears it.
    #[must_use]
    pub fn has_room_again(&self) -> bool {
        self.lock().has_room_again
    }

    /// Adds `events`, and leaves the vector empty, with its capacity; without effect once either side is gone.
    pub fn push(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let waker = {
            let mut inner = self.lock();
            if !inner.dropped && !inner.ended {
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

    /// Adds an [`Event::Faulted`]; in a full outbox it replaces one that is the last there.
    ///
    /// It asks for no room, and a store that is away for long fills no memory.
    pub fn fault(&self, error: Error) {
        {
            let mut inner = self.lock();
            if inner.events.len() >= MAX_EVENTS && matches!(inner.events.back(), Some(Event::Faulted(_))) {
                inner.events.pop_back();
            }
        }
        self.push(&mut vec![Event::Faulted(error)]);
    }

    /// Ends the reception; what nobody took yet is gone, and nothing is added any more.
    pub fn end(&self) {
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

    /// Whether the reception was dropped, so that nothing needs to be read for it.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves plain values whole, so poisoning tells nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The receiving side of an [`Outbox`], which is what [`receive`](crate::Backplane::receive) returns.
///
/// The stream ends after [`Outbox::end`]. Dropping it ends the reception.
#[derive(Debug)]
pub struct Events(Arc<Outbox>);

impl Events {
    /// The reception that takes what is added to `outbox`; an outbox has one.
    #[must_use]
    pub fn new(outbox: Arc<Outbox>) -> Self {
        Self(outbox)
    }
}

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

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::{ErrorKind, PayloadId};

    fn payloads(count: usize, bytes: usize) -> Vec<Event> {
        let payload = |id| Event::Payload { id: PayloadId(id), bytes: vec![0; bytes].into() };
        (0..count as u64).map(payload).collect()
    }

    fn outbox() -> (Arc<Outbox>, Events, Arc<Notify>) {
        let changed = Arc::new(Notify::new());
        let outbox = Outbox::new(Arc::clone(&changed));
        (Arc::clone(&outbox), Events::new(outbox), changed)
    }

    /// Takes one event that is there.
    fn take(events: &mut Events) -> Event {
        events.next().now_or_never().expect("an event is there").expect("it goes on")
    }

    fn is_told(changed: &Notify) -> bool {
        changed.notified().now_or_never().is_some()
    }

    #[test]
    fn a_reader_without_room_is_told_once_when_half_of_the_events_are_taken() {
        let (outbox, mut events, changed) = outbox();
        outbox.push(&mut payloads(100, 1));
        assert!(outbox.room(28) && !outbox.room(64));
        for _ in 0..35 {
            take(&mut events);
        }
        assert!(!outbox.has_room_again() && !is_told(&changed));
        take(&mut events);
        assert!(outbox.has_room_again() && is_told(&changed));
        take(&mut events);
        assert!(!is_told(&changed));
        assert!(outbox.room(64) && !outbox.has_room_again());
    }

    #[test]
    fn large_payloads_take_up_the_room_of_many() {
        let (outbox, mut events, changed) = outbox();
        outbox.push(&mut payloads(5, 1 << 20));
        assert!(!outbox.room(1));
        take(&mut events);
        take(&mut events);
        assert!(!outbox.has_room_again());
        take(&mut events);
        assert!(outbox.has_room_again() && is_told(&changed) && outbox.room(64));
    }

    #[test]
    fn faults_that_nobody_takes_stay_within_the_bound() {
        let (outbox, mut events, _changed) = outbox();
        for attempt in 0..3 * MAX_EVENTS {
            outbox.fault(Error::new(ErrorKind::Unavailable, attempt.to_string()));
        }
        let mut left = 0;
        while let Some(Some(_)) = events.next().now_or_never() {
            left += 1;
        }
        assert_eq!(left, MAX_EVENTS);
    }

    #[test]
    fn a_dropped_reception_tells_the_reader_and_takes_no_more() {
        let (outbox, events, changed) = outbox();
        outbox.push(&mut payloads(3, 1));
        drop(events);
        assert!(outbox.is_dropped() && is_told(&changed));
        let mut more = payloads(1, 1);
        outbox.push(&mut more);
        assert!(more.is_empty() && outbox.lock().events.is_empty());
    }

    #[test]
    fn an_ended_reception_yields_nothing_that_is_added_later() {
        let (outbox, mut events, _changed) = outbox();
        outbox.push(&mut payloads(3, 1));
        outbox.end();
        assert!(matches!(events.next().now_or_never(), Some(None)));
        outbox.push(&mut payloads(1, 1));
        assert!(matches!(events.next().now_or_never(), Some(None)));
    }

    #[tokio::test]
    async fn what_is_added_wakes_who_waits() {
        let (outbox, mut events, _changed) = outbox();
        let (event, ()) = tokio::join!(events.next(), async { outbox.push(&mut payloads(1, 1)) });
        assert!(matches!(event, Some(Event::Payload { .. })));
    }
}
