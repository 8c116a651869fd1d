//! Load over the memory backplane: what is well passes, and the checker finds what is not.

use scaleout_core::{BusConfig, StreamIndex};
use scaleout_testkit::{
    checker::Invariant,
    fixture::{Fault, Fixture, MemoryFixture},
    load::{Load, Traffic, Verdict},
    mutants::{Mutant, MutantFixture},
};

/// Two nodes with a client and traffic each, and a client that goes from one to the other, while links break and the
/// store forgets.
async fn run(fixture: &dyn Fixture) -> Verdict {
    let channels: Vec<String> = (0..8).map(|index| format!("channel {index}")).collect();
    let mut load = Load::new();
    for node in 0..2 {
        load.join(fixture.node(), BusConfig::default()).await;
        load.listen(node, &channels);
    }
    let guest = load.listen(0, &channels);
    for node in 0..2 {
        load.traffic(node, Traffic { channels: channels.clone(), rate: 5_000, len: 20 });
    }
    for to in [1, 0, 1, 0, 1, 0] {
        load.flows().await;
        for fault in [Fault::CutLinks, Fault::Failover] {
            assert!(fixture.inject(fault).await);
            load.flows().await;
        }
        load.hop(guest, to).await;
    }
    load.flows().await;
    load.settle(async |stream: StreamIndex| fixture.log(stream).await.unwrap_or_default()).await
}

#[tokio::test(start_paused = true)]
async fn a_good_backplane_passes() {
    let verdict = run(&MemoryFixture::new()).await;
    verdict.expect_good();
    assert!(verdict.recording.publishes.len() > 500);
    assert!(verdict.counters.iter().any(|counters| counters.repaired > 0), "{:?}", verdict.counters);
}

#[tokio::test(start_paused = true)]
async fn what_a_backplane_does_wrong_is_found() {
    for (mutant, breaks) in [
        (Mutant::CountsIdsPerReception, Invariant::Agreement),
        (Mutant::Redelivers, Invariant::Uniqueness),
        (Mutant::RewindsOnce, Invariant::Repair),
    ] {
        let verdict = run(&MutantFixture::new(MemoryFixture::new(), Some(mutant))).await;
        let found = verdict.violations.iter().any(|violation| violation.invariant == breaks);
        assert!(found, "{mutant:?}: {:?}", verdict.violations.iter().take(5).collect::<Vec<_>>());
    }
}
