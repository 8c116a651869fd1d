//! The send queue of one stream: what waits, what is being sent, what was accepted. No I/O, no clock, no runtime.
//!
//! ```text
//! push -> [waiting for room] -> [waiting] -> tried frame -> tail -> gone
//!                                   |            |  ^         |
//!                                 dropped,       |  |         +- repair after `Rewound`
//!                                 expired       one attempt
//! ```
//!
//! One attempt is outstanding at a time. A frame gets its number when it is first tried, and neither number nor bytes
//! change after that; a number that was given up never comes again. Every message that [`SendQueue::push`] accepted
//! resolves exactly once, also when the queue is dropped.

mod counters;
mod receipt;
mod tail;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    num::NonZeroU16,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;

pub use receipt::Receipt;

pub(crate) use counters::QueueCounters;
pub(crate) use receipt::Wakes;

use receipt::Ledger;
use tail::Tail;
use waiting::Waiting;

use crate::{
    BusConfig, Capabilities, Error, ErrorKind, FrameId, NodeId, Overflow, QueuePolicy, StreamIndex,
    budget::{QueueBudget, SharedBudget},
    frame::{self, FrameHead},
    mutant::{Mutant, Mutation},
};

/// A [`SendQueue`] behind a lock, which wakes whoever awaits a receipt only after the lock is released.
#[derive(Debug)]
pub(crate) struct SharedQueue(Mutex<SendQueue>);

impl SharedQueue {
    pub(crate) fn new(queue: SendQueue) -> Self {
        Self(Mutex::new(queue))
    }

    /// Runs `act` under the lock, then wakes.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut SendQueue) -> R) -> R {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = act(&mut queue);
        let wakes = queue.take_wakes();
        drop(queue);
        wakes.wake();
        answer
    }
}

/// The send state of one stream.
///
/// `now` is the time since the bus started; it never goes back.
#[derive(Debug)]
pub(crate) struct SendQueue {
    settings: QueueSettings,
    budget: Arc<QueueBudget>,
    ledger: Ledger,
    waiting: Waiting,
    /// The receipt of the first message in `waiting`; the others follow one by one.
    front: u64,
    tried: Option<Tried>,
    tail: Tail,
    outstanding: Option<Outstanding>,
    /// The last number that the store is known to hold: lowered by `Rewound`, told to it as `FrameId::after`.
    confirmed: u64,
    /// The greatest number ever confirmed: what a frame's own `after` says, so that receivers see every hole.
    accepted: u64,
    next_number: u64,
    probe_due: bool,
    last_send_failed: bool,
    opened: bool,
    /// Nothing but probes goes out.
    held: bool,
    up: bool,
    life: Life,
    counters: QueueCounters,
    wakes: Wakes,
}

/// What a [`SendQueue`] needs to know, fixed for its life.
#[derive(Debug, Clone)]
pub(crate) struct QueueSettings {
    pub(crate) stream: StreamIndex,
    pub(crate) node: NodeId,
    pub(crate) app: u64,
    pub(crate) stream_count: u16,
    pub(crate) policy: QueuePolicy,
    pub(crate) overflow: Overflow,
    pub(crate) max_queue_age: Duration,
    pub(crate) max_tail_age: Duration,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_payload_bytes: usize,
    pub(crate) mutation: Mutation,
}

impl QueueSettings {
    pub(crate) fn new(
        stream: StreamIndex,
        node: NodeId,
        stream_count: NonZeroU16,
        config: &BusConfig,
        capabilities: &Capabilities,
    ) -> Self {
        Self {
            stream,
            node,
            app: config.app.hash(),
            stream_count: stream_count.get(),
            policy: config.queue_policy,
            overflow: config.overflow,
            max_queue_age: config.max_queue_age,
            max_tail_age: config.max_tail_age,
            max_frame_bytes: config.max_frame_bytes,
            // Places in a frame are u32.
            max_payload_bytes: capabilities.max_payload_bytes.min(u32::MAX as usize),
            mutation: Mutation::default(),
        }
    }
}

/// One call of `Backplane::send` to make; its result goes to [`SendQueue::finished`].
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) frame: FrameId,
    /// Empty for a probe.
    pub(crate) payload: Bytes,
    /// How many messages it brings, where it brings new ones.
    pub(crate) messages: usize,
}

