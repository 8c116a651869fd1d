//! Places in a stream: what Redis calls entry ids.

use std::{fmt, str::FromStr};

use scaleout_core::{Epoch, PayloadId};

/// An entry of a stream, in text `<epoch>-<id>`; places order as the history does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) id: u64,
}

impl Place {
    /// Before every entry: Redis gives no entry the id `0-0`.
    pub(crate) const START: Self = Self { epoch: 0, id: 0 };

    pub(crate) fn position(self) -> (Epoch, PayloadId) {
        (Epoch(self.epoch), PayloadId(self.id))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.id)
    }
}

/// Text that is no entry id.
#[derive(Debug)]
pub(crate) struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, id) = text.split_once('-').ok_or(NotAPlace)?;
        let number = |text: &str| text.parse().map_err(|_| NotAPlace);
        Ok(Self { epoch: number(epoch)?, id: number(id)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = Place { epoch: 1_795_274_788_000_000, id: 3 };
        assert_eq!(place.to_string().parse::<Place>().expect("its own text"), place);
        for text in ["", "1", "1-", "-1", "a-1", "1-2-3", "18446744073709551616-0"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        assert!(Place { epoch: 2, id: 0 } > Place { epoch: 1, id: 9 });
    }
}
