//! One subscription: what waits, what is locked, what is over.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use uuid::{Builder, Uuid};

use crate::{
    namespace::{
        Counts, DeadLetter, Delivery, FOREVER, Incoming, MessageState, Mode, Queue, Refusal, Settlement,
        SubscriptionInfo, SubscriptionProperties, Times,
    },
    signal::Signal,
};

/// Locks that were given back leave their deadlines behind; beyond this many, and twice those that are held, they are
/// cleared away.
const SPARE_DEADLINES: usize = 1024;

/// A message in a subscription.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) sequence_number: i64,
    pub(crate) enqueued_sequence_number: i64,
    pub(crate) enqueued_at: SystemTime,
    pub(crate) ttl: Option<Duration>,
    pub(crate) expires: Option<Instant>,
    pub(crate) delivery_count: u32,
    pub(crate) deferred: bool,
    pub(crate) dead_letter: Option<Arc<DeadLetter>>,
    pub(crate) message: Arc<Incoming>,
}

impl Slot {
    fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn delivery(&self, lock: Option<(Uuid, SystemTime)>) -> Delivery {
        Delivery {
            sequence_number: self.sequence_number,
            enqueued_sequence_number: self.enqueued_sequence_number,
            enqueued_at: self.enqueued_at,
            ttl: self.ttl,
            locked_until: lock.map(|(_, until)| until),
            lock_token: lock.map_or(Uuid::nil(), |(token, _)| token),
            delivery_count: self.delivery_count,
            state: if self.deferred { MessageState::Deferred } else { MessageState::Active },
            dead_letter: self.dead_letter.clone(),
            message: Arc::clone(&self.message),
        }
    }
}

/// A message that is delivered and not settled.
#[derive(Debug)]
struct Held {
    slot: Slot,
    queue: Queue,
    until: Instant,
}

/// What is kept of a subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: String,
    /// Its topic's name in lower case.
    pub(crate) topic_key: String,
    pub(crate) name: String,
    pub(crate) properties: SubscriptionProperties,
    pub(crate) times: Times,
    pub(crate) last_used: Instant,
    pub(crate) receivers: usize,
    /// Raised when there may be something to take.
    pub(crate) signal: Arc<Signal>,
    /// What it holds, in bytes.
    pub(crate) bytes: u64,
    /// Both in the order of sequence numbers.
    active: VecDeque<Slot>,
    dead: VecDeque<Slot>,
    deferred: BTreeMap<i64, Slot>,
    held: HashMap<Uuid, Held>,
    /// When locks are over, the first first. Those of locks that were settled or renewed mean nothing.
    deadlines: VecDeque<(Instant, Uuid)>,
    /// No message is over before that.
    next_expiry: Option<Instant>,
    next_sequence_number: i64,
}

