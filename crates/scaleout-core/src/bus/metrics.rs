//! What a bus tells a recorder of `metrics`.
//!
//! Everything is registered once, when the bus starts. One task then exports the counters and gauges once a second, so
//! that nothing is paid per message; only the histograms are recorded where things happen, once for each frame.

mod families;
mod lag;

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use metrics::{Counter, Gauge, Histogram, IntoF64, Key, Label, Level, Metadata, Recorder, Unit};
use tokio::{
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use self::families::{GAUGES, HISTOGRAMS, STREAM_GAUGES, values};
use super::Inner;
use crate::{AppName, Counters, StreamIndex, StreamState, Usage, queue::Attempt};

/// How often counters and gauges are exported.
const TICK: Duration = Duration::from_secs(1);

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// What a bus exports.
pub(super) struct Metrics {
    app: Label,
    counted: Mutex<Counted>,
    gauges: BusGauges,
    streams: Box<[StreamGauges]>,
    frame_bytes: Histogram,
    frame_messages: Histogram,
    send_seconds: Histogram,
    latency_seconds: Histogram,
}

/// What was exported already. Its lock is held for one export.
struct Counted {
    own: Exporter,
    /// Of those who work over this bus.
    others: Vec<(Arc<dyn CounterSource>, Exporter)>,
}

struct BusGauges {
    queue_messages: Gauge,
    queue_bytes: Gauge,
    tail_bytes: Gauge,
    ring_bytes: Gauge,
    readers: Gauge,
    ready: Gauge,
}

struct StreamGauges {
    state: Gauge,
    lag_payloads: Gauge,
    headroom_payloads: Gauge,
    headroom_seconds: Gauge,
}

/// One counter of those that something exports, for [`CounterSource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterValue {
    /// The name, `scaleout_…_total`.
    pub name: &'static str,
    /// What it counts, in a sentence; the same for all of one name.
    pub description: &'static str,
    /// The label `reason`, where there are several of one name.
    pub reason: Option<&'static str>,
    /// What it is now.
    pub value: u64,
}

/// Something over a bus that counts, for [`Bus::export_counters`](crate::Bus::export_counters) (feature `metrics`).
pub trait CounterSource: Send + Sync {
    /// All its counters, always in the same order.
    fn counters(&self) -> Vec<CounterValue>;
}

/// An attempt to send new messages.
pub(super) struct Measured {
    bytes: usize,
    messages: usize,
    tried_at: Duration,
}

/// Seconds since a time in microseconds of the Unix epoch. The clock is read only where there is a recorder.
struct SinceMicros(u64);

impl IntoF64 for SinceMicros {
    fn into_f64(self) -> f64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_micros(self.0)).as_secs_f64()
    }
}

pub(super) fn spawn(inner: &Arc<Inner>) -> Option<AbortHandle> {
    let (exporting, watching) = (Arc::clone(inner), Arc::clone(inner));
    let work = async move { tokio::join!(run(exporting), lag::watch(watching)) };
    Some(tokio::spawn(work).abort_handle())
}

async fn run(inner: Arc<Inner>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        inner.metrics.export(&inner);
    }
}

impl Metrics {
    /// Registers everything with the recorder of this thread, or else the one of the process.
    pub(super) fn register(app: &AppName, stream_count: NonZeroU16) -> Self {
        let app = Label::new("app", app.as_str().to_owned());
        metrics::with_recorder(|recorder| {
            for (name, unit, description) in GAUGES.into_iter().chain(STREAM_GAUGES) {
                recorder.describe_gauge(name.into(), Some(unit), description.into());
            }
            for (name, unit, description) in HISTOGRAMS {
                recorder.describe_histogram(name.into(), Some(unit), description.into());
            }
            let labels = || vec![app.clone()];
            let gauge = |index: usize| {
                recorder.register_gauge(&Key::from_parts(GAUGES[index].0, labels()), &METADATA)
            };
            let histogram = |index: usize| {
                recorder.register_histogram(&Key::from_parts(HISTOGRAMS[index].0, labels()), &METADATA)
            };
            let stream_gauges = |stream: u16| {
                let labels = vec![app.clone(), Label::new("stream", stream.to_string())];
                let gauge = |index: usize| {
                    let key = Key::from_parts(STREAM_GAUGES[index].0, labels.clone());
                    recorder.register_gauge(&key, &METADATA)
                };
                let gauges = StreamGauges {
                    state: gauge(0),
                    lag_payloads: gauge(1),
                    headroom_payloads: gauge(2),
                    headroom_seconds: gauge(3),
                };
                gauges.set_lag(None, None);
                gauges
            };
            Self {
                counted: Mutex::new(Counted {
                    own: Exporter::register(recorder, &app, &values(&Counters::default())),
                    others: Vec::new(),
                }),
                gauges: BusGauges {
                    queue_messages: gauge(0),
                    queue_bytes: gauge(1),
                    tail_bytes: gauge(2),
                    ring_bytes: gauge(3),
                    readers: gauge(4),
                    ready: gauge(5),
                },
                streams: (0..stream_count.get()).map(stream_gauges).collect(),
                frame_bytes: histogram(0),
                frame_messages: histogram(1),
                send_seconds: histogram(2),
                latency_seconds: histogram(3),
                app: app.clone(),
            }
        })
    }

