//! The epochs a node knows of a stream, and whether a cursor belongs to its history.

use std::{collections::VecDeque, time::Duration};

use crate::{Epoch, PayloadId, Position};

/// Epochs remembered; a cursor of an older one is `Reset`.
const MAX_EPOCHS: usize = 64;

/// The last (epoch, id) a node held before a fork that forgot it.
pub(crate) type Stem = (Epoch, PayloadId);

#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Oldest first; the last one is the epoch that is being received.
    epochs: VecDeque<Known>,
}

#[derive(Debug)]
struct Known {
    epoch: Epoch,
    /// The greatest id this node received in it.
    held: Option<PayloadId>,
    /// What it continues.
    continues: Option<(Epoch, PayloadId)>,
    /// The last id of it that a later epoch continues.
    continued: Option<PayloadId>,
    /// What this node held that the epoch does not continue (its own fork, or one before it whose time is not over).
    stem: Option<Stem>,
    /// Until when copies of forgotten frames may still come, so that stems matter.
    until: Duration,
    /// The head when that time was over: from there on nobody's stem matters.
    settled: Option<Position>,
}

/// What a node says of a position before it looks into its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is part of this node's history.
    Known,
    /// It is ahead of this node, or of an epoch that it has not heard of yet.
    Ahead,
    /// It is of a history that ended, was forgotten, or differs from this node's.
    Foreign,
}

impl Timeline {
    pub(super) fn current(&self) -> Option<Epoch> {
        self.epochs.back().map(|known| known.epoch)
    }

    /// The position behind everything received; `None` before the first epoch.
    pub(super) fn head(&self) -> Option<Position> {
        let known = self.epochs.back()?;
        Some(match known.held {
            Some(id) => Position::behind(known.epoch, id),
            None => Position::start_of(known.epoch),
        })
    }

    /// The last payload received, of whatever epoch.
    pub(super) fn last(&self) -> Option<(Epoch, PayloadId)> {
        self.epochs.iter().rev().find_map(|known| Some((known.epoch, known.held?)))
    }

    pub(super) fn received(&mut self, id: PayloadId) {
        if let Some(known) = self.epochs.back_mut() {
            known.held = Some(id);
        }
    }

    /// Notes what this node received before it knew: the store's head when reception begins at it.
    pub(super) fn assume_held(&mut self, id: PayloadId) {
        self.received(id);
    }

    /// Begins `epoch`, greater than the current one, which continues `after`.
    ///
    /// `settle` is for how long publishers may repair what a fork forgot.
    pub(super) fn open(
        &mut self,
        epoch: Epoch,
        after: Option<(Epoch, PayloadId)>,
        now: Duration,
        settle: Duration,
    ) {
        let inherited = self.epochs.back().filter(|known| known.settled.is_none()).map(|k| (k.stem, k.until));
        let forked = self.last().filter(|last| after.is_none_or(|after| after < *last));
        let (stem, until) = match (forked, inherited) {
            (Some(stem), Some((Some(earlier), _))) if stem != earlier => {
                (Some(mixed(earlier, stem)), now + settle)
            }
            (Some(stem), _) => (Some(stem), now + settle),
            (None, Some((stem @ Some(_), until))) => (stem, until),
            (None, _) => (None, now + settle),
        };
        if let Some((earlier, id)) = after {
            match self.epochs.iter_mut().find(|known| known.epoch == earlier) {
                Some(known) => known.continued = Some(id),
                None => self.insert(Known { continued: Some(id), ..Known::new(earlier, None, until) }),
            }
        }
        self.insert(Known { continues: after, ..Known::new(epoch, stem, until) });
        while self.epochs.len() > MAX_EPOCHS {
            self.epochs.pop_front();
        }
    }

    fn insert(&mut self, known: Known) {
        let at = self.epochs.partition_point(|held| held.epoch < known.epoch);
        self.epochs.insert(at, known);
    }

    /// The stem that a cursor at `position` carries.
    pub(super) fn stem(&self, position: Position) -> Option<Stem> {
        let known = self.epochs.iter().rev().find(|known| known.epoch == position.epoch)?;
        if known.is_settled_at(position) { None } else { known.stem }
    }

    /// The epoch that continues another one right behind `id`.
    pub(super) fn continued_by(&self, epoch: Epoch, id: PayloadId) -> Option<Epoch> {
        let index = self.epochs.iter().rposition(|known| known.epoch == epoch)?;
        let next = self.epochs.get(index + 1)?;
        // Payloads that this node holds beyond the fork are part of its history: nothing stands right behind `id` then.
        let known = &self.epochs[index];
        (known.continued == Some(id) && known.held <= Some(id)).then_some(next.epoch)
    }

    /// The form of a position that most nodes can read.
    ///
    /// The start of an epoch that continues another one is behind the last payload of that, which also those know who
    /// never heard of this epoch. Not so where this node held more: there, the two are different places.
    pub(super) fn canonical(&self, position: Position) -> Position {
        let same = self.epochs.iter().rev().find(|known| known.epoch == position.epoch);
        match same.and_then(|known| known.continues.filter(|_| known.stem.is_none())) {
            Some((epoch, id)) if position == Position::start_of(position.epoch) => {
                Position::behind(epoch, id)
            }
            _ => position,
        }
    }

    /// Ends the time of stems where it is over.
    pub(super) fn settle(&mut self, now: Duration) {
        let head = self.head();
        for known in &mut self.epochs {
            if known.settled.is_none() && known.until <= now {
                known.settled = head;
            }
        }
    }

