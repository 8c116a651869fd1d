//! Seeded runs of the nodes of a cluster over buses on a store in memory, with faults, in virtual time.
//!
//! `SCALEOUT_TEST_SEEDS` sets how many seeds are run, `SCALEOUT_TEST_SEED` the only one, with its trace.

mod gate;
mod node;
mod requests;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use self::world::{Run, World};

const SEEDS: u64 = 1_000;

#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = number("SCALEOUT_TEST_SEED") {
        let run = run(seed);
        run.trace.iter().for_each(|line| println!("{line}"));
        assert!(run.violations.is_empty(), "{:#?}", run.violations);
        return;
    }
    let seeds = number("SCALEOUT_TEST_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        let (mut bad, mut seen) = (Vec::new(), [0; 5]);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (bad, seen);
            }
            let run = run(seed);
            seen.iter_mut().zip(run.seen).for_each(|(all, one)| *all += one);
            if let Some(first) = run.violations.first() {
                println!("seed {seed}: {first}");
                println!(
                    "    SCALEOUT_TEST_SEED={seed} cargo test -p scaleout-cluster --test simulation -- --nocapture"
                );
                bad.push(seed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (mut bad, mut seen) = (Vec::new(), [0; 5]);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (its_bad, its_seen) = worker.join().expect("a worker does not panic");
            bad.extend(its_bad);
            seen.iter_mut().zip(its_seen).for_each(|(all, one)| *all += one);
        }
    });
    bad.sort_unstable();
    assert!(bad.is_empty(), "{} of {seeds} seeds failed: {:?}", bad.len(), &bad[..bad.len().min(50)]);
    // Runs in which nothing happens would show nothing.
    let enough = seen.iter().all(|count| *count > seeds / 5);
    assert!(seeds < 50 || enough, "complete, incomplete, expulsions, gaps, casts: {seen:?}");
}

fn run(seed: u64) -> Run {
    // What the library draws is drawn from this thread's generator.
    fastrand::seed(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing of the system").block_on(World::run(seed))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
