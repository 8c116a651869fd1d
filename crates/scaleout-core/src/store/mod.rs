//! A node's ring of received frames, indexed by channel, read by position. One for each stream.
//!
//! Subscribers are *readers* over it: they have a place, and a heap of those of their channels that hold something
//! behind that place. Appending marks the readers of the channels that a frame names; nobody else is touched.
//!
//! Everything here is plain state: time is an argument, and wake-ups are handed back for the caller to make.

mod channels;
mod gone;
mod look_up;
mod notify;
mod pending;
mod place;
mod read;
mod reader;
mod subscribers;
#[cfg(test)]
mod tests;
mod timeline;

use std::{
    collections::{BTreeSet, VecDeque},
    num::NonZeroU16,
    ops::Range,
    time::Duration,
};

use bytes::Bytes;
use slab::Slab;

use self::{
    channels::{ChannelKey, Channels},
    gone::Gone,
    place::Place,
    reader::Reader,
    timeline::Timeline,
};
use crate::{Epoch, NodeId, PayloadId, Position, StreamIndex, mutant::Mutation};

/// What a reader is given.
pub(crate) use self::{
    look_up::{Asked, LookUp},
    notify::Notified,
    reader::ReaderKey,
};

/// The ring of one stream, and everybody who reads it.
#[derive(Debug)]
pub(crate) struct Store {
    stream: StreamIndex,
    stream_count: NonZeroU16,
    /// Whether ids have no holes, so that the id behind one is known.
    dense_ids: bool,
    /// For how long a stem matters after a fork.
    settle: Duration,
    entries: VecDeque<Entry>,
    /// The ordinal of `entries[0]`.
    first: u64,
    /// The boundary before `entries[0]`; `None` until the stream opened.
    edge: Option<Position>,
    /// The boundary before which this node knows nothing.
    origin: Option<Position>,
    /// The store's head when the stream first opened, until it is reached.
    filling: Option<Position>,
    /// The store's head when the stream last opened.
    known_head: Option<Position>,
    holes: VecDeque<Hole>,
    /// The number of `holes[0]`.
    first_hole: u64,
    channels: Channels,
    gone: Gone,
    timeline: Timeline,
    readers: Slab<Reader>,
    /// The place and the position before a payload of whose readers some are not notified yet.
    notifying: Option<(Place, Position)>,
    /// Readers that wait for a position, by that position.
    waiting: BTreeSet<(Position, ReaderKey)>,
    /// Readers that wait for the stream to open.
    unopened: BTreeSet<ReaderKey>,
    /// For how long the stream has been up, in all.
    up_time: Duration,
    /// Bytes of entries, without channels.
    entry_bytes: usize,
    /// When it was first seen to have no readers, of the time since the last one came.
    unread_since: Option<Duration>,
    mutation: Mutation,
}

/// A received payload. One without messages takes a place all the same: a cursor may stand on it.
#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    id: PayloadId,
    node: NodeId,
    sent_at_micros: u64,
    bytes: Bytes,
    slots: Box<[Slot]>,
    at: Duration,
}

/// Where a message stands in its frame.
#[derive(Debug)]
struct Slot {
    channel: ChannelKey,
    payload: Range<u32>,
    extensions_end: u32,
}

/// Payloads that did not arrive, or cannot be read, between two positions.
#[derive(Debug)]
struct Hole {
    /// It is told before what stands here.
    place: Place,
    from: Position,
    to: Position,
    /// Where it was not known how far it reaches: where who was told of it by then stands.
    told: Option<Position>,
    frames: Option<u64>,
    at: Duration,
}

/// What the ring keeps of a frame.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) node: NodeId,
    pub(crate) sent_at_micros: u64,
    pub(crate) bytes: Bytes,
    pub(crate) messages: Vec<crate::frame::FrameMessage<'a>>,
}

/// Holes that are remembered; beyond that the oldest counts as "this node knows nothing before it".
const MAX_HOLES: usize = 1_024;

