//! Bounds of a whole bus, shared by its streams without a lock.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use crate::StreamIndex;

/// Bytes that the streams of a bus keep together, and which stream keeps the oldest of them.
///
/// Adding never fails: whoever adds looks at [`over`](Self::over) and lets the oldest go.
#[derive(Debug)]
pub(crate) struct SharedBudget {
    limit: usize,
    used: AtomicUsize,
    /// When the oldest item of each stream was kept, in µs since the bus started; [`EMPTY`] where there is none.
    oldest: Box<[AtomicU64]>,
}

const EMPTY: u64 = u64::MAX;

impl SharedBudget {
    pub(crate) fn new(limit: usize, stream_count: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            oldest: (0..stream_count).map(|_| AtomicU64::new(EMPTY)).collect(),
        }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn sub(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Whether more is kept than may be.
    pub(crate) fn over(&self) -> bool {
        self.used() > self.limit
    }

    /// Notes when the oldest item of `stream` was kept; `None`: it has no item.
    pub(crate) fn set_oldest(&self, stream: StreamIndex, micros: Option<u64>) {
        self.oldest[stream.index()].store(micros.unwrap_or(EMPTY), Relaxed);
    }

    /// The stream with the oldest item of all.
    pub(crate) fn oldest_stream(&self) -> Option<StreamIndex> {
        let ages = self.oldest.iter().map(|micros| micros.load(Relaxed)).zip(0..);
        let (micros, index) = ages.min()?;
        (micros != EMPTY).then_some(StreamIndex(index))
    }
}

/// Messages and bytes that wait to be sent on all streams of a bus.
///
/// Those that wait for room (`Overflow::Wait`) are counted apart, against the same limits again.
#[derive(Debug)]
pub(crate) struct QueueBudget {
    queue: PairBudget,
    room: PairBudget,
    /// Whether places were given back since somebody last asked.
    freed: AtomicBool,
}

impl QueueBudget {
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            queue: PairBudget::new(max_messages, max_bytes),
            room: PairBudget::new(max_messages, max_bytes),
            freed: AtomicBool::new(false),
        }
    }

    /// Takes a place in the queue for one message of `bytes`.
    pub(crate) fn try_reserve(&self, bytes: usize) -> bool {
        self.queue.try_add(bytes)
    }

    /// Takes a place in the queue, also beyond its limits.
    pub(crate) fn reserve(&self, bytes: usize) {
        self.queue.add(bytes);
    }

    /// Takes a place in the waiting room, also beyond its limits.
    pub(crate) fn wait(&self, bytes: usize) {
        self.room.add(bytes);
    }

    /// Gives back the places of `messages` messages with `bytes` together.
    pub(crate) fn release(&self, messages: usize, bytes: usize) {
        self.queue.sub(messages, bytes);
        self.freed.store(true, SeqCst);
    }

    /// Whether places were given back, since the last call, that somebody waits for.
    pub(crate) fn take_freed(&self) -> bool {
        self.waiters() > 0 && self.freed.swap(false, SeqCst)
    }

    /// Takes a place in the waiting room.
    pub(crate) fn try_wait(&self, bytes: usize) -> bool {
        // What never fits the queue would only block the room.
        bytes <= self.queue.max_bytes && self.room.try_add(bytes)
    }

    pub(crate) fn release_room(&self, messages: usize, bytes: usize) {
        self.room.sub(messages, bytes);
    }

    /// Moves one message of `bytes` from the waiting room to the queue, if it fits.
    pub(crate) fn try_admit(&self, bytes: usize) -> bool {
        let admitted = self.queue.try_add(bytes);
        if admitted {
            self.room.sub(1, bytes);
        }
        admitted
    }

    /// Whether a message of `bytes` fits once `freed` bytes and messages of the queue are gone.
    pub(crate) fn would_fit(&self, bytes: usize, freed: (usize, usize)) -> bool {
        let (messages, used) = self.queue.used();
        messages.saturating_sub(freed.0) < self.queue.max_messages
            && used.saturating_sub(freed.1) + bytes <= self.queue.max_bytes
    }

    /// Messages that wait for room, on all streams.
    pub(crate) fn waiters(&self) -> usize {
        self.room.used().0
    }

    /// Messages and bytes in the queue, those in a tried frame included.
    pub(crate) fn used(&self) -> (usize, usize) {
        self.queue.used()
    }

    /// Messages and bytes that wait for room.
    #[cfg(test)]
    pub(crate) fn room_used(&self) -> (usize, usize) {
        self.room.used()
    }
}

