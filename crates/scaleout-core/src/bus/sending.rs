//! The task that sends a stream.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::time::{sleep_until, timeout};

use super::{Inner, StreamIndex};
use crate::{
    Backoff, Error, ErrorKind,
    queue::{Attempt, Finished},
};

/// How long to wait after an error that somebody must mend.
const FATAL_DELAY: Duration = Duration::from_secs(60);

pub(super) async fn run(inner: Arc<Inner>, stream: StreamIndex) {
    let seed = inner.node.0 as u64 ^ (u64::from(stream.0) << 1 | 1);
    let mut backoff = Backoff::new(inner.config.min_backoff, inner.config.max_backoff, seed);
    let lane = inner.lane(stream);
    if inner.config.role == crate::Role::PublishOnly {
        lane.queue.with(|queue| queue.request_probe());
    }
    loop {
        let Some(attempt) = inner.next_attempt(stream) else {
            inner.idle(stream).await;
            continue;
        };
        let is_probe = attempt.payload.is_empty();
        let result = tokio::select! {
            biased;
            () = lane.abandon_attempt.notified() => continue,
            result = timeout(inner.config.send_timeout, inner.send(stream, attempt)) => result,
        };
        let result = result.unwrap_or_else(|_| Err(ErrorKind::Timeout.into()));
        let now = inner.now();
        let finished = lane.queue.with(|queue| queue.finished(now, result.as_ref().map(|()| ())));
        inner.wake_waiters(stream);
        inner.evict();
        if inner.closing.load(Ordering::Relaxed) {
            inner.drain.notify_one();
        }
        match finished {
            Finished::Stale => {}
            Finished::Failed => {
                let error = result.err().unwrap_or_else(|| ErrorKind::Unavailable.into());
                let delay = if error.is_fatal() { FATAL_DELAY } else { backoff.next_delay() };
                inner.counters.faults.add(1);
                inner.update(stream, |status| status.send_failed(error));
                inner.back_off(stream, delay).await;
            }
            Finished::Accepted
            | Finished::Repaired
            | Finished::Probed
            | Finished::Rewound { .. }
            | Finished::TooLarge => {
                backoff.reset();
                match finished {
                    Finished::Repaired => inner.counters.repaired.add(1),
                    Finished::Rewound { last } => {
                        tracing::info!(stream = stream.0, last, "the store forgot frames of this node");
                    }
                    _ => {}
                }
                let opens = is_probe && inner.config.role == crate::Role::PublishOnly;
                inner.update_sent(stream, opens);
            }
        }
    }
}

impl Inner {
    fn next_attempt(&self, stream: StreamIndex) -> Option<Attempt> {
        let now = self.now();
        let sent_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(sent_at.as_micros()).unwrap_or(u64::MAX);
        self.lane(stream).queue.with(|queue| {
            queue.expire(now);
            queue.admit(now);
            queue.next(now, micros)
        })
    }

    async fn send(&self, stream: StreamIndex, attempt: Attempt) -> Result<(), Error> {
        self.backplane.send(stream, attempt.frame, attempt.payload).await
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

    /// Waits before the next attempt, while what waited for too long expires.
    async fn back_off(&self, stream: StreamIndex, delay: Duration) {
        let lane = self.lane(stream);
        let until = tokio::time::Instant::now() + delay;
        loop {
            let deadline = lane.queue.with(|queue| {
                queue.expire(self.now());
                queue.next_deadline()
            });
            self.wake_waiters(stream);
            let next = deadline.map_or(until, |deadline| until.min(self.started + deadline));
            // An attempt that was dropped meanwhile needs no more waiting, but the store does.
            sleep_until(next).await;
            if next == until {
                return;
            }
        }
    }

    /// Lets those who wait for room look again, on all streams, since any of them may have freed it.
    fn wake_waiters(&self, stream: StreamIndex) {
        if self.queue_budget.waiters() > 0 {
            for other in self.stream_indices().filter(|other| *other != stream) {
                self.lane(other).wake_sender.notify_one();
            }
        }
    }

    fn update_sent(&self, stream: StreamIndex, opens: bool) {
        let lane = self.lane(stream);
        let needless = {
            let status = lane.status();
            status.is_sending() && (!opens || status.opened)
        };
        if !needless {
            self.update(stream, |status| {
                status.sent();
                if opens {
                    status.opened(true);
                }
            });
        }
    }
}
