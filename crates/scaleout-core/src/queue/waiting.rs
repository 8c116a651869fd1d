//! Messages that wait to be sent, encoded one behind the other.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::frame;

/// Messages in the order of their calls: first those in the queue, then those that wait for room in it.
///
/// They stand encoded in one buffer, so that a frame is made of its first bytes and admission moves a boundary.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The encoded messages, from `passed` on.
    encoded: Vec<u8>,
    passed: usize,
    messages: VecDeque<Message>,
    admitted: Count,
    room: Count,
}

/// Messages and their encoded bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Message {
    len: usize,
    at: Duration,
}

impl Waiting {
    /// Appends a message that was published at `at`, to the queue or else to those who wait for room in it.
    pub(super) fn push(
        &mut self,
        at: Duration,
        (channel, payload, extensions): (&str, &[u8], &[(u8, Bytes)]),
        admitted: bool,
    ) {
        let before = self.encoded.len();
        frame::encode_message(&mut self.encoded, channel, payload, extensions);
        let len = self.encoded.len() - before;
        self.messages.push_back(Message { len, at });
        debug_assert!(!admitted || self.room.messages == 0, "nobody overtakes those who wait for room");
        if admitted { &mut self.admitted } else { &mut self.room }.add(len);
    }

    /// Lets the last message overtake the one before it; a deliberate fault.
    pub(super) fn overtake(&mut self) {
        let [.., before, last] = self.messages.make_contiguous() else { return };
        let start = self.encoded.len() - before.len - last.len;
        self.encoded[start..].rotate_left(before.len);
        std::mem::swap(&mut before.len, &mut last.len);
    }

    /// The length of the first message that waits for room.
    pub(super) fn first_in_room(&self) -> Option<usize> {
        self.messages.get(self.admitted.messages).map(|message| message.len)
    }

    /// Lets the first message that waits for room into the queue.
    pub(super) fn admit(&mut self) {
        if let Some(len) = self.first_in_room() {
            self.room.sub(len);
            self.admitted.add(len);
        }
    }

    /// When the oldest message was published.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.messages.front().map(|message| message.at)
    }

    /// How many messages were published at `until` or before.
    pub(super) fn published_until(&self, until: Duration) -> usize {
        self.messages.iter().take_while(|message| message.at <= until).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn admitted(&self) -> Count {
        self.admitted
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> Count {
        self.room
    }

    /// The first messages of the queue with up to `max_bytes` together, but at least one if there is any.
    pub(super) fn first(&self, max_bytes: usize) -> (Count, &[u8]) {
        let mut first = Count::default();
        for message in
            self.messages.iter().take(self.admitted.messages.min(frame::MAX_FRAME_MESSAGES as usize))
        {
            if first.messages > 0 && first.bytes + message.len > max_bytes {
                break;
            }
            first.add(message.len);
        }
        (first, &self.encoded[self.passed..self.passed + first.bytes])
    }

    /// Removes the first `count` messages; tells how many were in the queue and how many waited for room.
    pub(super) fn pop(&mut self, count: usize) -> (Count, Count) {
        let (mut queued, mut room) = (Count::default(), Count::default());
        for message in self.messages.drain(..count) {
            if queued.messages < self.admitted.messages { &mut queued } else { &mut room }.add(message.len);
        }
        self.admitted.messages -= queued.messages;
        self.admitted.bytes -= queued.bytes;
        self.room.messages -= room.messages;
        self.room.bytes -= room.bytes;
        self.passed += queued.bytes + room.bytes;
        self.compact();
        (queued, room)
    }

    /// Removes those who wait for room.
    pub(super) fn pop_room(&mut self) -> Count {
        self.messages.truncate(self.admitted.messages);
        self.encoded.truncate(self.passed + self.admitted.bytes);
        std::mem::take(&mut self.room)
    }

    /// Bytes of memory that the encoded messages hold.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.encoded.capacity()
    }

    fn compact(&mut self) {
        if self.passed == self.encoded.len() {
            self.passed = 0;
            self.encoded.clear();
            self.encoded.shrink_to(KEPT_BYTES);
            if self.messages.is_empty() {
                self.messages.shrink_to(KEPT_MESSAGES);
            }
        } else if self.passed >= KEPT_BYTES && self.passed * 2 >= self.encoded.len() {
            // At least as much is passed as moves, so that every byte moves once on average.
            self.encoded.drain(..self.passed);
            self.passed = 0;
        }
    }
}

impl Count {
    fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len;
    }

    fn sub(&mut self, len: usize) {
        self.messages -= 1;
        self.bytes -= len;
    }
}

/// Memory that an empty queue keeps, so that steady traffic does not allocate and an outage leaves nothing behind.
const KEPT_BYTES: usize = 64 << 10;
const KEPT_MESSAGES: usize = 1024;
