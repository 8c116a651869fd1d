//! What a connection is told to do: [`Connection`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Faults, counters::Protocol};
use crate::{
    namespace::{Address, path_of},
    signal::Signal,
};

/// One thing to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Close the socket without a word.
    Kill,
    /// Detach the links of an entity, in lower case, or all of them.
    Detach { entity: Option<String> },
    /// Claims that were put are over: detach what needs them.
    TokensExpired,
}

impl Event {
    /// Whether a link to `address` is meant by a `Detach`: to the entity, or to a subscription of it.
    pub(crate) fn detaches(&self, address: &str) -> bool {
        let Self::Detach { entity } = self else { return false };
        let Some(entity) = entity else { return true };
        let path = path_of(address).to_lowercase();
        let topic_of = |path: &str| match Address::parse(path) {
            Some(Address::Topic(topic) | Address::Subscription { topic, .. }) => topic,
            None => path.to_owned(),
        };
        let entity = path_of(entity);
        path == entity || path.starts_with(&format!("{entity}/")) || topic_of(&path) == entity
    }
}

/// What one connection is told.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Never held across a wait.
    pending: Mutex<Pending>,
    signal: Signal,
}

#[derive(Debug, Default)]
struct Pending {
    /// Each only once: as many as there are kinds and entities.
    events: VecDeque<Event>,
    frozen: bool,
}

impl Order {
    pub(super) fn give(&self, event: Event) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if event == Event::Kill {
            pending.frozen = false;
            pending.events.clear();
        }
        if !pending.events.contains(&event) {
            pending.events.push_back(event);
        }
        drop(pending);
        self.signal.raise();
    }

    pub(super) fn freeze(&self, frozen: bool) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).frozen = frozen;
        self.signal.raise();
    }
}

/// A connection as its faults see it. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    faults: Faults,
    order: Arc<Order>,
    protocol: Protocol,
}

impl Connection {
    pub(super) fn new(faults: Faults, order: Arc<Order>, protocol: Protocol) -> Self {
        faults.counters().connected(protocol);
        Self { faults, order, protocol }
    }

    /// Waits for what is to be done; while frozen, only for `Kill`.
    ///
    /// # Cancel safety
    /// It can be dropped at any time; nothing is lost.
    pub(crate) async fn event(&self) -> Event {
        loop {
            let version = self.order.signal.version();
            {
                let mut pending = self.order.pending.lock().unwrap_or_else(PoisonError::into_inner);
                if !pending.frozen
                    && let Some(event) = pending.events.pop_front()
                {
                    return event;
                }
            }
            self.order.signal.changed_since(version).await;
        }
    }

    /// Whether nothing may be read or written now.
    pub(crate) fn is_frozen(&self) -> bool {
        self.order.pending.lock().unwrap_or_else(PoisonError::into_inner).frozen
    }

    /// Waits until something may be read and written: for nothing, unless it is frozen.
    ///
    /// # Cancel safety
    /// It can be dropped at any time.
    pub(crate) async fn thawed(&self) {
        loop {
            let version = self.order.signal.version();
            if !self.is_frozen() {
                return;
            }
            self.order.signal.changed_since(version).await;
        }
    }

    /// Waits until nothing may be read or written.
    ///
    /// # Cancel safety
    /// It can be dropped at any time.
    pub(crate) async fn frozen(&self) {
        loop {
            let version = self.order.signal.version();
            if self.is_frozen() {
                return;
            }
            self.order.signal.changed_since(version).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.faults.disconnect(&self.order);
        self.faults.counters().disconnected(self.protocol);
    }
}
