//! Who subscribes to a channel.

use slab::Slab;

use super::reader::ReaderKey;

/// The subscribers of one channel, by keys that are stable, so that a walk over them may pause.
///
/// Most channels have one (a user, a connection), which is held without an allocation.
#[derive(Debug, Default)]
pub(crate) enum Subscribers {
    #[default]
    None,
    /// The one with key 0.
    One(Subscriber),
    /// More than one, now or before.
    Many(Box<Slab<Subscriber>>),
}

/// A subscription's entry at one of its channels.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) reader: ReaderKey,
    /// Whether the reader's heap holds this channel.
    pub(crate) ready: bool,
}

impl Subscribers {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Above all keys.
    pub(crate) fn end(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(slab) => slab.capacity(),
        }
    }

    pub(crate) fn get(&self, key: usize) -> Option<&Subscriber> {
        match self {
            Self::One(subscriber) if key == 0 => Some(subscriber),
            Self::Many(slab) => slab.get(key),
            _ => None,
        }
    }

    pub(crate) fn is_ready(&self, key: u32) -> bool {
        self.get(key as usize).is_some_and(|subscriber| subscriber.ready)
    }

    pub(crate) fn set_ready(&mut self, key: u32, ready: bool) {
        let subscriber = match self {
            Self::One(subscriber) if key == 0 => Some(subscriber),
            Self::Many(slab) => slab.get_mut(key as usize),
            _ => None,
        };
        subscriber.expect("readers hold the keys of subscribers that are there").ready = ready;
    }

    /// Adds a subscriber; the answer is its key.
    pub(crate) fn insert(&mut self, reader: ReaderKey) -> u32 {
        let added = Subscriber { reader, ready: false };
        match std::mem::take(self) {
            Self::None => {
                *self = Self::One(added);
                0
            }
            Self::One(first) => {
                let mut slab = Box::new(Slab::with_capacity(2));
                slab.insert(first);
                *self = Self::Many(slab);
                self.insert(reader)
            }
            Self::Many(mut slab) => {
                let key =
                    u32::try_from(slab.insert(added)).expect("memory ends before four billion subscribers");
                *self = Self::Many(slab);
                key
            }
        }
    }

    pub(crate) fn remove(&mut self, key: u32) {
        let is_last = match self {
            Self::Many(slab) => {
                slab.remove(key as usize);
                slab.is_empty()
            }
            _ => true,
        };
        if is_last {
            *self = Self::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_while_others_come_and_go() {
        let mut subscribers = Subscribers::default();
        let readers: Vec<_> = (0..4).map(ReaderKey::new).collect();
        let keys: Vec<_> = readers.iter().map(|reader| subscribers.insert(*reader)).collect();
        subscribers.remove(keys[0]);
        subscribers.remove(keys[2]);
        for at in [1, 3] {
            assert_eq!(subscribers.get(keys[at] as usize).map(|held| held.reader), Some(readers[at]));
        }
        assert!(subscribers.get(keys[0] as usize).is_none() && subscribers.end() > keys[3] as usize);
        subscribers.remove(keys[1]);
        subscribers.remove(keys[3]);
        assert!(subscribers.is_empty() && subscribers.end() == 0);
        assert_eq!(subscribers.insert(readers[0]), 0);
    }
}