/// What the end of an attempt meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The store has the frame; its messages resolved.
    Accepted,
    /// The store has a frame of the tail again.
    Repaired,
    /// A probe was answered.
    Probed,
    /// The store answered that it holds frames up to `last` only; the repair is next.
    Rewound { last: u64 },
    /// The store does not take a frame of that size, or it may be there and must not be sent again: it was given up.
    GivenUp,
    /// Nobody knows; it is tried again, or was given up, as the policy says. Back off.
    Failed,
    /// No attempt was outstanding; nothing happened.
    Stale,
}

/// Messages that a closed stream could not send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Abandoned {
    /// Surely not in the store.
    pub(crate) unsent: usize,
    /// Perhaps in the store.
    pub(crate) unconfirmed: usize,
}

/// The frame that is being sent; its bytes and number never change.
#[derive(Debug)]
struct Tried {
    number: u64,
    payload: Bytes,
    messages: Range<u64>,
    /// Bytes of its messages in the budget.
    bytes: usize,
    /// Whether an earlier attempt may have brought it to the store.
    doubtful: bool,
}

/// What the outstanding attempt sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outstanding {
    Probe,
    /// A frame of the tail, by its number.
    Repair(u64),
    Tried,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// Accepts nothing more, sends what waits.
    Closing,
    /// Sends nothing more.
    Abandoned,
}

impl SendQueue {
    pub(crate) fn new(settings: QueueSettings, budget: Arc<QueueBudget>, tail: Arc<SharedBudget>) -> Self {
        Self {
            tail: Tail::new(settings.stream, tail),
            settings,
            budget,
            ledger: Ledger::default(),
            waiting: Waiting::default(),
            front: 0,
            tried: None,
            outstanding: None,
            confirmed: 0,
            accepted: 0,
            next_number: 1,
            probe_due: false,
            last_send_failed: false,
            opened: false,
            held: false,
            up: false,
            life: Life::Open,
            counters: QueueCounters::default(),
            wakes: Wakes::default(),
        }
    }

    /// Accepts a message for sending; `channel` was checked.
    ///
    /// With `wait` it may wait for room under `Overflow::Wait`, without overtaking those who wait already.
    pub(crate) fn push(
        &mut self,
        now: Duration,
        channel: &str,
        payload: &[u8],
        extensions: &[(u8, Bytes)],
        wait: bool,
    ) -> Result<Receipt, Error> {
        let len = frame::encoded_message_len(channel.len(), payload.len(), extensions);
        let admitted =
            self.check(len).and_then(|()| self.make_room(len, wait)).map_err(|kind| self.refused(kind))?;
        Ok(self.append(now, (channel, payload, extensions), admitted))
    }

    /// Accepts a message however full the queue is, for the few by which nodes manage themselves.
    ///
    /// It takes its place in the budget and in the order of the stream, so that what is in front of it is bounded.
    pub(crate) fn push_control(
        &mut self,
        now: Duration,
        channel: &str,
        payload: &[u8],
    ) -> Result<Receipt, Error> {
        let len = frame::encoded_message_len(channel.len(), payload.len(), &[]);
        self.check(len).map_err(|kind| self.refused(kind))?;
        let admitted = self.waiting.first_in_room().is_none();
        if admitted {
            self.budget.reserve(len);
        } else {
            self.budget.wait(len);
        }
        Ok(self.append(now, (channel, payload, &[]), admitted))
    }

    fn append(&mut self, now: Duration, message: (&str, &[u8], &[(u8, Bytes)]), admitted: bool) -> Receipt {
        if self.waiting.is_empty() {
            self.front = self.ledger.next();
        }
        self.waiting.push(now, message, admitted);
        if self.settings.mutation.is(Mutant::OvertakeWaiting) {
            self.waiting.overtake();
        }
        let receipt = self.ledger.open();
        if !admitted {
            // Room that another stream freed since we looked was told to nobody: there was no one who waited.
            self.admit(now);
        }
        receipt
    }

    fn refused(&mut self, kind: ErrorKind) -> Error {
        *self.counters.of(kind) += 1;
        kind.into()
    }

    /// Whether a message of `len` bytes may come now, if there is room.
    fn check(&self, len: usize) -> Result<(), ErrorKind> {
        if self.life != Life::Open {
            return Err(ErrorKind::Closed);
        }
        let (actual, limit) = (frame::MAX_HEAD_BYTES + len, self.settings.max_payload_bytes);
        if actual > limit {
            return Err(ErrorKind::PayloadTooLarge { actual, limit });
        }
        let may_wait = match self.settings.policy {
            QueuePolicy::Always => true,
            QueuePolicy::InitialOnly => self.up || !self.opened,
            QueuePolicy::Disabled => self.up,
        };
        if may_wait { Ok(()) } else { Err(ErrorKind::Unavailable) }
    }

