//! Random operations on two streams against a naive model, with a store that keeps rule 9 of the contract.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Finished, Fixture, STREAMS, TOO_LARGE, config, decode};
use crate::{
    Error, ErrorKind, FrameId, Overflow, QueuePolicy, Receipt,
    frame::{MAX_HEAD_BYTES, encoded_message_len},
    queue::{Attempt, QueueCounters},
};

#[derive(Debug, Clone)]
enum Op {
    Push {
        stream: usize,
        size: usize,
        wait: bool,
    },
    Next {
        stream: usize,
    },
    /// Ends the outstanding attempt as the store or, worse, the network will have it.
    Finish {
        stream: usize,
        fate: Fate,
    },
    /// The store forgets the last frames it holds.
    Rewind {
        stream: usize,
        frames: usize,
    },
    Open {
        stream: usize,
    },
    Up {
        stream: usize,
        up: bool,
    },
    Hold {
        stream: usize,
        held: bool,
    },
    Probe {
        stream: usize,
    },
    Admit {
        stream: usize,
    },
    Pass {
        millis: u64,
    },
    EvictTail {
        stream: usize,
    },
    StopAccepting {
        stream: usize,
    },
    Abandon {
        stream: usize,
    },
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// The store took it, the answer was lost.
    AnswerLost,
    /// It never reached the store.
    RequestLost,
    Fatal,
    TooLarge,
    /// The store may have it from an earlier attempt, and must not be sent it again.
    Unconfirmed,
}

