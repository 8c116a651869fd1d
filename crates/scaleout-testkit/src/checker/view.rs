//! What one node got of one stream, and what it can know to have missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use scaleout_core::{Epoch, NodeId, PayloadId, Position, StreamIndex};

use super::recording::{Arrival, ArrivalKind, Content, NodeRecord, Recording};

/// What a node's receptions yielded, counted as a bus should count it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Payloads, of any kind.
    pub received: u64,
    /// Messages of frames that the node had not before.
    pub messages: u64,
    /// Frames that the node had before, by their numbers.
    pub copies: u64,
    /// Payloads that were not frames of this app.
    pub foreign: u64,
    /// Frames that could not be read.
    pub unreadable: u64,
    /// Frames of nodes with another number of streams.
    pub other_layout: u64,
    /// Empty payloads.
    pub empty: u64,
    /// Payloads that the reception yielded again.
    pub repeated: u64,
}

impl Arrived {
    /// Counts what a node got on `stream_count` streams.
    #[must_use]
    pub fn at(node: &NodeRecord, stream_count: u16) -> Self {
        let mut sum = Self::default();
        for stream in 0..stream_count {
            for View { counts, .. } in View::all(node, StreamIndex(stream)) {
                sum.received += counts.received;
                sum.messages += counts.messages;
                sum.copies += counts.copies;
                sum.foreign += counts.foreign;
                sum.unreadable += counts.unreadable;
                sum.other_layout += counts.other_layout;
                sum.empty += counts.empty;
                sum.repeated += counts.repeated;
            }
        }
        sum
    }
}

/// A model of a node's receive path over what one reception of a stream yielded.
#[derive(Default)]
pub(super) struct View<'a> {
    /// From when to when the node knew what it got there: until the next one began.
    span: Range<Duration>,
    /// The payloads, in order.
    pub(super) payloads: Vec<Got<'a>>,
    /// Losses that the node can know of.
    pub(super) losses: Vec<Loss>,
    /// How many of the last losses may reach up to what comes next.
    unbounded: usize,
    /// Forks: the epoch that began, and the last place this node had got that it does not continue.
    pub(super) forks: Vec<(Epoch, (Epoch, PayloadId))>,
    /// The epochs it heard of, and when.
    pub(super) epochs: BTreeMap<Epoch, Duration>,
    counts: Arrived,
}

/// For each node and stream, what the node got there and could read, and when, by reception.
pub(super) type Views = BTreeMap<(usize, StreamIndex), Vec<BTreeMap<Position, Duration>>>;

/// The places of what a node got in each reception of a stream and could read, and when.
pub(super) fn had<'v>(
    recording: &Recording,
    views: &'v mut Views,
    node: usize,
    stream: StreamIndex,
) -> &'v [BTreeMap<Position, Duration>] {
    let of_node = &recording.nodes[node];
    views
        .entry((node, stream))
        .or_insert_with(|| View::all(of_node, stream).iter().map(|view| view.readable().collect()).collect())
}

/// A payload that a node got.
pub(super) struct Got<'a> {
    pub(super) at: Duration,
    pub(super) position: Position,
    pub(super) content: &'a Content,
    /// Whether it is a copy of a frame that the node had before.
    pub(super) copy: bool,
}

/// Something that a node can know to have missed: it lies right before `position`, and may reach up to `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) at: Duration,
    pub(super) position: Position,
    pub(super) to: Position,
    /// Whether the payload there did come, and could not be read.
    pub(super) unreadable: bool,
}

impl<'a> View<'a> {
    /// One view for each reception, in order; the first also where nothing says that it began.
    pub(super) fn all(node: &'a NodeRecord, stream: StreamIndex) -> Vec<Self> {
        let arrivals: Vec<_> = node.arrivals.iter().filter(|arrival| arrival.stream == stream).collect();
        let begins = |arrival: &&Arrival| matches!(arrival.kind, ArrivalKind::Began);
        let receptions = arrivals.chunk_by(|_, next| !begins(next));
        let mut views: Vec<_> = receptions.map(|arrivals| Self::of(node, arrivals)).collect();
        // Who reads a node that was closed reads what it had.
        let ends: Vec<_> = views.iter().skip(1).map(|next| next.span.start).collect();
        views.iter_mut().zip(ends).for_each(|(view, end)| view.span.end = end);
        views
    }

