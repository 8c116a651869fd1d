//! Everything that a namespace holds, behind its one lock.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    namespace::{
        Delivery, Incoming, Logged, Mode, Queue, Refusal, Settlement, SubscriptionInfo,
        SubscriptionProperties, Times, TopicInfo, TopicProperties, address::is_name, duplicates::Duplicates,
        subscription::Subscription, throttle::Throttle,
    },
    settings::Settings,
    signal::Signal,
};

/// Of the path of a topic.
const MAX_TOPIC_NAME: usize = 260;

/// Of the name of a subscription.
const MAX_SUBSCRIPTION_NAME: usize = 50;

/// Names a subscription for as long as it lives; another one of the same name has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriptionId(u64);

/// Topics, subscriptions, locks.
#[derive(Debug)]
pub(crate) struct State {
    settings: Arc<Settings>,
    /// By name in lower case.
    topics: BTreeMap<String, Topic>,
    subscriptions: HashMap<SubscriptionId, Subscription>,
    /// Who gave which lock.
    locks: HashMap<Uuid, SubscriptionId>,
    pub(crate) throttle: Throttle,
    /// Of receivers that found something and had no credits for it.
    throttled: Vec<Arc<Signal>>,
    /// The next so many deliveries come twice.
    pub(crate) repeats: usize,
    next_id: u64,
    last_created: SystemTime,
    /// What topics took, where it is kept.
    log: Vec<Logged>,
}

/// What is kept of a topic.
#[derive(Debug)]
pub(crate) struct Topic {
    id: u64,
    name: String,
    properties: TopicProperties,
    times: Times,
    last_used: Instant,
    /// By name in lower case.
    subscriptions: BTreeMap<String, SubscriptionId>,
    /// Raised when the topic goes or changes.
    signal: Arc<Signal>,
    duplicates: Duplicates,
    next_sequence_number: i64,
}

