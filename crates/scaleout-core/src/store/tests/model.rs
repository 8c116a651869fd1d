//! The naive model: every payload ever appended in one `Vec`, searched from its beginning for each reader and item.

use std::collections::BTreeSet;

use super::{
    super::{Store, timeline::Judgement},
    Got, LookUp,
};
use crate::{CursorEntry, Epoch, GapReason, PayloadId, Position};

/// A place in the history: messages `index` of payload `ordinal`.
type Spot = (usize, u32);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) dense_ids: bool,
    /// Every payload ever appended, as (epoch, id) and the channels of its messages.
    payloads: Vec<(Epoch, PayloadId, Vec<u8>)>,
    /// How many of these left the ring.
    pub(super) evicted: usize,
    holes: Vec<Hole>,
    /// Where everything began.
    origin: Position,
    /// The greatest position that each epoch continues.
    continued: Vec<((Epoch, PayloadId), Epoch)>,
    /// The position behind everything.
    pub(super) end: Position,
    /// The payload whose readers are being notified.
    pub(super) notifying: Option<(usize, Position)>,
    pub(super) readers: Vec<Reader>,
}

#[derive(Debug)]
struct Hole {
    spot: Spot,
    from: Position,
    to: Position,
    /// Where who was told of it stands until it is known how far it reaches; `None` where that was known.
    told: Option<Position>,
    frames: Option<u64>,
}

impl Hole {
    /// Whether ids are missing, or only frame numbers.
    fn has_ids(&self) -> bool {
        let next = match self.from.is_whole() {
            true => (self.from.epoch, self.from.id.0 + 1),
            false => (self.from.epoch, self.from.id.0),
        };
        next != (self.to.epoch, self.to.id.0) || self.to.index > 0
    }
}

#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) channels: BTreeSet<u8>,
    spot: Spot,
    passed: Position,
    holes_passed: usize,
    told: Option<Told>,
    waiting: Option<CursorEntry>,
    pub(super) until: Option<u64>,
    /// Whether it began anew, so that its place is not named in an earlier epoch.
    is_past_fork: bool,
}

#[derive(Debug, Clone)]
struct Told {
    reason: GapReason,
    /// The least and the greatest `frames` that are right; `None`: not known.
    frames: Option<(u64, u64)>,
    before: CursorEntry,
}

/// What a reader must be given next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    Message(u8, Position),
    /// A gap, with the least and the greatest number of frames.
    Gap(GapReason, Option<(u64, u64)>),
}

impl Due {
    pub(super) fn accepts(&self, got: &Got) -> bool {
        match (self, got) {
            (Self::Message(channel, position), Got::Message(name, at)) => {
                *name == name_of(*channel) && position == at
            }
            (Self::Gap(reason, None), Got::Gap(told, None)) => reason == told,
            (Self::Gap(reason, Some((least, most))), Got::Gap(told, Some(frames))) => {
                reason == told && (least..=most).contains(&frames)
            }
            _ => false,
        }
    }
}

pub(super) fn name_of(channel: u8) -> String {
    format!("channel {channel}")
}

impl Model {
    pub(super) fn new(dense_ids: bool, epoch: Epoch) -> Self {
        let start = Position::start_of(epoch);
        Self {
            dense_ids,
            payloads: Vec::new(),
            evicted: 0,
            holes: Vec::new(),
            origin: start,
            continued: Vec::new(),
            end: start,
            notifying: None,
            readers: Vec::new(),
        }
    }

    pub(super) fn append(&mut self, epoch: Epoch, id: PayloadId, channels: Vec<u8>) {
        let is_awaited = self
            .readers
            .iter()
            .any(|reader| channels.iter().any(|channel| reader.channels.contains(channel)));
        if is_awaited {
            self.notifying = Some((self.payloads.len(), self.end));
        }
        self.bound_holes(Position::before(epoch, id));
        self.payloads.push((epoch, id, channels));
        self.end = Position::behind(epoch, id);
    }

    pub(super) fn note_hole(&mut self, to: Option<Position>, frames: Option<u64>) {
        let from = self.end;
        let told = Position { index: if from.is_whole() { Position::TOLD } else { from.index }, ..from };
        let (to, told) = (to.unwrap_or(told), to.is_none().then_some(told));
        self.holes.push(Hole { spot: (self.payloads.len(), 0), from, to, told, frames });
        self.end = to;
    }

    /// What is missing behind the last payload ends where the next one, or its epoch, begins.
    fn bound_holes(&mut self, next: Position) {
        let spot = (self.payloads.len(), 0);
        for hole in self.holes.iter_mut().filter(|hole| hole.spot == spot && hole.told.is_some()) {
            hole.to = next;
        }
    }

