//! A backplane behind planned faults keeps the contract as well as the one it decorates.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, MemoryConfig, StreamIndex};
use scaleout_testkit::{
    conformance::{cases, run},
    conformance_tests,
    faulty::{FaultCounts, FaultPlan, FaultRates, Faulty},
    fixture::{Fault, Fixture, Held, MemoryFixture, Need},
};

/// Without faults the decorator is not to be seen.
mod calm {
    use super::*;

    conformance_tests!(FaultyFixture::new(FaultRates::default()), start_paused = true);
}

/// Links that break under every tenth event lose nothing, double nothing, and change no order.
mod broken_links {
    use super::*;

    conformance_tests!(FaultyFixture::new(FaultRates::default().with_broken_links(0.1)), start_paused = true);
}

/// Whatever fails on the way to and from the store, the promises of the bus hold.
#[tokio::test(start_paused = true)]
async fn promises_hold_behind_faults_of_every_kind() {
    let rates = FaultRates::default()
        .with_refused_sends(0.2)
        .with_lost_answers(0.2)
        .with_broken_links(0.1)
        .with_max_send_delay(Duration::from_millis(20));
    let mut counts = Vec::new();
    for seed in 0..20 {
        let all = MemoryConfig::default().capabilities;
        for capabilities in [all, all.with_asks_held(false)] {
            for case in cases().into_iter().filter(|case| case.rule().is_none()) {
                println!("seed {seed}: {} with {capabilities:?}", case.name);
                let fixture = FaultyFixture::with_seed(rates, seed, capabilities);
                run(case, &fixture).await;
                counts.push(fixture.plan.counts());
            }
        }
    }
    let any = |what: fn(&FaultCounts) -> u64| counts.iter().any(|counts| what(counts) > 0);
    assert!(any(|counts| counts.refused_sends) && any(|counts| counts.lost_answers));
    assert!(any(|counts| counts.broken_links));
}

#[tokio::test(start_paused = true)]
async fn faults_follow_the_seed() {
    let mut outcomes = Vec::new();
    for seed in [1, 1, 2] {
        let plan = FaultPlan::new(seed);
        plan.set(FaultRates::default().with_refused_sends(0.3).with_lost_answers(0.3));
        let node = Faulty::new(MemoryFixture::new().node(), plan.clone());
        let mut answers = Vec::new();
        for number in 1..=50 {
            let frame = scaleout_core::FrameId { node: scaleout_core::NodeId(7), number, after: 0 };
            answers.push(
                node.send(StreamIndex(0), frame, "payload".into()).await.err().map(|error| error.kind()),
            );
        }
        let counts = plan.counts();
        assert!(counts.refused_sends > 0 && counts.lost_answers > 0, "{counts:?}");
        outcomes.push(answers);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_ne!(outcomes[0], outcomes[2]);
}

struct FaultyFixture {
    inner: MemoryFixture,
    plan: FaultPlan,
}

impl FaultyFixture {
    fn new(rates: FaultRates) -> Self {
        Self::with_seed(rates, 5, MemoryConfig::default().capabilities)
    }

    fn with_seed(rates: FaultRates, seed: u64, capabilities: Capabilities) -> Self {
        let plan = FaultPlan::new(seed);
        plan.set(rates);
        Self { inner: MemoryFixture::with_capabilities(capabilities), plan }
    }

    fn decorate(&self, node: Arc<dyn Backplane>) -> Arc<dyn Backplane> {
        Arc::new(Faulty::new(node, self.plan.clone()))
    }
}

impl Fixture for FaultyFixture {
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
        self.decorate(self.inner.node())
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        self.decorate(self.inner.node_of_another_app())
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        Some(self.decorate(self.inner.mismatched_node()?))
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
