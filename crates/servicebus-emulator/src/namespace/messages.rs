//! Messages on their way in and out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use uuid::Uuid;

use crate::{codec::Decoder, message::Message};

/// A message that a sender hands over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// What duplicates are told by.
    pub message_id: Option<String>,
    /// How long it may live; what topic and subscription say bounds it.
    pub ttl: Option<Duration>,
    /// The sender's own message annotations.
    pub annotations: Entries,
    /// The encoded sections properties, application properties and body, as they were sent.
    pub bare: Bytes,
}

impl Incoming {
    /// What counts against limits, in bytes.
    pub fn len(&self) -> usize {
        self.annotations.encoded.len() + self.bare.len()
    }

    /// Whether nothing of it counts against limits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message that a topic took, in the log of the namespace.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The topic, as it was created.
    pub topic: String,
    /// When that topic was created: another one of the same name has another time.
    pub topic_created_at: SystemTime,
    /// Its place in the topic.
    pub enqueued_sequence_number: i64,
    /// What was sent.
    pub message: Arc<Incoming>,
}

impl Logged {
    /// The bytes of the message's body; `None` where it has a body of another kind, or none.
    pub fn data(&self) -> Option<Bytes> {
        Message::decode(self.message.bare.clone()).ok()?.body.bytes()
    }
}

/// Entries of an AMQP map, encoded, without the head of the map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Keys and values by turns, each with its constructor.
    pub encoded: Bytes,
    /// Keys and values together: the count that the head of a map says.
    pub count: u32,
}

impl Entries {
    /// Whether there is an entry of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let mut entries = Decoder::new(self.encoded.clone());
        (0..self.count / 2).any(|_| {
            let is_name = entries.value().is_ok_and(|key| key.as_str() == Some(name));
            // Its value.
            entries.skip().is_ok() && is_name
        })
    }
}

/// A message on its way to a receiver.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its place in the subscription.
    pub sequence_number: i64,
    /// Its place in the topic, the same in every subscription.
    pub enqueued_sequence_number: i64,
    /// When the topic took it.
    pub enqueued_at: SystemTime,
    /// How long it lives, by what its sender, the topic and the subscription say; `None`: without end.
    pub ttl: Option<Duration>,
    /// When the lock is over. `None`: there is no lock.
    pub locked_until: Option<SystemTime>,
    /// Names the lock; nil where there is none.
    pub lock_token: Uuid,
    /// Deliveries that failed before this one.
    pub delivery_count: u32,
    /// Active or deferred.
    pub state: MessageState,
    /// Why it is in the dead-letter queue.
    pub dead_letter: Option<Arc<DeadLetter>>,
    /// What was sent.
    pub message: Arc<Incoming>,
}

/// What `x-opt-message-state` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// 0.
    Active,
    /// 1: only asked for by sequence number.
    Deferred,
}

/// What the application properties `DeadLetterReason` and `DeadLetterErrorDescription` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// In a word.
    pub reason: Option<String>,
    /// In a sentence.
    pub description: Option<String>,
}

/// Which of the two queues of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// What was published.
    Active,
    /// `/$DeadLetterQueue`.
    DeadLetter,
}

/// What becomes of a message that is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is locked, and waits to be settled.
    PeekLock,
    /// It is gone.
    ReceiveAndDelete,
}

/// What a receiver did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with; it goes.
    Complete,
    /// The delivery failed: it comes again, and counts.
    Abandon,
    /// It was not looked at: it comes again, and does not count.
    Release,
    /// It goes to the dead-letter queue.
    DeadLetter(DeadLetter),
    /// It stays, and comes only to who asks for it by its sequence number.
    Defer,
}
