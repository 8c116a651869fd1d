//! One stream's payloads through all its epochs, as a plain value.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{Epoch, MemoryConfig, NodeId, PayloadId, Start, StreamIndex};

/// A payload's place in the history of a stream; places order as the history does, and `None` is before all.
pub(super) type Place = (Epoch, PayloadId);

/// A payload that a [`MemoryStore`](crate::MemoryStore) holds or held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// The epoch it was appended in.
    pub epoch: Epoch,
    /// Its id in that epoch.
    pub id: PayloadId,
    /// The node that sent it; `None` for one that a test appended raw.
    pub node: Option<NodeId>,
    /// Its frame number; 0 for one that a test appended raw.
    pub number: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// The epoch that began by forgetting it; `None` while it is part of the history (retained or not).
    pub forgotten_in: Option<Epoch>,
}

/// The payloads of one stream: the current epoch, and what is retained of earlier ones.
#[derive(Debug)]
pub(super) struct Log {
    earlier: VecDeque<Segment>,
    current: Segment,
    /// The last place of the history, whether it is still retained or not.
    last: Option<Place>,
    /// The last place that a flush dropped.
    flushed: Option<Place>,
    /// Per node the greatest frame number in the history: 24 bytes per node that ever sent.
    held: BTreeMap<NodeId, u64>,
    /// Draws the holes between ids; `None`: ids are dense.
    holes: Option<fastrand::Rng>,
    retained: Size,
    max_retained: Size,
    record: Option<Vec<LogEntry>>,
}

/// What is retained of one epoch.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) epoch: Epoch,
    /// What this epoch continues.
    pub(super) after: Option<Place>,
    /// The last id given in this epoch.
    last: Option<PayloadId>,
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: PayloadId,
    pub(super) bytes: Bytes,
    /// The place before this one in the history, so that a hole shows and a fork can be undone.
    pub(super) previous: Option<Place>,
    frame: Option<HeldFrame>,
}

#[derive(Debug, Clone, Copy)]
struct HeldFrame {
    node: NodeId,
    number: u64,
    /// What was held of the node before, which a fork restores.
    before: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    payloads: usize,
    bytes: usize,
}

