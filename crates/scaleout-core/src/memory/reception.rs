//! A reception: one reader of one stream, which reads the log at its own pace.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    backplane::Connection,
    log::{Log, Place},
    store::LaneState,
};
use crate::{Backoff, Epoch, Error, ErrorKind, Event, Start, StreamIndex};

const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Rule 14: somebody has to rotate a secret or give a grant first.
const FATAL_BACKOFF: Duration = Duration::from_secs(60);

/// One reader; dropping it ends its registration.
#[derive(Debug)]
pub(super) struct Reception {
    connection: Arc<Connection>,
    stream: StreamIndex,
    start: Start,
    link: Link,
    /// `None` until the first link.
    stand: Option<Stand>,
    backoff: Backoff,
    /// Redeliveries seen.
    redeliveries: u64,
}

#[derive(Debug, Clone, Copy)]
enum Link {
    /// Down; the next attempt is due then.
    Down { until: Option<Instant> },
    /// Up, and good while the stream's links have this number.
    Up { number: u64 },
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy)]
struct Stand {
    /// The epoch of the last `Opened`.
    epoch: Epoch,
    /// What is before it was yielded, or was told to be missing, or is none of this reception's business.
    passed: Option<Place>,
    /// Payloads yielded of `epoch`.
    yielded: usize,
}

enum Step {
    Yield(Event),
    /// Nothing to do until the stream changes.
    Wait,
    /// Nothing to do until then.
    WaitUntil(Instant),
}

impl Reception {
    /// Registers a reception with its connection; `None` if that is closed.
    pub(super) fn open(connection: Arc<Connection>, stream: StreamIndex, start: Start) -> Option<Self> {
        if !connection.register() {
            return None;
        }
        let seed = (connection.number << 16) | u64::from(stream.0);
        let redeliveries = connection.store.lane(stream).lock().faults.redelivery.count;
        Some(Self {
            connection,
            stream,
            start,
            link: Link::Down { until: None },
            stand: None,
            backoff: Backoff::new(MIN_BACKOFF, MAX_BACKOFF, seed),
            redeliveries,
        })
    }

    /// The next event; `None` once the connection is closed.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let connection = Arc::clone(&self.connection);
        connection.unless_closed(self.advance()).await
    }

    async fn advance(&mut self) -> Event {
        // A long backlog is always ready; without this it would starve the other tasks of its thread.
        tokio::task::coop::consume_budget().await;
        let store = self.connection.store.clone();
        let lane = store.lane(self.stream);
        loop {
            let changed = lane.changed();
            let (step, delay) = {
                let state = lane.lock();
                (self.step(&state), state.faults.receive_delay)
            };
            match step {
                Step::Yield(event) => {
                    if matches!(event, Event::Payload { .. }) && !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    return event;
                }
                Step::Wait => changed.await,
                Step::WaitUntil(until) => tokio::time::sleep_until(until).await,
            }
        }
    }

    fn step(&mut self, state: &LaneState) -> Step {
        match self.link {
            Link::Up { number } if number == state.faults.links => self.read(state),
            Link::Up { .. } => {
                let error = state.faults.refusal();
                self.fault(error.unwrap_or_else(|| {
                    Error::new(ErrorKind::Unavailable, "the link to the memory store broke")
                }))
            }
            Link::Down { until: Some(until) } if Instant::now() < until => Step::WaitUntil(until),
            Link::Down { .. } => {
                if let Some(error) = state.faults.refusal() {
                    return self.fault(error);
                }
                self.link = Link::Up { number: state.faults.links };
                self.backoff.reset();
                self.redeliveries = state.faults.redelivery.count;
                self.connect(&state.log)
            }
        }
    }

    fn fault(&mut self, error: Error) -> Step {
        let delay = if error.is_fatal() { FATAL_BACKOFF } else { self.backoff.next_delay() };
        self.link = Link::Down { until: Some(Instant::now() + delay) };
        Step::Yield(Event::Faulted(error))
    }

    /// The first event of a link.
    fn connect(&mut self, log: &Log) -> Step {
        let replay = self.connection.store.config().capabilities.replay;
        let start = if replay { self.start } else { Start::Latest };
        let Some(stand) = self.stand else {
            let passed = log.start(start);
            return self.opened(log, Stand { epoch: Epoch(0), passed, yielded: 0 });
        };
        if replay {
            return self.opened(log, stand);
        }
        let passed = stand.passed.max(log.last()).max(log.flushed());
        let missed = passed != stand.passed;
        let mut step = self.opened(log, Stand { passed, ..stand });
        if let Step::Yield(Event::Opened { unbroken, .. }) = &mut step {
            *unbroken &= !missed;
        }
        step
    }

    fn read(&mut self, state: &LaneState) -> Step {
        let log = &state.log;
        let Some(mut stand) = self.stand else { return self.connect(log) };
        let redelivery = state.faults.redelivery;
        if redelivery.count != self.redeliveries {
            self.redeliveries = redelivery.count;
            let back = redelivery.payloads.min(stand.yielded);
            stand.passed = stand.passed.and_then(|passed| log.back(passed, back));
            stand.yielded -= back;
        }
        let next = log.next(stand.passed);
        let epoch = next.map_or(log.epoch(), |(segment, _)| segment.epoch);
        if epoch != stand.epoch || hides_loss(log, stand) {
            let before = self.stand;
            let step = self.opened(log, stand);
            let replay = self.connection.store.config().capabilities.replay;
            if !replay && matches!(step, Step::Yield(Event::Opened { unbroken: false, .. })) {
                // What is lost without a trace is lost up to the head, as when the link had broken.
                self.stand = before;
                return self.connect(log);
            }
            return step;
        }
        let Some((_, entry)) = next else {
            self.stand = Some(stand);
            return Step::Wait;
        };
        self.stand = Some(Stand { epoch, passed: Some((epoch, entry.id)), yielded: stand.yielded + 1 });
        Step::Yield(Event::Payload { id: entry.id, bytes: entry.bytes.clone() })
    }

    /// Tells the epoch of what comes next; all that is missing before it is told with it.
    fn opened(&mut self, log: &Log, stand: Stand) -> Step {
        let next = log.next(stand.passed);
        let segment = next.map_or(log.current(), |(segment, _)| segment);
        let moved = segment.epoch != stand.epoch;
        let told = if moved { stand.passed.max(segment.after) } else { stand.passed };
        let unbroken = !hides_loss(log, Stand { passed: told, ..stand }) && stand.passed >= log.flushed();
        let before = next.map_or(log.last(), |(_, entry)| entry.previous);
        self.stand = Some(Stand {
            epoch: segment.epoch,
            passed: told.max(before).max(log.flushed()),
            yielded: if moved { 0 } else { stand.yielded },
        });
        Step::Yield(Event::Opened { epoch: segment.epoch, after: segment.after, head: log.head(), unbroken })
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.connection.deregister();
    }
}

/// Whether payloads are missing right behind a reader's place, and neither ids nor an `after` will show it.
fn hides_loss(log: &Log, stand: Stand) -> bool {
    if stand.passed < log.flushed() {
        return true;
    }
    let before = log.next(stand.passed).map_or(log.last(), |(_, entry)| entry.previous);
    !log.has_dense_ids() && before > stand.passed
}
