//! A process of a run: one publisher, or one receiver.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

#[cfg(feature = "redis")]
use super::bare;
use super::{
    bus,
    case::{Carrier, Case},
    clock::{cpu, now},
    tally::{STAMP_EVERY, Tally, histogram, payload, times},
    words::{Answer, Order, Orders, Published, Setup, say},
};

/// How long a receiver waits for what is still under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// After everything came: for how long what comes twice is seen.
const AFTERMATH: Duration = Duration::from_millis(50);

/// How often a receiver looks whether anything still comes.
const TICK: Duration = Duration::from_millis(50);

/// Runs until the standard input ends, or the order to end comes. A failure is said there, where it is read.
///
/// It has a runtime of one thread, as the baselines have.
pub(super) fn run() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // Ctrl-C on a terminal goes to all processes; it is up to the one that gives orders.
        #[cfg(unix)]
        let _ignored = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut orders = Orders::new();
        let outcome = async {
            let setup = orders.setup().await?;
            if setup.publishes { publish(setup, orders).await } else { receive(setup, orders).await }
        };
        match outcome.await {
            Ok(()) => Ok(()),
            Err(error) => say(&Answer::Failed { error: format!("{error:#}") }),
        }
    })
}

async fn receive(setup: Setup, orders: Orders) -> anyhow::Result<()> {
    match setup.case.carrier {
        Carrier::Bus | Carrier::SingleFrames => bus::receive(&setup, orders).await,
        #[cfg(feature = "redis")]
        Carrier::PubSub => bare::receive(&setup, orders).await,
        #[cfg(not(feature = "redis"))]
        Carrier::PubSub => bail!("Redis is not compiled in"),
    }
}

async fn publish(setup: Setup, orders: Orders) -> anyhow::Result<()> {
    match setup.case.carrier {
        Carrier::Bus | Carrier::SingleFrames => bus::publish(&setup, orders).await,
        #[cfg(feature = "redis")]
        Carrier::PubSub => bare::publish(&setup, orders).await,
        #[cfg(not(feature = "redis"))]
        Carrier::PubSub => bail!("Redis is not compiled in"),
    }
}

/// What messages come from.
pub(super) trait Source {
    /// Counts the next one; an error where there will be none. Dropping the future loses nothing.
    fn next(&mut self, tally: &mut Tally) -> impl Future<Output = anyhow::Result<()>>;
}

/// Receives, phase by phase: until all came that was sent, or nothing comes any more.
pub(super) async fn tally_all(
    case: &Case,
    source: &mut impl Source,
    mut orders: Orders,
) -> anyhow::Result<()> {
    let mut tally = Tally::new(case.channels, case.max_ahead());
    let (mut sent, mut used) = (None, None);
    let (mut count, mut quiet_since) = (0, Instant::now());
    let last = Last::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    say(&Answer::Ready)?;
    loop {
        // Only what cannot go on at once looks at the other arms, so they cost nothing under load.
        tokio::select! {
            biased;
            taken = last.note(source.next(&mut tally)) => {
                taken?;
                if let Some(behind) = tally.due() {
                    say(&Answer::Seen { behind })?;
                }
            }
            order = orders.next() => match order? {
                Order::Begin { .. } => {
                    tally.begin();
                    used = cpu();
                    say(&Answer::Ready)?;
                }
                Order::Sent { count } => (sent, quiet_since) = (Some(count), Instant::now()),
                Order::End => return Ok(()),
                Order::Setup(_) | Order::Seen { .. } => bail!("an order that is not for receivers"),
            },
            _ = ticks.tick() => {
                if let Some(behind) = tally.tell(now()) {
                    say(&Answer::Seen { behind })?;
                }
                if tally.received() != count {
                    (count, quiet_since) = (tally.received(), Instant::now());
                }
            }
        }
        let Some(of) = sent else { continue };
        if tally.received() >= of || quiet_since.elapsed() > PATIENCE {
            let (last, used) = (last.time(), cpu().zip(used).map(|(now, before)| now - before));
            let aftermath = async { while source.next(&mut tally).await.is_ok() {} };
            let _ = timeout(AFTERMATH, aftermath).await;
            say(&Answer::Received(tally.sum(of, last, used)))?;
            sent = None;
        }
    }
}