/// A bound on messages and bytes at once.
///
/// Both counts share one word, so that a reservation takes both or none: one that took a message and then gave it
/// back for lack of bytes could make another stream find no room, and nobody would tell that stream to look again.
/// Its accesses are sequentially consistent: of one who joins the room and then looks for a place, and one who gives a
/// place back and then looks into the room, at least one sees the other.
#[derive(Debug)]
struct PairBudget {
    max_messages: usize,
    max_bytes: usize,
    /// Messages above [`BYTE_BITS`] bits of bytes.
    used: AtomicU64,
}

/// 64 GiB of bytes and 268 million messages; greater limits are cut to that.
const BYTE_BITS: u32 = 36;
const BYTE_MASK: u64 = (1 << BYTE_BITS) - 1;

impl PairBudget {
    fn new(max_messages: usize, max_bytes: usize) -> Self {
        let cut = |limit: usize, max: u64| limit.min(usize::try_from(max).unwrap_or(usize::MAX));
        Self {
            max_messages: cut(max_messages, u64::MAX >> BYTE_BITS),
            max_bytes: cut(max_bytes, BYTE_MASK),
            used: AtomicU64::new(0),
        }
    }

    fn try_add(&self, bytes: usize) -> bool {
        let add = |used| {
            let (messages, used_bytes) = unpack(used);
            let fits = messages < self.max_messages && bytes <= self.max_bytes.saturating_sub(used_bytes);
            fits.then(|| used + pack(1, bytes))
        };
        self.used.fetch_update(SeqCst, SeqCst, add).is_ok()
    }

    fn add(&self, bytes: usize) {
        self.used.fetch_add(pack(1, bytes), SeqCst);
    }

    fn sub(&self, messages: usize, bytes: usize) {
        self.used.fetch_sub(pack(messages, bytes), SeqCst);
    }

    fn used(&self) -> (usize, usize) {
        unpack(self.used.load(SeqCst))
    }
}

fn pack(messages: usize, bytes: usize) -> u64 {
    ((messages as u64) << BYTE_BITS) + bytes as u64
}

fn unpack(used: u64) -> (usize, usize) {
    // Both parts were a usize when they were packed.
    ((used >> BYTE_BITS) as usize, (used & BYTE_MASK) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_takes_messages_and_bytes_or_nothing() {
        let budget = QueueBudget::new(2, 100);
        assert!(budget.try_reserve(60));
        assert!(!budget.try_reserve(41));
        assert_eq!(budget.used(), (1, 60));
        assert!(budget.try_reserve(40));
        assert!(!budget.try_reserve(0));
        budget.release(2, 100);
        assert_eq!(budget.used(), (0, 0));
    }

    #[test]
    fn limits_beyond_the_word_are_cut() {
        let budget = QueueBudget::new(usize::MAX, usize::MAX);
        assert!(budget.try_reserve(1 << 35) && !budget.try_reserve(1 << 36));
        assert_eq!(budget.used(), (1, 1 << 35));
    }

    #[test]
    fn the_room_has_limits_of_its_own() {
        let budget = QueueBudget::new(1, 10);
        assert!(budget.try_reserve(10) && budget.try_wait(10) && !budget.try_wait(1));
        assert!(!budget.try_admit(10));
        budget.release(1, 10);
        assert!(budget.try_admit(10));
        assert_eq!((budget.used(), budget.room_used()), ((1, 10), (0, 0)));
        assert!(!budget.try_wait(11), "it could never be admitted");
    }

    #[test]
    fn the_stream_with_the_oldest_item_is_found() {
        let budget = SharedBudget::new(10, 3);
        assert_eq!(budget.oldest_stream(), None);
        budget.set_oldest(StreamIndex(2), Some(5));
        budget.set_oldest(StreamIndex(0), Some(7));
        assert_eq!(budget.oldest_stream(), Some(StreamIndex(2)));
        budget.set_oldest(StreamIndex(2), None);
        assert_eq!(budget.oldest_stream(), Some(StreamIndex(0)));
        budget.add(11);
        assert!(budget.over());
        budget.sub(1);
        assert!(!budget.over());
    }
}
