//! What a receiver counts, and what a publisher writes into messages so that it can.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::{
    clock::now,
    words::{Received, Times},
};

/// Bytes of a payload that are ours: the number of the message, and when it was published, or 0.
pub(super) const HEADER: usize = 16;

/// At full speed one message of so many is stamped, so that looking at the clock does not slow it down.
pub(super) const STAMP_EVERY: u64 = 64;

/// Between two signs of how far a receiver is, in ns.
const TELL_EVERY: u64 = 5_000_000;

/// A payload of `size` bytes; `sent` is 0 where it is not stamped.
pub(super) fn payload(size: usize, number: u64, sent: u64) -> Vec<u8> {
    let mut payload = vec![b'x'; size];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload[8..HEADER].copy_from_slice(&sent.to_le_bytes());
    payload
}

/// Counts times in ns, up to a minute, with three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds that fit each other")
}

/// What a histogram holds, for another process.
pub(super) fn times(histogram: &Histogram<u64>) -> Times {
    Times(histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
}

/// The messages of one channel by their numbers there, which one publisher counts from 0.
#[derive(Debug, Default)]
struct Lane {
    next: u64,
    /// What was skipped so far, from a number up to another one.
    missing: BTreeMap<u64, u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    InOrder,
    Late,
    Again,
}

impl Lane {
    fn take(&mut self, number: u64) -> Place {
        if number >= self.next {
            if number > self.next {
                self.missing.insert(self.next, number);
            }
            self.next = number + 1;
            return Place::InOrder;
        }
        let Some((&from, &to)) = self.missing.range(..=number).next_back().filter(|(_, to)| number < **to)
        else {
            return Place::Again;
        };
        self.missing.remove(&from);
        if from < number {
            self.missing.insert(from, number);
        }
        if number + 1 < to {
            self.missing.insert(number + 1, to);
        }
        Place::Late
    }
}

/// Counts the messages of a run.
#[derive(Debug)]
pub(super) struct Tally {
    lanes: Vec<Lane>,
    /// Different ones, since the run began.
    received: u64,
    /// Where this phase began.
    before: u64,
    /// The number behind the highest one that came.
    behind: u64,
    told: (u64, u64),
    tell_every: u64,
    duplicates: u64,
    reordered: u64,
    gaps: u64,
    gap: Option<String>,
    latencies: Histogram<u64>,
}

impl Tally {
    /// For so many channels; `max_ahead` is how many messages the publisher is ahead of it at most.
    pub(super) fn new(channels: u64, max_ahead: u64) -> Self {
        Self {
            lanes: (0..channels).map(|_| Lane::default()).collect(),
            received: 0,
            before: 0,
            behind: 0,
            told: (0, 0),
            tell_every: (max_ahead / 8).clamp(1, STAMP_EVERY),
            duplicates: 0,
            reordered: 0,
            gaps: 0,
            gap: None,
            latencies: histogram(),
        }
    }

    /// Begins a phase.
    pub(super) fn begin(&mut self) {
        self.before = self.received;
        self.latencies.reset();
    }

    pub(super) fn take(&mut self, payload: &[u8]) {
        let word = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        let (Some(number), Some(sent)) = (word(0), word(8)) else {
            return self.gap("a payload that no publisher of this run wrote".into());
        };
        let channels = self.lanes.len() as u64;
        let (lane, place) = if channels == 1 { (0, number) } else { (number % channels, number / channels) };
        match self.lanes[lane as usize].take(place) {
            Place::InOrder => {}
            Place::Late => self.reordered += 1,
            Place::Again => {
                self.duplicates += 1;
                return;
            }
        }
        self.received += 1;
        self.behind = self.behind.max(number + 1);
        if sent != 0 {
            self.latencies.saturating_record(now().saturating_sub(sent).max(1));
        }
    }

    pub(super) fn gap(&mut self, what: String) {
        self.gaps += 1;
        self.gap.get_or_insert(what);
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// How far it is, now and then, for the publisher to know.
    pub(super) fn due(&mut self) -> Option<u64> {
        if !self.received.is_multiple_of(self.tell_every) {
            return None;
        }
        let now = now();
        if now < self.told.1 + TELL_EVERY {
            return None;
        }
        self.tell(now)
    }

    /// How far it is, if that was not told yet.
    pub(super) fn tell(&mut self, now: u64) -> Option<u64> {
        let is_news = self.behind != self.told.0;
        self.told = (self.behind, now);
        is_news.then_some(self.behind)
    }

    /// The sum of a phase, after which `sent` messages had been sent since the run began, and which ended at `last`.
    pub(super) fn sum(&self, sent: u64, last: u64, cpu: Option<u64>) -> Received {
        Received {
            received: self.received - self.before,
            last,
            cpu,
            lost: sent.saturating_sub(self.received),
            duplicates: self.duplicates,
            reordered: self.reordered,
            gaps: self.gaps,
            gap: self.gap.clone(),
            latencies: times(&self.latencies),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts these numbers, all that was sent being `sent`.
    fn counted(channels: u64, numbers: impl IntoIterator<Item = u64>, sent: u64) -> Received {
        let mut tally = Tally::new(channels, 1_000);
        for number in numbers {
            tally.take(&payload(HEADER, number, 0));
        }
        tally.sum(sent, 0, None)
    }

    #[test]
    fn messages_in_order_are_sound() {
        let sum = counted(3, 0..1_000, 1_000);
        assert_eq!((sum.received, sum.lost, sum.duplicates, sum.reordered), (1_000, 0, 0, 0));
    }

    #[test]
    fn channels_need_no_order_among_each_other() {
        let sum = counted(2, [1, 3, 0, 5, 2, 4], 6);
        assert_eq!((sum.received, sum.lost, sum.duplicates, sum.reordered), (6, 0, 0, 0));
    }

    #[test]
    fn what_is_missing_is_lost_also_at_the_end() {
        let sum = counted(1, (0..100).filter(|number| !(10..20).contains(number)), 105);
        assert_eq!((sum.received, sum.lost, sum.duplicates), (90, 15, 0));
    }

    #[test]
    fn what_comes_twice_is_a_duplicate_and_what_comes_late_is_out_of_order() {
        let sum = counted(1, [0, 1, 5, 3, 3, 2, 4, 4, 1, 5], 6);
        assert_eq!((sum.received, sum.lost, sum.duplicates, sum.reordered), (6, 0, 4, 3));
    }

    #[test]
    fn a_payload_of_somebody_else_is_told() {
        let mut tally = Tally::new(1, 1_000);
        tally.take(b"short");
        assert_eq!(tally.sum(0, 0, None).gaps, 1);
    }

    #[test]
    fn how_far_a_receiver_is_counts_what_was_skipped() {
        let mut tally = Tally::new(1, 1);
        tally.take(&payload(HEADER, 7, 0));
        assert_eq!(tally.due(), Some(8));
        assert_eq!(tally.tell(now()), None);
    }
}
