//! How far one reception has come, and what it holds back, as a plain value.
//!
//! The ids of a topic have no holes, as far as is known. Where one is missing, it may be on its way: a message that was
//! sent over a link that broke belongs to that link until its lock is over, and comes again then, behind later ones. What
//! follows such a hole is held back for as long as a lock lasts, and what is missing then is told. Where that was in vain too
//! often, ids prove nothing: only what follows a broken link is held back, and the numbers of frames show what is missing.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use scaleout_core::{Epoch, Event, PayloadId};
use tokio::time::Instant;

use crate::wire::Delivery;

/// Messages that are held back before the subscription is left alone until a hole may fill.
const MAX_MESSAGES: usize = 1_024;
/// The same for their bytes.
const MAX_BYTES: usize = 8 << 20;
/// How long after the end of a lock the message may take to come again.
const GRACE: Duration = Duration::from_secs(1);
/// Holes that did not fill until ids count as having holes.
const MAX_VAIN: u32 = 3;
/// Ids without a hole between them after which holes count anew, where nothing waits for them.
const DENSE: u32 = 64;

/// How far a reception has come. It lives through links, subscriptions and epochs.
#[derive(Debug)]
pub(crate) struct Course {
    /// How long a message belongs to a link that is gone; `None` where it is lost with it.
    lock: Option<Duration>,
    epoch: Option<Epoch>,
    /// The last id that was passed on, or that is none of this reception's business.
    stand: u64,
    /// What came behind a hole.
    held: BTreeMap<u64, Bytes>,
    held_bytes: usize,
    /// Since when the hole is known.
    hole_since: Option<Instant>,
    /// When the last link was lost, or was tried for last.
    lost_at: Option<Instant>,
    /// When something came, or the reception was opened, for the last time.
    heard_at: Option<Instant>,
    /// Holes that did not fill.
    vain: u32,
    /// Ids since the last hole.
    dense: u32,
    /// Where it was told last that something may be missing.
    told_at: Option<u64>,
}

impl Course {
    pub(crate) fn new(lock: Option<Duration>) -> Self {
        Self {
            lock,
            epoch: None,
            stand: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            hole_since: None,
            lost_at: None,
            heard_at: None,
            vain: 0,
            dense: 0,
            told_at: None,
        }
    }

    /// Whether it was opened before.
    pub(crate) fn has_begun(&self) -> bool {
        self.epoch.is_some()
    }

    /// The epoch it is in, and the last id that was passed on there.
    pub(crate) fn position(&self) -> Option<(Epoch, u64)> {
        self.epoch.map(|epoch| (epoch, self.stand))
    }

    /// Begins behind `head`: for the first time, or since what was before it may be lost.
    pub(crate) fn begin(&mut self, epoch: Epoch, head: u64, unbroken: bool) -> Event {
        if self.epoch != Some(epoch) {
            self.held.clear();
        }
        self.epoch = Some(epoch);
        self.stand = head;
        self.told_at = (!unbroken).then_some(head);
        self.held = self.held.split_off(&head.saturating_add(1));
        self.held_bytes = self.held.values().map(Bytes::len).sum();
        self.hole_since = None;
        // What the old link had is not waited for any more.
        self.lost_at = None;
        opened(epoch, head, unbroken)
    }

    /// Goes on where it stood, over a new link; the topic has ids up to `head` at least.
    ///
    /// Where that link may have lost something, the gap is where it stood: all up to `head` would be told as lost otherwise.
    pub(crate) fn go_on(&mut self, epoch: Epoch, head: u64, unbroken: bool) -> Event {
        if unbroken {
            return opened(epoch, head.max(self.stand), true);
        }
        self.told_at = Some(self.stand);
        opened(epoch, self.stand, false)
    }

    /// Takes a message; one that came before is passed over.
    pub(crate) fn take(&mut self, delivery: Delivery) {
        if delivery.id <= self.stand {
            return;
        }
        let bytes = delivery.payload.len();
        if self.held.insert(delivery.id, delivery.payload).is_none() {
            self.held_bytes += bytes;
        }
    }

    /// The greatest id that it has.
    pub(crate) fn last(&self) -> u64 {
        self.held.last_key_value().map_or(self.stand, |(id, _)| *id)
    }

    /// The link is gone.
    pub(crate) fn lost(&mut self, now: Instant) {
        self.lost_at = Some(now);
    }

