//! Which of this node's entries the others have not been told of.

use std::{collections::VecDeque, hash::Hash, sync::Arc};

use hashbrown::{Equivalent, HashSet};

/// The name of an entry among those of its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) group: Arc<str>,
    pub(super) member: Arc<str>,
}

/// A [`Key`], to look one up.
#[derive(Debug, Hash)]
pub(super) struct KeyRef<'a> {
    pub(super) group: &'a str,
    pub(super) member: &'a str,
}

/// The changes that wait to be published, and the delta that is being published.
///
/// It holds names only: a delta says what an entry is when the delta is made, so of many changes of one entry the last is
/// told. A delta that the store may not have is told again, as part of a later one that begins where it began.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The number of the latest delta that was made. No number is given twice.
    made: u64,
    /// The number of the latest delta that the store has.
    stored: u64,
    waiting: VecDeque<Key>,
    /// The same keys, so that each waits once.
    waits: HashSet<Key>,
    out: Option<Vec<Key>>,
}

/// Deltas of a life, as a power of two: those of decades.
const LIFE_BITS: u32 = 40;

/// The version of the life that `version` is of, before its first delta.
pub(super) fn first_of(version: u64) -> u64 {
    version >> LIFE_BITS << LIFE_BITS
}

impl Outbox {
    /// That of a life of the node. The next one's numbers are greater, so that no delta of the one is taken for the other's.
    pub(super) fn of_life(life: u64) -> Self {
        let first = life << LIFE_BITS;
        Self { made: first, stored: first, ..Self::default() }
    }

    /// An entry was added, changed or removed.
    pub(super) fn changed(&mut self, key: Key) {
        if self.waits.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    /// Whether there is a delta to make.
    pub(super) fn is_ready(&self) -> bool {
        self.out.is_none() && !self.waiting.is_empty()
    }

    /// Begins a delta, and answers its `from` and `to`; what `write` takes is part of it, in the order of the changes.
    ///
    /// `write` answers whether it takes more.
    pub(super) fn send(&mut self, mut write: impl FnMut(&Key) -> bool) -> Option<(u64, u64)> {
        if !self.is_ready() {
            return None;
        }
        let mut keys = Vec::new();
        let mut more = true;
        while more && let Some(key) = self.waiting.pop_front() {
            self.waits.remove(&key);
            more = write(&key);
            keys.push(key);
        }
        if self.waiting.is_empty() {
            // After a burst.
            self.waiting = VecDeque::new();
            self.waits = HashSet::new();
        }
        self.out = Some(keys);
        self.made += 1;
        Some((self.stored, self.made))
    }

    /// The delta that was begun is in the store (`true`), or may not be.
    pub(super) fn settle(&mut self, stored: bool) {
        let Some(keys) = self.out.take() else { return };
        if stored {
            self.stored = self.made;
            return;
        }
        for key in keys.into_iter().rev() {
            if self.waits.insert(key.clone()) {
                self.waiting.push_front(key);
            }
        }
    }

    /// The number of the latest delta that reaches the others before what is published now.
    pub(super) fn version(&self) -> u64 {
        if self.out.is_some() { self.made } else { self.stored }
    }

    /// The number of the latest delta that may have reached anybody.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.group == *key.group && *self.member == *key.member
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(member: &str) -> Key {
        Key { group: "g".into(), member: member.into() }
    }

    /// The names that the next delta has, where it takes up to two, and its numbers.
    fn send(outbox: &mut Outbox) -> Option<(String, u64, u64)> {
        let mut names = String::new();
        let (from, to) = outbox.send(|key| {
            names.push_str(&key.member);
            names.len() < 2
        })?;
        Some((names, from, to))
    }

    #[test]
    fn an_entry_waits_once_and_in_turn() {
        let mut outbox = Outbox::default();
        "abcab".chars().for_each(|name| outbox.changed(key(&name.to_string())));
        assert_eq!(send(&mut outbox), Some(("ab".into(), 0, 1)));
        assert_eq!(send(&mut outbox), None, "one is out");
        outbox.changed(key("a"));
        outbox.settle(true);
        assert_eq!(send(&mut outbox), Some(("ca".into(), 1, 2)));
        outbox.settle(true);
        assert_eq!(send(&mut outbox), None);
        assert_eq!(outbox.version(), 2);
    }

    #[test]
    fn what_may_not_be_stored_is_told_again_under_a_new_number() {
        let mut outbox = Outbox::default();
        "ab".chars().for_each(|name| outbox.changed(key(&name.to_string())));
        assert_eq!(send(&mut outbox), Some(("ab".into(), 0, 1)));
        assert_eq!(outbox.version(), 1);
        outbox.changed(key("b"));
        outbox.settle(false);
        assert_eq!((outbox.version(), outbox.made()), (0, 1));
        assert_eq!(send(&mut outbox), Some(("ab".into(), 0, 2)));
        outbox.settle(true);
        assert_eq!(outbox.version(), 2);
    }

    #[test]
    fn names_are_found_by_their_parts() {
        let mut keys = HashSet::new();
        keys.insert(key("a"));
        assert!(keys.contains(&KeyRef { group: "g", member: "a" }));
        assert!(!keys.contains(&KeyRef { group: "g", member: "b" }));
    }
}
