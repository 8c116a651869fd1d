//! Readers: one subscription's part of one stream.

use std::{sync::Arc, task::Waker, time::Duration};

use super::{
    Appended, Item, Store, Touched,
    channels::ChannelKey,
    pending::{Pending, Ready},
    place::Place,
    timeline::Judgement,
};
use crate::{
    CursorEntry, Gap, GapReason, Message, Position, mutant::Mutant, store::timeline::Stem,
    subscription::Signal,
};

/// A reader's key in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReaderKey(u32);

impl ReaderKey {
    pub(super) fn new(key: usize) -> Self {
        Self(u32::try_from(key).expect("memory ends before four billion readers"))
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Readers that one [`Store::notify`] touches at most, so that a crowd does not hold the lock; tests need no crowd.
const NOTIFY_CHUNK: usize = if cfg!(test) { 2 } else { 1_000 };

/// A subscription's place on one stream.
#[derive(Debug)]
pub(super) struct Reader {
    signal: Arc<Signal>,
    /// Its channels, by key, each with the reader's key among the channel's subscribers.
    channels: Vec<(ChannelKey, u32)>,
    /// Of its channels those that hold messages behind `place`.
    pending: Pending,
    /// Everything before it is passed.
    place: Place,
    /// The same as a position. While nothing is pending, the reader stands at the stream's end instead.
    passed: Position,
    /// The number of the first hole it was not told of.
    next_hole: u64,
    /// A gap to be told first.
    told: Option<Box<Told>>,
    waiting: Option<Box<Waiting>>,
    /// Whether the signal lists this stream.
    signalled: bool,
    /// Whether it was reset: its client may have seen what a fork took from an earlier epoch, so that its place must not
    /// be named there.
    reset: bool,
}

/// A gap that a look-up found.
#[derive(Debug)]
struct Told {
    reason: GapReason,
    frames: Option<u64>,
    /// What a cursor says until the gap was read, so that a client that leaves before is told elsewhere.
    before: CursorEntry,
}

#[derive(Debug)]
struct Waiting {
    /// `None`: the head of the first `Opened`.
    position: Option<Position>,
    stem: Option<Stem>,
    /// The stream's up time at which waiting ends; `None`: never.
    until: Option<Duration>,
}

/// Where a subscription asks to begin on a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// With what comes from now on.
    Now,
    /// With what a cursor says; `None`: the stream is absent from it.
    Cursor(Option<&'a CursorEntry>),
    /// From now on, but a cursor says that it cannot be read here (another layout).
    Foreign,
}

/// The row of the look-up table that applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// In the ring, or exactly at its older edge: on from there.
    InRing,
    /// Older than the ring; `expired`: a message of its channels may have gone.
    Older {
        /// Whether that is told as a gap.
        expired: bool,
    },
    /// Ahead of this node: waits.
    Ahead,
    /// Not of this node's history: a gap, and on from now.
    Reset,
    /// Absent from the cursor: on from now.
    Absent,
    /// Not yet positioned: a gap, and on from now.
    Unpositioned,
}

/// What is left of a walk over the readers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notified {
    /// All were reached.
    All,
    /// Some are left: call again, after others had a turn.
    More,
}

impl Reader {
    fn is_live(&self) -> bool {
        self.waiting.is_none()
    }

    fn is_pending(&self, holes_end: u64) -> bool {
        self.told.is_some() || self.is_live() && (!self.pending.is_empty() || self.next_hole < holes_end)
    }