    /// Something came over the link: all that was sent earlier has come, or is on its way.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// For how long nothing was heard.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        self.heard_at.map_or(Duration::ZERO, |heard| now.duration_since(heard))
    }

    /// Adds to `events` what may be passed on now.
    pub(crate) fn release(&mut self, now: Instant, events: &mut Vec<Event>) {
        while let Some((&id, _)) = self.held.first_key_value() {
            if id > self.stand + 1 {
                let since = *self.hole_since.get_or_insert(now);
                if self.fills_until(since).is_some_and(|until| now < until) && !self.overflows() {
                    return;
                }
                self.vain = self.vain.saturating_add(1);
                self.dense = 0;
                events.extend(self.broken());
            }
            self.dense = self.dense.saturating_add(1);
            if self.lock.is_none() && self.dense >= DENSE {
                self.vain = 0;
            }
            self.hole_since = None;
            if let Some((_, payload)) = self.held.pop_first() {
                self.held_bytes -= payload.len();
                self.stand = id;
                events.push(Event::Payload { id: PayloadId(id), bytes: payload });
            }
        }
    }

    /// What tells of the hole behind where it stands: the next frame of each node that has one in it would tell as well, but
    /// there may be none for long.
    fn broken(&mut self) -> Option<Event> {
        let is_told = self.told_at.replace(self.stand) == Some(self.stand);
        let is_loss = self.vain <= MAX_VAIN && !is_told;
        self.epoch.filter(|_| is_loss).map(|epoch| opened(epoch, self.stand, false))
    }

    /// When to release again although nothing came.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.hole_since.and_then(|since| self.fills_until(since))
    }

    /// Until when nothing should be received, since there is too much that waits for a hole, which fills later.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        let is_full = self.held.len() >= MAX_MESSAGES || self.held_bytes >= MAX_BYTES;
        self.deadline().filter(|_| is_full).and_then(|until| until.checked_sub(GRACE))
    }

    /// Whether it has all it may have before it is known where it begins.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= MAX_MESSAGES || self.held_bytes >= MAX_BYTES
    }

    fn overflows(&self) -> bool {
        self.held.len() >= 2 * MAX_MESSAGES || self.held_bytes >= 2 * MAX_BYTES
    }

    /// Until when a hole that is known since then may fill.
    fn fills_until(&self, since: Instant) -> Option<Instant> {
        let wait = self.lock? + GRACE;
        let after_link = self.lost_at.map(|lost| lost + wait);
        let by_ids = (self.vain < MAX_VAIN).then(|| since + wait);
        after_link.max(by_ids)
    }
}

