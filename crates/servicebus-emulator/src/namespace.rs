//! The state of a namespace: what entities there are, and what they hold. No I/O, one lock, time by tokio's clock.

mod address;
mod duplicates;
mod links;
mod messages;
mod properties;
mod refusal;
mod state;
mod subscription;
mod throttle;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use uuid::Uuid;

pub use self::{
    address::{Address, path_of},
    links::{Receiver, Sender},
    messages::{DeadLetter, Delivery, Entries, Incoming, Logged, MessageState, Mode, Queue, Settlement},
    properties::{
        Counts, EntityStatus, FOREVER, SubscriptionInfo, SubscriptionProperties, Times, TopicInfo,
        TopicProperties,
    },
    refusal::Refusal,
};
use self::{state::State, throttle::MANAGEMENT_CREDITS};
use crate::{
    sas::{Claim, Guard, Rights},
    settings::Settings,
};

/// A namespace of Service Bus, in memory. Clones are the same namespace.
///
/// Names of entities are compared without regard to case, as the service does.
#[derive(Debug, Clone)]
pub struct Namespace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Arc<Settings>,
    /// Entities and messages. Held for one operation; wake-ups come after it is free again.
    state: Mutex<State>,
    /// Keys and tokens. Never held together with `state`.
    guard: Mutex<Guard>,
    /// By how many seconds its clock is ahead of this machine's.
    clock: AtomicI64,
}