impl State {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let throttle = Throttle::new(settings.throttle_credits_per_second, Instant::now());
        Self {
            settings,
            topics: BTreeMap::new(),
            subscriptions: HashMap::new(),
            locks: HashMap::new(),
            throttle,
            throttled: Vec::new(),
            repeats: 0,
            next_id: 0,
            last_created: SystemTime::UNIX_EPOCH,
            log: Vec::new(),
        }
    }

    /// What a topic took, and its predecessors of that name.
    pub(crate) fn log(&self, topic: &str) -> Vec<Logged> {
        self.log.iter().filter(|logged| logged.topic.eq_ignore_ascii_case(topic)).cloned().collect()
    }

    /// Gives what is to be raised when the lock is free again.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        messages: Vec<Incoming>,
    ) -> Result<Vec<Arc<Signal>>, Refusal> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let (topics, subscriptions) = (&mut self.topics, &mut self.subscriptions);
        let topic = topics.get_mut(&topic.to_lowercase()).ok_or_else(|| not_found(topic))?;
        if !topic.properties.status.sends() {
            return Err(Refusal::Disabled { entity: topic.name.clone() });
        }
        let bytes = topic.check_size(&messages, &self.settings)?;
        let held: u64 = topic.members(subscriptions).map(|(_, subscription)| subscription.bytes).sum();
        let more = (bytes * topic.subscriptions.len()) as u64;
        let limit = topic.max_bytes(&self.settings);
        if held + more > limit {
            let what = format!("The maximum entity size has been reached: {held} of {limit} bytes are used.");
            return Err(Refusal::QuotaExceeded(what));
        }
        if !self.throttle.spend((messages.len() * (1 + topic.subscriptions.len())) as u64, now) {
            return Err(Refusal::ServerBusy);
        }
        topic.touch(now, wall);
        let messages: Vec<_> =
            messages.into_iter().filter(|message| !topic.is_repeated(message, now)).map(Arc::new).collect();
        let first = topic.next_sequence_number;
        topic.next_sequence_number += messages.len() as i64;
        if self.settings.keep_log {
            self.log.extend((first..).zip(&messages).map(|(number, message)| Logged {
                topic: topic.name.clone(),
                topic_created_at: topic.times.created_at,
                enqueued_sequence_number: number,
                message: Arc::clone(message),
            }));
        }
        let mut waiting = Vec::new();
        for id in topic.subscriptions.values() {
            let Some(subscription) = subscriptions.get_mut(id) else { continue };
            for (number, message) in (first..).zip(&messages) {
                let ttl = message.ttl.unwrap_or(Duration::MAX).min(topic.properties.default_message_ttl);
                subscription.push(number, (now, wall), ttl, message);
            }
            if subscription.receivers > 0 {
                waiting.push(Arc::clone(&subscription.signal));
            }
        }
        Ok(waiting)
    }

    /// Up to `max` messages; and whether there may be more of them.
    pub(crate) fn take(
        &mut self,
        id: SubscriptionId,
        queue: Queue,
        mode: Mode,
        max: usize,
    ) -> (Vec<Delivery>, bool) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return (Vec::new(), false) };
        if !subscription.properties.status.receives() {
            return (Vec::new(), false);
        }
        let mut taken = Vec::new();
        while taken.len() < max && !subscription.is_empty(queue) {
            if !self.throttle.spend(1, now) {
                if !self.throttled.iter().any(|signal| Arc::ptr_eq(signal, &subscription.signal)) {
                    self.throttled.push(Arc::clone(&subscription.signal));
                }
                break;
            }
            let repeat = self.repeats > 0;
            let Some(delivery) = subscription.take(queue, mode, repeat, now) else { break };
            if repeat {
                self.repeats -= 1;
            }
            if delivery.locked_until.is_some() {
                self.locks.insert(delivery.lock_token, id);
            }
            taken.push(delivery);
        }
        if !taken.is_empty() {
            subscription.touch(now, wall);
        }
        let more = !subscription.is_empty(queue);
        self.touch_topic(id, now, wall);
        (taken, more)
    }

    pub(crate) fn take_deferred(
        &mut self,
        id: SubscriptionId,
        numbers: &[i64],
        mode: Mode,
    ) -> Result<Vec<Delivery>, Refusal> {
        let now = Instant::now();
        let subscription = self.subscriptions.get_mut(&id).ok_or(Refusal::MessageNotFound)?;
        if !numbers.iter().all(|number| subscription.is_deferred(*number)) {
            return Err(Refusal::MessageNotFound);
        }
        let taken: Vec<_> =
            numbers.iter().filter_map(|number| subscription.take_deferred(*number, mode, now)).collect();
        subscription.touch(now, SystemTime::now());
        self.locks.extend(
            taken.iter().filter(|taken| taken.locked_until.is_some()).map(|taken| (taken.lock_token, id)),
        );
        Ok(taken)
    }

    pub(crate) fn settle(&mut self, lock: Uuid, how: Settlement) -> Result<(), Refusal> {
        let id = self.locks.get(&lock).ok_or(Refusal::LockLost)?;
        let subscription = self.subscriptions.get_mut(id).ok_or(Refusal::LockLost)?;
        subscription.settle(lock, how, Instant::now())?;
        self.locks.remove(&lock);
        Ok(())
    }

    pub(crate) fn renew(&mut self, lock: Uuid) -> Result<SystemTime, Refusal> {
        let id = self.locks.get(&lock).ok_or(Refusal::LockLost)?;
        let subscription = self.subscriptions.get_mut(id).ok_or(Refusal::LockLost)?;
        subscription.renew(lock, Instant::now())
    }

    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        properties: TopicProperties,
    ) -> Result<TopicInfo, Refusal> {
        check_name(name, MAX_TOPIC_NAME)?;
        properties.check()?;
        let times = self.times();
        let id = self.next_id();
        let quota = self.topics.len() >= self.settings.max_topics;
        match self.topics.entry(name.to_lowercase()) {
            Entry::Occupied(_) => Err(Refusal::Exists { entity: name.to_owned() }),
            Entry::Vacant(_) if quota => {
                let limit = self.settings.max_topics;
                Err(Refusal::QuotaExceeded(format!(
                    "The namespace has {limit} topics; it may not have more."
                )))
            }
            Entry::Vacant(place) => {
                let topic = place.insert(Topic {
                    id,
                    name: name.to_owned(),
                    properties,
                    times,
                    last_used: Instant::now(),
                    subscriptions: BTreeMap::new(),
                    signal: Arc::default(),
                    duplicates: Duplicates::default(),
                    next_sequence_number: 1,
                });
                Ok(topic.info(&self.subscriptions))
            }
        }
    }

    pub(crate) fn update_topic(
        &mut self,
        name: &str,
        properties: TopicProperties,
    ) -> Result<TopicInfo, Refusal> {
        properties.check()?;
        let topic = self.topics.get_mut(&name.to_lowercase()).ok_or_else(|| not_found(name))?;
        if topic.properties.requires_duplicate_detection != properties.requires_duplicate_detection {
            let what = "The value for the RequiresDuplicateDetection property of an existing Topic cannot be changed.";
            return Err(Refusal::Invalid(what.to_owned()));
        }
        topic.properties = properties;
        topic.times.updated_at = SystemTime::now();
        topic.last_used = Instant::now();
        topic.signal.raise();
        Ok(topic.info(&self.subscriptions))
    }

    pub(crate) fn topic(&self, name: &str) -> Option<TopicInfo> {
        Some(self.topics.get(&name.to_lowercase())?.info(&self.subscriptions))
    }

    pub(crate) fn topics(&self, skip: usize, max: usize) -> Vec<TopicInfo> {
        self.topics.values().skip(skip).take(max).map(|topic| topic.info(&self.subscriptions)).collect()
    }

    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), Refusal> {
        let topic = self.topics.remove(&name.to_lowercase()).ok_or_else(|| not_found(name))?;
        for id in topic.subscriptions.values() {
            self.forget(*id);
        }
        topic.signal.raise();
        Ok(())
    }

    pub(crate) fn create_subscription(
        &mut self,
        topic: &str,
        name: &str,
        properties: SubscriptionProperties,
    ) -> Result<SubscriptionInfo, Refusal> {
        check_name(name, MAX_SUBSCRIPTION_NAME)?;
        properties.check()?;
        let times = self.times();
        let id = SubscriptionId(self.next_id());
        let limit = self.settings.max_subscriptions;
        let topic = self.topics.get_mut(&topic.to_lowercase()).ok_or_else(|| not_found(topic))?;
        let quota = topic.subscriptions.len() >= limit;
        match topic.subscriptions.entry(name.to_lowercase()) {
            Entry::Occupied(_) => {
                Err(Refusal::Exists { entity: format!("{}/Subscriptions/{name}", topic.name) })
            }
            Entry::Vacant(_) if quota => Err(Refusal::QuotaExceeded(format!(
                "The topic has {limit} subscriptions; it may not have more."
            ))),
            Entry::Vacant(place) => {
                let subscription = Subscription::new(&topic.name, name, properties, times);
                let info = subscription.info();
                place.insert(id);
                topic.last_used = Instant::now();
                self.subscriptions.insert(id, subscription);
                Ok(info)
            }
        }
    }

    pub(crate) fn update_subscription(
        &mut self,
        topic: &str,
        name: &str,
        properties: SubscriptionProperties,
    ) -> Result<SubscriptionInfo, Refusal> {
        properties.check()?;
        let id = self.id(topic, name)?;
        let subscription = self.subscriptions.get_mut(&id).ok_or_else(|| not_found(name))?;
        subscription.properties = properties;
        subscription.times.updated_at = SystemTime::now();
        subscription.last_used = Instant::now();
        subscription.signal.raise();
        Ok(subscription.info())
    }

    pub(crate) fn subscription(&self, topic: &str, name: &str) -> Option<SubscriptionInfo> {
        Some(self.get(self.id(topic, name).ok()?)?.info())
    }

    pub(crate) fn subscriptions(
        &self,
        topic: &str,
        skip: usize,
        max: usize,
    ) -> Result<Vec<SubscriptionInfo>, Refusal> {
        let topic = self.topics.get(&topic.to_lowercase()).ok_or_else(|| not_found(topic))?;
        Ok(topic
            .members(&self.subscriptions)
            .skip(skip)
            .take(max)
            .map(|(_, subscription)| subscription.info())
            .collect())
    }

    pub(crate) fn delete_subscription(&mut self, topic: &str, name: &str) -> Result<(), Refusal> {
        let id = self.id(topic, name)?;
        if let Some(topic) = self.topics.get_mut(&topic.to_lowercase()) {
            topic.subscriptions.remove(&name.to_lowercase());
        }
        self.forget(id);
        Ok(())
    }

    pub(crate) fn id(&self, topic: &str, subscription: &str) -> Result<SubscriptionId, Refusal> {
        let missing = || not_found(&format!("{topic}/Subscriptions/{subscription}"));
        let topic = self.topics.get(&topic.to_lowercase()).ok_or_else(missing)?;
        topic.subscriptions.get(&subscription.to_lowercase()).copied().ok_or_else(missing)
    }

    pub(crate) fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(&id)
    }

    /// What a sender needs of a topic: what names it, and what tells of its end.
    pub(crate) fn sender(&self, topic: &str) -> Result<(u64, Arc<Signal>), Refusal> {
        let topic = self.topics.get(&topic.to_lowercase()).ok_or_else(|| not_found(topic))?;
        if !topic.properties.status.sends() {
            return Err(Refusal::Disabled { entity: topic.name.clone() });
        }
        Ok((topic.id, Arc::clone(&topic.signal)))
    }

    /// Whether the topic of that name is still the one with this id.
    pub(crate) fn is_same_topic(&self, name: &str, id: u64) -> bool {
        self.topics.get(&name.to_lowercase()).is_some_and(|topic| topic.id == id)
    }

    /// The longest message that a topic takes, in bytes.
    pub(crate) fn max_message_bytes(&self, topic: &str) -> usize {
        self.topics
            .get(&topic.to_lowercase())
            .map_or(self.settings.max_message_bytes, |topic| topic.max_message_bytes(&self.settings))
    }

    /// Does what time has brought until `now`, which may be to come.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let idle = |last_used: Instant, after: Duration| now.duration_since(last_used) >= after;
        if self.throttle.has_credits(now) {
            self.throttled.drain(..).for_each(|signal| signal.raise());
        }
        let mut over = Vec::new();
        for (id, subscription) in &mut self.subscriptions {
            for lock in subscription.sweep(now) {
                self.locks.remove(&lock);
            }
            if subscription.receivers == 0
                && idle(subscription.last_used, subscription.properties.auto_delete_on_idle)
            {
                over.push(*id);
            }
        }
        for id in over {
            let Some(subscription) = self.forget(id) else { continue };
            if let Some(topic) = self.topics.get_mut(&subscription.topic_key) {
                topic.subscriptions.remove(&subscription.name.to_lowercase());
            }
        }
        let subscriptions = &self.subscriptions;
        let topics: Vec<String> = self
            .topics
            .values()
            .filter(|topic| {
                let used = topic.members(subscriptions).map(|(_, subscription)| subscription);
                idle(topic.last_used, topic.properties.auto_delete_on_idle)
                    && used.clone().all(|subscription| {
                        subscription.receivers == 0
                            && idle(subscription.last_used, topic.properties.auto_delete_on_idle)
                    })
            })
            .map(|topic| topic.name.clone())
            .collect();
        for topic in topics {
            // It was found a moment ago.
            let _ = self.delete_topic(&topic);
        }
    }

    fn forget(&mut self, id: SubscriptionId) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(&id)?;
        for lock in subscription.locks() {
            self.locks.remove(&lock);
        }
        subscription.signal.raise();
        Some(subscription)
    }

    fn touch_topic(&mut self, id: SubscriptionId, now: Instant, wall: SystemTime) {
        if let Some(subscription) = self.subscriptions.get(&id)
            && let Some(topic) = self.topics.get_mut(&subscription.topic_key)
        {
            topic.touch(now, wall);
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Of something that is created now: later than anything else, by a microsecond at least, since clients tell a topic
    /// from the one before it by this.
    fn times(&mut self) -> Times {
        let now = SystemTime::now().max(self.last_created + Duration::from_micros(1));
        self.last_created = now;
        Times { created_at: now, updated_at: now, accessed_at: now }
    }
}

impl Topic {
    fn info(&self, subscriptions: &HashMap<SubscriptionId, Subscription>) -> TopicInfo {
        TopicInfo {
            name: self.name.clone(),
            properties: self.properties.clone(),
            times: self.times,
            subscriptions: self.subscriptions.len(),
            size_bytes: self.members(subscriptions).map(|(_, subscription)| subscription.bytes).sum(),
        }
    }

    fn members<'a>(
        &'a self,
        subscriptions: &'a HashMap<SubscriptionId, Subscription>,
    ) -> impl Iterator<Item = (SubscriptionId, &'a Subscription)> + Clone {
        self.subscriptions.values().filter_map(|id| Some((*id, subscriptions.get(id)?)))
    }

    fn touch(&mut self, now: Instant, wall: SystemTime) {
        self.last_used = now;
        self.times.accessed_at = wall;
    }

    /// All bytes of `messages`, if none is too long and they are not too long together.
    fn check_size(&self, messages: &[Incoming], settings: &Settings) -> Result<usize, Refusal> {
        let limit = self.max_message_bytes(settings);
        let actual = messages.iter().map(Incoming::len).sum();
        if actual > limit { Err(Refusal::TooLarge { actual, limit }) } else { Ok(actual) }
    }

    fn max_message_bytes(&self, settings: &Settings) -> usize {
        let own = self
            .properties
            .max_message_kilobytes
            .map_or(u64::MAX, |kilobytes| kilobytes.saturating_mul(1024));
        settings.max_message_bytes.min(usize::try_from(own).unwrap_or(usize::MAX))
    }

    fn max_bytes(&self, settings: &Settings) -> u64 {
        let own = u64::from(self.properties.max_size_megabytes) * 1024 * 1024;
        settings.max_topic_bytes.map_or(own, |limit| limit.min(own))
    }

    fn is_repeated(&mut self, message: &Incoming, now: Instant) -> bool {
        let window = self.properties.duplicate_detection_window;
        let Some(id) = message.message_id.as_deref().filter(|_| self.properties.requires_duplicate_detection)
        else {
            return false;
        };
        self.duplicates.is_repeated(id, window, now)
    }
}

pub(crate) fn not_found(entity: &str) -> Refusal {
    Refusal::NotFound { entity: entity.to_owned() }
}

fn check_name(name: &str, limit: usize) -> Result<(), Refusal> {
    if !is_name(name) {
        let what = format!(
            "'{name}' contains character(s) that is not allowed by Service Bus. Entity segments can \
            contain only letters, numbers, periods (.), hyphens (-), and underscores (_)."
        );
        return Err(Refusal::Invalid(what));
    }
    if name.len() > limit {
        return Err(Refusal::Invalid(format!(
            "The entity path/name '{name}' exceeds the '{limit}' character limit."
        )));
    }
    Ok(())
}
