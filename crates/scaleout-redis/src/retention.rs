//! How far back a stream is kept, as a plain value: by bytes and by age of what this node has seen of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use scaleout_core::provider::Place;

/// Retention is dropped in this many steps, so that what is remembered stays small.
const BUCKETS: usize = 64;

/// A part of the bytes to keep, by which they may be exceeded before the server is told at once.
const URGENT_PART: usize = 8;

/// What this node knows of the sizes and ages of a stream's last entries.
#[derive(Debug)]
pub(crate) struct Retention {
    max_bytes: usize,
    max_age: Duration,
    buckets: VecDeque<Bucket>,
    bytes: usize,
    last: Option<Place>,
    floor: Option<Place>,
    /// The last floor that was asked for.
    told: Option<Place>,
    /// Bytes that have to go since then.
    untold_bytes: usize,
}

/// Entries that are dropped together.
#[derive(Debug)]
struct Bucket {
    first: Place,
    bytes: usize,
    /// When its first and its last entry was seen.
    began: Instant,
    ended: Instant,
}

impl Retention {
    pub(crate) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            max_bytes,
            max_age,
            buckets: VecDeque::new(),
            bytes: 0,
            last: None,
            floor: None,
            told: None,
            untold_bytes: 0,
        }
    }

    /// Takes note of an entry; one that was noted before, or is older, changes nothing.
    pub(crate) fn note(&mut self, place: Place, bytes: usize, now: Instant) {
        if self.last >= Some(place) {
            return;
        }
        self.last = Some(place);
        self.bytes += bytes;
        let (bucket_bytes, bucket_age) = (self.max_bytes / BUCKETS, self.max_age / BUCKETS as u32);
        match self.buckets.back_mut() {
            Some(bucket) if bucket.bytes + bytes <= bucket_bytes && now - bucket.began <= bucket_age => {
                bucket.bytes += bytes;
                bucket.ended = now;
            }
            _ => self.buckets.push_back(Bucket { first: place, bytes, began: now, ended: now }),
        }
        self.pass(now);
    }

    /// The oldest entry to keep; `None` while nothing has to go.
    ///
    /// It never is behind the newest entry seen: that one always stays (rule 7 of the contract).
    pub(crate) fn floor(&mut self, now: Instant) -> Option<Place> {
        self.pass(now);
        self.told = self.floor;
        self.untold_bytes = 0;
        self.floor
    }

    /// Whether so much has to go that the server should be told soon.
    pub(crate) fn is_urgent(&self) -> bool {
        self.untold_bytes > self.max_bytes / URGENT_PART
    }

    /// The same, if it was not asked for before.
    pub(crate) fn untold_floor(&mut self, now: Instant) -> Option<Place> {
        let told = self.told;
        self.floor(now).filter(|floor| Some(*floor) > told)
    }

    fn pass(&mut self, now: Instant) {
        while let (Some(front), Some(next)) = (self.buckets.front(), self.buckets.get(1)) {
            let is_surplus = self.bytes - front.bytes >= self.max_bytes;
            if !is_surplus && now.saturating_duration_since(front.ended) <= self.max_age {
                break;
            }
            self.floor = Some(next.first);
            self.bytes -= front.bytes;
            self.untold_bytes += front.bytes;
            self.buckets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(64);

    fn place(id: u64) -> Place {
        Place { epoch: 7, id }
    }

    #[test]
    fn what_is_surplus_goes_in_steps_and_the_bytes_asked_for_stay() {
        let (mut retention, now) = (Retention::new(6_400, AGE), Instant::now());
        for id in 0..64 {
            retention.note(place(id), 100, now);
            assert_eq!(retention.floor(now), None);
        }
        for id in 64..1_000 {
            retention.note(place(id), 100, now);
            let floor = retention.floor(now).expect("something has to go");
            assert!((63..66).contains(&(id - floor.id)), "{id} {floor:?}");
        }
    }

    #[test]
    fn a_surplus_that_the_server_was_not_told_of_becomes_urgent() {
        let (mut retention, now) = (Retention::new(6_400, AGE), Instant::now());
        let mut next = 0;
        for _ in 0..3 {
            let first = next;
            while !retention.is_urgent() {
                retention.note(place(next), 100, now);
                next += 1;
            }
            assert!(next - first >= 8 && next <= 64 + first + 10, "{first} to {next}");
            assert!(retention.untold_floor(now).is_some());
            assert!(!retention.is_urgent());
        }
    }

    #[test]
    fn what_is_too_old_goes_but_the_newest_stays() {
        let (mut retention, start) = (Retention::new(1 << 20, AGE), Instant::now());
        for id in 0..10 {
            retention.note(place(id), 10, start + Duration::from_secs(id * 2));
        }
        let later = start + Duration::from_secs(10) + AGE;
        let floor = retention.floor(later).expect("the first are too old");
        assert!((4..=6).contains(&floor.id), "{floor:?}");
        let floor = retention.floor(start + 10 * AGE).expect("all but the newest are too old");
        assert_eq!(floor, place(9));
    }

    #[test]
    fn an_entry_seen_twice_counts_once_and_memory_stays_small() {
        let (mut retention, now) = (Retention::new(1_000, AGE), Instant::now());
        for id in 0..10_000 {
            retention.note(place(id), 1, now);
            retention.note(place(id), 1, now);
        }
        assert!(retention.buckets.len() < 2 * BUCKETS, "{}", retention.buckets.len());
        let floor = retention.floor(now).expect("nine of ten have to go");
        assert!(10_000 - floor.id >= 1_000, "{floor:?}");
    }
}