impl Subscription {
    pub(crate) fn new(topic: &str, name: &str, properties: SubscriptionProperties, times: Times) -> Self {
        Self {
            topic: topic.to_owned(),
            topic_key: topic.to_lowercase(),
            name: name.to_owned(),
            properties,
            times,
            last_used: Instant::now(),
            receivers: 0,
            signal: Arc::default(),
            bytes: 0,
            active: VecDeque::new(),
            dead: VecDeque::new(),
            deferred: BTreeMap::new(),
            held: HashMap::new(),
            deadlines: VecDeque::new(),
            next_expiry: None,
            next_sequence_number: 1,
        }
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/Subscriptions/{}", self.topic, self.name)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            active: self.active.len(),
            locked: self.held.len(),
            deferred: self.deferred.len(),
            dead_letter: self.dead.len(),
        }
    }

    pub(crate) fn info(&self) -> SubscriptionInfo {
        SubscriptionInfo {
            topic: self.topic.clone(),
            name: self.name.clone(),
            properties: self.properties.clone(),
            times: self.times,
            counts: self.counts(),
            receivers: self.receivers,
        }
    }

    /// Somebody receives from it.
    pub(crate) fn touch(&mut self, now: Instant, wall: SystemTime) {
        self.last_used = now;
        self.times.accessed_at = wall;
    }

    pub(crate) fn is_empty(&self, queue: Queue) -> bool {
        match queue {
            Queue::Active => self.active.is_empty(),
            Queue::DeadLetter => self.dead.is_empty(),
        }
    }

    pub(crate) fn is_deferred(&self, sequence_number: i64) -> bool {
        self.deferred.contains_key(&sequence_number)
    }

    /// Takes a message in. `ttl` is the message's own, bounded by the topic's.
    pub(crate) fn push(
        &mut self,
        number: i64,
        at: (Instant, SystemTime),
        ttl: Duration,
        message: &Arc<Incoming>,
    ) {
        let ttl = ttl.min(self.properties.default_message_ttl);
        let expires = at.0.checked_add(ttl);
        self.note_expiry(expires);
        self.bytes += message.len() as u64;
        self.active.push_back(Slot {
            sequence_number: self.next_sequence_number,
            enqueued_sequence_number: number,
            enqueued_at: at.1,
            ttl: (ttl < FOREVER).then_some(ttl),
            expires,
            delivery_count: 0,
            deferred: false,
            dead_letter: None,
            message: Arc::clone(message),
        });
        self.next_sequence_number += 1;
    }

    /// The next message of a queue, if there is one. With `repeat` it stays where it is as well, as if its delivery had failed.
    pub(crate) fn take(&mut self, queue: Queue, mode: Mode, repeat: bool, now: Instant) -> Option<Delivery> {
        let slot = loop {
            let slot = self.queue(queue).pop_front()?;
            if queue == Queue::DeadLetter || !slot.is_over(now) {
                break slot;
            }
            self.expire(slot);
        };
        if repeat {
            self.bytes += slot.message.len() as u64;
            let delivery_count = slot.delivery_count + 1;
            self.put_back(queue, Slot { delivery_count, ..slot.clone() });
        }
        Some(self.deliver(slot, queue, mode, now))
    }

    /// A message that was deferred.
    pub(crate) fn take_deferred(&mut self, number: i64, mode: Mode, now: Instant) -> Option<Delivery> {
        let slot = self.deferred.remove(&number)?;
        Some(self.deliver(slot, Queue::Active, mode, now))
    }

    /// What there is from `first` on, without taking it: what waits, what is locked, what is deferred.
    pub(crate) fn peek(&self, queue: Queue, first: i64, max: usize) -> Vec<Delivery> {
        let waiting = if queue == Queue::Active { &self.active } else { &self.dead };
        let held = self.held.values().filter(|held| held.queue == queue).map(|held| &held.slot);
        let deferred = self.deferred.values().filter(|_| queue == Queue::Active);
        let mut found: Vec<&Slot> =
            waiting.iter().chain(held).chain(deferred).filter(|slot| slot.sequence_number >= first).collect();
        found.sort_by_key(|slot| slot.sequence_number);
        found.into_iter().take(max).map(|slot| slot.delivery(None)).collect()
    }

    /// Does with a delivered message what its receiver says.
    pub(crate) fn settle(&mut self, lock: Uuid, how: Settlement, now: Instant) -> Result<(), Refusal> {
        // One that is over is left to the sweep, which puts its message back.
        if self.held.get(&lock).is_none_or(|held| held.until <= now) {
            return Err(Refusal::LockLost);
        }
        let Some(Held { mut slot, queue, .. }) = self.held.remove(&lock) else {
            return Err(Refusal::LockLost);
        };
        match how {
            Settlement::Complete => self.bytes -= slot.message.len() as u64,
            Settlement::Abandon => self.fail(slot, queue),
            Settlement::Release if slot.deferred => {
                self.deferred.insert(slot.sequence_number, slot);
            }
            Settlement::Release => self.put_back(queue, slot),
            Settlement::DeadLetter(why) => self.dead_letter(slot, why),
            // What is dead cannot be deferred; it stays where it is.
            Settlement::Defer if queue == Queue::DeadLetter => self.put_back(queue, slot),
            Settlement::Defer => {
                slot.deferred = true;
                self.deferred.insert(slot.sequence_number, slot);
            }
        }
        Ok(())
    }

    /// Makes a lock last for another lock duration.
    pub(crate) fn renew(&mut self, lock: Uuid, now: Instant) -> Result<SystemTime, Refusal> {
        let until = now + self.properties.lock_duration;
        let held = self.held.get_mut(&lock).filter(|held| held.until > now).ok_or(Refusal::LockLost)?;
        held.until = until;
        self.note_deadline(until, lock);
        Ok(SystemTime::now() + self.properties.lock_duration)
    }

    /// Does what time brings: locks that are over, messages that are over. Gives the locks that are no more.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<Uuid> {
        let mut lost = Vec::new();
        while let Some(&(at, lock)) = self.deadlines.front()
            && at <= now
        {
            self.deadlines.pop_front();
            if self.held.get(&lock).is_some_and(|held| held.until <= now)
                && let Some(Held { slot, queue, .. }) = self.held.remove(&lock)
            {
                self.fail(slot, queue);
                lost.push(lock);
            }
        }
        if self.next_expiry.is_some_and(|next| next <= now) {
            self.expire_all(now);
        }
        lost
    }

    /// The locks that it gave.
    pub(crate) fn locks(&self) -> impl Iterator<Item = Uuid> {
        self.held.keys().copied()
    }

    fn deliver(&mut self, slot: Slot, queue: Queue, mode: Mode, now: Instant) -> Delivery {
        if mode == Mode::ReceiveAndDelete {
            self.bytes -= slot.message.len() as u64;
            return slot.delivery(None);
        }
        let duration = self.properties.lock_duration;
        // Not the operating system's randomness: it is asked for every message.
        let lock = Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
        let delivery = slot.delivery(Some((lock, SystemTime::now() + duration)));
        let until = now + duration;
        self.held.insert(lock, Held { slot, queue, until });
        self.note_deadline(until, lock);
        delivery
    }

    /// A delivery failed.
    fn fail(&mut self, mut slot: Slot, queue: Queue) {
        slot.delivery_count += 1;
        if slot.deferred {
            self.deferred.insert(slot.sequence_number, slot);
        } else if queue == Queue::Active && slot.delivery_count >= self.properties.max_delivery_count {
            let description =
                format!("Message could not be consumed after {} delivery attempts.", slot.delivery_count);
            let reason = Some("MaxDeliveryCountExceeded".to_owned());
            self.dead_letter(slot, DeadLetter { reason, description: Some(description) });
        } else {
            self.put_back(queue, slot);
        }
    }

    fn dead_letter(&mut self, mut slot: Slot, why: DeadLetter) {
        slot.dead_letter = Some(Arc::new(why));
        slot.expires = None;
        slot.deferred = false;
        self.put_back(Queue::DeadLetter, slot);
    }

    fn put_back(&mut self, queue: Queue, slot: Slot) {
        self.note_expiry(slot.expires);
        let waiting = self.queue(queue);
        let place = waiting.partition_point(|other| other.sequence_number < slot.sequence_number);
        waiting.insert(place, slot);
        self.signal.raise();
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<Slot> {
        match queue {
            Queue::Active => &mut self.active,
            Queue::DeadLetter => &mut self.dead,
        }
    }

    fn expire_all(&mut self, now: Instant) {
        let (over, left): (VecDeque<Slot>, VecDeque<Slot>) =
            self.active.drain(..).partition(|slot| slot.is_over(now));
        self.active = left;
        let deferred: Vec<i64> = self
            .deferred
            .values()
            .filter(|slot| slot.is_over(now))
            .map(|slot| slot.sequence_number)
            .collect();
        let deferred: Vec<Slot> =
            deferred.into_iter().filter_map(|number| self.deferred.remove(&number)).collect();
        let waiting = self.active.iter().chain(self.deferred.values());
        self.next_expiry = waiting.filter_map(|slot| slot.expires).min();
        for slot in over.into_iter().chain(deferred) {
            self.expire(slot);
        }
    }

    fn expire(&mut self, slot: Slot) {
        if self.properties.dead_lettering_on_message_expiration {
            let reason = Some("TTLExpiredException".to_owned());
            let description = Some("The message expired and was dead lettered.".to_owned());
            self.dead_letter(slot, DeadLetter { reason, description });
        } else {
            self.bytes -= slot.message.len() as u64;
        }
    }

    fn note_expiry(&mut self, expires: Option<Instant>) {
        if let Some(expires) = expires {
            self.next_expiry = Some(self.next_expiry.map_or(expires, |next| next.min(expires)));
        }
    }

    fn note_deadline(&mut self, until: Instant, lock: Uuid) {
        if self.deadlines.len() > SPARE_DEADLINES + 2 * self.held.len() {
            let held = &self.held;
            self.deadlines.retain(|(at, lock)| held.get(lock).is_some_and(|held| held.until == *at));
        }
        // At the end, except after the lock duration was made shorter.
        let place = self.deadlines.iter().rev().take_while(|(at, _)| *at > until).count();
        self.deadlines.insert(self.deadlines.len() - place, (until, lock));
    }
}