    /// Reserves room for a message of `len` bytes: `true` in the queue, `false` among those who wait for it.
    fn make_room(&mut self, len: usize, wait: bool) -> Result<bool, ErrorKind> {
        let admitted = match self.settings.overflow {
            Overflow::Reject => self.budget.try_reserve(len),
            Overflow::DropOldest => self.drop_for(len),
            Overflow::Wait => self.budget.waiters() == 0 && self.budget.try_reserve(len),
        };
        let waits = || wait && self.settings.overflow == Overflow::Wait && self.budget.try_wait(len);
        if admitted || waits() { Ok(admitted) } else { Err(ErrorKind::QueueFull) }
    }

    /// Reserves room for `len` bytes, dropping the oldest messages of this stream where that is needed and helps.
    fn drop_for(&mut self, len: usize) -> bool {
        while !self.budget.try_reserve(len) {
            let ours = self.waiting.admitted();
            if ours.messages == 0 || !self.budget.would_fit(len, (ours.messages, ours.bytes)) {
                return false;
            }
            self.shed(1, &Err(ErrorKind::Dropped.into()));
        }
        true
    }

    /// Lets in those who wait for room, as far as there is some; `true` if anyone came in.
    ///
    /// To be called on every stream when room was freed on any, while [`QueueBudget::waiters`] is not 0.
    pub(crate) fn admit(&mut self, now: Duration) -> bool {
        self.expire(now);
        let mut any = false;
        while let Some(len) = self.waiting.first_in_room()
            && self.budget.try_admit(len)
        {
            self.waiting.admit();
            any = true;
        }
        any
    }

    /// What to send now, if anything: a due probe, the repair, the tried frame again, a new frame of what waits.
    pub(crate) fn next(&mut self, now: Duration, sent_at_micros: u64) -> Option<Attempt> {
        self.admit(now);
        if self.outstanding.is_some() || self.life == Life::Abandoned {
            return None;
        }
        let (outstanding, number, payload, messages) = if self.probe_due {
            self.probe_due = false;
            (Outstanding::Probe, 0, Bytes::new(), 0)
        } else if !self.opened || self.held {
            return None;
        } else if let Some((number, payload)) = self.tail.first_above(self.confirmed) {
            (Outstanding::Repair(number), number, payload, 0)
        } else {
            self.form_frame(sent_at_micros);
            match &self.tried {
                Some(tried) => (Outstanding::Tried, tried.number, tried.payload.clone(), tried.count()),
                // The tail or the message that failed is gone meanwhile, and only an answer makes the stream come up.
                None if self.last_send_failed => (Outstanding::Probe, 0, Bytes::new(), 0),
                None => return None,
            }
        };
        self.outstanding = Some(outstanding);
        let frame = FrameId { node: self.settings.node, number, after: self.confirmed };
        Some(Attempt { frame, payload, messages })
    }

    /// Makes a frame of what waits, if none is being tried.
    fn form_frame(&mut self, sent_at_micros: u64) {
        let settings = &self.settings;
        let max_bytes = settings.max_frame_bytes.min(settings.max_payload_bytes);
        let (first, encoded) = self.waiting.first(max_bytes.saturating_sub(frame::MAX_HEAD_BYTES));
        if self.tried.is_some() || first.messages == 0 {
            return;
        }
        let number = self.next_number;
        let head = FrameHead {
            app: settings.app,
            stream_count: settings.stream_count,
            node: settings.node,
            number,
            after: self.accepted,
            sent_at_micros,
        };
        // A frame has at most MAX_FRAME_MESSAGES, a u32.
        let payload = frame::seal(&head, first.messages as u32, encoded);
        let messages = self.front..self.front + first.messages as u64;
        self.front = messages.end;
        self.next_number += 1;
        // What is tried keeps its place in the budget until it resolves.
        self.waiting.pop(first.messages);
        self.tried = Some(Tried { number, payload, messages, bytes: first.bytes, doubtful: false });
    }

