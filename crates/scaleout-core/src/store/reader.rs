//! Readers: one subscription's part of one stream.

use std::{sync::Arc, task::Waker, time::Duration};

use super::{
    Store,
    channels::ChannelKey,
    pending::{Pending, Ready},
    place::Place,
};
use crate::{CursorEntry, GapReason, Position, mutant::Mutant, store::timeline::Stem, subscription::Signal};

/// A reader's key in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReaderKey(u32);

impl ReaderKey {
    pub(super) fn new(key: usize) -> Self {
        Self(u32::try_from(key).expect("memory ends before four billion readers"))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A subscription's place on one stream.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) signal: Arc<Signal>,
    /// Its channels, by key, each with the reader's key among the channel's subscribers.
    pub(super) channels: Vec<(ChannelKey, u32)>,
    /// Of its channels those that hold messages behind `place`.
    pub(super) pending: Pending,
    /// Everything before it is passed.
    pub(super) place: Place,
    /// The same as a position. While nothing is pending, the reader stands at the stream's end instead.
    pub(super) passed: Position,
    /// The number of the first hole it was not told of.
    pub(super) next_hole: u64,
    /// A gap to be told first.
    pub(super) told: Option<Box<Told>>,
    pub(super) waiting: Option<Box<Waiting>>,
    /// Whether the signal lists this stream.
    pub(super) signalled: bool,
    /// Whether its client may have seen what a fork took from an earlier epoch, so that its place must not be named there:
    /// it was reset, or came with the start of an epoch, which a node whose history did not fork calls otherwise.
    pub(super) is_past_fork: bool,
}

/// A gap that a look-up found.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) reason: GapReason,
    pub(super) frames: Option<u64>,
    /// What a cursor says until the gap was read, so that a client that leaves before is told elsewhere.
    pub(super) before: CursorEntry,
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// `None`: the head of the first `Opened`.
    pub(super) position: Option<Position>,
    pub(super) stem: Option<Stem>,
    /// The stream's up time at which waiting ends; `None`: never.
    pub(super) until: Option<Duration>,
}

impl Reader {
    pub(super) fn is_live(&self) -> bool {
        self.waiting.is_none()
    }

    pub(super) fn is_pending(&self, holes_end: u64) -> bool {
        self.told.is_some() || self.is_live() && (!self.pending.is_empty() || self.next_hole < holes_end)
    }

    /// Lists the stream in the signal, and hands back whom to wake.
    pub(super) fn signal(&mut self, stream: crate::StreamIndex, wakes: &mut Vec<Waker>) {
        if !self.signalled {
            self.signalled = true;
            wakes.extend(self.signal.raise(stream));
        }
    }
}

impl Store {
    /// Adds a reader; it is nowhere yet.
    pub(crate) fn add_reader(&mut self, signal: Arc<Signal>) -> ReaderKey {
        let reader = Reader {
            signal,
            channels: Vec::new(),
            pending: Pending::default(),
            place: Place::entry(self.end()),
            passed: self.end_position(),
            next_hole: self.holes_end(),
            told: None,
            waiting: None,
            signalled: false,
            is_past_fork: false,
        };
        self.unread_since = None;
        ReaderKey::new(self.readers.insert(reader))
    }

