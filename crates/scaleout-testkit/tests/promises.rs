//! The cases of the promises find faults of the bus.

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, Mutant, StreamIndex};
use scaleout_testkit::{
    conformance::{Case, cases, run},
    fixture::{Fault, Fixture, Held, MemoryFixture, Need},
};

/// Faults that no single case shows; the history checker finds them.
const LEFT_TO_THE_CHECKER: [Mutant; 5] = [
    // The next frame of the same publisher shows the loss as well; it takes one that falls silent.
    Mutant::TrustBrokenLink,
    // Only a backplane that breaks its contract sends an id again.
    Mutant::SkipIdCheck,
    // It takes a client of a fork of the store that its own node shares only in part.
    Mutant::IgnoreStem,
    // A store in memory opens a stream before anything can be sent to it.
    Mutant::SendWhileOpening,
    // A task that lives on does nothing that a client could see.
    Mutant::LeakTask,
];

#[test]
fn every_promise_finds_a_fault_of_the_bus_and_every_fault_is_found() {
    let promises: Vec<_> = cases().into_iter().filter(|case| case.rule().is_none()).collect();
    let mut idle: BTreeSet<_> = promises.iter().map(|case| case.name).collect();
    let mut survivors = Vec::new();
    // A case that fails is what is wanted here; its panic is no news.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for &mutant in Mutant::ALL {
        let broken = promises.iter().filter(|case| is_broken(mutant, **case));
        let found: BTreeSet<_> = broken.map(|case| case.name).collect();
        println!("{mutant:?}: {found:?}");
        if found.is_empty() && !LEFT_TO_THE_CHECKER.contains(&mutant) {
            survivors.push(mutant);
        }
        idle.retain(|name| !found.contains(name));
    }
    panic::set_hook(hook);
    assert!(survivors.is_empty(), "no promise finds {survivors:?}");
    assert!(idle.is_empty(), "these promises hold whatever the bus does: {idle:#?}");
}

fn is_broken(mutant: Mutant, case: Case) -> bool {
    let attempt = AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let fixture = MutantBuses { inner: MemoryFixture::new(), mutant };
            tokio::time::timeout(Duration::from_secs(3_600), run(case, &fixture)).await.expect("it ends");
        });
    });
    panic::catch_unwind(attempt).is_err()
}

/// Buses that all have the same fault, over a backplane that has none.
struct MutantBuses {
    inner: MemoryFixture,
    mutant: Mutant,
}

impl Fixture for MutantBuses {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn expects(&self, need: Need) -> bool {
        self.inner.expects(need)
    }

    fn patience(&self) -> Duration {
        self.inner.patience()
    }

    fn node(&self) -> Arc<dyn Backplane> {
        self.inner.node()
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node()).mutant(self.mutant)
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        self.inner.node_of_another_app()
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        self.inner.mismatched_node()
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        self.inner.inject(fault)
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        self.inner.registrations()
    }

    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        self.inner.log(stream)
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        self.inner.clean_up()
    }
}
