//! A message's place in a node's own ring.

/// The place of a message: the ordinal of its entry in this node's ring, and its index in the frame.
///
/// Packed into one word (44 bits of ordinal, 20 bits of index), since the channel index holds one for every message.
/// 2^44 entries are five years at 100,000 entries a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

const INDEX_BITS: u32 = 20;

impl Place {
    /// Messages that a frame may hold, so that every index fits.
    #[cfg(test)]
    pub(crate) const MAX_MESSAGES: usize = 1 << INDEX_BITS;

    pub(crate) fn new(ordinal: u64, index: u32) -> Self {
        Self(ordinal << INDEX_BITS | u64::from(index.min((1 << INDEX_BITS) - 1)))
    }

    /// The place before the first message of an entry.
    pub(crate) fn entry(ordinal: u64) -> Self {
        Self(ordinal << INDEX_BITS)
    }

    pub(crate) fn ordinal(self) -> u64 {
        self.0 >> INDEX_BITS
    }

    pub(crate) fn index(self) -> u32 {
        u32::try_from(self.0 & ((1 << INDEX_BITS) - 1)).expect("20 bits fit a u32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_order_by_entry_then_index() {
        let last = u32::try_from(Place::MAX_MESSAGES - 1).unwrap();
        assert!(Place::new(1, last) < Place::entry(2));
        assert!(Place::entry(2) < Place::new(2, 1));
        let place = Place::new(77, 5);
        assert_eq!((place.ordinal(), place.index()), (77, 5));
    }
}