    /// Whether the node knew at a moment what it got in this reception.
    pub(super) fn spans(&self, at: Duration) -> bool {
        self.span.start <= at && at <= self.span.end
    }

    fn of(node: &'a NodeRecord, arrivals: &[&'a Arrival]) -> Self {
        let mut view = Self { span: Duration::ZERO..Duration::MAX, ..Self::default() };
        let mut model = Model::new(node.replay);
        for arrival in arrivals {
            match &arrival.kind {
                ArrivalKind::Began => view.span.start = arrival.at,
                ArrivalKind::Opened { epoch, after, head, unbroken } => {
                    view.epochs.entry(*epoch).or_insert(arrival.at);
                    let beyond = |last: &(Epoch, PayloadId)| {
                        last.0 < *epoch && after.is_none_or(|after| after < *last)
                    };
                    view.forks.extend(model.last.filter(beyond).map(|last| (*epoch, last)));
                    // Without replay reception goes on behind the head.
                    let skipped = head.1.filter(|_| !unbroken && !node.replay && head.0 == *epoch);
                    if *epoch > model.epoch {
                        view.bound_losses(Position::start_of(*epoch));
                    }
                    // What an epoch does not continue from is missing at the end of the earlier one.
                    let position = model.next_position();
                    if model.opened(*epoch, *after, *head, *unbroken) {
                        let to = model.next_position();
                        let to = skipped.map_or(to, |id| Position::behind(*epoch, id));
                        view.losses.push(Loss { at: arrival.at, position, to, unreadable: false });
                        view.unbounded += usize::from(!unbroken && skipped.is_none());
                    }
                    model.last = model.last.max(skipped.map(|id| (*epoch, id)));
                }
                ArrivalKind::Payload { id, content, .. } => {
                    view.payload(&mut model, node.dense_ids, arrival.at, *id, content);
                }
                ArrivalKind::Faulted | ArrivalKind::Ended => {}
            }
        }
        view
    }

    fn payload(&mut self, model: &mut Model, dense: bool, at: Duration, id: PayloadId, content: &'a Content) {
        self.counts.received += 1;
        let position = Position::before(model.epoch, id);
        if model.last.is_some_and(|last| (model.epoch, id) <= last) {
            self.counts.repeated += 1;
            return;
        }
        self.bound_losses(position);
        let mut lost = dense && model.expected().is_some_and(|expected| id > expected);
        let mut copy = false;
        match content {
            Content::Empty => self.counts.empty += 1,
            Content::Foreign => self.counts.foreign += 1,
            Content::Unreadable => {
                self.counts.unreadable += 1;
                lost = true;
            }
            Content::OtherLayout => {
                self.counts.other_layout += 1;
                lost = true;
            }
            Content::Frame(frame) => match model.number(frame.node, frame.number, frame.after) {
                Number::Copy => {
                    self.counts.copies += 1;
                    copy = true;
                }
                Number::Hole => lost = true,
                Number::Next => {}
            },
        }
        if let (Content::Frame(frame), false) = (content, copy) {
            self.counts.messages += frame.messages.len() as u64;
        }
        if lost {
            let unreadable = matches!(content, Content::Unreadable | Content::OtherLayout);
            self.losses.push(Loss { at, position, to: position, unreadable });
        }
        model.passed(id);
        self.payloads.push(Got { at, position, content, copy });
    }

    /// What a broken link lost reaches at most up to where reception goes on.
    fn bound_losses(&mut self, next: Position) {
        let unbounded = std::mem::take(&mut self.unbounded);
        self.losses.iter_mut().rev().take(unbounded).for_each(|loss| loss.to = loss.to.max(next));
    }

    /// The places of what the node got and could read.
    pub(super) fn positions(&self) -> BTreeSet<Position> {
        self.readable().map(|(position, _)| position).collect()
    }

    fn readable(&self) -> impl Iterator<Item = (Position, Duration)> {
        let readable = |got: &&Got<'_>| !matches!(got.content, Content::Unreadable | Content::OtherLayout);
        self.payloads.iter().filter(readable).map(|got| (got.position, got.at))
    }

    /// The last id that the node got of an epoch, until `at`.
    pub(super) fn last_of(&self, epoch: Epoch, at: Duration) -> Option<PayloadId> {
        let of_epoch = |got: &&Got<'_>| got.position.epoch == epoch && got.at <= at;
        self.payloads.iter().filter(of_epoch).map(|got| got.position.id).max()
    }
}