impl Log {
    pub(super) fn new(stream: StreamIndex, config: &MemoryConfig) -> Self {
        let dense = config.capabilities.dense_ids;
        Self {
            earlier: VecDeque::new(),
            current: Segment::new(config.first_epoch, None),
            last: None,
            flushed: None,
            held: BTreeMap::new(),
            holes: (!dense).then(|| fastrand::Rng::with_seed(u64::from(stream.0))),
            retained: Size::default(),
            max_retained: Size { payloads: config.retained_payloads, bytes: config.retained_bytes },
            record: config.keep_log.then(Vec::new),
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.current.epoch
    }

    /// The newest epoch and its last id.
    pub(super) fn head(&self) -> (Epoch, Option<PayloadId>) {
        (self.current.epoch, self.current.last)
    }

    pub(super) fn current(&self) -> &Segment {
        &self.current
    }

    pub(super) fn last(&self) -> Option<Place> {
        self.last
    }

    pub(super) fn flushed(&self) -> Option<Place> {
        self.flushed
    }

    pub(super) fn has_dense_ids(&self) -> bool {
        self.holes.is_none()
    }

    /// The greatest frame number of `node` in the history.
    pub(super) fn held(&self, node: NodeId) -> u64 {
        self.held.get(&node).copied().unwrap_or(0)
    }

    /// Adds a payload behind all others; `frame` is its node and number.
    pub(super) fn append(&mut self, frame: Option<(NodeId, u64)>, bytes: Bytes) -> Place {
        let hole = self.holes.as_mut().map_or(0, |random| random.u64(0..8));
        let id = PayloadId(self.current.last.map_or(0, |last| last.0 + 1) + hole);
        let place = (self.current.epoch, id);
        let frame = frame.map(|(node, number)| {
            let before = self.held(node);
            self.held.insert(node, number.max(before));
            HeldFrame { node, number, before }
        });
        let entry = Entry { id, bytes, previous: self.last, frame };
        if let Some(record) = &mut self.record {
            record.push(entry.to_log(place.0));
        }
        self.retained.payloads += 1;
        self.retained.bytes += entry.bytes.len();
        self.current.entries.push_back(entry);
        self.current.last = Some(id);
        self.last = Some(place);
        self.trim(self.max_retained.payloads);
        place
    }

    /// Drops the oldest payloads until at most `payloads` remain, and the bounds are kept; never the newest.
    pub(super) fn trim(&mut self, payloads: usize) {
        while self.retained.payloads > 1
            && (self.retained.payloads > payloads || self.retained.bytes > self.max_retained.bytes)
        {
            while self.earlier.front().is_some_and(|segment| segment.entries.is_empty()) {
                self.earlier.pop_front();
            }
            let oldest = self.earlier.front_mut().unwrap_or(&mut self.current).entries.pop_front();
            let Some(entry) = oldest else { return };
            self.count_out(&entry);
        }
    }

    /// Forgets the last `forget` payloads, and opens an epoch that continues what is left.
    pub(super) fn fork(&mut self, forget: usize) -> Epoch {
        let next = Epoch(self.current.epoch.0 + 1);
        for _ in 0..forget {
            if !self.forget_last(next) {
                break;
            }
        }
        self.open(next, self.last)
    }

    /// Forgets everything, and opens an epoch that continues nothing.
    pub(super) fn flush(&mut self) -> Epoch {
        let next = Epoch(self.current.epoch.0 + 1);
        self.flushed = self.flushed.max(self.last);
        self.last = None;
        self.held.clear();
        self.earlier.clear();
        self.current.entries.clear();
        self.retained = Size::default();
        for entry in self.record.iter_mut().flatten() {
            entry.forgotten_in.get_or_insert(next);
        }
        self.open(next, None)
    }

    /// The place behind which a new reception reads.
    pub(super) fn start(&self, start: Start) -> Option<Place> {
        let payloads = match start {
            Start::Latest => 0,
            Start::Backlog { payloads } => payloads,
        };
        let mut entries = self.segments().flat_map(|segment| &segment.entries);
        let first = entries.nth(self.retained.payloads.saturating_sub(payloads));
        first.map_or(self.last, |entry| entry.previous).max(self.flushed)
    }

    /// The first retained payload behind `passed`, with its epoch.
    pub(super) fn next(&self, passed: Option<Place>) -> Option<(&Segment, &Entry)> {
        self.segments().find_map(|segment| {
            let index = match passed {
                Some((epoch, _)) if epoch > segment.epoch => return None,
                Some((epoch, id)) if epoch == segment.epoch => segment.count_to(id),
                _ => 0,
            };
            segment.entries.get(index).map(|entry| (segment, entry))
        })
    }

    /// The place `payloads` before `passed`, in the same epoch and as far as it is retained.
    pub(super) fn back(&self, passed: Place, payloads: usize) -> Option<Place> {
        let segment = self.segments().find(|segment| segment.epoch == passed.0);
        let entry = segment.and_then(|segment| {
            let count = segment.count_to(passed.1);
            segment.entries.get(count.saturating_sub(payloads))
        });
        entry
            .filter(|entry| (passed.0, entry.id) <= passed)
            .map_or(Some(passed), |entry| entry.previous.max(self.flushed))
    }

    /// What is retained, oldest first.
    pub(super) fn retained(&self) -> Vec<LogEntry> {
        let entries = |segment: &Segment| {
            let epoch = segment.epoch;
            segment.entries.iter().map(move |entry| entry.to_log(epoch)).collect::<Vec<_>>()
        };
        self.segments().flat_map(entries).collect()
    }

    /// Every payload ever appended; nothing without `keep_log`.
    pub(super) fn record(&self) -> &[LogEntry] {
        self.record.as_deref().unwrap_or_default()
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.earlier.iter().chain([&self.current])
    }

    fn open(&mut self, epoch: Epoch, after: Option<Place>) -> Epoch {
        let ended = std::mem::replace(&mut self.current, Segment::new(epoch, after));
        if !ended.entries.is_empty() {
            self.earlier.push_back(ended);
        }
        epoch
    }

    fn forget_last(&mut self, forgotten_in: Epoch) -> bool {
        while self.current.entries.is_empty() {
            let Some(segment) = self.earlier.pop_back() else { return false };
            self.current = segment;
        }
        let epoch = self.current.epoch;
        let Some(entry) = self.current.entries.pop_back() else { return false };
        self.count_out(&entry);
        self.last = entry.previous;
        if let Some(HeldFrame { node, before, .. }) = entry.frame {
            self.held.insert(node, before);
        }
        if let Some(record) = &mut self.record {
            let place = record.binary_search_by_key(&(epoch, entry.id), |entry| (entry.epoch, entry.id));
            if let Some(entry) = place.ok().and_then(|index| record.get_mut(index)) {
                entry.forgotten_in = Some(forgotten_in);
            }
        }
        true
    }

    fn count_out(&mut self, entry: &Entry) {
        self.retained.payloads -= 1;
        self.retained.bytes -= entry.bytes.len();
    }
}

impl Segment {
    fn new(epoch: Epoch, after: Option<Place>) -> Self {
        Self { epoch, after, last: None, entries: VecDeque::new() }
    }

    /// How many retained payloads have ids up to `id`.
    fn count_to(&self, id: PayloadId) -> usize {
        self.entries.partition_point(|entry| entry.id <= id)
    }
}

impl Entry {
    fn to_log(&self, epoch: Epoch) -> LogEntry {
        LogEntry {
            epoch,
            id: self.id,
            node: self.frame.map(|frame| frame.node),
            number: self.frame.map_or(0, |frame| frame.number),
            bytes: self.bytes.clone(),
            forgotten_in: None,
        }
    }
}
