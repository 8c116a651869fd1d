//! The task that sends a stream.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::time::{sleep_until, timeout};

use super::{Inner, StreamIndex};
use crate::{
    Backoff, Error, ErrorKind,
    mutant::Mutant,
    queue::{Attempt, Finished},
};

/// How long to wait after an error that somebody must mend.
const FATAL_DELAY: Duration = Duration::from_secs(60);

/// What ended a wait before the next attempt.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    /// The time was over.
    Delay,
    /// Reception opened, so that the store is there.
    Opened,
}

pub(super) async fn run(inner: Arc<Inner>, stream: StreamIndex) {
    let seed = inner.node.0 as u64 ^ (u64::from(stream.0) << 1 | 1);
    let mut backoff = Backoff::new(inner.config.min_backoff, inner.config.max_backoff, seed);
    let lane = inner.lane(stream);
    if !lane.status().is_received() {
        lane.queue.with(|queue| queue.request_probe());
    }
    loop {
        let Some((attempt, tried_at)) = inner.next_attempt(stream) else {
            inner.idle(stream).await;
            continue;
        };
        let is_probe = attempt.payload.is_empty();
        let measured = inner.metrics.measure(&attempt, tried_at);
        let Some(result) = inner.attempt(stream, attempt).await else { continue };
        let now = inner.now();
        let finished = lane.queue.with(|queue| queue.finished(now, result.as_ref().copied()));
        inner.resolved();
        inner.evict();
        match finished {
            Finished::Stale => {}
            Finished::Failed => {
                let error = result.err().unwrap_or_else(|| ErrorKind::Unavailable.into());
                let delay = if error.is_fatal() { FATAL_DELAY } else { backoff.next_delay() };
                inner.counters.faults.add(1);
                inner.update(stream, |status| status.send_failed(error));
                if inner.back_off(stream, delay).await == Waited::Opened {
                    backoff.reset();
                }
            }
            Finished::Accepted
            | Finished::Repaired
            | Finished::Probed
            | Finished::Rewound { .. }
            | Finished::GivenUp => {
                backoff.reset();
                match finished {
                    Finished::Accepted => inner.metrics.sent(&measured, now),
                    Finished::Repaired => inner.counters.repaired.add(1),
                    Finished::Rewound { last } => {
                        tracing::info!(stream = stream.0, last, "the store forgot frames of this node");
                        if inner.mutation.is(Mutant::ForgetTail) {
                            while lane.queue.with(|queue| queue.evict_oldest_tail()) {}
                        }
                    }
                    _ => {}
                }
                inner.update_sent(stream, is_probe);
                // Whoever awaited these messages may publish the next ones now, so that they share a frame although
                // the store answers at once. A lone message finds this task idle, and is not delayed.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Inner {
    /// What to send now, and when that is.
    fn next_attempt(&self, stream: StreamIndex) -> Option<(Attempt, Duration)> {
        let now = self.now();
        let sent_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(sent_at.as_micros()).unwrap_or(u64::MAX);
        let attempt = self.lane(stream).queue.with(|queue| queue.next(now, micros));
        self.resolved();
        Some((attempt?, now))
    }

    /// Makes an attempt; `None` where the queue gave it up meanwhile.
    async fn attempt(&self, stream: StreamIndex, attempt: Attempt) -> Option<Result<(), Error>> {
        let lane = self.lane(stream);
        let send =
            timeout(self.config.send_timeout, self.backplane.send(stream, attempt.frame, attempt.payload));
        tokio::pin!(send);
        loop {
            tokio::select! {
                biased;
                () = lane.abandon_attempt.notified() => {
                    // It may have been said of an attempt before, which had ended by itself.
                    if !lane.queue.with(|queue| queue.is_outstanding()) {
                        return None;
                    }
                }
                result = &mut send => return Some(result.unwrap_or_else(|_| Err(ErrorKind::Timeout.into()))),
            }
        }
    }

    /// Waits until there may be something to do.
    async fn idle(&self, stream: StreamIndex) {
        let lane = self.lane(stream);
        match lane.queue.with(|queue| queue.next_deadline()) {
            Some(deadline) => {
                tokio::select! {
                    biased;
                    () = lane.wake_sender.notified() => {}
                    () = sleep_until(self.started + deadline) => {}
                }
            }
            None => lane.wake_sender.notified().await,
        }
    }

    /// Waits before the next attempt, while what waited for too long expires; not on when the store is there again.
    async fn back_off(&self, stream: StreamIndex, delay: Duration) -> Waited {
        let lane = self.lane(stream);
        let until = tokio::time::Instant::now() + delay;
        let opened = lane.opened.notified();
        tokio::pin!(opened);
        loop {
            let deadline = lane.queue.with(|queue| {
                queue.expire(self.now());
                queue.next_deadline()
            });
            self.resolved();
            let next = deadline.map_or(until, |deadline| until.min(self.started + deadline));
            // An attempt that was dropped meanwhile needs no more waiting, but the store does.
            tokio::select! {
                biased;
                () = &mut opened => return Waited::Opened,
                () = sleep_until(next) => {}
            }
            if next == until {
                return Waited::Delay;
            }
        }
    }

    /// Tells those who wait for messages to be resolved: for room, on all streams, and for the end.
    pub(super) fn resolved(&self) {
        if self.queue_budget.take_freed() {
            let now = self.now();
            for lane in &self.streams {
                // At once, since the sending task may be in a long attempt or delay.
                if lane.queue.with(|queue| queue.admit(now)) {
                    lane.wake_sender.notify_one();
                }
            }
        }
        if self.closing.load(Ordering::Relaxed) {
            self.drain.notify_one();
        }
    }

    fn update_sent(&self, stream: StreamIndex, is_probe: bool) {
        let lane = self.lane(stream);
        let needless = {
            let status = lane.status();
            status.is_sending() && (!is_probe || status.opened || status.is_received())
        };
        if !needless {
            let now = self.now();
            self.update(stream, |status| {
                status.sent();
                if is_probe {
                    status.answered(now);
                }
            });
        }
    }
}
