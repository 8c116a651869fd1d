//! What a reader has to read.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{channels::ChannelKey, place::Place};

/// The channels of a reader that hold messages behind its place, the one with the oldest message first.
///
/// The first one stands outside of the heap: most readers have one channel, and then read without a heap, and keep
/// no memory for one.
#[derive(Debug, Default)]
pub(super) struct Pending {
    first: Option<Ready>,
    #[expect(clippy::box_collection, reason = "8 bytes in every idle reader instead of 24")]
    others: Option<Box<BinaryHeap<Reverse<Ready>>>>,
}

/// A channel with a message to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ready {
    pub(super) place: Place,
    /// The message's sequence number in its channel.
    pub(super) seq: u64,
    pub(super) channel: ChannelKey,
    pub(super) subscriber: u32,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn first(&self) -> Option<Ready> {
        self.first
    }

    pub(super) fn push(&mut self, ready: Ready) {
        let Some(first) = self.first else {
            self.first = Some(ready);
            return;
        };
        self.first = Some(first.min(ready));
        self.others.get_or_insert_default().push(Reverse(first.max(ready)));
    }

    pub(super) fn pop(&mut self) -> Option<Ready> {
        let next = self.others.as_mut().and_then(|others| others.pop());
        if self.others.as_ref().is_some_and(|others| others.is_empty() && others.capacity() > KEPT) {
            self.others = None;
        }
        std::mem::replace(&mut self.first, next.map(|Reverse(ready)| ready))
    }

    /// Puts the first channel where its next message belongs.
    pub(super) fn replace_first(&mut self, ready: Ready) {
        match self.others.as_mut().and_then(|others| others.peek_mut()) {
            Some(mut next) if next.0 < ready => {
                self.first = Some(next.0);
                next.0 = ready;
            }
            _ => self.first = Some(ready),
        }
    }

    /// Forgets a channel.
    pub(super) fn remove(&mut self, channel: ChannelKey) {
        if let Some(others) = &mut self.others {
            others.retain(|Reverse(ready)| ready.channel != channel);
        }
        if self.first.is_some_and(|first| first.channel == channel) {
            self.pop();
        }
    }

    /// Takes everything, in no order.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Ready> + use<> {
        let Self { first, others } = std::mem::take(self);
        first.into_iter().chain(others.into_iter().flat_map(|others| others.into_iter().map(|ready| ready.0)))
    }
}

/// Room that an empty heap keeps.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::channels::Channels;

    #[test]
    fn the_oldest_message_is_first_whatever_happens() {
        let mut channels = Channels::default();
        let key: Vec<_> = (0..5).map(|name| channels.find_or_insert(&name.to_string())).collect();
        let ready = |at: u64, channel: usize| Ready {
            place: Place::entry(at),
            seq: at,
            channel: key[channel],
            subscriber: 0,
        };
        let mut pending = Pending::default();
        for (at, channel) in [(7, 0), (3, 1), (9, 2), (5, 3), (1, 4)] {
            pending.push(ready(at, channel));
        }
        pending.replace_first(ready(8, 4));
        assert_eq!(pending.first(), Some(ready(3, 1)));
        pending.replace_first(ready(4, 1));
        assert_eq!(pending.first(), Some(ready(4, 1)));
        pending.remove(key[1]);
        pending.remove(key[2]);
        assert_eq!([pending.pop(), pending.pop()], [Some(ready(5, 3)), Some(ready(7, 0))]);
        assert_eq!(pending.take().collect::<Vec<_>>(), [ready(8, 4)]);
        assert!(pending.is_empty() && pending.pop().is_none());
    }
}
