//! What one stream receives: checks, frame numbers, holes. Plain state over the [`Store`].

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::{
    Epoch, Error, ErrorKind, NodeId, PayloadId, Position,
    frame::{Frame, FrameError, Layout},
    mutant::{Mutant, Mutation},
    store::{Appended, Arrival, Store},
};

/// The receiving side of one stream.
#[derive(Debug)]
pub(crate) struct Inbox {
    layout: Layout,
    dense_ids: bool,
    replay: bool,
    epoch: Option<Epoch>,
    /// The last id received in `epoch`.
    last: Option<PayloadId>,
    /// What the next id must be, where that is known.
    expected: Option<PayloadId>,
    /// An id up to which the first one may lie, since retention decides where a backlog begins.
    backlog_end: Option<PayloadId>,
    numbers: Numbers,
    /// Id holes told in this epoch; with dense ids they explain missing numbers.
    id_holes: u64,
    /// Whether a node without a number counts as 0: nothing before this reception exists, or a fork may have taken it.
    strict: bool,
    /// Whether the last `Opened` was of an older epoch, so that what follows it cannot be taken.
    refused: bool,
    mutation: Mutation,
}

/// What became of a payload.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is in the ring; notify who reads it.
    Frame {
        /// What to notify.
        appended: Appended,
        /// The node that sent it.
        node: NodeId,
        /// When, by the clock of that node.
        sent_at_micros: u64,
        /// How many messages it holds.
        messages: u64,
        /// Whether a hole was noted before it.
        hole: bool,
    },
    /// It carries nothing for this node, and takes a place.
    Blank {
        /// Why.
        blank: Blank,
        /// Whether a hole was noted.
        hole: bool,
    },
    /// The backplane broke its contract; nothing was taken.
    Refused,
}

/// Why a payload carries nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blank {
    /// It has no bytes.
    Empty,
    /// Its id came before, or its frame.
    Copy,
    /// It is somebody else's.
    Foreign(FrameError),
    /// Its node counts the streams differently.
    Layout(FrameError),
    /// It cannot be read.
    Unreadable(FrameError),
}

impl Inbox {
    pub(crate) fn new(
        layout: Layout,
        dense_ids: bool,
        replay: bool,
        max_nodes: usize,
        mutation: Mutation,
    ) -> Self {
        Self {
            layout,
            dense_ids,
            replay,
            epoch: None,
            last: None,
            expected: None,
            backlog_end: None,
            numbers: Numbers::new(max_nodes),
            id_holes: 0,
            strict: false,
            refused: false,
            mutation,
        }
    }

    /// Takes an `Opened`; the answer is whether a hole was noted.
    ///
    /// # Errors
    /// `Config` for an epoch older than the one received before: nothing of it can be taken.
    pub(crate) fn opened(
        &mut self,
        store: &mut Store,
        now: Duration,
        epoch: Epoch,
        after: Option<(Epoch, PayloadId)>,
        head: (Epoch, Option<PayloadId>),
        unbroken: bool,
    ) -> Result<bool, Error> {
        let unbroken = unbroken || self.mutation.is(Mutant::TrustBrokenLink);
        self.refused = self.epoch.is_some_and(|current| epoch < current);
        if !self.refused {
            store.note_head(head);
        }
        match self.epoch {
            None => {
                self.open_first(store, now, epoch, after, head);
                Ok(false)
            }
            Some(current) if epoch < current => Err(Error::new(
                ErrorKind::Config,
                format!("the store's epoch {epoch} is older than {current}, which this node has seen"),
            )),
            Some(current) if epoch == current => {
                if !unbroken {
                    self.note_break(store, now, epoch, head);
                }
                Ok(!unbroken)
            }
            Some(current) => Ok(self.begin_epoch(store, now, (current, epoch), after, head, unbroken)),
        }
    }

    fn open_first(
        &mut self,
        store: &mut Store,
        now: Duration,
        epoch: Epoch,
        after: Option<(Epoch, PayloadId)>,
        head: (Epoch, Option<PayloadId>),
    ) {
        store.open(now, epoch, after, head, self.replay);
        self.epoch = Some(epoch);
        if head.0 == epoch {
            match (self.replay, head.1) {
                (_, None) => self.expected = Some(PayloadId(0)),
                (true, Some(id)) => self.backlog_end = Some(id),
                (false, Some(id)) => {
                    self.last = Some(id);
                    self.expected = id.0.checked_add(1).map(PayloadId);
                }
            }
        } else {
            self.backlog_end = Some(PayloadId(u64::MAX));
        }
        // Nothing exists before a first epoch without payloads.
        self.strict = head == (epoch, None) && after.is_none();
    }