/// When the last message came, seen by that nothing else was there then: a look at the clock for each would cost more.
#[derive(Default)]
struct Last {
    is_over: Cell<bool>,
    time: Cell<u64>,
}

impl Last {
    async fn note<F: Future>(&self, next: F) -> F::Output {
        let mut next = pin!(next);
        let next = poll_fn(|context| {
            let polled = next.as_mut().poll(context);
            if matches!(polled, Poll::Pending) && !self.is_over.replace(true) {
                self.time.set(now());
            }
            polled
        });
        let next = next.await;
        self.is_over.set(false);
        next
    }

    fn time(&self) -> u64 {
        if self.is_over.get() { self.time.get() } else { now() }
    }
}

/// Publishes, and knows how far the receivers are.
pub(super) struct Pace {
    pub(super) case: Case,
    phases: mpsc::Receiver<Duration>,
    behind: watch::Receiver<u64>,
    /// The number of the next message.
    pub(super) next: u64,
    /// When the phase ends.
    end: Instant,
    /// From a publish to its confirmation.
    pub(super) confirms: Histogram<u64>,
    pub(super) errors: u64,
    pub(super) error: Option<String>,
}

/// What messages go to.
pub(super) trait Sink {
    /// Publishes for the whole of a phase, and waits for all that was published.
    fn phase(&mut self, pace: &mut Pace) -> impl Future<Output = anyhow::Result<()>>;

    /// Frames that the store took so far; 0 where there are none.
    fn frames(&self) -> u64;
}

/// Publishes, phase by phase.
pub(super) async fn publish_all(case: &Case, sink: &mut impl Sink, mut orders: Orders) -> anyhow::Result<()> {
    let (phase, phases) = mpsc::channel(1);
    let (seen, behind) = watch::channel(0);
    let told = async move {
        loop {
            match orders.next().await? {
                Order::Begin { seconds } => phase.send(Duration::from_secs_f64(seconds)).await?,
                Order::Seen { behind } => drop(seen.send_replace(behind)),
                Order::End => return Ok(()),
                Order::Setup(_) | Order::Sent { .. } => bail!("an order that is not for the publisher"),
            }
        }
    };
    let mut pace = Pace {
        case: case.clone(),
        phases,
        behind,
        next: 0,
        end: Instant::now(),
        confirms: histogram(),
        errors: 0,
        error: None,
    };
    say(&Answer::Ready)?;
    tokio::select! {
        told = told => told,
        published = pace.phases(sink) => published,
    }
}

impl Pace {
    async fn phases(&mut self, sink: &mut impl Sink) -> anyhow::Result<()> {
        while let Some(phase) = self.phases.recv().await {
            self.confirms.reset();
            let (before, frames, used, first) = (self.next, sink.frames(), cpu(), now());
            self.end = Instant::now() + phase;
            sink.phase(self).await?;
            say(&Answer::Published(Published {
                total: self.next,
                sent: self.next - before,
                errors: self.errors,
                error: self.error.clone(),
                first,
                cpu: cpu().zip(used).map(|(now, before)| now - before),
                frames: sink.frames() - frames,
                confirms: times(&self.confirms),
            }))?;
        }
        Ok(())
    }

    /// Whether the phase goes on.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    /// When the phase ends.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// The next message: its number, and what it holds, stamped now and then.
    pub(super) fn message(&mut self) -> (u64, Vec<u8>) {
        let number = self.next;
        self.next += 1;
        let sent = if number.is_multiple_of(STAMP_EVERY) { now() } else { 0 };
        (number, payload(self.case.size, number, sent))
    }

    /// Waits until the receivers have caught up.
    pub(super) async fn room(&mut self) -> anyhow::Result<()> {
        let (next, ahead) = (self.next, self.case.max_ahead());
        let is_near = |behind: &u64| next.saturating_sub(*behind) < ahead;
        if !is_near(&self.behind.borrow()) {
            self.behind.wait_for(is_near).await.context("the run was given up")?;
        }
        Ok(())
    }

    /// How far the receivers are.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.behind.clone()
    }

    pub(super) fn fail(&mut self, error: impl std::fmt::Display) {
        self.errors += 1;
        self.error.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn confirm(&mut self, sent: u64) {
        self.confirms.saturating_record(now().saturating_sub(sent).max(1));
    }
}
