//! One run of one case.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{
    case::Case,
    crew::Crew,
    tally::histogram,
    words::{Answer, Order, Published, Received, Setup, Times},
};

/// How long a process may take to be ready, or, beyond the seconds of the run, to be done.
const PATIENCE: Duration = Duration::from_secs(90);

/// What one run came to.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Messages a second that the slowest receiver got.
    pub(super) per_second: f64,
    pub(super) sent: u64,
    /// By all receivers, as the next four.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) gaps: u64,
    pub(super) errors: u64,
    /// The first gap or error, in words.
    pub(super) trouble: Option<String>,
    /// Processor time per message, in µs.
    pub(super) publisher_us: Option<f64>,
    pub(super) receivers_us: Vec<Option<f64>>,
    pub(super) store_us: Option<f64>,
    pub(super) per_frame: Option<f64>,
    pub(super) latencies: Histogram<u64>,
    pub(super) confirms: Histogram<u64>,
}

impl Run {
    /// Whether everything came, once, in order.
    pub(super) fn is_sound(&self) -> bool {
        self.lost + self.duplicates + self.reordered + self.gaps + self.errors == 0 && self.sent > 0
    }
}

/// What asks the store how much processor time it has had, where it tells.
pub(super) trait Meter {
    async fn cpu(&mut self) -> Option<u64>;
}

/// Runs a case once with the processes of `crew`, which it starts; `setup` is for the publisher.
pub(super) async fn run(
    crew: &mut Crew,
    setup: impl Fn(bool) -> Setup,
    seconds: f64,
    meter: &mut impl Meter,
) -> anyhow::Result<Run> {
    let case = setup(true).case;
    // One after the other, since the first may have to make tables or topics.
    for _ in 0..case.nodes {
        crew.start(setup(false)).await?;
        crew.ready(1, PATIENCE).await?;
    }
    crew.start(setup(true)).await?;
    crew.ready(1, PATIENCE).await?;
    // So that connections, plans, caches and allocators are warm.
    phase(crew, &case, (seconds / 4.0).clamp(0.25, 2.0)).await?;
    let before = meter.cpu().await;
    let (published, received) = phase(crew, &case, seconds).await?;
    let used = meter.cpu().await.zip(before).map(|(now, before)| now.saturating_sub(before));
    crew.finish().await;
    Ok(sum(&published, &received, used))
}

/// One phase: the publisher publishes, and the receivers get all of it.
async fn phase(crew: &mut Crew, case: &Case, seconds: f64) -> anyhow::Result<(Published, Vec<Received>)> {
    let publisher = case.nodes;
    let begin = Order::Begin { seconds };
    for receiver in 0..case.nodes {
        crew.tell(receiver, &begin).await?;
    }
    crew.ready(case.nodes, PATIENCE).await?;
    crew.tell(publisher, &begin).await?;
    let patience = PATIENCE + Duration::from_secs_f64(seconds);
    let (mut published, mut received) = (None, vec![None; case.nodes]);
    let (mut behind, mut slowest) = (vec![0; case.nodes], 0);
    while published.is_none() || received.iter().any(Option::is_none) {
        match crew.hear(patience).await? {
            (index, Answer::Seen { behind: so_far }) if index < case.nodes => {
                behind[index] = so_far;
                let least = behind.iter().copied().min().unwrap_or(0);
                if least > slowest {
                    slowest = least;
                    crew.tell(publisher, &Order::Seen { behind: slowest }).await?;
                }
            }
            (_, Answer::Published(what)) => {
                for receiver in 0..case.nodes {
                    crew.tell(receiver, &Order::Sent { count: what.total }).await?;
                }
                published = Some(what);
            }
            (index, Answer::Received(what)) if index < case.nodes => received[index] = Some(what),
            _ => {}
        }
    }
    let published = published.unwrap_or_default();
    // What did not come will not: the next phase does not wait for it.
    crew.tell(publisher, &Order::Seen { behind: published.total }).await?;
    Ok((published, received.into_iter().flatten().collect()))
}

fn sum(published: &Published, received: &[Received], store: Option<u64>) -> Run {
    let sent = published.sent;
    let us = |nanos: u64, of: u64| nanos as f64 / 1e3 / of.max(1) as f64;
    let rate =
        |of: &Received| of.received as f64 * 1e9 / of.last.saturating_sub(published.first).max(1) as f64;
    let total = |of: fn(&Received) -> u64| received.iter().map(of).sum::<u64>();
    let mut latencies = histogram();
    for of in received {
        add(&mut latencies, &of.latencies);
    }
    let mut confirms = histogram();
    add(&mut confirms, &published.confirms);
    Run {
        per_second: received.iter().map(rate).fold(f64::INFINITY, f64::min),
        sent,
        received: total(|of| of.received),
        lost: total(|of| of.lost),
        duplicates: total(|of| of.duplicates),
        reordered: total(|of| of.reordered),
        gaps: total(|of| of.gaps),
        errors: published.errors,
        trouble: received.iter().find_map(|of| of.gap.clone()).or_else(|| published.error.clone()),
        publisher_us: published.cpu.map(|cpu| us(cpu, sent)),
        receivers_us: received.iter().map(|of| Some(us(of.cpu?, of.received))).collect(),
        store_us: store.map(|cpu| us(cpu, sent)),
        per_frame: (published.frames > 0).then(|| sent as f64 / published.frames as f64),
        latencies,
        confirms,
    }
}

fn add(histogram: &mut Histogram<u64>, times: &Times) {
    for (time, count) in &times.0 {
        histogram.saturating_record_n(*time, *count);
    }
}
