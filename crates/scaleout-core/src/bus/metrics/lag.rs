//! How far each stream is behind the store, asked seldom.
//!
//! A store is asked of a stream at most every [`MIN_PAUSE`], and only where something happened there since: this node's
//! position moved, or a frame of its own was confirmed, which must come back. And while it is behind, or degraded: then
//! a position that stands still says nothing. A node that idles asks nothing, nor does one without a recorder.

use std::{cell::Cell, sync::Arc, time::Duration};

use metrics::{Gauge, IntoF64};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Inner, StreamGauges, TICK};
use crate::{Epoch, Lag, Position, Retained, StreamIndex, StreamState};

/// How long a store is left alone after it was asked of a stream.
const MIN_PAUSE: Duration = Duration::from_secs(15);

/// What is known of a stream.
#[derive(Default)]
struct Known {
    asked: Option<Instant>,
    /// Where this node stood, and the last frame of its own that was confirmed, when it asked.
    moved: Option<(Position, u64)>,
    /// How far it was behind.
    behind: u64,
    /// Payloads that the store ever had in an epoch, and when it said so.
    counted: Option<(Epoch, u64, Instant)>,
}

pub(super) async fn watch(inner: Arc<Inner>) {
    if !inner.stream_indices().any(|stream| inner.metrics.of(stream).are_recorded()) {
        return;
    }
    let mut known: Vec<_> = inner.stream_indices().map(|_| Known::default()).collect();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (stream, known) in inner.stream_indices().zip(&mut known) {
            look_at(&inner, stream, known).await;
        }
    }
}

async fn look_at(inner: &Inner, stream: StreamIndex, known: &mut Known) {
    let gauges = inner.metrics.of(stream);
    let Some(position) = inner.ring(stream).head() else {
        if known.asked.is_some() {
            *known = Known::default();
            gauges.set_lag(None, None);
        }
        return;
    };
    if known.asked.is_some_and(|asked| asked.elapsed() < MIN_PAUSE) {
        return;
    }
    let moved = Some((position, inner.lane(stream).queue.with(|queue| queue.confirmed())));
    let is_degraded = matches!(inner.states.borrow()[stream.index()], StreamState::Degraded { .. });
    if known.moved == moved && known.behind == 0 && !is_degraded {
        // Nothing comes, so that there is nothing to lose.
        if known.counted.is_some() {
            gauges.headroom_seconds.set(f64::INFINITY);
        }
        return;
    }
    known.moved = moved;
    known.asked = Some(Instant::now());
    match timeout(inner.config.send_timeout, inner.backplane.retained(stream)).await {
        // Where this node stands now: what came while the store answered is not behind.
        Ok(Ok(Some(retained))) => {
            if let Some(position) = inner.ring(stream).head() {
                note(gauges, known, &retained, position);
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(stream = stream.0, %error, "the store did not say what it retains"),
        Err(_) => tracing::debug!(stream = stream.0, "the store did not say in time what it retains"),
    }
}

fn note(gauges: &StreamGauges, known: &mut Known, retained: &Retained, position: Position) {
    let Some(lag) = Lag::of(retained, position) else { return };
    let count = retained.last.map_or(0, |id| id.0.saturating_add(1));
    let now = Instant::now();
    let before = known.counted.replace((retained.epoch, count, now));
    known.behind = lag.behind;
    let seconds = match before {
        Some((epoch, earlier, at)) if epoch == retained.epoch => {
            seconds_left(lag.headroom, count.saturating_sub(earlier), now.saturating_duration_since(at))
        }
        _ => None,
    };
    gauges.set_lag(Some(lag), seconds);
}

/// How long `headroom` payloads last where `came` of them come in `time`; `None` where that says nothing.
fn seconds_left(headroom: u64, came: u64, time: Duration) -> Option<f64> {
    match came {
        _ if time.is_zero() => None,
        0 => Some(f64::INFINITY),
        came => Some(headroom as f64 * time.as_secs_f64() / came as f64),
    }
}

impl StreamGauges {
    /// Whether somebody records any gauge of lag.
    fn are_recorded(&self) -> bool {
        [&self.lag_payloads, &self.headroom_payloads, &self.headroom_seconds].into_iter().any(is_recorded)
    }

    /// What is not known is not a number.
    pub(super) fn set_lag(&self, lag: Option<Lag>, headroom_seconds: Option<f64>) {
        self.lag_payloads.set(lag.map_or(f64::NAN, |lag| lag.behind as f64));
        self.headroom_payloads.set(lag.map_or(f64::NAN, |lag| lag.headroom as f64));
        self.headroom_seconds.set(headroom_seconds.unwrap_or(f64::NAN));
    }
}

/// Whether there is a recorder behind a gauge. A gauge without one does not ask for the value that it is set to.
fn is_recorded(gauge: &Gauge) -> bool {
    struct Unknown<'a>(&'a Cell<bool>);

    impl IntoF64 for Unknown<'_> {
        fn into_f64(self) -> f64 {
            self.0.set(true);
            f64::NAN
        }
    }

    let was_asked = Cell::new(false);
    gauge.set(Unknown(&was_asked));
    was_asked.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_lasts_as_long_as_the_rate_allows() {
        assert_eq!(seconds_left(300, 100, Duration::from_secs(10)), Some(30.0));
        assert_eq!(seconds_left(0, 100, Duration::from_secs(10)), Some(0.0));
        assert_eq!(seconds_left(300, 0, Duration::from_secs(10)), Some(f64::INFINITY));
        assert_eq!(seconds_left(300, 100, Duration::ZERO), None);
    }
}