    pub(super) fn begin_epoch(&mut self, epoch: Epoch, after: Option<(Epoch, PayloadId)>) {
        self.continued.extend(after.map(|after| (after, epoch)));
        self.bound_holes(Position::start_of(epoch));
        self.end = Position::start_of(epoch);
    }

    /// The last payload that was received.
    pub(super) fn last(&self) -> Option<(Epoch, PayloadId)> {
        self.payloads.last().map(|(epoch, id, _)| (*epoch, *id))
    }

    pub(super) fn held(&self) -> usize {
        self.payloads.len() - self.evicted
    }

    pub(super) fn subscribe(&mut self, channels: BTreeSet<u8>) -> usize {
        self.readers.push(Reader {
            channels,
            spot: (self.payloads.len(), 0),
            passed: self.end,
            holes_passed: self.holes.len(),
            told: None,
            waiting: None,
            until: None,
            is_past_fork: false,
        });
        self.readers.len() - 1
    }

    /// Restarts a reader from now, behind a gap.
    fn restart(&mut self, reader: usize, reason: GapReason, before: CursorEntry) {
        let (spot, passed, holes_passed) = ((self.payloads.len(), 0), self.end, self.holes.len());
        let reader = &mut self.readers[reader];
        (reader.spot, reader.passed, reader.holes_passed) = (spot, passed, holes_passed);
        reader.waiting = None;
        reader.told = Some(Told { reason, frames: None, before });
        reader.is_past_fork = true;
    }

    /// Puts a reader where a cursor says; whether the epochs know it is not this model's business.
    pub(super) fn resume(
        &mut self,
        reader: usize,
        asked: CursorEntry,
        judged: Judgement,
        until: Option<u64>,
    ) -> LookUp {
        let CursorEntry::At { position, .. } = asked else {
            self.restart(reader, GapReason::Lost, asked);
            return LookUp::Unpositioned;
        };
        match judged {
            Judgement::Ahead => {
                (self.readers[reader].waiting, self.readers[reader].until) = (Some(asked), until);
                return LookUp::Ahead;
            }
            Judgement::Foreign => {
                self.restart(reader, GapReason::Reset, asked);
                return LookUp::Reset;
            }
            Judgement::Known => {
                self.readers[reader].waiting = None;
                self.readers[reader].is_past_fork |= position == Position::start_of(position.epoch);
            }
        }
        let covers = |(epoch, id, _): &(Epoch, PayloadId, Vec<u8>)| {
            (position.epoch, position.id) > (*epoch, *id)
                || (position.epoch, position.id) == (*epoch, *id) && position.is_whole()
        };
        let in_ring = position >= self.origin && self.payloads[..self.evicted].iter().all(covers);
        let lost: BTreeSet<usize> = self
            .messages((0, 0))
            .filter(|(spot, _, at)| spot.0 < self.evicted && *at >= position && self.reads(reader, *spot))
            .map(|(spot, ..)| spot.0)
            .collect();
        let mut passed = position;
        let behind = self.payloads.iter().position(|payload| {
            // One that carries nothing is a place as well.
            let last = Position { epoch: payload.0, id: payload.1, index: payload.2.len().max(1) as u32 - 1 };
            last >= position
        });
        let inside = |ordinal: usize| {
            let is_there =
                (self.payloads[ordinal].0, self.payloads[ordinal].1) == (position.epoch, position.id);
            (ordinal, if is_there { position.index } else { 0 })
        };
        let mut spot = behind.map_or((self.payloads.len(), 0), inside);
        let mut told = None;
        let edge = self.evicted.checked_sub(1).map(|last| &self.payloads[last]);
        let behind_edge = edge.map_or(self.origin, |(epoch, id, _)| Position::behind(*epoch, *id));
        if let Some(edge) = edge.filter(|_| !lost.is_empty()) {
            let from = self.normal(position);
            let told_with_it = self.holes.iter().skip_while(|hole| self.is_passed(hole, position));
            let mut told_with_it = told_with_it.take_while(|hole| hole.spot < (self.evicted, 0));
            let has_ids = |hole: &Hole| hole.has_ids() && self.normal(hole.from) != hole.to;
            let frames = (self.dense_ids && edge.0 == from.epoch && told_with_it.all(has_ids))
                .then(|| (lost.len() as u64, edge.1.0 + 1 - from.id.0));
            told = Some(Told { reason: GapReason::Expired, frames, before: asked });
            passed = behind_edge;
        }
        let holes_passed = self.holes.iter().take_while(|hole| self.is_passed(hole, passed)).count();
        match self.holes.get(holes_passed).filter(|hole| hole.spot < (self.evicted, 0)) {
            Some(hole) if !in_ring && told.is_none() => spot = hole.spot,
            _ if in_ring => spot = spot.max((self.evicted, 0)),
            _ => (spot, passed) = ((self.evicted, 0), behind_edge),
        }
        let expired = told.is_some();
        let reader = &mut self.readers[reader];
        (reader.spot, reader.passed, reader.holes_passed, reader.told) = (spot, passed, holes_passed, told);
        if in_ring { LookUp::InRing } else { LookUp::Older { expired } }
    }