impl Entry {
    fn cost(&self) -> usize {
        // A place in the channel index is 8 bytes, in a buffer that may be half empty.
        size_of::<Self>() + self.bytes.len() + self.slots.len() * (size_of::<Slot>() + 16)
    }
}

impl Store {
    pub(crate) fn new(
        stream: StreamIndex,
        stream_count: NonZeroU16,
        dense_ids: bool,
        settle: Duration,
        mutation: Mutation,
    ) -> Self {
        Self {
            stream,
            stream_count,
            dense_ids,
            settle,
            entries: VecDeque::new(),
            first: 0,
            edge: None,
            origin: None,
            filling: None,
            known_head: None,
            holes: VecDeque::new(),
            first_hole: 0,
            channels: Channels::default(),
            gone: Gone::default(),
            timeline: Timeline::default(),
            readers: Slab::new(),
            notifying: None,
            waiting: BTreeSet::new(),
            unopened: BTreeSet::new(),
            up_time: Duration::ZERO,
            entry_bytes: 0,
            unread_since: None,
            mutation,
        }
    }

    /// Becomes as new, and hands back what it was.
    pub(crate) fn forget(&mut self) -> Self {
        debug_assert!(self.readers.is_empty(), "readers hold keys of what is forgotten");
        let Self { stream, stream_count, dense_ids, settle, mutation, .. } = *self;
        std::mem::replace(self, Self::new(stream, stream_count, dense_ids, settle, mutation))
    }

    /// For how long it has had no readers, counted from the first call that found none.
    pub(crate) fn unread_for(&mut self, now: Duration) -> Option<Duration> {
        let is_unread = self.readers.is_empty();
        is_unread.then(|| now.saturating_sub(*self.unread_since.get_or_insert(now)))
    }