    pub(super) fn judge(&self, position: Position, stem: Option<Stem>) -> Judgement {
        let Some(head) = self.head() else { return Judgement::Ahead };
        if position.epoch > head.epoch || position.epoch == head.epoch && !reaches(head, position) {
            return Judgement::Ahead;
        }
        let Some(known) = self.epochs.iter().find(|known| known.epoch == position.epoch) else {
            return Judgement::Foreign;
        };
        let end = known.held.max(known.continued);
        let within = match end {
            Some(end) => position.id <= end,
            None => position == Position::start_of(position.epoch),
        };
        if within && (known.is_settled_at(position) || known.stem == stem) {
            Judgement::Known
        } else {
            Judgement::Foreign
        }
    }
}

impl Known {
    fn new(epoch: Epoch, stem: Option<Stem>, until: Duration) -> Self {
        Self { epoch, held: None, continues: None, continued: None, stem, until, settled: None }
    }

    fn is_settled_at(&self, position: Position) -> bool {
        self.settled.is_some_and(|settled| settled <= position)
    }
}

/// Whether `head` has passed `position` (told gaps count as passed).
pub(super) fn reaches(head: Position, position: Position) -> bool {
    (position.epoch, position.id, position.index.min(Position::WHOLE)) <= (head.epoch, head.id, head.index)
}

/// One name for two forks of which the second came before the first was settled.
///
/// Stems are only compared, so a mixed one needs no meaning, only to be the same on nodes that held the same.
fn mixed(earlier: Stem, later: Stem) -> Stem {
    let mix = earlier.0.0.rotate_left(32) ^ earlier.1.0.wrapping_add(1);
    (later.0, PayloadId(later.1.0 ^ mix.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(120);

    fn behind(epoch: u64, id: u64) -> Position {
        Position::behind(Epoch(epoch), PayloadId(id))
    }

    fn point(epoch: u64, id: u64) -> (Epoch, PayloadId) {
        (Epoch(epoch), PayloadId(id))
    }

    /// A node that held (4, 0..=held) when epoch 5 opened, which continues (4, 7).
    fn forked(held: u64) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.open(Epoch(4), None, Duration::ZERO, SETTLE);
        timeline.received(PayloadId(held));
        timeline.open(Epoch(5), Some(point(4, 7)), Duration::from_secs(1), SETTLE);
        timeline.received(PayloadId(2));
        timeline
    }

    #[test]
    fn a_cursor_from_the_other_side_of_a_fork_is_foreign() {
        let (more, less) = (forked(10), forked(7));
        let stem = |node: &Timeline| node.stem(behind(5, 0));
        assert_eq!((stem(&more), stem(&less)), (Some(point(4, 10)), None));
        assert_eq!(more.stem(behind(4, 6)), None);
        for (node, own, other) in [(&more, stem(&more), None), (&less, None, stem(&more))] {
            assert_eq!(node.judge(behind(5, 0), own), Judgement::Known);
            assert_eq!(node.judge(behind(5, 0), other), Judgement::Foreign);
            assert_eq!(node.judge(behind(4, 6), None), Judgement::Known, "before the fork all are alike");
            assert_eq!(node.judge(behind(5, 3), own), Judgement::Ahead);
            assert_eq!(node.judge(behind(6, 0), own), Judgement::Ahead);
            assert_eq!(node.judge(behind(3, 0), own), Judgement::Foreign, "a forgotten epoch");
        }
        assert_eq!(more.judge(behind(4, 9), None), Judgement::Known, "it still has these");
        assert_eq!(less.judge(behind(4, 9), None), Judgement::Foreign, "it never will");
    }

    #[test]
    fn stems_end_when_no_copy_can_come_any_more() {
        let mut node = forked(10);
        node.settle(Duration::from_secs(120));
        assert!(node.stem(behind(5, 2)).is_some());
        node.settle(Duration::from_secs(121));
        assert_eq!(node.stem(behind(5, 2)), None);
        node.received(PayloadId(5));
        assert_eq!(node.judge(behind(5, 4), None), Judgement::Known);
        assert_eq!(node.judge(behind(5, 1), None), Judgement::Foreign);
    }

    #[test]
    fn a_clean_epoch_hands_its_stem_on_and_a_second_fork_mixes_both() {
        let (mut more, mut less) = (forked(10), forked(7));
        for node in [&mut more, &mut less] {
            node.open(Epoch(6), Some(point(5, 2)), Duration::from_secs(2), SETTLE);
        }
        let stem = |node: &Timeline, epoch| node.stem(Position::start_of(Epoch(epoch)));
        assert_eq!((stem(&more, 6), stem(&less, 6)), (Some(point(4, 10)), None));
        for node in [&mut more, &mut less] {
            node.received(PayloadId(4));
            node.open(Epoch(7), Some(point(6, 0)), Duration::from_secs(3), SETTLE);
        }
        assert_eq!(stem(&less, 7), Some(point(6, 4)));
        assert_ne!(stem(&more, 7), stem(&less, 7));
    }

    #[test]
    fn the_start_of_an_epoch_is_part_of_it() {
        let mut node = Timeline::default();
        assert_eq!(node.judge(behind(1, 0), None), Judgement::Ahead);
        node.open(Epoch(5), Some(point(4, 7)), Duration::ZERO, SETTLE);
        assert_eq!(node.judge(Position::start_of(Epoch(5)), None), Judgement::Known);
        assert_eq!(node.judge(behind(4, 7), None), Judgement::Known);
        assert_eq!(node.judge(behind(4, 8), None), Judgement::Foreign);
    }
}
