//! Places in a stream of a store.

use crate::{Epoch, PayloadId};

/// Where an entry of a stream stands; places order as the history does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The epoch of the entry, as in [`Epoch`].
    pub epoch: u64,
    /// Its id within the epoch, as in [`PayloadId`].
    pub id: u64,
}

impl Place {
    /// Before every entry: a store gives no entry the id 0 in epoch 0.
    pub const START: Self = Self { epoch: 0, id: 0 };

    /// The place as an [`Event`](crate::Event) tells it.
    #[must_use]
    pub fn position(self) -> (Epoch, PayloadId) {
        (Epoch(self.epoch), PayloadId(self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_epoch_comes_after_every_id_of_an_earlier_one() {
        assert!(Place { epoch: 2, id: 0 } > Place { epoch: 1, id: 9 });
        assert!(Place { epoch: 1, id: 0 } > Place::START);
    }
}
