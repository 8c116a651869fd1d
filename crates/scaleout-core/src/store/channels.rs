//! The index of a stream's ring: for every channel its messages and its subscribers.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::Arc,
};

use hashbrown::HashTable;
use slab::Slab;
use twox_hash::XxHash3_64;

use super::{place::Place, reader::ReaderKey, subscribers::Subscribers};

/// A channel's key in the index; valid while it has a message or a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey(NonZeroU32);

impl ChannelKey {
    /// One more than the place in the index, so that an `Option` of it takes no room.
    fn new(at: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(at))
    }

    fn at(self) -> u32 {
        self.0.get() - 1
    }

    fn index(self) -> usize {
        self.at() as usize
    }
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    hash: u64,
    /// The messages of this channel that the ring holds, oldest first.
    places: VecDeque<Place>,
    /// How many places have left `places`: the sequence number of its first one.
    evicted: u64,
    pub(crate) subscribers: Subscribers,
}

impl Channel {
    /// The sequence number behind the newest message.
    pub(crate) fn end(&self) -> u64 {
        self.evicted + self.places.len() as u64
    }

    /// The place of the message with sequence number `seq`, `None` where it left the ring or is not there yet.
    pub(crate) fn place(&self, seq: u64) -> Option<Place> {
        let index = usize::try_from(seq.checked_sub(self.evicted)?).ok()?;
        self.places.get(index).copied()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The place of the newest message.
    pub(crate) fn last(&self) -> Option<Place> {
        self.places.back().copied()
    }

    /// The sequence number of the first message at or behind `place`.
    pub(crate) fn first_from(&self, place: Place) -> u64 {
        self.evicted + self.places.partition_point(|held| *held < place) as u64
    }

    fn is_unused(&self) -> bool {
        self.places.is_empty() && self.subscribers.is_empty()
    }
}

/// Every channel that has a message in the ring or a subscriber.
#[derive(Debug)]
pub(crate) struct Channels {
    slab: Slab<Channel>,
    keys: HashTable<u32>,
    /// Secret, so that nobody can choose names that collide.
    seed: u64,
    /// Bytes of the entries and names of channels that have messages; subscribers pay for the others.
    bytes: usize,
}

/// What an entry costs beside its name: the `Channel`, its slab and table slots, the name's `Arc`.
const CHANNEL_BYTES: usize = size_of::<Channel>() + 32;

impl Default for Channels {
    fn default() -> Self {
        Self { slab: Slab::new(), keys: HashTable::new(), seed: RandomState::new().hash_one(0), bytes: 0 }
    }
}

impl Channels {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn hash(&self, name: &str) -> u64 {
        XxHash3_64::oneshot_with_seed(self.seed, name.as_bytes())
    }

    pub(crate) fn get(&self, key: ChannelKey) -> &Channel {
        &self.slab[key.index()]
    }

    pub(crate) fn get_mut(&mut self, key: ChannelKey) -> &mut Channel {
        &mut self.slab[key.index()]
    }

    /// The channel, where it is still the one with this hash.
    pub(crate) fn same(&mut self, key: ChannelKey, hash: u64) -> Option<&mut Channel> {
        self.slab.get_mut(key.index()).filter(|channel| channel.hash == hash)
    }

    pub(crate) fn hash_of(&self, key: ChannelKey) -> u64 {
        self.get(key).hash
    }

    pub(crate) fn find(&self, name: &str) -> Option<ChannelKey> {
        let hash = self.hash(name);
        self.keys.find(hash, |key| *self.slab[*key as usize].name == *name).map(|key| ChannelKey::new(*key))
    }

    pub(crate) fn find_or_insert(&mut self, name: &str) -> ChannelKey {
        let hash = self.hash(name);
        let slab = &mut self.slab;
        if let Some(key) = self.keys.find(hash, |key| *slab[*key as usize].name == *name) {
            return ChannelKey::new(*key);
        }
        let channel = Channel {
            name: name.into(),
            hash,
            places: VecDeque::new(),
            evicted: 0,
            subscribers: Subscribers::default(),
        };
        let key = u32::try_from(slab.insert(channel)).expect("memory ends before four billion channels");
        self.keys.insert_unique(hash, key, |key| slab[*key as usize].hash);
        ChannelKey::new(key)
    }

    /// Notes a message; it must stand behind all of its channel.
    pub(crate) fn push(&mut self, key: ChannelKey, place: Place) {
        let channel = &mut self.slab[key.index()];
        if channel.places.is_empty() {
            self.bytes += CHANNEL_BYTES + channel.name.len();
        }
        channel.places.push_back(place);
    }

    /// Forgets the oldest message of a channel, and the channel where nothing is left of it.
    pub(crate) fn evict(&mut self, key: ChannelKey, place: Place) {
        let channel = &mut self.slab[key.index()];
        debug_assert_eq!(channel.places.front(), Some(&place), "messages leave in the order they came");
        channel.places.pop_front();
        channel.evicted += 1;
        if channel.places.is_empty() {
            self.bytes -= CHANNEL_BYTES + channel.name.len();
        }
        // A channel that was busy once and is quiet now gives its memory back.
        if channel.places.capacity() > 64 && channel.places.len() * 4 < channel.places.capacity() {
            channel.places.shrink_to(channel.places.len() * 2);
        }
        self.drop_unused(key);
    }

    /// Adds a subscriber; the answer is its key at the channel.
    pub(crate) fn subscribe(&mut self, key: ChannelKey, reader: ReaderKey) -> u32 {
        self.get_mut(key).subscribers.insert(reader)
    }

    pub(crate) fn unsubscribe(&mut self, key: ChannelKey, subscriber: u32) {
        self.get_mut(key).subscribers.remove(subscriber);
        self.drop_unused(key);
    }

    fn drop_unused(&mut self, key: ChannelKey) {
        if !self.get(key).is_unused() {
            return;
        }
        let channel = self.slab.remove(key.index());
        if let Ok(entry) = self.keys.find_entry(channel.hash, |held| *held == key.at()) {
            entry.remove();
        }
    }
}