    /// Lists the stream in the signal, and hands back whom to wake.
    fn signal(&mut self, stream: crate::StreamIndex, wakes: &mut Vec<Waker>) {
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
            reset: false,
        };
        ReaderKey::new(self.readers.insert(reader))
    }

    /// Gives a reader its first channels, before it [begins](Self::begin).
    pub(crate) fn join<'a>(&mut self, key: ReaderKey, names: impl Iterator<Item = &'a str>) {
        self.readers[key.index()].channels = Vec::with_capacity(names.size_hint().0);
        for name in names {
            let channel = self.channels.find_or_insert(name);
            let joined = &self.readers[key.index()].channels;
            if let Err(at) = joined.binary_search_by_key(&channel, |(channel, _)| *channel) {
                let subscriber = self.channels.subscribe(channel, key);
                self.readers[key.index()].channels.insert(at, (channel, subscriber));
            }
        }
    }

    /// Puts a reader, with its first channels, where `asked` says.
    pub(crate) fn begin(
        &mut self,
        key: ReaderKey,
        asked: Asked<'_>,
        ahead_wait: Duration,
        wakes: &mut Vec<Waker>,
    ) -> LookUp {
        let look_up = match asked {
            Asked::Now | Asked::Cursor(None) => {
                match (self.timeline.current(), self.filling) {
                    (None, _) => {
                        self.unopened.insert(key);
                        self.readers[key.index()].waiting =
                            Some(Box::new(Waiting { position: None, stem: None, until: None }));
                    }
                    (_, Some(target)) => self.await_position(key, target),
                    _ => self.stand_at_end(key),
                }
                LookUp::Absent
            }
            Asked::Cursor(Some(CursorEntry::Unpositioned)) => {
                self.restart(key, GapReason::Lost, CursorEntry::Unpositioned);
                LookUp::Unpositioned
            }
            Asked::Foreign => {
                self.restart(key, GapReason::Reset, CursorEntry::Unpositioned);
                LookUp::Reset
            }
            Asked::Cursor(Some(&asked)) if self.mutation.is(Mutant::GapOnEveryHop) => {
                self.restart(key, GapReason::Reset, asked);
                LookUp::Reset
            }
            Asked::Cursor(Some(&CursorEntry::At { position, stem })) => {
                let position = self.mutated_start(position);
                let until = Some(self.up_time + ahead_wait);
                self.go_to(key, position, stem, until)
            }
        };
        self.signal_if_pending(key, wakes);
        look_up
    }

    fn mutated_start(&self, position: Position) -> Position {
        let inside = (1..Position::WHOLE).contains(&position.index);
        let index = match inside {
            true if self.mutation.is(Mutant::ResumeSkipsFrame) => Position::WHOLE,
            true if self.mutation.is(Mutant::ResumeRepeatsFrame) => 0,
            _ => position.index,
        };
        Position { index, ..position }
    }

    /// Begins anew "from now", behind a gap. A stream that did not open yet tells it at once all the same.
    ///
    /// Now is the store's last known head where this node has not reached it yet: what lies before may be copies, in
    /// another epoch, of what the client had before.
    fn restart(&mut self, key: ReaderKey, reason: GapReason, before: CursorEntry) {
        self.readers[key.index()].reset = true;
        self.tell(key, Told { reason, frames: None, before });
        match (self.timeline.current(), self.known_head) {
            (None, _) => {
                self.unopened.insert(key);
                self.readers[key.index()].waiting =
                    Some(Box::new(Waiting { position: None, stem: None, until: None }));
            }
            (_, Some(head)) => self.await_position(key, head),
            _ => self.stand_at_end(key),
        }
    }

    fn go_to(
        &mut self,
        key: ReaderKey,
        position: Position,
        stem: Option<Stem>,
        until: Option<Duration>,
    ) -> LookUp {
        let stem = match self.mutation.is(Mutant::IgnoreStem) {
            true => self.timeline.stem(position),
            false => stem,
        };
        match self.timeline.judge(position, stem) {
            Judgement::Ahead => {
                self.wait(key, position, stem, until);
                LookUp::Ahead
            }
            Judgement::Foreign => {
                self.restart(key, GapReason::Reset, CursorEntry::At { position, stem });
                LookUp::Reset
            }
            Judgement::Known => {
                let Some(edge) = self.edge else {
                    // Where the backlog begins is known with its first payload.
                    self.wait(key, position, stem, until);
                    return LookUp::Ahead;
                };
                let is_known = self.origin.is_some_and(|origin| self.is_behind(position, origin));
                let before = CursorEntry::At { position, stem };
                if self.is_behind(position, edge) {
                    if !is_known {
                        self.tell(key, Told { reason: GapReason::Lost, frames: None, before });
                    }
                    self.stand_at(key, self.place_of(position), position);
                    return LookUp::InRing;
                }
                let expired = !is_known
                    || self.readers[key.index()].channels.iter().any(|(channel, _)| {
                        self.gone.may_have_lost(self.channels.hash_of(*channel), position)
                    });
                if expired && !self.mutation.is(Mutant::SwallowExpired) {
                    let from = self.normalized(position);
                    let frames = (self.dense_ids && from.epoch == edge.epoch).then(|| {
                        let end = edge.id.0.saturating_add(edge.is_whole().into());
                        end.saturating_sub(from.id.0)
                    });
                    self.tell(key, Told { reason: GapReason::Expired, frames, before });
                }
                // Of its channels nothing is lost: it stands at the edge, or before a hole that it has to be told of.
                let first = Place::entry(self.first);
                match self.holes.get(self.holes_passed(position)).filter(|hole| hole.place < first) {
                    Some(hole) if !expired => self.stand_at(key, hole.place, position),
                    _ => self.stand_at(key, first, edge),
                }
                LookUp::Older { expired }
            }
        }
    }

    /// Makes a gap the next thing a reader is given. One that it was not given yet covers this one too.
    fn tell(&mut self, key: ReaderKey, told: Told) {
        match &mut self.readers[key.index()].told {
            // Nobody has counted both.
            Some(first) => first.frames = None,
            none => *none = Some(Box::new(told)),
        }
    }

    fn wait(&mut self, key: ReaderKey, position: Position, stem: Option<Stem>, until: Option<Duration>) {
        self.waiting.insert((position, key));
        self.readers[key.index()].waiting = Some(Box::new(Waiting { position: Some(position), stem, until }));
    }

    /// Makes a reader wait for a position that will come.
    pub(super) fn await_position(&mut self, key: ReaderKey, position: Position) {
        if self.has_reached(position) {
            self.stand_at_end(key);
            return;
        }
        let stem = self.timeline.stem(position);
        self.wait(key, position, stem, None);
    }

    fn stand_at_end(&mut self, key: ReaderKey) {
        let (place, passed, holes_end) = (Place::entry(self.end()), self.end_position(), self.holes_end());
        self.clear_heap(key);
        let reader = &mut self.readers[key.index()];
        (reader.place, reader.passed, reader.next_hole) = (place, passed, holes_end);
        reader.waiting = None;
    }

    /// How many of the holes a client at a position has passed.
    fn holes_passed(&self, position: Position) -> usize {
        let is_passed = |hole: &super::Hole| {
            // Where no id is missing, the hole's two sides are one place of the store: only who was told stands behind.
            match self.normalized(hole.from) == self.normalized(hole.to) {
                true => position > hole.from && position >= hole.to,
                false => self.is_behind(position, hole.to),
            }
        };
        self.holes.iter().take_while(|hole| is_passed(hole)).count()
    }

    fn stand_at(&mut self, key: ReaderKey, place: Place, passed: Position) {
        let next_hole = self.first_hole + self.holes_passed(passed) as u64;
        self.clear_heap(key);
        let reader = &mut self.readers[key.index()];
        (reader.place, reader.passed, reader.next_hole) = (place, passed, next_hole);
        reader.waiting = None;
        for index in 0..self.readers[key.index()].channels.len() {
            let (channel, subscriber) = self.readers[key.index()].channels[index];
            self.make_ready(key, channel, subscriber, place);
        }
        self.settle(key);
    }

    fn clear_heap(&mut self, key: ReaderKey) {
        for ready in self.readers[key.index()].pending.take() {
            self.channels.get_mut(ready.channel).subscribers.set_ready(ready.subscriber, false);
        }
    }

    /// Puts a channel into a reader's heap where it has a message at or behind `from`.
    fn make_ready(&mut self, key: ReaderKey, channel: ChannelKey, subscriber: u32, from: Place) {
        let held = self.channels.get_mut(channel);
        let seq = held.first_from(from);
        let Some(place) = held.place(seq) else { return };
        held.subscribers.set_ready(subscriber, true);
        self.readers[key.index()].pending.push(Ready { place, seq, channel, subscriber });
    }

    /// Subscribes a reader to a channel, from the reader's own position on; `false` where it was already.
    pub(crate) fn add_channel(&mut self, key: ReaderKey, name: &str, wakes: &mut Vec<Waker>) -> bool {
        let channel = self.channels.find_or_insert(name);
        let Err(at) =
            self.readers[key.index()].channels.binary_search_by_key(&channel, |(channel, _)| *channel)
        else {
            return false;
        };
        let subscriber = self.channels.subscribe(channel, key);
        let channels = &mut self.readers[key.index()].channels;
        // Most subscriptions are of few channels: no room for more than there are, at first.
        if channels.len() < 4 {
            channels.reserve_exact(1);
        }
        channels.insert(at, (channel, subscriber));
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
    fn settle(&mut self, key: ReaderKey) {
        let (place, passed) = self.standing(key);
        let reader = &mut self.readers[key.index()];
        (reader.place, reader.passed) = (place, passed);
    }

    /// The next hole to tell a reader of, if its next message comes behind that.
    fn hole_before(&self, reader: &Reader, next: Option<Place>) -> Option<&super::Hole> {
        let index = usize::try_from(reader.next_hole.checked_sub(self.first_hole)?).ok()?;
        self.holes.get(index).filter(|hole| next.is_none_or(|next| hole.place <= next))
    }

    fn entry_at(&self, key: ReaderKey, position: Position) -> CursorEntry {
        let was_reset = self.readers[key.index()].reset;
        let position = if was_reset { position } else { self.timeline.canonical(position) };
        CursorEntry::At { position, stem: self.timeline.stem(position) }
    }

    /// The next item of a reader, and whether there is more.
    pub(crate) fn read(&mut self, key: ReaderKey) -> (Option<Item>, bool) {
        let item = self.next_item(key);
        let holes_end = self.holes_end();
        let reader = &self.readers[key.index()];
        if reader.is_live() && reader.next_hole < holes_end {
            self.settle(key);
        }
        let reader = &mut self.readers[key.index()];
        reader.signalled = reader.is_pending(holes_end);
        (item, reader.signalled)
    }

    fn next_item(&mut self, key: ReaderKey) -> Option<Item> {
        let first = Place::entry(self.first);
        if let Some(told) = self.readers[key.index()].told.take() {
            return Some(self.gap(key, told.reason, told.frames));
        }
        let reader = &mut self.readers[key.index()];
        if !reader.is_live() {
            return None;
        }
        if reader.next_hole < self.first_hole {
            reader.next_hole = self.first_hole;
            return Some(self.gap(key, GapReason::Lost, None));
        }
        self.mark_rest(key);
        let reader = &self.readers[key.index()];
        let next = reader.pending.first();
        if let Some(hole) = self.hole_before(reader, next.map(|next| next.place)) {
            let (place, to, frames) = (hole.place, hole.to, hole.frames);
            let reader = &mut self.readers[key.index()];
            reader.next_hole += 1;
            reader.passed = reader.passed.max(to);
            reader.place = reader.place.max(place);
            return Some(self.gap(key, GapReason::Lost, frames));
        }
        let next = next?;
        if next.place < first {
            let gap = self.skip_evicted(key);
            return if self.mutation.is(Mutant::SwallowLagged) { self.next_item(key) } else { Some(gap) };
        }
        let message = self.message_at(next);
        let behind = self.behind(next.place);
        let reader = &mut self.readers[key.index()];
        let is_again = reader.passed == behind;
        reader.passed = behind;
        reader.place = match behind.is_whole() {
            true => Place::entry(next.place.ordinal() + 1),
            false => Place::new(next.place.ordinal(), behind.index),
        };
        let tenth = message.position.id.0 % 10 == 3;
        if tenth && !is_again && self.mutation.is(Mutant::DeliverTwice) {
            return Some(Item::Message(message));
        }
        let channel = self.channels.get_mut(next.channel);
        match channel.place(next.seq + 1) {
            Some(place) => reader.pending.replace_first(Ready { place, seq: next.seq + 1, ..next }),
            None => {
                reader.pending.pop();
                channel.subscribers.set_ready(next.subscriber, false);
            }
        }
        if tenth && self.mutation.is(Mutant::DropEveryTenth) {
            return self.next_item(key);
        }
        Some(Item::Message(message))
    }

    /// Marks all channels of a reader that came to the payload whose readers are being notified.
    ///
    /// It may come there by way of one channel before it was notified for another one that stands first.
    fn mark_rest(&mut self, key: ReaderKey) {
        let Some((place, _)) = self.notifying else { return };
        if self.readers[key.index()].pending.first().is_none_or(|ready| ready.place < place) {
            return;
        }
        let from = place.max(self.readers[key.index()].place);
        for index in 0..self.readers[key.index()].channels.len() {
            let (channel, subscriber) = self.readers[key.index()].channels[index];
            if !self.channels.get(channel).subscribers.is_ready(subscriber) {
                self.make_ready(key, channel, subscriber, from);
            }
        }
    }

    fn entry(&self, place: Place) -> &super::Entry {
        &self.entries[usize::try_from(place.ordinal() - self.first).expect("entries fit memory")]
    }

    /// The position behind the message at a place in the ring.
    fn behind(&self, place: Place) -> Position {
        let entry = self.entry(place);
        let behind = place.index() + 1;
        let index = if behind as usize == entry.slots.len() { Position::WHOLE } else { behind };
        Position { epoch: entry.epoch, id: entry.id, index }
    }

    fn message_at(&self, ready: Ready) -> Message {
        let entry = self.entry(ready.place);
        let index = self.mutated_index(entry, ready.place.index());
        let slot = &entry.slots[index as usize];
        let behind = self.behind(ready.place);
        let extensions = slot.payload.end..slot.extensions_end;
        let mut message = Message {
            channel: Arc::clone(&self.channels.get(ready.channel).name),
            payload: entry.bytes.slice(slot.payload.start as usize..slot.payload.end as usize),
            // One byte is the count of no extensions at all.
            extensions: (extensions.len() > 1).then(|| Box::new((entry.bytes.clone(), extensions))),
            node: entry.node,
            sent_at_micros: entry.sent_at_micros,
            stream: self.stream,
            position: Position { epoch: entry.epoch, id: entry.id, index },
            behind: CursorEntry::At { position: behind, stem: self.timeline.stem(behind) },
            stream_count: self.stream_count,
            others: None,
        };
        self.mutate(&mut message);
        message
    }

    fn mutated_index(&self, entry: &super::Entry, index: u32) -> u32 {
        let other = index ^ 1;
        let same =
            entry.slots.get(other as usize).is_some_and(|o| o.channel == entry.slots[index as usize].channel);
        if same && self.mutation.is(Mutant::SwapNeighbours) { other } else { index }
    }

    fn mutate(&self, message: &mut Message) {
        if self.mutation.is(Mutant::CorruptPayload) && message.position.id.0 % 5 == 3 {
            message.payload = message.payload.iter().map(|byte| byte ^ 1).collect();
        }
        if self.mutation.is(Mutant::OwnOrigin) {
            message.node = crate::NodeId(1);
        }
        if self.mutation.is(Mutant::PositionOffByOne) {
            message.position.index += 1;
        }
        if self.mutation.is(Mutant::CursorBeforeMessage) {
            message.behind = CursorEntry::At { position: message.position, stem: None };
        }
    }

    /// Passes what left the ring before the reader came to it.
    fn skip_evicted(&mut self, key: ReaderKey) -> Item {
        let missed = self.first - self.readers[key.index()].place.ordinal().min(self.first);
        self.drop_evicted(key);
        let edge = self.edge.unwrap_or_else(|| self.end_position());
        let reader = &mut self.readers[key.index()];
        reader.place = Place::entry(self.first);
        reader.passed = reader.passed.max(edge);
        self.gap(key, GapReason::Lagged, Some(missed))
    }

    /// Goes on with the oldest message there is, for each channel whose next one has left the ring.
    fn drop_evicted(&mut self, key: ReaderKey) {
        let first = Place::entry(self.first);
        while let Some(stale) = self.readers[key.index()].pending.first().filter(|stale| stale.place < first)
        {
            self.readers[key.index()].pending.pop();
            self.channels.get_mut(stale.channel).subscribers.set_ready(stale.subscriber, false);
            self.make_ready(key, stale.channel, stale.subscriber, first);
        }
    }

    fn gap(&self, key: ReaderKey, reason: GapReason, frames: Option<u64>) -> Item {
        let frames = match frames {
            Some(_) if self.mutation.is(Mutant::GapTooSmall) => Some(0),
            Some(frames) if self.mutation.is(Mutant::GapTooLarge) => Some(frames + 10_000),
            frames => frames,
        };
        Item::Gap(Gap {
            stream: self.stream,
            reason,
            frames,
            behind: self.cursor_entry(key),
            stream_count: self.stream_count,
            others: None,
        })
    }

    /// Marks the readers of what was appended, up to a chunk of them.
    pub(crate) fn notify(&mut self, appended: &mut Appended, wakes: &mut Vec<Waker>) -> Notified {
        let mut left = NOTIFY_CHUNK;
        while let Some(&touched) = appended.touched.get(appended.next.0) {
            let mut marked = Vec::new();
            let mut end = 0;
            if let Some(held) = self.channels.same(touched.channel, touched.hash) {
                end = held.subscribers.end();
                let from = appended.next.1;
                let stop = end.min(from + left);
                left -= stop.saturating_sub(from);
                appended.next.1 = stop;
                marked.extend((from..stop).filter_map(|at| {
                    let subscriber = held.subscribers.get(at).filter(|subscriber| !subscriber.ready)?;
                    Some((u32::try_from(at).ok()?, subscriber.reader))
                }));
            }
            for (subscriber, reader) in marked {
                self.mark(reader, subscriber, touched, wakes);
            }
            if appended.next.1 < end {
                return Notified::More;
            }
            appended.next = (appended.next.0 + 1, 0);
        }
        self.notifying = None;
        Notified::All
    }

    fn mark(&mut self, key: ReaderKey, subscriber: u32, touched: Touched, wakes: &mut Vec<Waker>) {
        let Touched { channel, seq, place, .. } = touched;
        let reader = &self.readers[key.index()];
        if !reader.is_live() || place < reader.place {
            return;
        }
        if reader.pending.is_empty() && reader.told.is_none() {
            self.settle(key);
        }
        let reader = &mut self.readers[key.index()];
        self.channels.get_mut(channel).subscribers.set_ready(subscriber, true);
        reader.pending.push(Ready { place, seq, channel, subscriber });
        reader.signal(self.stream, wakes);
    }

    /// Marks every reader with something to tell (a hole), from `next` on, up to a chunk of them.
    pub(crate) fn notify_all(&mut self, next: &mut usize, wakes: &mut Vec<Waker>) -> Notified {
        let holes_end = self.holes_end();
        let end = self.readers.capacity();
        let stop = end.min(*next + NOTIFY_CHUNK);
        for key in *next..stop {
            let Some(reader) = self.readers.get_mut(key).filter(|reader| reader.is_pending(holes_end)) else {
                continue;
            };
            let last = self.holes.back().filter(|_| !reader.signalled && reader.next_hole + 1 == holes_end);
            if let (Some(hole), true) = (last, reader.pending.is_empty()) {
                // Nothing was pending before this hole, so the reader stood at the stream's end.
                (reader.place, reader.passed) = (reader.place.max(hole.place), reader.passed.max(hole.from));
            }
            reader.signal(self.stream, wakes);
        }
        *next = stop;
        if stop < end { Notified::More } else { Notified::All }
    }

    /// Lets readers go on whose position has come, or will never come.
    pub(crate) fn release_waiting(&mut self, wakes: &mut Vec<Waker>) {
        if self.edge.is_none() {
            return;
        }
        while let Some(&(position, key)) = self.waiting.first() {
            let Some(head) = self.timeline.head() else { return };
            if position.epoch >= head.epoch && !self.has_reached(position) {
                return;
            }
            self.waiting.remove(&(position, key));
            let waiting = self.readers[key.index()].waiting.take();
            let (stem, until) = waiting.map_or((None, None), |waiting| (waiting.stem, waiting.until));
            self.go_to(key, position, stem, until);
            self.signal_if_pending(key, wakes);
        }
    }

    /// Lets the stream's up time pass, and ends the waits that it ends: `Reset`, on from now.
    pub(crate) fn pass_up_time(&mut self, elapsed: Duration, wakes: &mut Vec<Waker>) {
        self.up_time += elapsed;
        let over: Vec<(Position, ReaderKey)> = self
            .waiting
            .iter()
            .filter(|(_, key)| {
                let until = self.readers[key.index()].waiting.as_ref().and_then(|waiting| waiting.until);
                until.is_some_and(|until| until <= self.up_time)
            })
            .copied()
            .collect();
        for (position, key) in over {
            self.waiting.remove(&(position, key));
            let stem = self.readers[key.index()].waiting.as_ref().and_then(|waiting| waiting.stem);
            self.restart(key, GapReason::Reset, CursorEntry::At { position, stem });
            self.signal_if_pending(key, wakes);
        }
    }

    fn signal_if_pending(&mut self, key: ReaderKey, wakes: &mut Vec<Waker>) {
        let holes_end = self.holes_end();
        let reader = &mut self.readers[key.index()];
        if reader.is_pending(holes_end) {
            reader.signal(self.stream, wakes);
        }
    }

    fn holes_end(&self) -> u64 {
        self.first_hole + self.holes.len() as u64
    }
}
