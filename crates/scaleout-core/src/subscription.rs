//! Subscriptions: what an application reads.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::{Stream, StreamExt};

use crate::{
    Cursor, CursorEntry, GapReason, Received, StreamIndex,
    bus::Inner,
    store::{Asked, ReaderKey},
};

/// The messages of some channels, from some position on.
///
/// It is a place in the node's rings, not a queue: a slow subscription delays nobody, and costs nothing but what it
/// misses, which it is told as a [`Gap`](crate::Gap) of reason [`Lagged`](GapReason::Lagged). Messages of one stream come in the
/// order of their positions; streams take turns.
///
/// Also a [`Stream`] of [`Received`]. Dropping it unsubscribes.
pub struct Subscription {
    inner: Arc<Inner>,
    signal: Arc<Signal>,
    /// The streams that carry its channels, in order.
    readers: Box<[(StreamIndex, ReaderKey)]>,
    /// Where it stands on all its streams, but for that of the last item; `None` while there is only one.
    others: Option<Arc<Cursor>>,
    /// The stream of the last item.
    last: Option<StreamIndex>,
    /// Whether `others` has a stream without a position, since it did not open before.
    unpositioned: bool,
    /// How many items are left of this turn.
    left: u8,
    /// Whether the stream of the last item is at its turn: it is listed first, and has more.
    goes_on: bool,
}

/// Items that are taken of a stream before another one has its turn, and for one unit of the task's budget.
///
/// Reading one is far less work than what a unit is meant for, and a reader that paused within a frame would fall behind
/// the task that receives. Going from stream to stream costs more than reading an item.
const TURN: u8 = 32;

/// Wakes a subscription. The stores raise it, the subscription takes what was raised.
#[derive(Debug, Default)]
pub(crate) struct Signal(Mutex<Raised>);

/// Protected by the signal's lock, which is held for a push or a pop, and may be taken under a store's.
#[derive(Debug, Default)]
struct Raised {
    /// The streams that hold something to read, each once.
    streams: Vec<StreamIndex>,
    closed: bool,
    waker: Option<Waker>,
}

impl Signal {
    /// Lists a stream; the answer is whom to wake.
    pub(crate) fn raise(&self, stream: StreamIndex) -> Option<Waker> {
        let mut raised = self.lock();
        raised.streams.push(stream);
        raised.waker.take()
    }

    /// Ends the subscription once it has read everything.
    pub(crate) fn close(&self) -> Option<Waker> {
        let mut raised = self.lock();
        raised.closed = true;
        raised.waker.take()
    }

