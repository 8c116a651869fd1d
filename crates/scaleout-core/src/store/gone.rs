//! What has left the ring: the last position of every channel that was evicted lately.

use std::mem;

use hashbrown::HashMap;

use crate::Position;

/// Channels remembered in each of two generations; 24 bytes of position and 8 of hash each.
const GENERATION: usize = 4_096;

/// Answers whether a message of a channel at or behind a position has left the ring.
///
/// Exact for the channels evicted last, and on the safe side ("may have") for all before them. Channels are known by
/// their keyed hash; a collision could only tell a gap too much, once in 2^64.
#[derive(Debug, Default)]
pub(super) struct Gone {
    young: HashMap<u64, Position>,
    old: HashMap<u64, Position>,
    /// The newest evicted position of all channels that were forgotten here.
    floor: Option<Position>,
}

impl Gone {
    pub(super) fn note(&mut self, channel_hash: u64, position: Position) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&channel_hash) {
            let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.floor = self.floor.max(forgotten.into_values().max());
        }
        self.young.insert(channel_hash, position);
    }

    pub(super) fn may_have_lost(&self, channel_hash: u64, since: Position) -> bool {
        let last = self.young.get(&channel_hash).max(self.old.get(&channel_hash));
        last.is_some_and(|last| *last >= since) || self.floor.is_some_and(|floor| floor >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, PayloadId};

    #[test]
    fn forgets_on_the_safe_side() {
        let at = |id| Position::before(Epoch(1), PayloadId(id));
        let mut gone = Gone::default();
        gone.note(7, at(5));
        assert!(gone.may_have_lost(7, at(5)) && !gone.may_have_lost(7, at(6)));
        assert!(!gone.may_have_lost(8, at(0)));
        for hash in 0..(GENERATION as u64 * 3) {
            gone.note(1_000_000 + hash, at(10 + hash));
        }
        assert!(gone.may_have_lost(7, at(5)), "forgotten channels may have lost what is before the floor");
        assert!(!gone.may_have_lost(8, at(1_000_000)), "nothing was evicted behind the floor");
    }
}
