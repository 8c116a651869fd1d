//! What a member of a group costs a node: memory by the allocator's count and by the system's, and time.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use peak_alloc::PeakAlloc;
use scaleout_cluster::{Cluster, ClusterConfig};
use scaleout_core::{Bus, BusConfig, MemoryConfig, MemoryStore};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const PAGE_BYTES: usize = 4096;

const NODES: usize = 8;

/// Bytes of the name of each member.
const NAME_BYTES: usize = 20;

/// How long received frames are kept: they are no part of the cost.
const RING_AGE: Duration = Duration::from_secs(10);

/// What may be left of them, and of sent ones.
const KEPT_BYTES: usize = 64 << 10;

/// What is measured, each in a process of its own: members of a group, and bytes of their values.
const SCENES: [(&str, usize, usize); 3] = [
    ("one group, no values", usize::MAX, 0),
    ("groups of ten, no values", 10, 0),
    ("one group, values of 32 bytes", usize::MAX, 32),
];

fn main() {
    // `cargo bench` says so; `cargo test` only wants to see it run.
    let count = if env::args().any(|argument| argument == "--bench") { 100_000 } else { 1_000 };
    if let Some(scene) = env::args().nth(1).and_then(|argument| argument.parse::<usize>().ok()) {
        let count = env::args().nth(2).and_then(|argument| argument.parse().ok()).unwrap_or(count);
        let (_, group_size, value_bytes) = SCENES[scene];
        measure(count, group_size, value_bytes);
        return;
    }
    for (scene, (what, ..)) in SCENES.iter().enumerate() {
        let program = env::current_exe().expect("it runs, so there is a file of it");
        let arguments = [scene.to_string(), count.to_string()];
        let output = Command::new(program).args(arguments).output().expect("it can run again");
        print!("{count} members on {NODES} nodes, {what}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Lets every node track its part of the members, and prints what each costs a node that sees all of them.
fn measure(count: usize, group_size: usize, value_bytes: usize) {
    let runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime of one thread starts");
    let store = MemoryStore::new(MemoryConfig::default());
    let nodes = join(&runtime, &store);
    let names: Vec<_> = (0..count).map(|member| format!("{member:0NAME_BYTES$}")).collect();
    let value = vec![0; value_bytes];
    let (allocated, resident) = (ALLOCATED.current_usage(), resident_bytes());

    let began = Instant::now();
    for (index, name) in names.iter().enumerate() {
        let group = format!("group:{}", index / group_size);
        nodes[index % NODES].presence().track(&group, name, &value).expect("it is within bounds");
    }
    let tracked = began.elapsed();
    runtime.block_on(async {
        for node in &nodes {
            let seen = || -> usize {
                let presence = node.presence();
                presence.groups().iter().map(|group| presence.count(group)).sum()
            };
            while seen() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let seen = began.elapsed();
    runtime.block_on(async {
        while nodes.iter().any(|node| node.bus().usage().ring_bytes > KEPT_BYTES) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    store.streams().for_each(|stream| store.trim(stream, 1));

    let each = |before: usize, after: usize| after.saturating_sub(before).div_ceil(count * NODES);
    let cost = (each(allocated, ALLOCATED.current_usage()), each(resident, resident_bytes()));
    let gaps: u64 = nodes.iter().map(|node| node.counters().gaps).sum();
    let nanos = |took: Duration, things: usize| took.as_nanos() / things as u128;
    println!(
        "{} bytes allocated, {} resident each; {} ns to track, {} ns until all nodes see it, on each; {gaps} gaps",
        cost.0,
        cost.1,
        nanos(tracked, count),
        nanos(seen, count * NODES),
    );
}

fn join(runtime: &Runtime, store: &MemoryStore) -> Vec<Cluster> {
    runtime.block_on(async {
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let config = BusConfig::default().with_max_ring_age(RING_AGE).with_max_tail_bytes(KEPT_BYTES);
            let bus = Bus::builder(store.backplane()).config(config).connect().await.expect("memory opens");
            let node = Cluster::join(&bus, ClusterConfig::default()).await.expect("the settings are good");
            node.presence().ready().await;
            nodes.push(node);
        }
        nodes
    })
}

/// What the system has given this process, 0 where it does not tell.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * PAGE_BYTES
}