    /// Takes the list of streams.
    #[cfg(test)]
    pub(crate) fn take_raised(&self) -> Vec<StreamIndex> {
        self.lock().streams.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Raised> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            inner,
            signal,
            readers: Box::default(),
            others: None,
            last: None,
            unpositioned: false,
            left: 0,
            goes_on: false,
        }
    }

    /// The next message or gap, `None` once the bus is closed and everything is read.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Received> {
        self.next().await
    }

    /// Subscribes to one more channel.
    ///
    /// On a stream that carries others of its channels it begins at the subscription's own position, so that nothing is
    /// missed between; else from now on. A name that is no channel (empty, or longer than 1,024 bytes) carries nothing.
    pub fn add(&mut self, channel: impl AsRef<str>) {
        self.begin([channel], None);
    }

    /// Ends the subscription to one channel; what of it was not read yet will not come.
    pub fn remove(&mut self, channel: impl AsRef<str>) {
        let stream = self.inner.stream_of(channel.as_ref());
        let Ok(at) = self.readers.binary_search_by_key(&stream, |(stream, _)| *stream) else { return };
        let (_, key) = self.readers[at];
        let mut store = self.inner.ring(stream);
        store.remove_channel(key, channel.as_ref());
        if !store.has_channels(key) {
            store.remove_reader(key);
            drop(store);
            self.change_readers(|readers| {
                readers.remove(at);
            });
            (self.last, self.goes_on) = (None, false);
            self.note_others();
        }
    }

    /// Where a client that has seen everything read so far goes on, on any node.
    ///
    /// While nothing is pending it advances with the streams, although no message comes: hand it out with heartbeats,
    /// and an idle client never expires.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let mut cursor = Cursor::new(self.inner.stream_count());
        for &(stream, key) in &self.readers {
            cursor.set(stream, self.inner.ring(stream).cursor_entry(key));
        }
        cursor
    }

    /// Subscribes to channels; on streams that are new to the subscription, from where `cursor` says.
    pub(crate) fn begin<C: AsRef<str>>(
        &mut self,
        channels: impl IntoIterator<Item = C>,
        cursor: Option<&Cursor>,
    ) {
        let mut by_stream: Vec<(StreamIndex, C)> = channels
            .into_iter()
            .filter(|channel| crate::check_channel(channel.as_ref()).is_ok())
            .map(|channel| (self.inner.stream_of(channel.as_ref()), channel))
            .collect();
        by_stream.sort_by_key(|(stream, _)| *stream);
        let (mut wakes, mut unopened) = (Vec::new(), Vec::new());
        for group in by_stream.chunk_by(|a, b| a.0 == b.0) {
            let stream = group[0].0;
            let mut store = self.inner.ring(stream);
            let at = self.readers.binary_search_by_key(&stream, |(stream, _)| *stream);
            let key = match at {
                Ok(at) => self.readers[at].1,
                Err(_) => store.add_reader(Arc::clone(&self.signal)),
            };
            if at.is_ok() {
                for (_, channel) in group {
                    store.add_channel(key, channel.as_ref(), &mut wakes);
                }
                continue;
            }
            store.join(key, group.iter().map(|(_, channel)| channel.as_ref()));
            let asked = match cursor {
                None => Asked::Now,
                Some(cursor) if cursor.stream_count() != self.inner.stream_count() => Asked::Foreign,
                Some(cursor) => Asked::Cursor(cursor.entry(stream)),
            };
            let look_up = store.begin(key, asked, self.inner.config.ahead_wait, &mut wakes);
            if store.epoch().is_none() {
                unopened.push(stream);
            }
            drop(store);
            if cursor.is_some() {
                self.inner.count_look_up(look_up);
            }
            self.change_readers(|readers| readers.insert(at.unwrap_or_else(|at| at), (stream, key)));
        }
        self.note_others();
        if self.inner.is_closed() {
            self.signal.close();
        }
        unopened.into_iter().for_each(|stream| self.inner.want(stream));
        wakes.into_iter().for_each(Waker::wake);
    }

    /// Notes where it stands on all its streams.
    fn note_others(&mut self) {
        self.others = (self.readers.len() > 1).then(|| Arc::new(self.cursor()));
        self.unpositioned = self
            .others
            .as_ref()
            .is_some_and(|cursor| cursor.entries().any(|(_, entry)| *entry == CursorEntry::Unpositioned));
    }

    /// Streams come and go seldom, and most subscriptions are of one: the list has room for no more than it holds.
    fn change_readers(&mut self, change: impl FnOnce(&mut Vec<(StreamIndex, ReaderKey)>)) {
        let mut readers = std::mem::take(&mut self.readers).into_vec();
        readers.reserve_exact(1);
        change(&mut readers);
        self.readers = readers.into_boxed_slice();
    }

    /// Takes the next item of the streams that were raised into `item`, if there is one.
    #[inline]
    fn take_next(&mut self, item: &mut Option<Received>) {
        loop {
            // Nobody else takes streams from the list, so that the first one may stay there while it is read.
            let stream = match self.last {
                Some(last) if self.goes_on => last,
                _ => {
                    let Some(&stream) = self.signal.lock().streams.first() else { return };
                    stream
                }
            };
            let at = self.readers.binary_search_by_key(&stream, |(stream, _)| *stream);
            let more = match at {
                Ok(at) => self.inner.ring(stream).read(self.readers[at].1, item),
                Err(_) => false,
            };
            self.goes_on = more && item.is_some() && self.left > 1;
            if !more {
                self.signal.lock().streams.remove(0);
            } else if !self.goes_on {
                self.signal.lock().streams.rotate_left(1);
            }
            if let Some(item) = item {
                self.left = self.left.saturating_sub(1);
                self.complete(stream, item);
                return;
            }
        }
    }

    /// Counts an item, and adds where this subscription stands on its other streams.
    fn complete(&mut self, stream: StreamIndex, item: &mut Received) {
        if self.unpositioned {
            // A stream opens once while it is read, so this ends.
            self.note_others();
        }
        let last = self.last.replace(stream).filter(|last| *last != stream);
        if let (Some(last), Some(others)) = (last, &mut self.others)
            && let Ok(at) = self.readers.binary_search_by_key(&last, |(stream, _)| *stream)
        {
            let entry = self.inner.ring(last).cursor_entry(self.readers[at].1);
            Arc::make_mut(others).set(last, entry);
        }
        match item {
            Received::Message(message) => {
                message.others.clone_from(&self.others);
                self.inner.counters.delivered.add(1);
            }
            Received::Gap(gap) => {
                gap.others.clone_from(&self.others);
                let counters = &self.inner.counters;
                match gap.reason {
                    GapReason::Lost => &counters.gaps_lost,
                    GapReason::Reset => &counters.gaps_reset,
                    GapReason::Expired => &counters.gaps_expired,
                    GapReason::Lagged => &counters.gaps_lagged,
                }
                .add(1);
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        // Reading is only memory: without a budget a busy stream would keep the task from everything else.
        let budget = match self.left {
            0 => Some(std::task::ready!(tokio::task::coop::poll_proceed(cx))),
            _ => None,
        };
        if budget.is_some() {
            self.left = TURN;
        }
        let mut item = None;
        loop {
            self.take_next(&mut item);
            if item.is_some() {
                if let Some(budget) = budget {
                    budget.made_progress();
                }
                return Poll::Ready(item);
            }
            let mut raised = self.signal.lock();
            if !raised.streams.is_empty() {
                continue;
            }
            let idle = self.readers.is_empty() && !self.inner.wake_at_close(cx.waker());
            if raised.closed || idle {
                if let Some(budget) = budget {
                    budget.made_progress();
                }
                return Poll::Ready(None);
            }
            if raised.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                raised.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for &(stream, key) in &self.readers {
            self.inner.ring(stream).remove_reader(key);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("streams", &self.readers.len()).finish_non_exhaustive()
    }
}
