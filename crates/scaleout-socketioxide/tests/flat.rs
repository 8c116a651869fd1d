//! What is asked over and over leaves nothing behind. In a process of its own, whose memory nobody else uses.
#![cfg(target_os = "linux")]

use std::time::Duration;

use futures_util::StreamExt;
use scaleout_core::{Bus, BusConfig, MemoryConfig, MemoryStore};
use scaleout_socketioxide::{BroadcastFlags, BroadcastOptions, ScaleoutAdapter, ScaleoutCtr};
use socketioxide::SocketIo;

const FETCHES: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_over_a_hundred_thousand_fetches() {
    let store = MemoryStore::new(MemoryConfig::default().with_retained_payloads(100));
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let config = BusConfig::default().with_max_ring_bytes(1 << 20).with_max_tail_bytes(1 << 20);
        let bus = Bus::builder(store.backplane()).config(config).connect().await.expect("it is there");
        let ctr = ScaleoutCtr::new(&bus).expect("settings that work");
        ctr.cluster().ready().await;
        let (service, io) = SocketIo::builder().with_adapter::<ScaleoutAdapter<_>>(ctr.clone()).build_svc();
        let Ok(()) = io.ns("/", async || ()).await;
        nodes.push((service, io, ctr));
    }
    let ctr = &nodes[0].2;
    while ctr.cluster().members().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut options = BroadcastOptions::default();
    options.add_flag(BroadcastFlags::Broadcast);
    let fetch = async |count| {
        let fetches = futures_util::stream::iter(0..count).map(|_| ctr.fetch("/", &options));
        let mut fetches = std::pin::pin!(fetches.buffer_unordered(32));
        while let Some(fetched) = fetches.next().await {
            assert!(fetched.expect("it can be asked").complete);
        }
    };
    // Whatever fills up to its bounds.
    fetch(FETCHES / 4).await;
    let before = resident();
    fetch(FETCHES).await;
    let grown = resident().saturating_sub(before);
    // Forty bytes of each would be as much.
    assert!(grown < 4 << 20, "{grown} bytes more than the {before} before");
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
}