    /// Exports the counters of `source` as well, for as long as somebody else holds it.
    pub(super) fn add(&self, source: Arc<dyn CounterSource>) {
        let exporter =
            metrics::with_recorder(|recorder| Exporter::register(recorder, &self.app, &source.counters()));
        self.counted().others.push((source, exporter));
    }

    pub(super) fn measure(&self, attempt: &Attempt, tried_at: Duration) -> Measured {
        Measured { bytes: attempt.payload.len(), messages: attempt.messages, tried_at }
    }

    /// Records a frame that the store confirmed.
    pub(super) fn sent(&self, measured: &Measured, now: Duration) {
        self.frame_bytes.record(measured.bytes as f64);
        self.frame_messages.record(measured.messages as f64);
        self.send_seconds.record(now.saturating_sub(measured.tried_at).as_secs_f64());
    }

    /// Records a frame that came, which another node may have sent: by its clock.
    pub(super) fn received(&self, sent_at_micros: u64) {
        self.latency_seconds.record(SinceMicros(sent_at_micros));
    }

    /// Exports the counters and gauges as of now.
    pub(super) fn export(&self, inner: &Inner) {
        let mut counted = self.counted();
        counted.own.export(&values(&inner.count()));
        counted.others.retain_mut(|(source, exporter)| {
            // Once nobody else has it, it counts no more.
            let is_held = Arc::strong_count(source) > 1;
            exporter.export(&source.counters());
            is_held
        });
        let Usage { queue_messages, queue_bytes, tail_bytes, ring_bytes, readers } = inner.usage();
        let gauges = &self.gauges;
        gauges.queue_messages.set(queue_messages as f64);
        gauges.queue_bytes.set(queue_bytes as f64);
        gauges.tail_bytes.set(tail_bytes as f64);
        gauges.ring_bytes.set(ring_bytes as f64);
        gauges.readers.set(readers as f64);
        let health = inner.health();
        gauges.ready.set(f64::from(u8::from(health.ready)));
        for (gauges, state) in self.streams.iter().zip(&health.streams) {
            gauges.state.set(match state {
                StreamState::Connecting => 0.0,
                StreamState::Up => 1.0,
                StreamState::Degraded { .. } => 2.0,
                StreamState::Closed => 3.0,
            });
            if inner.is_closed() {
                // Nobody asks any more.
                gauges.set_lag(None, None);
            }
        }
    }

    fn of(&self, stream: StreamIndex) -> &StreamGauges {
        &self.streams[stream.index()]
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters as a recorder knows them, and what it was told of each.
///
/// It is told what was added, not what it is now: a process may have several buses of one app, one after the other too.
struct Exporter(Vec<(Counter, u64)>);

impl Exporter {
    fn register(recorder: &dyn Recorder, app: &Label, values: &[CounterValue]) -> Self {
        let register = |value: &CounterValue| {
            recorder.describe_counter(value.name.into(), Some(Unit::Count), value.description.into());
            let reason = value.reason.map(|reason| Label::new("reason", reason));
            let labels: Vec<_> = [app.clone()].into_iter().chain(reason).collect();
            (recorder.register_counter(&Key::from_parts(value.name, labels), &METADATA), 0)
        };
        Self(values.iter().map(register).collect())
    }

    fn export(&mut self, values: &[CounterValue]) {
        for ((counter, told), CounterValue { value, .. }) in self.0.iter_mut().zip(values) {
            counter.increment(value.saturating_sub(*told));
            *told = *value;
        }
    }
}