fn opened(epoch: Epoch, head: u64, unbroken: bool) -> Event {
    Event::Opened { epoch, after: None, head: (epoch, Some(PayloadId(head))), unbroken }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: Duration = Duration::from_secs(5);

    fn delivery(id: u64) -> Delivery {
        Delivery { id, message_id: None, payload: Bytes::from_static(b"frame") }
    }

    fn ids(course: &mut Course, now: Instant) -> Vec<u64> {
        released(course, now).0
    }

    /// Ids, and before which of them it is told that something may be missing.
    fn released(course: &mut Course, now: Instant) -> (Vec<u64>, Vec<u64>) {
        let (mut events, mut ids, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        course.release(now, &mut events);
        let mut is_broken = false;
        for event in events {
            match event {
                Event::Opened { unbroken: false, .. } => is_broken = true,
                Event::Payload { id, .. } => {
                    ids.push(id.0);
                    gaps.extend(std::mem::take(&mut is_broken).then_some(id.0));
                }
                event => panic!("{event:?}"),
            }
        }
        (ids, gaps)
    }

    fn begun(head: u64) -> Course {
        let mut course = Course::new(Some(LOCK));
        course.begin(Epoch(1), head, true);
        course
    }

    #[test]
    fn what_is_in_order_passes_at_once_and_nothing_passes_twice() {
        let (mut course, now) = (begun(4), Instant::now());
        for id in [3, 4, 5, 6, 5] {
            course.take(delivery(id));
        }
        assert_eq!(ids(&mut course, now), [5, 6]);
        course.take(delivery(6));
        assert_eq!(ids(&mut course, now), [] as [u64; 0]);
        assert_eq!(course.deadline(), None);
    }

    #[test]
    fn what_follows_a_hole_waits_until_it_fills() {
        let (mut course, now) = (begun(4), Instant::now());
        course.lost(now);
        course.take(delivery(7));
        assert_eq!(ids(&mut course, now), [] as [u64; 0]);
        assert_eq!(course.deadline(), Some(now + LOCK + GRACE));
        course.take(delivery(5));
        assert_eq!(ids(&mut course, now + LOCK), [5]);
        course.take(delivery(6));
        assert_eq!(ids(&mut course, now + LOCK), [6, 7]);
    }

    #[test]
    fn a_hole_that_does_not_fill_is_passed_over_and_what_comes_too_late_is_dropped() {
        let (mut course, now) = (begun(4), Instant::now());
        course.take(delivery(7));
        assert_eq!(ids(&mut course, now), [] as [u64; 0]);
        assert_eq!(released(&mut course, now + LOCK + GRACE), (vec![7], vec![7]));
        course.take(delivery(6));
        assert_eq!(ids(&mut course, now + LOCK + GRACE), [] as [u64; 0]);
    }

    #[test]
    fn ids_that_have_holes_hold_up_nothing_but_what_follows_a_broken_link() {
        let (mut course, mut now) = (begun(0), Instant::now());
        for id in [2, 4, 6] {
            course.take(delivery(id));
            assert_eq!(ids(&mut course, now), [] as [u64; 0]);
            now += LOCK + GRACE;
            assert_eq!(ids(&mut course, now), [id]);
        }
        course.take(delivery(8));
        // The numbers of frames tell what is missing.
        assert_eq!(released(&mut course, now), (vec![8], vec![]));
        course.lost(now);
        course.take(delivery(10));
        assert_eq!(ids(&mut course, now), [] as [u64; 0]);
        assert_eq!(ids(&mut course, now + LOCK + GRACE), [10]);
    }

    #[test]
    fn what_is_lost_with_its_link_is_told_once_and_not_waited_for() {
        let (mut course, now) = (Course::new(None), Instant::now());
        course.begin(Epoch(1), 4, true);
        course.lost(now);
        course.go_on(Epoch(1), 9, false);
        course.take(delivery(7));
        assert_eq!(released(&mut course, now), (vec![7], vec![]));
        // By then the service may not know yet that the old link is gone.
        course.take(delivery(9));
        assert_eq!(released(&mut course, now), (vec![9], vec![9]));
    }

    #[test]
    fn holes_count_anew_after_many_ids_without_one_where_nothing_waits_for_them() {
        let (mut course, now) = (Course::new(None), Instant::now());
        course.begin(Epoch(1), 0, true);
        let mut take = |id| {
            course.take(delivery(id));
            released(&mut course, now).1
        };
        for (id, told) in [(2, vec![2]), (4, vec![4]), (6, vec![6]), (8, vec![])] {
            assert_eq!(take(id), told);
        }
        for id in 9..9 + u64::from(DENSE) {
            assert_eq!(take(id), [] as [u64; 0]);
        }
        assert_eq!(take(100), [100]);
    }

    #[test]
    fn too_much_behind_a_hole_rests_until_the_lock_is_over_and_then_passes() {
        let (mut course, now) = (begun(0), Instant::now());
        for id in 2..2 + MAX_MESSAGES as u64 {
            course.take(delivery(id));
        }
        assert_eq!(ids(&mut course, now), [] as [u64; 0]);
        assert_eq!(course.rests_until(), Some(now + LOCK));
        for id in 2 + MAX_MESSAGES as u64..2 + 2 * MAX_MESSAGES as u64 {
            course.take(delivery(id));
        }
        assert_eq!(ids(&mut course, now).len(), 2 * MAX_MESSAGES);
    }

    #[test]
    fn silence_lasts_from_what_was_heard_last_whatever_links_there_were() {
        let (mut course, now) = (begun(4), Instant::now());
        assert_eq!(course.silence(now + LOCK), Duration::ZERO);
        course.heard(now);
        course.lost(now + LOCK);
        course.go_on(Epoch(1), 9, true);
        assert_eq!(course.silence(now + 2 * LOCK), 2 * LOCK);
    }

    #[test]
    fn what_may_be_lost_is_told_where_it_stood() {
        let mut course = begun(4);
        for (unbroken, told) in [(true, 9), (false, 4)] {
            let event = course.go_on(Epoch(1), 9, unbroken);
            let Event::Opened { head, unbroken: is_told, .. } = event else { panic!("{event:?}") };
            assert_eq!((head, is_told), ((Epoch(1), Some(PayloadId(told))), unbroken));
        }
    }

    #[test]
    fn a_new_beginning_drops_what_was_before_it() {
        let (mut course, now) = (begun(4), Instant::now());
        for id in [6, 9, 10] {
            course.take(delivery(id));
        }
        assert_eq!(ids(&mut course, now), [] as [u64; 0]);
        let event = course.begin(Epoch(1), 8, false);
        assert!(matches!(event, Event::Opened { unbroken: false, .. }));
        assert_eq!(ids(&mut course, now), [9, 10]);
    }
}