    /// Notes that nobody knows what was missed while the link was broken.
    fn note_break(
        &mut self,
        store: &mut Store,
        now: Duration,
        epoch: Epoch,
        head: (Epoch, Option<PayloadId>),
    ) {
        let skipped = self.skipped(epoch, head).filter(|id| self.last.is_none_or(|last| last < *id));
        self.note_hole(store, now, skipped.map(|id| Position::behind(epoch, id)), None);
        // Told already: whatever comes next is no second loss, a node heard of for the first time neither.
        self.backlog_end = Some(PayloadId(u64::MAX));
        self.strict = false;
        if let Some(id) = skipped {
            self.skip_to(store, id);
        }
    }

    /// Takes everything up to the head for received; what comes next lies right behind it.
    fn skip_to(&mut self, store: &mut Store, head: PayloadId) {
        store.skip_to(head);
        self.last = Some(head);
        self.expected = head.0.checked_add(1).map(PayloadId);
        self.backlog_end = None;
    }

    /// Up to where reception skipped an epoch when a link was broken.
    ///
    /// Without replay it goes on behind the head of now, which this node has reached thereby: a cursor of a node that
    /// got what this one missed is not ahead of it.
    fn skipped(&self, epoch: Epoch, head: (Epoch, Option<PayloadId>)) -> Option<PayloadId> {
        head.1.filter(|_| head.0 == epoch && !self.replay)
    }

    fn begin_epoch(
        &mut self,
        store: &mut Store,
        now: Duration,
        (current, epoch): (Epoch, Epoch),
        after: Option<(Epoch, PayloadId)>,
        head: (Epoch, Option<PayloadId>),
        unbroken: bool,
    ) -> bool {
        let held = self.last.map(|id| (current, id));
        let missed = match (after, held) {
            // Nothing came yet: retention decides where a backlog begins.
            _ if self.backlog_end.is_some() => None,
            (Some((earlier, _)), _) if earlier > current => Some(None),
            (Some((earlier, id)), None) if earlier == current => Some(id.0.checked_add(1)),
            (Some((earlier, id)), Some((_, last))) if earlier == current && id > last => {
                Some(Some(id.0 - last.0))
            }
            _ => None,
        };
        let skipped = self.skipped(epoch, head).filter(|_| !unbroken);
        let missed = missed.filter(|_| !self.mutation.is(Mutant::SwallowHole));
        if missed.is_some() || !unbroken {
            let frames = missed.flatten().filter(|_| self.dense_ids && unbroken);
            let to = skipped.map_or(Position::start_of(epoch), |id| Position::behind(epoch, id));
            // Without dense ids nothing shows where in the new epoch what a broken link lost ends.
            match unbroken || self.dense_ids || skipped.is_some() {
                true => store.note_hole(now, Some(to), frames),
                false => store.note_open_hole(now, to),
            }
        }
        // Only an epoch that continues all there was cannot have taken a frame this node never saw.
        let clean = after.is_some_and(|after| held.is_none_or(|held| after >= held)) && missed.is_none();
        // What a broken link lost is told with it.
        self.strict = unbroken && (self.strict || !clean && store.is_filled());
        // Where nothing came yet, retention decides where the backlog begins, also in a later epoch.
        let nothing_came = self.backlog_end.is_some() && !store.is_filled();
        store.begin_epoch(now, epoch, after);
        self.epoch = Some(epoch);
        self.last = None;
        self.expected = Some(PayloadId(0));
        self.backlog_end = nothing_came.then_some(PayloadId(u64::MAX));
        self.id_holes = 0;
        if let Some(id) = skipped {
            self.skip_to(store, id);
        }
        missed.is_some() || !unbroken
    }

