//! Readers that are too slow, and nodes that come in the middle.

use std::{collections::BTreeMap, time::Duration};

use scaleout_core::{BusConfig, StreamIndex};
use scaleout_testkit::{
    checker::{ArrivalKind, Reason, Recording},
    load::Traffic,
};

use crate::{Scene, channels, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_lags_behind_the_ring_is_told_and_memory_is_bounded() {
    scaleout_testkit::needs_redis!();
    const RING: usize = 256 << 10;
    let scene = Scene::forgetful().await;
    let mut load = scene.quiet(1).await;
    let small = load.join(scene.node(), BusConfig::default().with_max_ring_bytes(RING)).await;
    let slow = load.listen(small, &channels());
    load.pause(slow, true).await;
    load.traffic(0, Traffic { channels: channels(), rate: 4_000, len: 500 });
    // Ten times what the ring holds.
    eventually("enough is received", async || {
        let usage = load.bus(small).usage();
        // Each stream adds a frame before the oldest ones leave.
        assert!(usage.ring_bytes <= RING + 4 * BusConfig::default().max_frame_bytes, "{usage:?}");
        load.bus(small).counters().received > 10 * (RING / 500) as u64
    })
    .await;
    load.pause(slow, false).await;
    load.flows().await;
    let verdict = scene.settle(load).await;
    let gaps = verdict.gaps();
    assert!(!gaps.is_empty());
    assert!(gaps.iter().all(|gap| gap.reason == Reason::Lagged && gap.frames.is_some()), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lags_behind_retention_tells_exactly_what_is_missing() {
    scaleout_testkit::needs_redis!();
    const RETAINED: usize = 256 << 10;
    const MOST_WAITING: u64 = 200;
    let mut scene = Scene::forgetful().await;
    scene.config = scene.config.with_max_payload_bytes(64 << 10).with_max_retained_bytes(RETAINED);
    let mut load = scene.quiet(2).await;
    let (busy, slow) = (0, 1);
    load.traffic(busy, Traffic { channels: channels(), rate: 4_000, len: 500 });
    load.flows().await;
    load.hold(slow, true);
    let from = load.bus(busy).counters().received;
    // On each stream more than it retains, and more than may wait in the node.
    eventually("enough is published", async || {
        load.bus(busy).counters().received - from > 8 * 4 * (RETAINED / 500) as u64
    })
    .await;
    let released = load.elapsed();
    load.hold(slow, false);
    load.flows().await;
    let verdict = scene.settle(load).await;
    let (missing, waited) = holes(&verdict.recording, slow, released);
    // What had been read for the node and could not be handed over: all that it costs to be slow.
    assert!(waited.values().all(|waited| *waited <= MOST_WAITING), "{waited:?}");
    let mut told = BTreeMap::new();
    for gap in verdict.gaps() {
        assert_eq!((gap.node, gap.reason), (slow, Reason::Lost), "{gap:?}");
        *told.entry(gap.stream).or_default() += gap.frames.expect("ids tell how many");
    }
    assert!(missing.values().all(|missing| *missing > 0), "{missing:?}");
    assert_eq!(told, missing);
}

/// How many ids a node did not get, of each stream, and how many payloads it got before that once it was `released`.
fn holes(
    recording: &Recording,
    node: usize,
    released: Duration,
) -> (BTreeMap<StreamIndex, u64>, BTreeMap<StreamIndex, u64>) {
    let (mut last, mut holes, mut waited) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for arrival in &recording.nodes[node].arrivals {
        let ArrivalKind::Payload { id, .. } = arrival.kind else { continue };
        let hole = holes.entry(arrival.stream).or_default();
        if let Some(last) = last.insert(arrival.stream, id.0) {
            *hole += id.0 - last - 1;
        }
        if *hole == 0 && arrival.at >= released {
            *waited.entry(arrival.stream).or_default() += 1;
        }
    }
    (holes, waited)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_in_the_middle_serves_a_resumed_client() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::durable().await;
    let mut load = scene.load(2, 1_000).await;
    let client = load.listen(0, &channels());
    load.flows().await;
    for restart in [false, true] {
        if restart {
            scene.server.restart().await.expect("the server starts again");
        }
        // It stands where the new node never was.
        load.pause(client, true).await;
        let from = load.published();
        eventually("more is published", async || load.published() > from + 500).await;
        let fresh = load.join(scene.node(), BusConfig::default()).await;
        load.hop(client, fresh).await;
        load.pause(client, false).await;
        load.flows().await;
        load.hop(client, 1).await;
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}
