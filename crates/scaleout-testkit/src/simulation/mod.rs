//! Seeded runs of several nodes under faults, judged by the [checker](crate::checker).
//!
//! A seed decides everything: the store's capabilities, the nodes and their settings, who publishes and listens what
//! and when, which cursors clients hop with, and which faults strike. A run takes virtual time only, on one thread, so
//! that a seed gives the same trace every time.

use std::{future::Future, sync::Arc};

use scaleout_core::BusBuilder;

use crate::checker::{Coverage, Recording, Violation, check};

mod client;
mod driver;
mod ending;
mod faults;
mod plan;
mod world;

pub use self::faults::Fault;

/// What came of a seed.
#[derive(Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// What was broken; empty for a good run.
    pub violations: Vec<Violation>,
    /// What occurred.
    pub coverage: Coverage,
    /// What happened, line by line, the same for every run of the seed.
    pub trace: Vec<String>,
    /// What was recorded.
    pub recording: Recording,
}

/// Runs a seed.
///
/// # Panics
/// Where no runtime can be made.
#[must_use]
pub fn run(seed: u64) -> Run {
    run_with(seed, |builder| builder)
}

/// Runs a seed with buses that `build` finishes, so that faults can be built into them.
///
/// # Panics
/// Where no runtime can be made.
#[must_use]
pub fn run_with(seed: u64, build: impl Fn(BusBuilder) -> BusBuilder + Send + Sync + 'static) -> Run {
    let plan = plan::Plan::of(seed);
    let ended = block_on_paused(driver::Driver::run(plan, Arc::new(build)));
    Run {
        seed,
        violations: check(&ended.recording),
        coverage: ended.coverage,
        trace: ended.trace,
        recording: ended.recording,
    }
}

/// What must have occurred over a set of seeds (invariant 15).
#[must_use]
pub fn required() -> Vec<&'static str> {
    let faults = Fault::ALL.iter().map(|fault| fault.name());
    faults.chain(REQUIRED.iter().copied()).collect()
}

const REQUIRED: &[&str] = &[
    "gap: Lost",
    "gap: Reset",
    "gap: Expired",
    "gap: Lagged",
    "look-up: in ring",
    "look-up: older",
    "look-up: expired",
    "look-up: ahead",
    "look-up: reset",
    "look-up: absent",
    "look-up: unpositioned",
    "hop: inside a frame",
    "hop: across epochs",
    "hop: to a fresh node",
    "hop: with a stem",
    "hop: with an earlier cursor",
    "hop: forged",
    "ambiguous send: landed",
    "ambiguous send: not landed",
    "rewound",
    "repaired",
    "outcome: Ok",
    "outcome: Unconfirmed",
    "outcome: QueueFull",
    "outcome: Unavailable",
    "outcome: Expired",
    "outcome: Dropped",
    "outcome: Closed",
    "outcome: PayloadTooLarge",
    "store: replay, dense ids, asks held",
    "store: no replay",
    "store: ids with holes",
    "store: cannot be asked",
    "interest: a stream opened on demand",
    "interest: a stream given up",
    "interest: a stream opened again",
    "run: no faults",
];

/// Runs a future on one thread and virtual time.
fn block_on_paused<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing of the system").block_on(future)
}