/// What the receive path remembers of a stream.
struct Model {
    epoch: Epoch,
    last: Option<(Epoch, PayloadId)>,
    /// The head of the first opening, until it was reached.
    first_head: Option<(Epoch, Option<PayloadId>)>,
    opened: bool,
    replay: bool,
    /// Whether the first payload must be the first one of its epoch.
    from_start: bool,
    /// Whether a node without a number counts as 0.
    trusting: bool,
    numbers: BTreeMap<NodeId, u64>,
}

impl Model {
    fn new(replay: bool) -> Self {
        Self {
            epoch: Epoch(0),
            last: None,
            first_head: None,
            opened: false,
            replay,
            from_start: false,
            trusting: true,
            numbers: BTreeMap::new(),
        }
    }
}

enum Number {
    Next,
    Copy,
    Hole,
}

impl Model {
    /// Takes an opening; whether something was lost by it.
    fn opened(
        &mut self,
        epoch: Epoch,
        after: Option<(Epoch, PayloadId)>,
        head: (Epoch, Option<PayloadId>),
        unbroken: bool,
    ) -> bool {
        if !std::mem::replace(&mut self.opened, true) {
            self.epoch = epoch;
            match head {
                (of, None) if of == epoch => self.from_start = true,
                // Without replay "from now" is the head.
                (of, Some(id)) if of == epoch && !self.replay => self.last = Some((epoch, id)),
                _ => self.first_head = Some(head),
            }
            return false;
        }
        if epoch == self.epoch {
            self.trusting &= unbroken;
            return !unbroken;
        }
        let last = self.last;
        let missed = |after: (Epoch, PayloadId)| match last {
            Some(last) => last < after,
            None => self.from_start && after.0 >= self.epoch,
        };
        let cut = after.is_some_and(missed);
        // A fork may have taken the first frame of a node that this one never heard of.
        let clean = !cut && after.is_some_and(|after| last.is_none_or(|last| last <= after));
        self.trusting = unbroken && (self.trusting || !clean);
        self.epoch = epoch;
        cut || !unbroken
    }

    fn next_position(&self) -> Position {
        match self.last {
            Some((epoch, id)) if epoch == self.epoch => Position::behind(epoch, id),
            _ => Position::start_of(self.epoch),
        }
    }

    /// The greatest id that can follow without a hole; `None` where any may.
    fn expected(&self) -> Option<PayloadId> {
        match self.last {
            Some((epoch, id)) if epoch == self.epoch => Some(PayloadId(id.0 + 1)),
            Some(_) => Some(PayloadId(0)),
            // A backlog begins where retention says, but not behind the head.
            None => match self.first_head {
                Some((epoch, Some(id))) if epoch == self.epoch => Some(PayloadId(id.0 + 1)),
                _ => self.from_start.then_some(PayloadId(0)),
            },
        }
    }

    fn number(&mut self, node: NodeId, number: u64, after: u64) -> Number {
        let known = self.numbers.get(&node).copied();
        let last = match known {
            Some(last) => last,
            None if self.trusting && self.first_head.is_none() => 0,
            None => after,
        };
        if known.is_some_and(|last| number <= last) {
            return Number::Copy;
        }
        self.numbers.insert(node, number);
        if after > last { Number::Hole } else { Number::Next }
    }

    fn passed(&mut self, id: PayloadId) {
        self.last = Some((self.epoch, id));
        if self.first_head.is_some_and(|(epoch, head)| (epoch, head) <= (self.epoch, Some(id))) {
            self.first_head = None;
        }
    }
}