impl Namespace {
    /// An empty one, which nobody has a key of.
    ///
    /// Somebody has to call [`sweep`](Self::sweep) from time to time; an [`Emulator`](crate::Emulator) does.
    pub fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let state = Mutex::new(State::new(Arc::clone(&settings)));
        Self {
            shared: Arc::new(Shared { settings, state, guard: Mutex::default(), clock: AtomicI64::new(0) }),
        }
    }

    /// What it is like.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Lets whoever has `key` in, with `rights` on everything.
    pub fn add_policy(&self, policy: &str, key: &str, rights: Rights) {
        self.guard().add_policy(policy, key, rights);
    }

    /// Lets whoever shows this bearer token in: on everything, or below the path `scope`.
    pub fn register_token(&self, token: &str, rights: Rights, scope: &str, expires: SystemTime) {
        let scope = path_of(scope).to_lowercase();
        self.guard().register_bearer(token, Claim { rights, scope, expires, generation: 0 });
    }

    /// What a token gives for an entity, or for the namespace where `path` is empty: a shared access signature, or a bearer
    /// token that was registered, with or without `Bearer` before it. `path` may be an address, too.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`], with the reason.
    pub fn authorize(&self, token: &str, path: &str) -> Result<Claim, Refusal> {
        self.guard().authorize(token, path, self.clock())
    }

    /// Whether a claim holds still: it is not over, and tokens were not declared expired since.
    pub fn is_current(&self, claim: &Claim) -> bool {
        self.guard().is_current(claim, self.clock())
    }

    /// Sets the clock that tokens expire by, and that answers over HTTP show in `Date`: so many seconds ahead of this
    /// machine's, or behind it where they are negative. Everything else goes by this machine's.
    pub fn set_clock(&self, seconds_ahead: i64) {
        self.shared.clock.store(seconds_ahead, Ordering::Relaxed);
    }

    /// The time by the clock that [`set_clock`](Self::set_clock) sets.
    pub(crate) fn clock(&self) -> SystemTime {
        let ahead = self.shared.clock.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = SystemTime::now();
        if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }

    /// Declares every token expired that was shown so far. The same text shown again is refused; a token that was never shown
    /// is good.
    pub fn expire_tokens(&self) {
        self.guard().expire_all();
    }

    /// Puts messages into every subscription of a topic: all or none. A `MessageId` that the topic's window knows is dropped,
    /// and is no error.
    ///
    /// # Errors
    /// Where the topic is missing, disabled, full, or throttled, or the messages are too long together.
    pub fn publish(&self, topic: &str, messages: Vec<Incoming>) -> Result<(), Refusal> {
        let waiting = self.state().publish(topic, messages)?;
        for signal in waiting {
            signal.raise();
        }
        Ok(())
    }

    /// Opens a sender.
    ///
    /// # Errors
    /// Where the topic is missing or disabled.
    pub fn open_sender(&self, topic: &str) -> Result<Sender, Refusal> {
        Sender::open(self, topic)
    }

    /// Opens a receiver, which counts as use until it is dropped.
    ///
    /// # Errors
    /// Where the subscription is missing or disabled.
    pub fn open_receiver(
        &self,
        topic: &str,
        subscription: &str,
        queue: Queue,
        mode: Mode,
    ) -> Result<Receiver, Refusal> {
        Receiver::open(self, topic, subscription, queue, mode)
    }

    /// Messages that were deferred, by their sequence numbers: all or none.
    ///
    /// # Errors
    /// Where the subscription or one of the messages is missing.
    pub fn take_deferred(
        &self,
        topic: &str,
        subscription: &str,
        sequence_numbers: &[i64],
        mode: Mode,
    ) -> Result<Vec<Delivery>, Refusal> {
        let mut state = self.state();
        let id = state.id(topic, subscription)?;
        state.take_deferred(id, sequence_numbers, mode)
    }

    /// Up to `max` messages from a sequence number on, which stay as they are, locked and deferred ones included.
    ///
    /// # Errors
    /// Where the subscription is missing.
    pub fn peek(
        &self,
        topic: &str,
        subscription: &str,
        queue: Queue,
        from_sequence_number: i64,
        max: usize,
    ) -> Result<Vec<Delivery>, Refusal> {
        let mut state = self.state();
        let id = state.id(topic, subscription)?;
        let entity = state.get_mut(id).ok_or_else(|| state::not_found(subscription))?;
        entity.touch(Instant::now(), SystemTime::now());
        Ok(entity.peek(queue, from_sequence_number, max))
    }

    /// Does with a message what its receiver says.
    ///
    /// # Errors
    /// [`Refusal::LockLost`].
    pub fn settle(&self, lock: Uuid, how: Settlement) -> Result<(), Refusal> {
        self.state().settle(lock, how)
    }

    /// Makes a lock last longer; gives when it will be over.
    ///
    /// # Errors
    /// [`Refusal::LockLost`].
    pub fn renew(&self, lock: Uuid) -> Result<SystemTime, Refusal> {
        self.state().renew(lock)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Where there is one of that name, there are too many, or name or properties are not allowed.
    pub fn create_topic(&self, name: &str, properties: TopicProperties) -> Result<TopicInfo, Refusal> {
        self.state().create_topic(name, properties)
    }

    /// Changes a topic.
    ///
    /// # Errors
    /// Where it is missing, or the properties are not allowed.
    pub fn update_topic(&self, name: &str, properties: TopicProperties) -> Result<TopicInfo, Refusal> {
        self.state().update_topic(name, properties)
    }

    /// A topic as it is.
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.state().topic(name)
    }

    /// Up to `max` topics in the order of their names, without the first `skip`.
    pub fn topics(&self, skip: usize, max: usize) -> Vec<TopicInfo> {
        self.state().topics(skip, max)
    }

    /// Deletes a topic and its subscriptions; whoever is attached to them is told.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn delete_topic(&self, name: &str) -> Result<(), Refusal> {
        self.state().delete_topic(name)
    }

    /// Creates a subscription. What was published before does not come to it.
    ///
    /// # Errors
    /// Where the topic is missing, there is one of that name, there are too many, or name or properties are not allowed.
    pub fn create_subscription(
        &self,
        topic: &str,
        name: &str,
        properties: SubscriptionProperties,
    ) -> Result<SubscriptionInfo, Refusal> {
        self.state().create_subscription(topic, name, properties)
    }

    /// Changes a subscription.
    ///
    /// # Errors
    /// Where it is missing, or the properties are not allowed.
    pub fn update_subscription(
        &self,
        topic: &str,
        name: &str,
        properties: SubscriptionProperties,
    ) -> Result<SubscriptionInfo, Refusal> {
        self.state().update_subscription(topic, name, properties)
    }

    /// A subscription as it is.
    pub fn subscription(&self, topic: &str, name: &str) -> Option<SubscriptionInfo> {
        self.state().subscription(topic, name)
    }

    /// Up to `max` subscriptions of a topic in the order of their names, without the first `skip`.
    ///
    /// # Errors
    /// Where the topic is missing.
    pub fn subscriptions(
        &self,
        topic: &str,
        skip: usize,
        max: usize,
    ) -> Result<Vec<SubscriptionInfo>, Refusal> {
        self.state().subscriptions(topic, skip, max)
    }

    /// Deletes a subscription; whoever is attached to it is told.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn delete_subscription(&self, topic: &str, name: &str) -> Result<(), Refusal> {
        self.state().delete_subscription(topic, name)
    }

    /// What a subscription holds.
    pub fn counts(&self, topic: &str, subscription: &str) -> Option<Counts> {
        self.subscription(topic, subscription).map(|info| info.counts)
    }

    /// Another budget for throttling, from now on. `None` never throttles.
    pub fn set_throttle(&self, credits_per_second: Option<u64>) {
        self.state().throttle.set(credits_per_second);
    }

    /// Pays for a management operation.
    pub(crate) fn pay_for_management(&self) -> Result<(), Refusal> {
        let paid = self.state().throttle.spend(MANAGEMENT_CREDITS, Instant::now());
        if paid { Ok(()) } else { Err(Refusal::ServerBusy) }
    }

    /// The next `count` messages taken are left where they are as well: they come again, with the same numbers, as if the
    /// first delivery had failed.
    pub fn repeat_deliveries(&self, count: usize) {
        self.state().repeats = count;
    }

    /// Does what time brings: ends locks and messages that are over, deletes entities that nobody uses.
    pub fn sweep(&self) {
        self.state().sweep(Instant::now());
    }

    /// Does at once what so much time would bring, as long as nobody uses anything meanwhile.
    pub fn age(&self, by: Duration) {
        self.state().sweep(Instant::now() + by);
    }

    /// What a topic took, and earlier ones of that name, where the [settings](Settings::keep_log) say that it is kept.
    pub fn log(&self, topic: &str) -> Vec<Logged> {
        self.state().log(topic)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Somebody panicked: in a test, which has failed then. The rest of it shall not fail for that.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.shared.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
