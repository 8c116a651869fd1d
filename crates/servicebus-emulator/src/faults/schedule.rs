//! Faults by chance, the same ones for the same seed.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use super::Faults;

/// Between two faults of a schedule, in milliseconds.
const PAUSE_MILLIS: std::ops::Range<u64> = 50..500;

/// The longest that a fault lasts that has to be ended, in milliseconds.
const LASTING_MILLIS: std::ops::Range<u64> = 20..300;

/// What [`Faults::run`] picks among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// [`Faults::kill_connections`].
    KillConnections,
    /// [`Faults::kill_connection`].
    KillConnection,
    /// [`Faults::freeze`], for a moment; then the connections break.
    Freeze,
    /// [`Faults::detach_all`].
    Detach,
    /// [`Faults::server_busy`], for a few sends.
    ServerBusy,
    /// [`Faults::delay`], for a moment.
    Delay,
    /// [`Faults::lose_outcomes`], of a few sends, whose connections break a moment later: clients need not wait for their
    /// time-out.
    LoseOutcomes,
    /// [`Faults::cut_deliveries`], after one or two.
    CutDeliveries,
    /// [`Faults::duplicate_deliveries`], of a few.
    DuplicateDeliveries,
    /// [`Faults::refuse_connections`], for a moment.
    RefuseConnections,
    /// [`Faults::expire_tokens`].
    ExpireTokens,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::KillConnections,
        Self::KillConnection,
        Self::Freeze,
        Self::Detach,
        Self::ServerBusy,
        Self::Delay,
        Self::LoseOutcomes,
        Self::CutDeliveries,
        Self::DuplicateDeliveries,
        Self::RefuseConnections,
        Self::ExpireTokens,
    ];
}

impl Faults {
    /// Makes things go wrong for `duration`, by chance: the same ones at the same times for the same `seed`. At the end
    /// everything is [cleared](Self::clear). Gives what it did.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the fault that lasted at that moment.
    pub async fn run(&self, seed: u64, duration: Duration) -> Vec<FaultKind> {
        self.run_among(FaultKind::ALL, seed, duration).await
    }

    /// As [`run`](Self::run), but only of these kinds.
    pub async fn run_among(&self, kinds: &[FaultKind], seed: u64, duration: Duration) -> Vec<FaultKind> {
        let mut chance = Rng::with_seed(seed);
        let end = Instant::now() + duration;
        let mut done = Vec::new();
        loop {
            let next = Instant::now() + Duration::from_millis(chance.u64(PAUSE_MILLIS));
            let Some(kind) = chance.choice(kinds).copied().filter(|_| next < end) else { break };
            sleep_until(next).await;
            self.strike(kind, &mut chance).await;
            done.push(kind);
        }
        sleep_until(end).await;
        self.clear();
        done
    }

    async fn strike(&self, kind: FaultKind, chance: &mut Rng) {
        let few = chance.usize(1..6);
        let moment = Duration::from_millis(chance.u64(LASTING_MILLIS));
        match kind {
            FaultKind::KillConnections => drop(self.kill_connections()),
            FaultKind::KillConnection => drop(self.kill_connection()),
            FaultKind::Freeze => {
                self.freeze();
                sleep(moment).await;
                self.kill_connections();
            }
            FaultKind::Detach => self.detach_all(),
            FaultKind::ServerBusy => self.server_busy(few),
            FaultKind::Delay => {
                self.delay(moment / 10);
                sleep(moment).await;
                self.delay(Duration::ZERO);
            }
            FaultKind::LoseOutcomes => {
                self.lose_outcomes(few);
                sleep(moment).await;
                self.lose_outcomes(0);
                self.kill_connections();
            }
            FaultKind::CutDeliveries => self.cut_deliveries(few.div_ceil(3)),
            FaultKind::DuplicateDeliveries => self.duplicate_deliveries(few),
            FaultKind::RefuseConnections => {
                self.refuse_connections(true);
                self.kill_connections();
                sleep(moment).await;
                self.refuse_connections(false);
            }
            FaultKind::ExpireTokens => self.expire_tokens(),
        }
    }
}