    /// Gives a reader its first channels, before it [begins](Self::begin).
    pub(crate) fn join<'a>(&mut self, key: ReaderKey, names: impl Iterator<Item = &'a str>) {
        self.readers[key.index()].channels = Vec::with_capacity(names.size_hint().0);
        for name in names {
            self.enlist(key, name);
        }
    }

    /// Makes a reader a subscriber of a channel; `None` where it was already.
    fn enlist(&mut self, key: ReaderKey, name: &str) -> Option<(ChannelKey, u32)> {
        let channel = self.channels.find_or_insert(name);
        let joined = &mut self.readers[key.index()].channels;
        let at = joined.binary_search_by_key(&channel, |(channel, _)| *channel).err()?;
        let subscriber = self.channels.subscribe(channel, key);
        // Most subscriptions are of few channels: no room for more than there are, at first.
        if joined.len() < 4 {
            joined.reserve_exact(1);
        }
        joined.insert(at, (channel, subscriber));
        Some((channel, subscriber))
    }

    pub(super) fn clear_heap(&mut self, key: ReaderKey) {
        for ready in self.readers[key.index()].pending.take() {
            self.channels.get_mut(ready.channel).subscribers.set_ready(ready.subscriber, false);
        }
    }

    /// Puts a channel into a reader's heap where it has a message at or behind `from`.
    pub(super) fn make_ready(&mut self, key: ReaderKey, channel: ChannelKey, subscriber: u32, from: Place) {
        let held = self.channels.get_mut(channel);
        let seq = held.first_from(from);
        let Some(place) = held.place(seq) else { return };
        held.subscribers.set_ready(subscriber, true);
        self.readers[key.index()].pending.push(Ready { place, seq, channel, subscriber });
    }

    /// Subscribes a reader to a channel, from the reader's own position on; `false` where it was already.
    pub(crate) fn add_channel(&mut self, key: ReaderKey, name: &str, wakes: &mut Vec<Waker>) -> bool {
        let Some((channel, subscriber)) = self.enlist(key, name) else { return false };
        if !self.readers[key.index()].is_live() {
            return true;
        }
        let (mut place, mut passed) = self.standing(key);
        let first = Place::entry(self.first);
        if self.gone.may_have_lost(self.channels.hash_of(channel), passed)
            && let Some(edge) = self.edge
        {
            let frames = Some(self.first - place.ordinal());
            self.tell(key, Told { reason: GapReason::Lagged, frames, before: self.entry_at(key, passed) });
            (place, passed) = (first, passed.max(edge));
            self.drop_evicted(key);
        }
        let reader = &mut self.readers[key.index()];
        (reader.place, reader.passed) = (place, passed);
        self.make_ready(key, channel, subscriber, place);
        self.signal_if_pending(key, wakes);
        true
    }

    /// Ends a reader's subscription to a channel; `false` where there was none.
    pub(crate) fn remove_channel(&mut self, key: ReaderKey, name: &str) -> bool {
        let Some(channel) = self.channels.find(name) else { return false };
        let reader = &mut self.readers[key.index()];
        let Ok(at) = reader.channels.binary_search_by_key(&channel, |(channel, _)| *channel) else {
            return false;
        };
        let (_, subscriber) = reader.channels.remove(at);
        reader.pending.remove(channel);
        self.channels.unsubscribe(channel, subscriber);
        if self.readers[key.index()].is_live() {
            self.settle(key);
        }
        true
    }

    pub(crate) fn has_channels(&self, key: ReaderKey) -> bool {
        !self.readers[key.index()].channels.is_empty()
    }

    /// Ends every reader, which yields what is there and then nothing more.
    pub(crate) fn end_readers(&self, wakes: &mut Vec<Waker>) {
        wakes.extend(self.readers.iter().filter_map(|(_, reader)| reader.signal.close()));
    }

    /// Removes a reader.
    pub(crate) fn remove_reader(&mut self, key: ReaderKey) {
        let reader = self.readers.remove(key.index());
        for (channel, subscriber) in reader.channels {
            self.channels.unsubscribe(channel, subscriber);
        }
        if let Some(position) = reader.waiting.and_then(|waiting| waiting.position) {
            self.waiting.remove(&(position, key));
        }
        self.unopened.remove(&key);
    }

    /// How many readers there are.
    pub(crate) fn reader_count(&self) -> usize {
        self.readers.len()
    }

    /// What a cursor says of this reader's stream.
    pub(crate) fn cursor_entry(&self, key: ReaderKey) -> CursorEntry {
        let reader = &self.readers[key.index()];
        match (&reader.told, &reader.waiting) {
            (Some(told), _) => told.before,
            (None, None) if self.mutation.is(Mutant::IdleCursorStays) => self.entry_at(key, reader.passed),
            (None, None) => self.entry_at(key, self.standing(key).1),
            (None, Some(waiting)) => match waiting.position {
                Some(position) => CursorEntry::At { position, stem: waiting.stem },
                None => CursorEntry::Unpositioned,
            },
        }
    }

    /// Where a live reader is: right before what it reads next, as far as that is cheap to tell.
    fn standing(&self, key: ReaderKey) -> (Place, Position) {
        let reader = &self.readers[key.index()];
        let (place, passed) = if !reader.is_pending(self.holes_end()) {
            // A payload whose readers are being notified may be of a channel of this one.
            self.notifying.unwrap_or_else(|| (Place::entry(self.end()), self.end_position()))
        } else if let Some(hole) = self.hole_before(reader, reader.pending.first().map(|ready| ready.place))
            && reader.told.is_none()
        {
            (hole.place, hole.from)
        } else {
            (reader.place, reader.passed)
        };
        (reader.place.max(place), reader.passed.max(passed))
    }

    /// Puts a reader where it [stands](Self::standing), so that what it is given next is counted from there.
    pub(super) fn settle(&mut self, key: ReaderKey) {
        let (place, passed) = self.standing(key);
        let reader = &mut self.readers[key.index()];
        (reader.place, reader.passed) = (place, passed);
    }

    /// The next hole to tell a reader of, if its next message comes behind that.
    pub(super) fn hole_before(&self, reader: &Reader, next: Option<Place>) -> Option<&super::Hole> {
        let index = usize::try_from(reader.next_hole.checked_sub(self.first_hole)?).ok()?;
        self.holes.get(index).filter(|hole| next.is_none_or(|next| hole.place <= next))
    }

    fn entry_at(&self, key: ReaderKey, position: Position) -> CursorEntry {
        let is_past_fork = self.readers[key.index()].is_past_fork;
        let position = if is_past_fork { position } else { self.timeline.canonical(position) };
        CursorEntry::At { position, stem: self.timeline.stem(position) }
    }

    pub(super) fn holes_end(&self) -> u64 {
        self.first_hole + self.holes.len() as u64
    }
}
