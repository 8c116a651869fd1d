//! What links and requests hold on to: [`Receiver`] and [`Sender`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::{
    namespace::{
        Delivery, Incoming, Mode, Namespace, Queue, Refusal,
        state::{SubscriptionId, not_found},
    },
    signal::Signal,
};

/// Takes messages of one queue of one subscription. While it lives, the subscription is in use; dropped, it gives up nothing
/// of what it took: locks last until they are over.
#[derive(Debug)]
pub struct Receiver {
    namespace: Namespace,
    id: SubscriptionId,
    path: String,
    queue: Queue,
    mode: Mode,
    signal: Arc<Signal>,
    /// The version of `signal` at the last [`take`](Self::take) that found less than it was asked for.
    seen: AtomicU64,
}

impl Receiver {
    pub(crate) fn open(
        namespace: &Namespace,
        topic: &str,
        subscription: &str,
        queue: Queue,
        mode: Mode,
    ) -> Result<Self, Refusal> {
        let mut state = namespace.state();
        let id = state.id(topic, subscription)?;
        let entity = state.get_mut(id).ok_or_else(|| not_found(subscription))?;
        if !entity.properties.status.receives() {
            return Err(Refusal::Disabled { entity: entity.path() });
        }
        entity.receivers += 1;
        let (path, signal) = (entity.path(), Arc::clone(&entity.signal));
        drop(state);
        // No version is this one: there may be messages already.
        let seen = AtomicU64::new(u64::MAX);
        Ok(Self { namespace: namespace.clone(), id, path, queue, mode, signal, seen })
    }

    /// Up to `max` messages that are there now, in the order of their sequence numbers.
    pub fn take(&self, max: usize) -> Vec<Delivery> {
        let version = self.signal.version();
        let (taken, more) = self.namespace.state().take(self.id, self.queue, self.mode, max);
        self.seen.store(if more && taken.len() == max { u64::MAX } else { version }, Ordering::Release);
        taken
    }

    /// Waits until [`take`](Self::take) may find something, or the receiver has [`ended`](Self::ended). Returns at once where
    /// the last `take` may have left something because it was not asked for more.
    ///
    /// # Cancel safety
    /// It can be dropped at any time.
    pub async fn changed(&self) {
        self.signal.changed_since(self.seen.load(Ordering::Acquire)).await;
    }

    /// Why nothing will come any more: the subscription is deleted, or disabled.
    pub fn ended(&self) -> Option<Refusal> {
        match self.namespace.state().get(self.id) {
            None => Some(not_found(&self.path)),
            Some(entity) if !entity.properties.status.receives() => {
                Some(Refusal::Disabled { entity: self.path.clone() })
            }
            Some(_) => None,
        }
    }

    /// `{topic}/Subscriptions/{subscription}`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What becomes of what it takes.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(entity) = self.namespace.state().get_mut(self.id) {
            entity.receivers -= 1;
            entity.last_used = Instant::now();
        }
    }
}

/// Sends to one topic, for as long as that topic lives: not to another one of the same name.
#[derive(Debug)]
pub struct Sender {
    namespace: Namespace,
    topic: String,
    id: u64,
    signal: Arc<Signal>,
}

impl Sender {
    pub(crate) fn open(namespace: &Namespace, topic: &str) -> Result<Self, Refusal> {
        let (id, signal) = namespace.state().sender(topic)?;
        Ok(Self { namespace: namespace.clone(), topic: topic.to_owned(), id, signal })
    }

    /// As [`Namespace::publish`].
    ///
    /// # Errors
    /// As there; and where the topic is gone.
    pub fn publish(&self, messages: Vec<Incoming>) -> Result<(), Refusal> {
        match self.ended() {
            Some(why) => Err(why),
            None => self.namespace.publish(&self.topic, messages),
        }
    }

    /// Waits until it has [`ended`](Self::ended).
    ///
    /// # Cancel safety
    /// It can be dropped at any time.
    pub async fn closed(&self) -> Refusal {
        loop {
            let version = self.signal.version();
            if let Some(why) = self.ended() {
                return why;
            }
            self.signal.changed_since(version).await;
        }
    }

    /// Why nothing can be sent any more: the topic is deleted, or disabled.
    pub fn ended(&self) -> Option<Refusal> {
        let state = self.namespace.state();
        if !state.is_same_topic(&self.topic, self.id) {
            return Some(not_found(&self.topic));
        }
        state.sender(&self.topic).err()
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The longest message, and the longest batch, that the topic takes, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        self.namespace.state().max_message_bytes(&self.topic)
    }
}
