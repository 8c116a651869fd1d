//! The conformance suite: one public function per contract rule and per promise of the bus.
//!
//! A case gets a [`Fixture`] of its own, panics where the rule is broken, and answers [`Missing`] where the fixture
//! cannot put it to the test. [`conformance_tests!`](crate::conformance_tests) makes each a test, [`run_all`] makes one
//! of all; [`cases`] lists them.
//!
//! Cases never sleep to see whether something happens: they wait for an event, for [`Fixture::patience`] at most, and
//! show that something did *not* happen by something later that did.

pub mod backlog;
pub mod bytes;
mod cases;
mod client;
pub mod epochs;
pub mod link;
pub mod on_demand;
pub mod order;
pub mod promises;
pub mod sends;
pub mod sharing;
mod tools;

use std::{env, io::Write, time::Instant};

use futures_util::{
    future::BoxFuture,
    stream::{self, StreamExt},
};
use scaleout_core::Capabilities;

use crate::fixture::{Fixture, Need};

pub use self::cases::cases;

/// How a case ended that found nothing wrong.
pub type Outcome = Result<(), Missing>;

/// What a case would have needed of its fixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub Need);

/// A case by its name.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The name of its function.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a dyn Fixture) -> BoxFuture<'a, Outcome>,
}

impl Case {
    /// The contract rule that the case is about; `None` for a promise of the bus.
    #[must_use]
    pub fn rule(&self) -> Option<u8> {
        self.name.strip_prefix("rule_")?.get(..2)?.parse().ok()
    }
}

/// Runs one case as a test: cleans up, and judges whether it may be skipped.
///
/// # Panics
/// Where the case found a fault, or was skipped for something that the fixture or `SCALEOUT_TEST_REQUIRE` demands.
pub async fn run(case: Case, fixture: &dyn Fixture) {
    let outcome = (case.run)(fixture).await;
    fixture.clean_up().await;
    let Err(Missing(need)) = outcome else { return };
    let name = case.name;
    assert!(!is_expected(fixture, need), "{name} was skipped for want of {need}, which is expected here");
    // What a backplane is not meant to be able to do, no machine can supply.
    let is_capability = matches!(need, Need::Replay | Need::DenseIds | Need::AsksHeld | Need::Retained);
    let required = env::var("SCALEOUT_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|entry| entry == "all" || entry == name);
    let is_refused = is_required && !is_capability;
    assert!(!is_refused, "{name} was skipped for want of {need}, and SCALEOUT_TEST_REQUIRE demands it");
    // Past the test harness, which would keep it to itself: a skipped case passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}, for want of {need}");
}

/// Runs all cases as one test, `at_once` of them at a time: for a store that is slow to start, which they share.
///
/// The environment variable `SCALEOUT_TEST_CASE` narrows the run to cases whose names hold it.
///
/// # Panics
/// With the names of the cases that failed, as [`run`] says; what each has to say is printed as it ends.
pub async fn run_all<F, M>(at_once: usize, fixture: impl Fn() -> M)
where
    F: Fixture,
    M: Future<Output = F> + Send + 'static,
{
    let wanted = env::var("SCALEOUT_TEST_CASE").unwrap_or_default();
    let outcomes = cases().into_iter().filter(|case| case.name.contains(&wanted)).map(|case| {
        let fixture = fixture();
        async move {
            // In a task, so that a case that panics leaves the others alone.
            let begun = Instant::now();
            let outcome = tokio::spawn(async move { run(case, &fixture.await).await }).await;
            let ended = if outcome.is_ok() { "ended" } else { "FAILED" };
            // Past the test harness: a slow server shall be seen to get on.
            let _ = writeln!(std::io::stderr(), "{} {ended} after {:.1?}", case.name, begun.elapsed());
            outcome.is_err().then_some(case.name)
        }
    });
    let failed: Vec<_> = stream::iter(outcomes)
        .buffer_unordered(at_once)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    assert!(failed.is_empty(), "these cases failed: {}", failed.join(", "));
}

fn is_expected(fixture: &dyn Fixture, need: Need) -> bool {
    let Capabilities { replay, dense_ids, asks_held, .. } = fixture.capabilities();
    match need {
        Need::Replay => replay,
        Need::DenseIds => dense_ids,
        Need::AsksHeld => asks_held,
        need => fixture.expects(need),
    }
}