    /// The start of the epoch that continues right behind a position, or the position.
    fn normal(&self, position: Position) -> Position {
        let next = self.continued.iter().find(|(after, _)| {
            position.is_whole() && *after == (position.epoch, position.id) && self.nothing_behind(*after)
        });
        next.map_or(position, |(_, epoch)| Position::start_of(*epoch))
    }

    /// Whether no payload of the epoch was received behind an id of it.
    fn nothing_behind(&self, (epoch, id): (Epoch, PayloadId)) -> bool {
        !self.payloads.iter().any(|payload| payload.0 == epoch && payload.1 > id)
    }

    /// Whether a client at `position` has all the hole's payloads from elsewhere, or was told of it.
    fn is_passed(&self, hole: &Hole, position: Position) -> bool {
        let normal = self.normal(position);
        let next_id = self.dense_ids && hole.has_ids() && position.is_whole() && hole.to.index == 0;
        let is_last_id = next_id && (position.epoch, position.id.0 + 1) == (hole.to.epoch, hole.to.id.0);
        position > hole.from
            && (hole.told == Some(position) || position >= hole.to || is_last_id || normal >= hole.to)
    }

    pub(super) fn evict(&mut self) -> bool {
        let any = self.held() > 0;
        self.evicted += usize::from(any);
        any
    }

    /// Every message from a spot on.
    fn messages(&self, from: Spot) -> impl Iterator<Item = (Spot, u8, Position)> {
        self.payloads
            .iter()
            .enumerate()
            .flat_map(|(ordinal, (epoch, id, channels))| {
                (0..).zip(channels).map(move |(index, channel)| {
                    ((ordinal, index), *channel, Position { epoch: *epoch, id: *id, index })
                })
            })
            .filter(move |(spot, ..)| *spot >= from)
    }

    fn reads(&self, reader: usize, (ordinal, index): Spot) -> bool {
        self.readers[reader].channels.contains(&self.payloads[ordinal].2[index as usize])
    }

    /// What a reader is to be given next, and where the message stands.
    fn due_at(&self, index: usize) -> Option<(Due, Spot)> {
        let reader = &self.readers[index];
        if let Some(told) = &reader.told {
            return Some((Due::Gap(told.reason, told.frames), reader.spot));
        }
        if reader.waiting.is_some() {
            return None;
        }
        let next = self.messages(reader.spot).find(|(spot, ..)| self.reads(index, *spot));
        let hole = self.holes.get(reader.holes_passed);
        if let Some(hole) = hole.filter(|hole| next.is_none_or(|(spot, ..)| hole.spot <= spot)) {
            return Some((Due::Gap(GapReason::Lost, hole.frames.map(|frames| (frames, frames))), hole.spot));
        }
        if next.is_some_and(|((ordinal, _), ..)| ordinal < self.evicted) {
            let lost: BTreeSet<usize> = self
                .messages(reader.spot)
                .map(|(spot, ..)| spot)
                .filter(|spot| spot.0 < self.evicted && self.reads(index, *spot))
                .map(|spot| spot.0)
                .collect();
            let most = self.evicted - reader.spot.0;
            return Some((Due::Gap(GapReason::Lagged, Some((lost.len() as u64, most as u64))), (0, 0)));
        }
        next.map(|(spot, channel, position)| (Due::Message(channel, position), spot))
    }

    /// What a reader is to be given next; whether it may have to wait for its notification.
    pub(super) fn due(&self, reader: usize) -> Option<(Due, bool)> {
        let (due, spot) = self.due_at(reader)?;
        let is_notified = self.notifying.is_none_or(|(ordinal, _)| spot.0 != ordinal);
        let waits = matches!(due, Due::Message(..)) && !is_notified;
        Some((due, waits))
    }

