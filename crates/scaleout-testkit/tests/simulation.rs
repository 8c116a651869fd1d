//! The history checker on seeded faults, over the memory backplane.
//!
//! `SCALEOUT_TEST_SEEDS` sets how many seeds are run, `SCALEOUT_TEST_SEED` the only one, with its trace.

use std::{
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use scaleout_testkit::{
    checker::{ArrivalKind, Content, Coverage, check_coverage},
    simulation::{self, Run},
};

/// Seeds of a full run.
const SEEDS: u64 = 2_000;
/// Fewer seeds need not meet everything.
const SEEDS_FOR_COVERAGE: u64 = 1_000;

#[test]
fn every_seed_keeps_every_invariant_and_the_set_of_seeds_is_not_vacuous() {
    if let Some(seed) = number("SCALEOUT_TEST_SEED") {
        let run = simulation::run(seed);
        tell(&run);
        assert!(is_good(&run));
        return;
    }
    let seeds = number("SCALEOUT_TEST_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let (coverage, bad) = run_all(seeds);
    // Past the test harness, which would keep it to itself as long as all is well.
    let _ = writeln!(std::io::stderr(), "{seeds} seeds in {:.1?}\n{coverage}", began.elapsed());
    assert!(bad.is_empty(), "{} of {seeds} seeds failed: {:?}", bad.len(), &bad[..bad.len().min(50)]);
    if seeds >= SEEDS_FOR_COVERAGE {
        let vacuous = check_coverage(&coverage, &simulation::required());
        assert!(vacuous.is_empty(), "{vacuous:#?}");
    }
}

#[test]
fn a_seed_gives_the_same_trace_twice() {
    for seed in 0..50 {
        let (first, second) = (simulation::run(seed), simulation::run(seed));
        let pairs = first.trace.iter().zip(&second.trace);
        for (one, other) in pairs {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}

/// Runs seeds on all cores; answers what occurred, and which failed.
fn run_all(seeds: u64) -> (Coverage, Vec<u64>) {
    let next = AtomicU64::new(0);
    let work = || {
        let (mut coverage, mut bad) = (Coverage::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return (coverage, bad);
            }
            let run = simulation::run(seed);
            coverage.add(&run.coverage);
            if !is_good(&run) {
                bad.push(seed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<Vec<_>>()
    });
    let (mut coverage, mut bad) = (Coverage::default(), Vec::new());
    for (part, failed) in parts {
        coverage.add(&part);
        bad.extend(failed);
    }
    bad.sort_unstable();
    (coverage, bad)
}

/// Prints what happened, what the store held and what the nodes got.
fn tell(run: &Run) {
    run.trace.iter().for_each(|line| println!("{line}"));
    for frame in &run.recording.log {
        let (stream, epoch, id) = (frame.stream, frame.epoch, frame.id);
        let forgotten = frame.forgotten_in.map_or(String::new(), |epoch| format!(", forgotten in {epoch}"));
        println!("store: stream {stream} ({epoch}, {id}) {}{forgotten}", brief(&frame.content));
    }
    for (node, of_node) in run.recording.nodes.iter().enumerate() {
        for arrival in &of_node.arrivals {
            let what = match &arrival.kind {
                ArrivalKind::Payload { id, content, .. } => format!("payload {id} {}", brief(content)),
                other => format!("{other:?}"),
            };
            println!("node {node}: {:?} stream {} {what}", arrival.at, arrival.stream);
        }
    }
}

fn brief(content: &Content) -> String {
    let Content::Frame(frame) = content else { return format!("{content:?}") };
    let names: Vec<_> = frame.messages.iter().map(|(channel, _)| channel.as_str()).collect();
    format!("frame {} after {} of {}: {}", frame.number, frame.after, frame.node, names.join(" "))
}

/// Tells what is wrong with a run, and how to see it again.
fn is_good(run: &Run) -> bool {
    if run.violations.is_empty() {
        return true;
    }
    println!("seed {}: {} violations", run.seed, run.violations.len());
    run.violations.iter().take(5).for_each(|violation| println!("    {violation}"));
    println!(
        "    SCALEOUT_TEST_SEED={} cargo test -p scaleout-testkit --test simulation -- every_seed --nocapture",
        run.seed
    );
    false
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
