//! The suite finds every breach of a rule, and nothing where there is none.

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use scaleout_testkit::{
    conformance::{Case, cases, run},
    fixture::MemoryFixture,
    mutants::{Mutant, MutantFixture},
};

#[test]
fn every_mutant_is_found_by_a_case_of_its_rule_and_every_case_finds_one() {
    let cases = cases();
    let failed_without: Vec<_> = cases.iter().filter(|case| is_broken(None, **case)).collect();
    assert!(failed_without.is_empty(), "without a mutant these fail: {failed_without:?}");

    // A case that fails is what is wanted here; its panic is no news.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut survivors = Vec::new();
    let mut idle: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    for &mutant in Mutant::ALL {
        let found: Vec<_> = cases.iter().filter(|case| is_broken(Some(mutant), **case)).collect();
        let by_its_rule = found.iter().filter(|case| case.rule() == Some(mutant.rule())).count();
        println!("rule {:>2} {mutant:?}: {} cases, {by_its_rule} of its rule", mutant.rule(), found.len());
        if by_its_rule == 0 {
            survivors.push((mutant, mutant.rule()));
        }
        for case in found {
            if case.rule() == Some(mutant.rule()) {
                idle.remove(case.name);
            }
        }
    }
    panic::set_hook(hook);
    assert!(survivors.is_empty(), "no case of their rule finds {survivors:?}");
    assert!(idle.is_empty(), "these cases find no mutant of their rule: {idle:#?}");
}

fn is_broken(mutant: Option<Mutant>, case: Case) -> bool {
    let attempt = AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let fixture = MutantFixture::new(MemoryFixture::new(), mutant);
            tokio::time::timeout(Duration::from_secs(3_600), run(case, &fixture)).await.expect("it ends");
        });
    });
    panic::catch_unwind(attempt).is_err()
}