    /// Takes the result of the outstanding attempt; a send that was dropped or timed out ends in `Timeout`.
    pub(crate) fn finished(&mut self, now: Duration, result: Result<(), &Error>) -> Finished {
        let Some(outstanding) = self.outstanding.take() else { return Finished::Stale };
        let Err(error) = result else {
            self.last_send_failed = false;
            return self.succeed(now, outstanding);
        };
        match error.kind() {
            // The contract lets `Rewound` only lower `after`. One that does not would make us go round for ever.
            ErrorKind::Rewound { last } if last < self.confirmed => {
                self.last_send_failed = false;
                self.confirmed = last;
                self.counters.rewound += 1;
                Finished::Rewound { last }
            }
            ErrorKind::PayloadTooLarge { .. } | ErrorKind::Unconfirmed
                if outstanding != Outstanding::Probe =>
            {
                self.last_send_failed = false;
                self.refuse(outstanding, error);
                Finished::GivenUp
            }
            _ => {
                self.fail(outstanding, error);
                Finished::Failed
            }
        }
    }

    fn succeed(&mut self, now: Duration, outstanding: Outstanding) -> Finished {
        match outstanding {
            Outstanding::Probe => Finished::Probed,
            Outstanding::Repair(number) => {
                self.confirmed = number;
                Finished::Repaired
            }
            Outstanding::Tried => {
                if let Some(tried) = self.settle_tried(&Ok(())) {
                    self.confirmed = tried.number;
                    self.accepted = tried.number;
                    self.tail.push(now, tried.number, tried.payload);
                }
                Finished::Accepted
            }
        }
    }

    /// Gives up a frame that the store finds too large, or that may be there and must not be sent again.
    fn refuse(&mut self, outstanding: Outstanding, error: &Error) {
        match outstanding {
            Outstanding::Probe => {}
            Outstanding::Repair(number) => self.tail.remove(number),
            Outstanding::Tried => {
                // Nothing was added now, but perhaps by an earlier attempt.
                let doubtful = self.tried.as_ref().is_some_and(|tried| tried.doubtful);
                let told = if doubtful { caused(ErrorKind::Unconfirmed, Some(error)) } else { error.clone() };
                self.settle_tried(&Err(told));
            }
        }
    }

    fn fail(&mut self, outstanding: Outstanding, error: &Error) {
        self.last_send_failed = true;
        if outstanding == Outstanding::Tried
            && let Some(tried) = &mut self.tried
        {
            tried.doubtful = true;
        }
        if !self.keeps_while_down() {
            self.give_up(Some(error));
        }
        if self.tried.is_none() && !self.tail.reaches_above(self.confirmed) {
            // Only an answer makes the stream come up again, so something must be sent.
            self.probe_due = true;
        }
    }

    /// The stream opened, or a first probe was answered: messages may go.
    pub(crate) fn set_open(&mut self) {
        self.opened = true;
    }

    /// Lets messages wait whatever the policy says, or go on.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Notes whether the stream is up; `true`: the running attempt must be dropped, and its result is not awaited.
    pub(crate) fn set_up(&mut self, up: bool) -> bool {
        let went_down = self.up && !up;
        self.up = up;
        if !went_down || self.keeps_while_down() {
            return false;
        }
        let running = self.outstanding.take();
        if running == Some(Outstanding::Probe) {
            self.probe_due = true;
        }
        self.give_up(None);
        running.is_some()
    }

    /// Whether messages stay in the queue when the stream goes down now.
    fn keeps_while_down(&self) -> bool {
        match self.settings.policy {
            QueuePolicy::Always => true,
            QueuePolicy::InitialOnly => !self.opened,
            QueuePolicy::Disabled => false,
        }
    }

    /// Resolves everything, since the stream is down and nobody may wait.
    fn give_up(&mut self, cause: Option<&Error>) {
        if self.tried.is_some() {
            self.settle_tried(&Err(caused(ErrorKind::Unconfirmed, cause)));
        }
        if !self.waiting.is_empty() {
            self.shed(self.waiting.len(), &Err(caused(ErrorKind::Unavailable, cause)));
        }
    }

    /// Whether the result of an attempt is awaited.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// Makes a probe the next attempt.
    pub(crate) fn request_probe(&mut self) {
        self.probe_due = true;
    }