    /// Takes what is due.
    pub(super) fn read(&mut self, index: usize) {
        let Some((due, spot)) = self.due_at(index) else { return };
        let told = self.readers[index].told.take().is_some();
        let edge = self.evicted.checked_sub(1).map(|last| &self.payloads[last]);
        let edge = edge.map_or(self.origin, |(epoch, id, _)| Position::behind(*epoch, *id));
        let length = self.payloads.get(spot.0).map_or(0, |payload| payload.2.len());
        let hole = self.holes.get(self.readers[index].holes_passed).map(|hole| hole.to);
        let reader = &mut self.readers[index];
        match due {
            Due::Gap(..) if told => {}
            Due::Gap(GapReason::Lagged, _) => {
                reader.spot = (self.evicted, 0);
                reader.passed = reader.passed.max(edge);
            }
            Due::Gap(..) => {
                reader.spot = reader.spot.max(spot);
                reader.passed = reader.passed.max(hole.unwrap_or(reader.passed));
                reader.holes_passed += 1;
            }
            Due::Message(_, at) => {
                let is_last = at.index as usize + 1 == length;
                reader.spot = if is_last { (spot.0 + 1, 0) } else { (spot.0, at.index + 1) };
                let index = if is_last { Position::WHOLE } else { at.index + 1 };
                reader.passed = Position { index, ..at };
            }
        }
    }

    /// Moves readers over what does not concern them, as far as their cursors go by themselves.
    pub(super) fn advance(&mut self) {
        for index in 0..self.readers.len() {
            if self.readers[index].waiting.is_some() {
                continue;
            }
            let (spot, passed) = match self.due_at(index) {
                None => match self.notifying {
                    Some((ordinal, before)) => ((ordinal, 0), before),
                    None => ((self.payloads.len(), 0), self.end),
                },
                Some((Due::Gap(GapReason::Lost, _), _)) if self.readers[index].told.is_none() => {
                    let hole = &self.holes[self.readers[index].holes_passed];
                    (hole.spot, hole.from)
                }
                _ => continue,
            };
            let reader = &mut self.readers[index];
            (reader.spot, reader.passed) = (reader.spot.max(spot), reader.passed.max(passed));
        }
    }

    /// Puts a reader right before the payload that is being notified, if the next message is there.
    pub(super) fn stand_before_notified(&mut self, reader: usize) {
        let Some((ordinal, before)) = self.notifying else { return };
        if matches!(self.due_at(reader), Some((Due::Message(..), spot)) if spot.0 == ordinal) {
            let reader = &mut self.readers[reader];
            (reader.spot, reader.passed) = (reader.spot.max((ordinal, 0)), reader.passed.max(before));
        }
    }

    pub(super) fn add(&mut self, reader: usize, channel: u8) {
        if !self.readers[reader].channels.insert(channel) {
            return;
        }
        let Reader { spot, told, waiting, passed, .. } = self.readers[reader].clone();
        if waiting.is_some() {
            return;
        }
        let is_new = |at: &Spot| self.payloads[at.0].2[at.1 as usize] == channel;
        let lost: Vec<Spot> = self
            .messages(spot)
            .map(|(at, ..)| at)
            .filter(|at| at.0 < self.evicted && self.reads(reader, *at))
            .collect();
        if lost.iter().any(is_new) {
            let edge = &self.payloads[self.evicted - 1];
            let edge = Position::behind(edge.0, edge.1);
            let payloads: BTreeSet<usize> = lost.iter().map(|at| at.0).collect();
            let frames = Some((payloads.len() as u64, (self.evicted - spot.0) as u64));
            let before = CursorEntry::At { position: passed, stem: None };
            let reader = &mut self.readers[reader];
            // A gap that is not read yet covers what is missing of the new channel too.
            let lagged = Told { reason: GapReason::Lagged, frames, before };
            reader.told = Some(told.map_or(lagged, |told| Told { frames: None, ..told }));
            (reader.spot, reader.passed) = ((self.evicted, 0), passed.max(edge));
        }
    }

    /// The position that a cursor of a reader says, or what it says instead.
    pub(super) fn cursor(&self, index: usize, store: &Store) -> CursorEntry {
        let reader = &self.readers[index];
        let plain = |position: Position| {
            let position = if reader.is_past_fork { position } else { store.timeline.canonical(position) };
            CursorEntry::At { position, stem: store.timeline.stem(position) }
        };
        match (&reader.told, &reader.waiting) {
            (Some(Told { reason: GapReason::Lagged, before: CursorEntry::At { position, .. }, .. }), _) => {
                plain(*position)
            }
            (Some(told), _) => told.before,
            (None, Some(waiting)) => *waiting,
            (None, None) => plain(reader.passed),
        }
    }

    /// Readers that wait, and for what.
    pub(super) fn waiting(&self) -> Vec<(usize, CursorEntry, Option<u64>)> {
        let waits = |(index, reader): (usize, &Reader)| Some((index, reader.waiting?, reader.until));
        self.readers.iter().enumerate().filter_map(waits).collect()
    }

    /// Ends a wait.
    pub(super) fn give_up(&mut self, reader: usize, asked: CursorEntry) {
        self.restart(reader, GapReason::Reset, asked);
    }
}
