mod cells;
mod model;
mod receipts;
mod rules;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Attempt, Finished, QueueSettings, Receipt, SendQueue};
use crate::{
    BusConfig, Capabilities, Error, ErrorKind, NodeId, Overflow, QueuePolicy, StreamIndex,
    budget::{QueueBudget, SharedBudget},
    frame::{Frame, FrameHead, Layout},
};

const NOW: Duration = Duration::from_secs(100);
const STREAMS: NonZeroU16 = NonZeroU16::new(2).unwrap();

/// The streams of one bus, without a bus.
struct Fixture {
    queues: Vec<SendQueue>,
    budget: Arc<QueueBudget>,
    tail: Arc<SharedBudget>,
}

impl Fixture {
    fn new(config: &BusConfig, max_payload_bytes: usize) -> Self {
        let budget = Arc::new(QueueBudget::new(config.max_queue_messages, config.max_queue_bytes));
        let tail = Arc::new(SharedBudget::new(config.max_tail_bytes, STREAMS.get().into()));
        let capabilities = Capabilities::default().with_max_payload_bytes(max_payload_bytes);
        let queue = |stream| {
            let settings = QueueSettings::new(StreamIndex(stream), NodeId(7), STREAMS, config, &capabilities);
            SendQueue::new(settings, Arc::clone(&budget), Arc::clone(&tail))
        };
        Self { queues: (0..STREAMS.get()).map(queue).collect(), budget, tail }
    }

    /// Everything opened and up.
    fn up(config: &BusConfig) -> Self {
        let mut fixture = Self::new(config, 1 << 20);
        for queue in &mut fixture.queues {
            queue.set_open();
            queue.set_up(true);
        }
        fixture
    }

    fn queue(&mut self) -> &mut SendQueue {
        &mut self.queues[0]
    }

    fn assert_budgets_are_empty(&self) {
        assert_eq!((self.budget.used(), self.budget.room_used()), ((0, 0), (0, 0)));
    }
}

fn config(policy: QueuePolicy, overflow: Overflow) -> BusConfig {
    BusConfig::default().with_queue_policy(policy).with_overflow(overflow)
}

fn always() -> BusConfig {
    config(QueuePolicy::Always, Overflow::Reject)
}

fn push(queue: &mut SendQueue, payload: &str) -> Receipt {
    queue.push(NOW, "c", payload.as_bytes(), &[], false).unwrap()
}

fn refused(queue: &mut SendQueue, payload: &str, wait: bool) -> ErrorKind {
    queue.push(NOW, "c", payload.as_bytes(), &[], wait).unwrap_err().kind()
}

fn next(queue: &mut SendQueue) -> Attempt {
    queue.next(NOW, 0).expect("something is to be sent")
}

fn ok(queue: &mut SendQueue) -> Finished {
    queue.finished(NOW, Ok(()))
}

fn fail(queue: &mut SendQueue, kind: ErrorKind) -> Finished {
    queue.finished(NOW, Err(&Error::from(kind)))
}

/// Publishes `payload` and has the store accept it.
fn send(queue: &mut SendQueue, payload: &str) {
    let receipt = push(queue, payload);
    next(queue);
    assert_eq!(ok(queue), Finished::Accepted);
    assert!(is_ok(&receipt));
}

fn is_ok(receipt: &Receipt) -> bool {
    matches!(receipt.outcome(), Some(Ok(())))
}

fn error(receipt: &Receipt) -> Option<ErrorKind> {
    receipt.outcome()?.err().map(|error| error.kind())
}

fn decode(payload: &Bytes) -> (FrameHead, Vec<Vec<u8>>) {
    let layout = Layout { app: BusConfig::default().app.hash(), stream_count: STREAMS };
    let frame = Frame::decode(payload, &layout).unwrap();
    let bytes = |range: &std::ops::Range<u32>| payload[range.start as usize..range.end as usize].to_vec();
    (frame.head, frame.messages.iter().map(|message| bytes(&message.payload)).collect())
}

/// The payloads in a frame.
fn texts(attempt: &Attempt) -> Vec<String> {
    decode(&attempt.payload).1.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
}

const TOO_LARGE: ErrorKind = ErrorKind::PayloadTooLarge { actual: 2, limit: 1 };
