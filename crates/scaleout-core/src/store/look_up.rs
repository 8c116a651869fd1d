//! Where a reader begins: what a cursor means on this node, and waiting for what is ahead of it.

use std::{task::Waker, time::Duration};

use super::{
    Store,
    place::Place,
    reader::{ReaderKey, Told, Waiting},
    timeline::{Judgement, Stem},
};
use crate::{CursorEntry, GapReason, Position, mutant::Mutant};

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

impl Store {
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
                    (None, _) => self.await_opening(key),
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
    pub(super) fn restart(&mut self, key: ReaderKey, reason: GapReason, before: CursorEntry) {
        self.readers[key.index()].is_past_fork = true;
        self.tell(key, Told { reason, frames: None, before });
        match (self.timeline.current(), self.known_head) {
            (None, _) => self.await_opening(key),
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
                self.readers[key.index()].is_past_fork |= position == Position::start_of(position.epoch);
                let Some(edge) = self.edge else {
                    // Where the backlog begins is known with its first payload.
                    self.wait(key, position, stem, until);
                    return LookUp::Ahead;
                };
                let is_known = self.origin.is_some_and(|origin| self.is_behind(position, origin));
                let before = CursorEntry::At { position, stem };
                if self.is_behind(position, edge) {
                    let mut passed = position;
                    if !is_known {
                        self.tell(key, Told { reason: GapReason::Lost, frames: None, before });
                        passed = position.max(self.behind_forgotten(edge));
                    }
                    self.stand_at(key, self.place_of(position), passed);
                    return LookUp::InRing;
                }
                let expired = !is_known
                    || self.readers[key.index()].channels.iter().any(|(channel, _)| {
                        self.gone.may_have_lost(self.channels.hash_of(*channel), position)
                    });
                if expired && !self.mutation.is(Mutant::SwallowExpired) {
                    // A hole that was forgotten may reach beyond the edge, and nobody knows what was missing in it.
                    let is_counted = is_known || self.first_hole == 0;
                    let frames = is_counted.then(|| self.count_to(edge, position)).flatten();
                    self.tell(key, Told { reason: GapReason::Expired, frames, before });
                }
                // Of its channels nothing is lost: it stands at the edge, or before a hole that it has to be told of.
                let first = Place::entry(self.first);
                match self.holes.get(self.holes_passed(position)).filter(|hole| hole.place < first) {
                    Some(hole) if !expired => self.stand_at(key, hole.place, position),
                    _ => self.stand_at(key, first, self.behind_forgotten(edge)),
                }
                LookUp::Older { expired }
            }
        }
    }

    /// Payloads from a position to the ring's edge, where ids count them all.
    fn count_to(&self, edge: Position, position: Position) -> Option<u64> {
        let from = self.normalized(position);
        // Where only numbers are missing, they are of payloads without ids here, or of those in another hole.
        let is_of_numbers = |hole: &super::Hole| self.normalized(hole.from) == self.normalized(hole.to);
        let first = Place::entry(self.first);
        let holes = self.holes.iter().skip(self.holes_passed(position));
        let have_ids = !holes.take_while(|hole| hole.place < first).any(is_of_numbers);
        (have_ids && self.dense_ids && from.epoch == edge.epoch).then(|| {
            let end = edge.id.0.saturating_add(edge.is_whole().into());
            end.saturating_sub(from.id.0)
        })
    }

    /// The ring's edge, or behind a hole right there that was forgotten: a client that was told of what is missing before
    /// the ring is not to be told again.
    fn behind_forgotten(&self, edge: Position) -> Position {
        let begin = self.entries.front().map(|entry| Position::before(entry.epoch, entry.id));
        // Of more holes than are remembered, those that are not may lie inside the ring.
        let at_edge = self.origin.filter(|origin| begin.is_none_or(|begin| *origin <= begin));
        at_edge.map_or(edge, |origin| origin.max(edge))
    }

    /// Makes a gap the next thing a reader is given. One that it was not given yet covers this one too.
    pub(super) fn tell(&mut self, key: ReaderKey, told: Told) {
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

    /// Makes a reader wait for the head of the first `Opened`.
    fn await_opening(&mut self, key: ReaderKey) {
        self.unopened.insert(key);
        self.readers[key.index()].waiting =
            Some(Box::new(Waiting { position: None, stem: None, until: None }));
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
            if hole.told == Some(position) && position > hole.from {
                return true;
            }
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
}
