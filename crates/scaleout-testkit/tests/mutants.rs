//! The suite finds every breach of a rule, and nothing where there is none.

use std::{
    cell::Cell,
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::Once,
    time::Duration,
};

use scaleout_testkit::{
    conformance::{Case, cases, run},
    fixture::MemoryFixture,
    mutants::{Mutant, MutantFixture},
};

#[test]
fn every_mutant_is_found_by_a_case_of_its_rule_and_every_such_case_finds_one() {
    let cases: Vec<_> = cases().into_iter().filter(|case| case.rule().is_some()).collect();
    let mut survivors = Vec::new();
    let mut idle: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    for &mutant in Mutant::ALL {
        let is_found = |case: &&Case| is_broken(Some(mutant), **case);
        let (own, others): (Vec<&Case>, Vec<_>) =
            cases.iter().filter(is_found).partition(|case| case.rule() == Some(mutant.rule()));
        println!("{mutant:?}: {} cases of rule {}, {} others", own.len(), mutant.rule(), others.len());
        if own.is_empty() {
            survivors.push((mutant, mutant.rule()));
        }
        for case in own {
            idle.remove(case.name);
        }
    }
    assert!(survivors.is_empty(), "no case of their rule finds {survivors:?}");
    assert!(idle.is_empty(), "these cases find no mutant of their rule: {idle:#?}");
}

#[test]
fn without_a_mutant_every_case_passes() {
    let failed: Vec<_> = cases().into_iter().filter(|case| is_broken(None, *case)).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn is_broken(mutant: Option<Mutant>, case: Case) -> bool {
    silence_expected_panics();
    let attempt = AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let fixture = MutantFixture::new(MemoryFixture::new(), mutant);
            tokio::time::timeout(Duration::from_secs(3_600), run(case, &fixture)).await.expect("it ends");
        });
    });
    IS_EXPECTED.set(mutant.is_some());
    let is_broken = panic::catch_unwind(attempt).is_err();
    IS_EXPECTED.set(false);
    is_broken
}

thread_local! {
    /// Whether a panic of this thread is what a test is looking for.
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

fn silence_expected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_EXPECTED.get() {
                hook(info);
            }
        }));
    });
}
