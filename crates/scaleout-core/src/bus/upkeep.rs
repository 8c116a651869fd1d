//! The task that lets time pass: ages, waits, probes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Inner;

/// How often the rings are looked through for what is too old.
const TICK: Duration = Duration::from_millis(500);

/// How often a stream that is not received is asked whether it still holds this node's tail.
const TAIL_PROBE: Duration = Duration::from_secs(10);

pub(super) async fn run(inner: Arc<Inner>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut last_probe = last;
    loop {
        let at = ticks.tick().await;
        let elapsed = at.saturating_duration_since(last);
        last = at;
        inner.pass_time(elapsed);
        if at.saturating_duration_since(last_probe) >= TAIL_PROBE {
            last_probe = at;
            inner.probe_tails();
            inner.heard.forget(inner.now());
        }
        tokio::task::yield_now().await;
    }
}

impl Inner {
    fn pass_time(&self, elapsed: Duration) {
        let now = self.now();
        for stream in self.stream_indices() {
            let (is_up, heals) = {
                let status = self.lane(stream).status();
                (status.is_receiving(), status.may_forgive_layout(now))
            };
            if heals {
                self.update(stream, |status| status.forgive_layout());
            }
            let mut wakes = Vec::new();
            let mut ring = self.ring(stream);
            ring.expire(now, self.config.max_ring_age);
            // One that was just asked for did not open yet, whatever the state said a moment ago.
            if is_up && ring.is_filled() {
                ring.pass_up_time(elapsed, &mut wakes);
            }
            self.settle_budget(stream, &mut ring);
            drop(ring);
            wakes.into_iter().for_each(std::task::Waker::wake);
            self.give_up_unread(stream);
        }
    }

    fn probe_tails(&self) {
        for stream in self.stream_indices() {
            let lane = self.lane(stream);
            if lane.status().is_received() {
                continue;
            }
            let due = lane.queue.with(|queue| {
                let due = !queue.tail_is_empty();
                if due {
                    queue.request_probe();
                }
                due
            });
            if due {
                lane.wake_sender.notify_one();
            }
        }
    }
}