    /// Begins the first epoch. `head` is where "from now" is; `replayed`: what leads there follows.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        epoch: Epoch,
        after: Option<(Epoch, PayloadId)>,
        head: (Epoch, Option<PayloadId>),
        replayed: bool,
    ) {
        self.timeline.open(epoch, after, now, self.settle);
        let target = match head {
            (epoch, Some(id)) => Position::behind(epoch, id),
            (epoch, None) => Position::start_of(epoch),
        };
        match head {
            (head, Some(id)) if !replayed && head == epoch => self.timeline.assume_held(id),
            _ => self.filling = Some(target),
        }
        self.end_filling();
        for reader in std::mem::take(&mut self.unopened) {
            self.await_position(reader, target);
        }
    }

    /// Notes the store's head at this moment.
    pub(crate) fn note_head(&mut self, (epoch, id): (Epoch, Option<PayloadId>)) {
        self.known_head = Some(id.map_or(Position::start_of(epoch), |id| Position::behind(epoch, id)));
    }

    /// Begins a greater epoch.
    pub(crate) fn begin_epoch(&mut self, now: Duration, epoch: Epoch, after: Option<(Epoch, PayloadId)>) {
        self.bound_holes(Position::start_of(epoch));
        self.timeline.open(epoch, after, now, self.settle);
        self.end_filling();
    }

    fn end_filling(&mut self) {
        self.filling = self.filling.filter(|target| !self.has_reached(*target));
        if self.filling.is_none() && self.edge.is_none() {
            let edge = self.end_position();
            (self.edge, self.origin) = (Some(edge), Some(edge));
        }
    }

    /// Adds a payload behind all others; `frame` is `None` for one that carries nothing for this node.
    ///
    /// The answer names what to [notify](Self::notify).
    pub(crate) fn append(&mut self, now: Duration, id: PayloadId, frame: Option<Arrival<'_>>) -> Appended {
        let before = self.end_position();
        let ordinal = self.end();
        let epoch = self.timeline.current().expect("the stream opened before its first payload");
        let mut entry = Entry {
            epoch,
            id,
            node: NodeId(0),
            sent_at_micros: 0,
            bytes: Bytes::new(),
            slots: Box::default(),
            at: now,
        };
        let mut touched: Vec<Touched> = Vec::new();
        if let Some(frame) = frame {
            let mut slots = Vec::with_capacity(frame.messages.len());
            let mut previous: Option<(&str, ChannelKey)> = None;
            for (index, message) in (0..).zip(&frame.messages) {
                // Messages of one channel often follow each other.
                let channel = match previous {
                    Some((name, key)) if name == message.channel => key,
                    _ => self.channels.find_or_insert(message.channel),
                };
                previous = Some((message.channel, channel));
                let place = Place::new(ordinal, index);
                let held = self.channels.get(channel);
                let begins = held.last().is_none_or(|last| last.ordinal() < ordinal);
                if begins && !held.subscribers.is_empty() {
                    touched.push(Touched { channel, hash: held.hash(), seq: held.end(), place });
                }
                self.channels.push(channel, place);
                slots.push(Slot {
                    channel,
                    payload: message.payload.clone(),
                    extensions_end: message.extensions.end,
                });
            }
            entry = Entry {
                node: frame.node,
                sent_at_micros: frame.sent_at_micros,
                bytes: frame.bytes,
                slots: slots.into_boxed_slice(),
                ..entry
            };
        }
        if self.edge.is_none() {
            // What is missing behind the head is a hole, and no matter of where a backlog begins.
            let begin = Position::before(epoch, id);
            let edge = self.filling.filter(|head| *head < begin).unwrap_or(begin);
            (self.edge, self.origin) = (Some(edge), Some(edge));
        }
        self.bound_holes(Position::before(epoch, id));
        self.entry_bytes += entry.cost();
        self.entries.push_back(entry);
        self.timeline.received(id);
        self.end_filling();
        if !touched.is_empty() {
            self.notifying = Some((Place::entry(ordinal), before));
        }
        Appended { touched, next: (0, 0) }
    }

    /// Notes that payloads are missing behind what was received, up to `to` (`None`: nobody knows where to).
    pub(crate) fn note_hole(&mut self, now: Duration, to: Option<Position>, frames: Option<u64>) {
        let from = self.end_position();
        let behind_from =
            Position { index: if from.is_whole() { Position::TOLD } else { from.index }, ..from };
        let told = to.is_none().then_some(behind_from);
        self.push_hole(now, to.unwrap_or(behind_from), told, frames);
    }

    /// Notes that payloads are missing behind what was received, up to `to` and nobody knows how far behind that.
    pub(crate) fn note_open_hole(&mut self, now: Duration, to: Position) {
        self.push_hole(now, to, Some(to), None);
    }

    fn push_hole(&mut self, now: Duration, to: Position, told: Option<Position>, frames: Option<u64>) {
        let (place, from) = (Place::entry(self.end()), self.end_position());
        self.holes.push_back(Hole { place, from, to, told, frames, at: now });
        if self.holes.len() > MAX_HOLES {
            self.forget_hole();
        }
    }

    /// Holes of which nobody knew where to they reach end at `next`, where reception goes on.
    ///
    /// A cursor of a node that got some of what is missing here stands inside them, and is to be told of the rest.
    fn bound_holes(&mut self, next: Position) {
        let place = Place::entry(self.end());
        let behind_all = self.holes.iter_mut().rev().take_while(|hole| hole.place == place);
        behind_all.filter(|hole| hole.told.is_some()).for_each(|hole| hole.to = hole.to.max(next));
    }

    /// Takes everything up to `id` for received: it was told to be missing.
    pub(crate) fn skip_to(&mut self, id: PayloadId) {
        self.timeline.assume_held(id);
        self.end_filling();
    }

    /// Bytes of frames, index and channel names.
    pub(crate) fn bytes(&self) -> usize {
        self.entry_bytes + self.channels.bytes()
    }

    /// When the oldest entry was received.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.entries.front().map(|entry| entry.at)
    }

    /// Drops the oldest entry; `false` where there is none.
    pub(crate) fn evict(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        for (index, slot) in (0..).zip(&entry.slots) {
            self.gone.note(
                self.channels.hash_of(slot.channel),
                Position { epoch: entry.epoch, id: entry.id, index },
            );
            self.channels.evict(slot.channel, Place::new(self.first, index));
        }
        self.first += 1;
        self.entry_bytes -= entry.cost();
        self.edge = Some(Position::behind(entry.epoch, entry.id));
        true
    }

    /// Drops what is older than `max_age`, and ends the time of stems.
    pub(crate) fn expire(&mut self, now: Duration, max_age: Duration) {
        while self.oldest().is_some_and(|at| at + max_age < now) {
            self.evict();
        }
        while self.holes.front().is_some_and(|hole| hole.at + max_age < now) {
            self.forget_hole();
        }
        self.timeline.settle(now);
    }

    fn forget_hole(&mut self) {
        if let Some(hole) = self.holes.pop_front() {
            self.first_hole += 1;
            self.origin = self.origin.max(Some(hole.to));
        }
    }

    /// Whether everything up to `position` was received, or will never be.
    pub(crate) fn has_reached(&self, position: Position) -> bool {
        self.timeline.head().is_some_and(|head| timeline::reaches(head, position))
    }

    /// The position behind everything received; `None` before the first epoch.
    pub(crate) fn head(&self) -> Option<Position> {
        self.timeline.head()
    }

    /// The epoch that is being received.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.timeline.current()
    }

    /// Whether the stream has caught up with what the store held when it opened.
    pub(crate) fn is_filled(&self) -> bool {
        self.filling.is_none() && self.timeline.current().is_some()
    }

    /// The ordinal behind the newest entry.
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The position behind everything received, and behind a hole that was noted there.
    fn end_position(&self) -> Position {
        let head = self.timeline.head().unwrap_or(Position::start_of(Epoch(0)));
        match self.holes.back() {
            Some(hole) if hole.place == Place::entry(self.end()) => head.max(hole.to),
            _ => head,
        }
    }

    /// One form for positions between which there can be nothing.
    fn normalized(&self, position: Position) -> Position {
        if !position.is_whole() {
            return position;
        }
        if let Some(next) = self.timeline.continued_by(position.epoch, position.id) {
            return Position::start_of(next);
        }
        match position.id.0.checked_add(1) {
            Some(next) if self.dense_ids => Position::before(position.epoch, PayloadId(next)),
            _ => Position { index: Position::WHOLE, ..position },
        }
    }

    /// Whether nothing that this node may hold stands between `position` and `boundary` behind it.
    fn is_behind(&self, position: Position, boundary: Position) -> bool {
        // Where a gap was told right behind a payload, not to have been told of it matters.
        position >= boundary
            || boundary.index != Position::TOLD && self.normalized(position) >= self.normalized(boundary)
    }

    /// The place of the first message at or behind a position that is not before the ring's edge.
    fn place_of(&self, position: Position) -> Place {
        let index = self.entries.partition_point(|e| (e.epoch, e.id) < (position.epoch, position.id));
        let ordinal = self.first + index as u64;
        match self.entries.get(index) {
            Some(entry) if (entry.epoch, entry.id) == (position.epoch, position.id) => {
                if position.index as usize >= entry.slots.len() {
                    Place::entry(ordinal + 1)
                } else {
                    Place::new(ordinal, position.index)
                }
            }
            _ => Place::entry(ordinal),
        }
    }
}

/// A payload that was appended, and whose readers are to be notified.
#[derive(Debug)]
pub(crate) struct Appended {
    /// The channels with subscribers that the frame names.
    touched: Vec<Touched>,
    /// Where the walk over the subscribers goes on: an index of `touched`, and a subscriber's key there.
    next: (usize, usize),
}

impl Appended {
    /// Whether anybody reads it.
    pub(crate) fn has_readers(&self) -> bool {
        !self.touched.is_empty()
    }
}

/// A channel's first message in a frame.
#[derive(Debug, Clone, Copy)]
struct Touched {
    channel: ChannelKey,
    /// The channel's own: its key may have passed to another one by the time its readers are notified.
    hash: u64,
    seq: u64,
    place: Place,
}