    /// Lets go of what waited, or was kept for repair, for too long.
    pub(crate) fn expire(&mut self, now: Duration) {
        if let Some(until) = now.checked_sub(self.settings.max_queue_age) {
            let expired = self.waiting.published_until(until);
            if expired > 0 {
                self.shed(expired, &Err(ErrorKind::Expired.into()));
            }
        }
        if let Some(until) = now.checked_sub(self.settings.max_tail_age) {
            while self.tail.oldest().is_some_and(|at| at <= until) {
                self.tail.pop_oldest();
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let waiting = self.waiting.oldest().and_then(|at| at.checked_add(self.settings.max_queue_age));
        let tail = self.tail.oldest().and_then(|at| at.checked_add(self.settings.max_tail_age));
        [waiting, tail].into_iter().flatten().min()
    }

    /// Lets go of the oldest frame kept for repair; `false` if there is none.
    pub(crate) fn evict_oldest_tail(&mut self) -> bool {
        self.tail.pop_oldest()
    }

    /// Whether there is nothing that a store could be repaired with.
    pub(crate) fn tail_is_empty(&self) -> bool {
        self.tail.oldest().is_none()
    }

    /// Whether the last attempt that ended got no answer from the store.
    #[cfg(test)]
    pub(crate) fn last_send_failed(&self) -> bool {
        self.last_send_failed
    }

    /// The last number that the store is known to hold.
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Messages and bytes of this stream that are not resolved: waiting for room, waiting, or being tried.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> (usize, usize) {
        let (admitted, room) = (self.waiting.admitted(), self.waiting.room());
        let (messages, bytes) = self.tried.as_ref().map_or((0, 0), |tried| (tried.count(), tried.bytes));
        (messages + admitted.messages + room.messages, bytes + admitted.bytes + room.bytes)
    }

    pub(crate) fn counters(&self) -> QueueCounters {
        self.counters
    }

    /// Refuses new messages and those who wait for room; what waits is still sent.
    pub(crate) fn stop_accepting(&mut self) {
        if self.life != Life::Open {
            return;
        }
        self.life = Life::Closing;
        let room = self.waiting.pop_room();
        self.budget.release_room(room.messages, room.bytes);
        let end = self.ledger.next();
        self.settle(end - room.messages as u64..end, &Err(ErrorKind::Closed.into()));
    }

    /// Whether everything is resolved and no repair is under way.
    pub(crate) fn is_drained(&self) -> bool {
        self.waiting.is_empty() && self.tried.is_none() && !self.tail.reaches_above(self.confirmed)
    }

    /// Resolves everything for good; the running attempt must be dropped.
    pub(crate) fn abandon(&mut self) -> Abandoned {
        self.stop_accepting();
        self.life = Life::Abandoned;
        self.outstanding = None;
        let tried = self.settle_tried(&Err(ErrorKind::Unconfirmed.into()));
        let unsent = self.waiting.len();
        self.shed(unsent, &Err(ErrorKind::Closed.into()));
        Abandoned { unsent, unconfirmed: tried.map_or(0, |tried| tried.count()) }
    }

    /// Those who await what was resolved, to be woken once no lock is held.
    pub(crate) fn take_wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    /// Resolves the messages of the tried frame, which gives up its number if the outcome is an error.
    fn settle_tried(&mut self, outcome: &Result<(), Error>) -> Option<Tried> {
        let tried = self.tried.take()?;
        self.budget.release(tried.count(), tried.bytes);
        self.settle(tried.messages.clone(), outcome);
        Some(tried)
    }

    /// Resolves the `count` oldest messages that wait.
    fn shed(&mut self, count: usize, outcome: &Result<(), Error>) {
        let (queued, room) = self.waiting.pop(count);
        self.budget.release(queued.messages, queued.bytes);
        self.budget.release_room(room.messages, room.bytes);
        let messages = self.front..self.front + count as u64;
        self.front = messages.end;
        self.settle(messages, outcome);
    }

    fn settle(&mut self, messages: Range<u64>, outcome: &Result<(), Error>) {
        let counter = match outcome {
            Ok(()) => &mut self.counters.published,
            Err(error) => self.counters.of(error.kind()),
        };
        *counter += messages.end - messages.start;
        self.ledger.settle(messages, outcome, &mut self.wakes);
        let waiting = if self.waiting.is_empty() { self.ledger.next() } else { self.front };
        self.ledger.trim(self.tried.as_ref().map_or(waiting, |tried| tried.messages.start));
    }
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        self.abandon();
        self.take_wakes().wake();
    }
}

impl Tried {
    fn count(&self) -> usize {
        // It came from a usize.
        (self.messages.end - self.messages.start) as usize
    }
}

fn caused(kind: ErrorKind, cause: Option<&Error>) -> Error {
    match cause {
        Some(cause) => Error::from(kind).with_source(cause.clone()),
        None => kind.into(),
    }
}
