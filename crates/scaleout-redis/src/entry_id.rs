//! Entry ids: the text `<epoch>-<id>` that Redis has for a place.

use scaleout_core::provider::Place;

/// The id of the entry at `place`. Redis gives no entry the id `0-0`, which is before all of them.
pub(crate) fn entry_id(place: Place) -> String {
    format!("{}-{}", place.epoch, place.id)
}

/// The place of the entry with the id `text`; `None` if it is no entry id.
pub(crate) fn place_of(text: &str) -> Option<Place> {
    let (epoch, id) = text.split_once('-')?;
    Some(Place { epoch: epoch.parse().ok()?, id: id.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_id_is_read_as_it_is_written() {
        let place = Place { epoch: 1_795_274_788_000_000, id: 3 };
        assert_eq!(entry_id(place), "1795274788000000-3");
        assert_eq!(place_of(&entry_id(place)), Some(place));
        for text in ["", "1", "1-", "-1", "a-1", "1-2-3", "18446744073709551616-0"] {
            assert_eq!(place_of(text), None, "{text}");
        }
    }
}