fn op() -> impl Strategy<Value = Op> {
    let stream = 0..usize::from(STREAMS.get());
    let fate = prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::Fatal),
        1 => Just(Fate::TooLarge),
        1 => Just(Fate::Unconfirmed),
    ];
    prop_oneof![
        30 => (stream.clone(), 0..120_usize, any::<bool>()).prop_map(|(stream, size, wait)| Op::Push { stream, size, wait }),
        20 => stream.clone().prop_map(|stream| Op::Next { stream }),
        20 => (stream.clone(), fate).prop_map(|(stream, fate)| Op::Finish { stream, fate }),
        3 => (stream.clone(), 1..4_usize).prop_map(|(stream, frames)| Op::Rewind { stream, frames }),
        2 => stream.clone().prop_map(|stream| Op::Open { stream }),
        4 => (stream.clone(), prop::bool::weighted(0.7)).prop_map(|(stream, up)| Op::Up { stream, up }),
        2 => (stream.clone(), any::<bool>()).prop_map(|(stream, held)| Op::Hold { stream, held }),
        2 => stream.clone().prop_map(|stream| Op::Probe { stream }),
        4 => stream.clone().prop_map(|stream| Op::Admit { stream }),
        4 => (1..20_000_u64).prop_map(|millis| Op::Pass { millis }),
        2 => stream.clone().prop_map(|stream| Op::EvictTail { stream }),
        1 => stream.clone().prop_map(|stream| Op::StopAccepting { stream }),
        1 => stream.prop_map(|stream| Op::Abandon { stream }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_queue_does_what_the_naive_model_does(
        policy in prop_oneof![
            3 => Just(QueuePolicy::Always),
            1 => Just(QueuePolicy::InitialOnly),
            1 => Just(QueuePolicy::Disabled),
        ],
        overflow in prop_oneof![Just(Overflow::Reject), Just(Overflow::Wait), Just(Overflow::DropOldest)],
        begins_up in any::<bool>(),
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut run = Run::new(policy, overflow);
        if begins_up {
            for stream in 0..usize::from(STREAMS.get()) {
                run.apply(Op::Open { stream });
                run.apply(Op::Up { stream, up: true });
            }
        }
        for op in ops {
            run.apply(op);
            run.check();
        }
        run.end();
    }
}

const MAX_MESSAGES: usize = 6;
const MAX_BYTES: usize = 400;
const MAX_FRAME_BYTES: usize = MAX_HEAD_BYTES + 200;
/// A message of 120 bytes is just too large.
const MAX_PAYLOAD_BYTES: usize = MAX_HEAD_BYTES + 120;
const MAX_QUEUE_AGE: Duration = Duration::from_secs(30);
const MAX_TAIL_AGE: Duration = Duration::from_secs(60);

/// The queues, the model of each, and the store of each.
struct Run {
    fixture: Fixture,
    models: Vec<Model>,
    stores: Vec<Store>,
    now: Duration,
    policy: QueuePolicy,
    overflow: Overflow,
}

/// What a stream is expected to do, in the plainest way.
#[derive(Default)]
struct Model {
    messages: Vec<Message>,
    /// Frames the store accepted: number, when.
    tail: Vec<(u64, Duration)>,
    tried: Option<u64>,
    doubtful: bool,
    outstanding: Option<FrameId>,
    next_number: u64,
    confirmed: u64,
    accepted: u64,
    probe_due: bool,
    /// Whether the last attempt that ended was not answered.
    last_failed: bool,
    opened: bool,
    held: bool,
    up: bool,
    closing: bool,
    abandoned: bool,
    /// The bytes of every frame that was ever tried.
    bytes: BTreeMap<u64, Bytes>,
    /// Why messages were refused at the call.
    refused: Vec<ErrorKind>,
}

struct Message {
    receipt: Receipt,
    id: u64,
    len: usize,
    at: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Room,
    Waiting,
    Tried,
    Done(Result<(), ErrorKind>),
}

/// A stream's log in the store: the frames of the one node there is.
#[derive(Default)]
struct Store(Vec<(u64, Bytes)>);

impl Store {
    fn held(&self) -> u64 {
        self.0.last().map_or(0, |(number, _)| *number)
    }

    fn send(&mut self, attempt: &Attempt) -> Result<(), ErrorKind> {
        let (frame, held) = (attempt.frame, self.held());
        if frame.number > 0 && frame.number <= held {
            return Ok(());
        }
        if held < frame.after {
            return Err(ErrorKind::Rewound { last: held });
        }
        if frame.number > 0 {
            self.0.push((frame.number, attempt.payload.clone()));
        }
        Ok(())
    }
}

impl Model {
    fn in_state(&self, state: State) -> Vec<usize> {
        (0..self.messages.len()).filter(|index| self.messages[*index].state == state).collect()
    }

    fn sum(&self, states: &[State]) -> (usize, usize) {
        let counted = self.messages.iter().filter(|message| states.contains(&message.state));
        counted.fold((0, 0), |(count, bytes), message| (count + 1, bytes + message.len))
    }

    /// Resolves every message in `state`.
    fn resolve(&mut self, state: State, outcome: Result<(), ErrorKind>) {
        for index in self.in_state(state) {
            self.messages[index].state = State::Done(outcome);
        }
    }

    fn resolve_tried(&mut self, outcome: Result<(), ErrorKind>) {
        self.resolve(State::Tried, outcome);
        self.tried = None;
        self.doubtful = false;
    }

    fn give_up(&mut self) {
        self.resolve_tried(Err(ErrorKind::Unconfirmed));
        self.resolve(State::Waiting, Err(ErrorKind::Unavailable));
        self.resolve(State::Room, Err(ErrorKind::Unavailable));
    }

    fn stop_accepting(&mut self) {
        self.closing = true;
        self.resolve(State::Room, Err(ErrorKind::Closed));
    }

    fn to_repair(&self) -> Option<u64> {
        self.tail.iter().map(|(number, _)| *number).find(|number| *number > self.confirmed)
    }

    fn expire(&mut self, now: Duration) {
        for message in &mut self.messages {
            if matches!(message.state, State::Waiting | State::Room) && message.at + MAX_QUEUE_AGE <= now {
                message.state = State::Done(Err(ErrorKind::Expired));
            }
        }
        self.tail.retain(|(_, at)| *at + MAX_TAIL_AGE > now);
    }
}

impl Run {
    fn new(policy: QueuePolicy, overflow: Overflow) -> Self {
        let config = config(policy, overflow)
            .with_max_queue_messages(MAX_MESSAGES)
            .with_max_queue_bytes(MAX_BYTES)
            .with_max_frame_bytes(MAX_FRAME_BYTES)
            .with_max_queue_age(MAX_QUEUE_AGE)
            .with_max_tail_age(MAX_TAIL_AGE);
        let streams = usize::from(STREAMS.get());
        Self {
            fixture: Fixture::new(&config, MAX_PAYLOAD_BYTES),
            models: (0..streams).map(|_| Model { next_number: 1, ..Model::default() }).collect(),
            stores: (0..streams).map(|_| Store::default()).collect(),
            now: Duration::ZERO,
            policy,
            overflow,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Push { stream, size, wait } => self.push(stream, size, wait),
            Op::Next { stream } => drop(self.next(stream)),
            Op::Finish { stream, fate } => self.finish(stream, fate),
            Op::Rewind { stream, frames } => {
                let log = &mut self.stores[stream].0;
                log.truncate(log.len().saturating_sub(frames));
            }
            Op::Open { stream } => {
                self.fixture.queues[stream].set_open();
                self.models[stream].opened = true;
            }
            Op::Up { stream, up } => self.set_up(stream, up),
            Op::Hold { stream, held } => {
                self.fixture.queues[stream].hold(held);
                self.models[stream].held = held;
            }
            Op::Probe { stream } => {
                self.fixture.queues[stream].request_probe();
                self.models[stream].probe_due = true;
            }
            Op::Admit { stream } => {
                let admitted = self.fixture.queues[stream].admit(self.now);
                assert_eq!(admitted, self.model_admit(stream) > 0);
            }
            Op::Pass { millis } => {
                self.now += Duration::from_millis(millis);
                for (queue, model) in self.fixture.queues.iter_mut().zip(&mut self.models) {
                    queue.expire(self.now);
                    model.expire(self.now);
                    assert!(queue.next_deadline().is_none_or(|at| at > self.now));
                }
            }
            Op::EvictTail { stream } => {
                let tail = &mut self.models[stream].tail;
                assert_eq!(self.fixture.queues[stream].evict_oldest_tail(), !tail.is_empty());
                tail.drain(..tail.len().min(1));
            }
            Op::StopAccepting { stream } => {
                self.fixture.queues[stream].stop_accepting();
                self.models[stream].stop_accepting();
            }
            Op::Abandon { stream } => self.abandon(stream),
        }
    }

    fn push(&mut self, stream: usize, size: usize, wait: bool) {
        let id =
            self.models.iter().map(|model| model.messages.len() + model.refused.len()).sum::<usize>() as u64;
        let payload: Vec<u8> = id.to_le_bytes().into_iter().chain(std::iter::repeat_n(0, size)).collect();
        let len = encoded_message_len(1, payload.len(), &[]);
        let expected = self.model_push(stream, len, wait);
        let pushed = self.fixture.queues[stream].push(self.now, "c", &payload, &[], wait);
        let waits = matches!(expected, Ok(State::Room));
        let model = &mut self.models[stream];
        match (pushed, expected) {
            (Ok(receipt), Ok(state)) => {
                model.messages.push(Message { receipt, id, len, at: self.now, state });
            }
            (Err(error), Err(kind)) => {
                assert_eq!(error.kind(), kind);
                // Sizes differ from call to call; they are counted under one kind.
                let is_size = matches!(kind, ErrorKind::PayloadTooLarge { .. });
                model.refused.push(if is_size { TOO_LARGE } else { kind });
            }
            (pushed, expected) => panic!("{pushed:?} instead of {expected:?}"),
        }
        if waits {
            self.model_admit(stream);
        }
    }

    fn model_push(&mut self, stream: usize, len: usize, wait: bool) -> Result<State, ErrorKind> {
        let model = &self.models[stream];
        if model.closing {
            return Err(ErrorKind::Closed);
        }
        if len + MAX_HEAD_BYTES > MAX_PAYLOAD_BYTES {
            return Err(ErrorKind::PayloadTooLarge {
                actual: len + MAX_HEAD_BYTES,
                limit: MAX_PAYLOAD_BYTES,
            });
        }
        let may_wait = match self.policy {
            QueuePolicy::Always => true,
            QueuePolicy::InitialOnly => model.up || !model.opened,
            QueuePolicy::Disabled => model.up,
        };
        if !may_wait {
            return Err(ErrorKind::Unavailable);
        }
        let somebody_waits = self.total(&[State::Room]).0 > 0;
        if !somebody_waits && fits(self.total(QUEUED), len) {
            return Ok(State::Waiting);
        }
        match self.overflow {
            Overflow::Reject => Err(ErrorKind::QueueFull),
            Overflow::Wait if wait && fits(self.total(&[State::Room]), len) => Ok(State::Room),
            Overflow::Wait => Err(ErrorKind::QueueFull),
            Overflow::DropOldest => {
                let mut droppable = self.models[stream].in_state(State::Waiting);
                let (used, ours) = (self.total(QUEUED), self.models[stream].sum(&[State::Waiting]));
                if ours.0 == 0 || !fits((used.0 - ours.0, used.1 - ours.1), len) {
                    return Err(ErrorKind::QueueFull);
                }
                while !fits(self.total(QUEUED), len) {
                    let oldest = droppable.remove(0);
                    self.models[stream].messages[oldest].state = State::Done(Err(ErrorKind::Dropped));
                }
                Ok(State::Waiting)
            }
        }
    }

    fn model_admit(&mut self, stream: usize) -> usize {
        self.models[stream].expire(self.now);
        let mut admitted = 0;
        for index in self.models[stream].in_state(State::Room) {
            if !fits(self.total(QUEUED), self.models[stream].messages[index].len) {
                break;
            }
            self.models[stream].messages[index].state = State::Waiting;
            admitted += 1;
        }
        admitted
    }

    fn next(&mut self, stream: usize) -> Option<Attempt> {
        let attempt = self.fixture.queues[stream].next(self.now, 0);
        self.model_admit(stream);
        let model = &mut self.models[stream];
        let expected = if model.outstanding.is_some() || model.abandoned {
            None
        } else if model.probe_due {
            Some(0)
        } else if !model.opened || model.held {
            None
        } else {
            let first_waits = || !model.in_state(State::Waiting).is_empty();
            let next = model.to_repair().or(model.tried);
            let next = next.or_else(|| first_waits().then_some(model.next_number));
            // Only an answer makes the stream come up again.
            next.or(model.last_failed.then_some(0))
        };
        assert_eq!(attempt.as_ref().map(|attempt| attempt.frame.number), expected);
        let attempt = attempt?;
        let (frame, bytes) = (attempt.frame, attempt.payload.clone());
        model.outstanding = Some(frame);
        assert_eq!(frame.after, model.confirmed);
        assert!(frame.number == 0 || frame.after < frame.number);
        if frame.number == 0 {
            model.probe_due = false;
            assert!(bytes.is_empty());
        } else if frame.number == model.next_number {
            model.take_new_frame(&bytes);
        } else {
            assert_eq!(model.bytes[&frame.number], bytes, "a frame never changes");
        }
        Some(attempt)
    }

    fn finish(&mut self, stream: usize, fate: Fate) {
        let Some(frame) = self.models[stream].outstanding else {
            assert_eq!(self.fixture.queues[stream].finished(self.now, Ok(())), Finished::Stale);
            return;
        };
        let payload = self.models[stream].bytes.get(&frame.number).cloned().unwrap_or_default();
        let store = &mut self.stores[stream];
        let answer = match fate {
            Fate::Answered => store.send(&Attempt { frame, payload, messages: 0 }),
            Fate::AnswerLost => {
                store.send(&Attempt { frame, payload, messages: 0 }).and(Err(ErrorKind::Timeout))
            }
            Fate::RequestLost => Err(ErrorKind::Unavailable),
            Fate::Fatal => Err(ErrorKind::Unauthorized),
            Fate::TooLarge => Err(TOO_LARGE),
            Fate::Unconfirmed => Err(ErrorKind::Unconfirmed),
        };
        let error = answer.err().map(Error::from);
        self.fixture.queues[stream].finished(self.now, error.as_ref().map_or(Ok(()), Err));
        let loses = self.loses_when_down(stream);
        self.models[stream].finish(frame, answer, self.now, loses);
    }

    fn loses_when_down(&self, stream: usize) -> bool {
        match self.policy {
            QueuePolicy::Always => false,
            QueuePolicy::InitialOnly => self.models[stream].opened,
            QueuePolicy::Disabled => true,
        }
    }

    fn set_up(&mut self, stream: usize, up: bool) {
        let loses = self.loses_when_down(stream);
        let dropped = self.fixture.queues[stream].set_up(up);
        let model = &mut self.models[stream];
        let went_down = model.up && !up;
        model.up = up;
        if went_down && loses {
            let running = model.outstanding.take();
            assert_eq!(dropped, running.is_some());
            model.probe_due |= running.is_some_and(|frame| frame.number == 0);
            model.give_up();
        } else {
            assert!(!dropped);
        }
    }

    fn abandon(&mut self, stream: usize) {
        let model = &mut self.models[stream];
        model.stop_accepting();
        let expected = (model.sum(&[State::Waiting]).0, model.sum(&[State::Tried]).0);
        model.abandoned = true;
        model.outstanding = None;
        model.resolve_tried(Err(ErrorKind::Unconfirmed));
        model.resolve(State::Waiting, Err(ErrorKind::Closed));
        let abandoned = self.fixture.queues[stream].abandon();
        assert_eq!((abandoned.unsent, abandoned.unconfirmed), expected);
    }

    fn total(&self, states: &[State]) -> (usize, usize) {
        let sums = self.models.iter().map(|model| model.sum(states));
        sums.fold((0, 0), |total, sum| (total.0 + sum.0, total.1 + sum.1))
    }

    /// What must hold after every step.
    fn check(&self) {
        assert_eq!(self.fixture.budget.used(), self.total(QUEUED));
        assert_eq!(self.fixture.budget.room_used(), self.total(&[State::Room]));
        assert!(self.total(QUEUED).0 <= MAX_MESSAGES && self.total(QUEUED).1 <= MAX_BYTES);
        for ((queue, model), store) in self.fixture.queues.iter().zip(&self.models).zip(&self.stores) {
            for message in &model.messages {
                let outcome = message.receipt.outcome().map(|outcome| outcome.map_err(|error| error.kind()));
                let expected = if let State::Done(outcome) = message.state { Some(outcome) } else { None };
                assert_eq!(outcome, expected, "message {}", message.id);
            }
            assert_eq!(queue.confirmed(), model.confirmed);
            assert_eq!(queue.tail_is_empty(), model.tail.is_empty());
            assert_eq!(queue.queued(), model.sum(&[State::Room, State::Waiting, State::Tried]));
            assert!(store.0.is_sorted_by(|a, b| a.0 < b.0), "the log is in the order of numbers");
            model.check_counters(queue.counters());
        }
    }

    /// A healthy store drains the queues; then every publish has its outcome.
    fn end(mut self) {
        for _ in 0..2 {
            for stream in 0..self.models.len() {
                self.apply(Op::Hold { stream, held: false });
                self.apply(Op::Open { stream });
                self.apply(Op::Up { stream, up: true });
                loop {
                    self.finish(stream, Fate::Answered);
                    if self.next(stream).is_none() {
                        break;
                    }
                    self.check();
                }
                assert!(self.models[stream].abandoned || self.models[stream].to_repair().is_none());
            }
        }
        for (model, store) in self.models.iter().zip(&self.stores) {
            assert!(model.messages.iter().all(|message| matches!(message.state, State::Done(_))));
            model.check_log(store);
        }
        self.fixture.assert_budgets_are_empty();
        self.fixture.queues.clear();
        assert_eq!(self.fixture.tail.used(), 0);
    }
}

impl Model {
    /// A new frame: everything that waits, in order, as far as it fits.
    fn take_new_frame(&mut self, bytes: &Bytes) {
        let (head, payloads) = decode(bytes);
        assert_eq!((head.number, head.after), (self.next_number, self.accepted));
        let limit = MAX_FRAME_BYTES.min(MAX_PAYLOAD_BYTES) - MAX_HEAD_BYTES;
        let (mut ids, mut used) = (Vec::new(), 0);
        for index in self.in_state(State::Waiting) {
            let message = &mut self.messages[index];
            if used > 0 && used + message.len > limit {
                break;
            }
            used += message.len;
            message.state = State::Tried;
            ids.push(message.id);
        }
        assert_eq!(payloads.iter().map(|payload| id(payload)).collect::<Vec<_>>(), ids);
        assert!(bytes.len() <= MAX_PAYLOAD_BYTES);
        self.tried = Some(self.next_number);
        self.bytes.insert(self.next_number, bytes.clone());
        self.next_number += 1;
    }

    fn finish(
        &mut self,
        frame: FrameId,
        answer: Result<(), ErrorKind>,
        now: Duration,
        loses_when_down: bool,
    ) {
        self.outstanding = None;
        let is_tried = frame.number > 0 && self.tried == Some(frame.number);
        self.last_failed = match answer {
            Ok(()) | Err(ErrorKind::Rewound { .. }) => false,
            // A probe has no size to refuse, and nothing to be there twice.
            Err(ErrorKind::PayloadTooLarge { .. } | ErrorKind::Unconfirmed) => frame.number == 0,
            Err(_) => true,
        };
        match answer {
            Ok(()) if is_tried => {
                self.resolve_tried(Ok(()));
                self.tail.push((frame.number, now));
                self.accepted = frame.number;
                self.confirmed = frame.number;
            }
            Ok(()) => self.confirmed = self.confirmed.max(frame.number),
            Err(ErrorKind::Rewound { last }) => {
                assert!(last < self.confirmed, "the store keeps rule 9");
                self.confirmed = last;
            }
            Err(ErrorKind::PayloadTooLarge { .. }) if is_tried => {
                self.resolve_tried(Err(if self.doubtful { ErrorKind::Unconfirmed } else { TOO_LARGE }));
            }
            Err(ErrorKind::Unconfirmed) if is_tried => self.resolve_tried(Err(ErrorKind::Unconfirmed)),
            Err(ErrorKind::PayloadTooLarge { .. } | ErrorKind::Unconfirmed) if frame.number > 0 => {
                self.tail.retain(|(number, _)| *number != frame.number);
            }
            Err(_) => {
                self.doubtful |= is_tried;
                if loses_when_down {
                    self.give_up();
                }
                self.probe_due |= self.tried.is_none() && self.to_repair().is_none();
            }
        }
    }

    fn check_counters(&self, counters: QueueCounters) {
        let count = |outcome: Result<(), ErrorKind>| {
            let settled = self.messages.iter().filter(|m| m.state == State::Done(outcome)).count();
            let refused = self.refused.iter().filter(|kind| outcome == Err(**kind)).count();
            (settled + refused) as u64
        };
        assert_eq!(counters.refused, count(Err(ErrorKind::QueueFull)));
        assert_eq!(counters.published, count(Ok(())));
        assert_eq!(counters.expired, count(Err(ErrorKind::Expired)));
        assert_eq!(counters.dropped, count(Err(ErrorKind::Dropped)));
        assert_eq!(counters.unavailable, count(Err(ErrorKind::Unavailable)));
        assert_eq!(counters.closed, count(Err(ErrorKind::Closed)));
        assert_eq!(counters.too_large, count(Err(TOO_LARGE)));
        assert_eq!(counters.unconfirmed, count(Err(ErrorKind::Unconfirmed)));
    }

    /// No message is in the log twice or out of order, and none that was surely refused.
    fn check_log(&self, store: &Store) {
        let ids: Vec<u64> =
            store.0.iter().flat_map(|(_, bytes)| decode(bytes).1).map(|payload| id(&payload)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for message in &self.messages {
            let may_be_there = matches!(message.state, State::Done(Ok(()) | Err(ErrorKind::Unconfirmed)));
            assert!(may_be_there || !ids.contains(&message.id));
        }
    }
}

const QUEUED: &[State] = &[State::Waiting, State::Tried];

fn fits((messages, bytes): (usize, usize), len: usize) -> bool {
    messages < MAX_MESSAGES && bytes + len <= MAX_BYTES
}

fn id(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}