    /// Takes a payload.
    pub(crate) fn payload(&mut self, store: &mut Store, now: Duration, id: PayloadId, bytes: Bytes) -> Taken {
        let Some(epoch) = self.epoch.filter(|_| !self.refused) else { return Taken::Refused };
        if self.last.is_some_and(|last| id <= last) && !self.mutation.is(Mutant::SkipIdCheck) {
            return Taken::Blank { blank: Blank::Copy, hole: false };
        }
        let mut hole = self.check_id(store, now, epoch, id);
        self.last = Some(id);
        self.expected = id.0.checked_add(1).map(PayloadId);
        self.backlog_end = None;
        if bytes.is_empty() {
            store.append(now, id, None);
            return Taken::Blank { blank: Blank::Empty, hole };
        }
        let frame = match Frame::decode(&bytes, &self.layout) {
            Ok(frame) => frame,
            Err(error) => {
                let blank = if error.is_foreign() {
                    Blank::Foreign(error)
                } else {
                    if !self.mutation.is(Mutant::SwallowUnreadable) {
                        self.note_hole(store, now, Some(Position::behind(epoch, id)), Some(1));
                        hole = true;
                    }
                    if error.is_layout() { Blank::Layout(error) } else { Blank::Unreadable(error) }
                };
                store.append(now, id, None);
                return Taken::Blank { blank, hole };
            }
        };
        let (node, number, after) = (frame.head.node, frame.head.number, frame.head.after);
        let explained = self.dense_ids.then_some((epoch, self.id_holes));
        match self.numbers.take(node, number, after, explained, (epoch, self.id_holes), self.strict) {
            Number::Copy if !self.mutation.is(Mutant::SkipNumberCheck) => {
                store.append(now, id, None);
                return Taken::Blank { blank: Blank::Copy, hole };
            }
            Number::Hole(frames) if !self.mutation.is(Mutant::SwallowHole) => {
                // An id hole right before this payload covers the same frames.
                if !hole {
                    store.note_hole(now, Some(Position::before(epoch, id)), Some(frames));
                }
                hole = true;
            }
            _ => {}
        }
        if self.mutation.is(Mutant::TellFalseHole) && id.0 % 10 == 5 {
            store.note_hole(now, Some(Position::before(epoch, id)), Some(1));
            hole = true;
        }
        let (messages, sent_at_micros) = (frame.messages.len() as u64, frame.head.sent_at_micros);
        let arrival = Arrival { node, sent_at_micros, bytes: bytes.clone(), messages: frame.messages };
        Taken::Frame { appended: store.append(now, id, Some(arrival)), node, sent_at_micros, messages, hole }
    }

    /// Notes ids that are missing before `id`.
    fn check_id(&mut self, store: &mut Store, now: Duration, epoch: Epoch, id: PayloadId) -> bool {
        if !self.dense_ids || self.mutation.is(Mutant::SwallowHole) {
            return false;
        }
        let expected = match self.backlog_end {
            Some(end) if id <= end => return false,
            Some(end) => end.0.checked_add(1).map(PayloadId),
            None => self.expected,
        };
        let Some(missing) = expected.and_then(|expected| id.0.checked_sub(expected.0)).filter(|n| *n > 0)
        else {
            return false;
        };
        self.note_hole(store, now, Some(Position::before(epoch, id)), Some(missing));
        true
    }

    fn note_hole(&mut self, store: &mut Store, now: Duration, to: Option<Position>, frames: Option<u64>) {
        self.id_holes += 1;
        store.note_hole(now, to, frames);
    }
}

/// The last frame number of every node, of the nodes heard of lately.
#[derive(Debug)]
struct Numbers {
    max_nodes: usize,
    nodes: HashMap<NodeId, Last>,
    /// The nodes by when they were last heard of.
    by_turn: BTreeMap<u64, NodeId>,
    turn: u64,
    /// Whether a node was forgotten, so that an unknown one may have been known.
    forgot: bool,
}

#[derive(Debug)]
struct Last {
    number: u64,
    /// The epoch, and the id holes told in it, when the number was taken.
    seen: (Epoch, u64),
    turn: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Number {
    Next,
    Copy,
    /// That many frames are missing.
    Hole(u64),
}

impl Numbers {
    fn new(max_nodes: usize) -> Self {
        Self { max_nodes, nodes: HashMap::new(), by_turn: BTreeMap::new(), turn: 0, forgot: false }
    }

    fn take(
        &mut self,
        node: NodeId,
        number: u64,
        after: u64,
        explained: Option<(Epoch, u64)>,
        seen: (Epoch, u64),
        strict: bool,
    ) -> Number {
        let known = self.nodes.get(&node);
        let last = match known {
            Some(last) if number <= last.number => return Number::Copy,
            Some(last) => Some(last.number),
            None if strict && !self.forgot => Some(0),
            None => None,
        };
        // With dense ids, an id hole told in this epoch since the node's last frame is where its missing ones were.
        let is_explained = explained
            .is_some_and(|(epoch, holes)| known.is_some_and(|l| l.seen.0 == epoch && l.seen.1 != holes));
        self.remember(node, number, seen);
        match last.and_then(|last| after.checked_sub(last)) {
            Some(missing) if missing > 0 && !is_explained => Number::Hole(missing),
            _ => Number::Next,
        }
    }

    fn remember(&mut self, node: NodeId, number: u64, seen: (Epoch, u64)) {
        self.turn += 1;
        if let Some(last) = self.nodes.insert(node, Last { number, seen, turn: self.turn }) {
            self.by_turn.remove(&last.turn);
        }
        self.by_turn.insert(self.turn, node);
        if self.nodes.len() > self.max_nodes
            && let Some((_, oldest)) = self.by_turn.pop_first()
        {
            self.nodes.remove(&oldest);
            self.forgot = true;
        }
    }
}

#[cfg(test)]
mod tests;
