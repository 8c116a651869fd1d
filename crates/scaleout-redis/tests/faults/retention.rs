//! How much the server keeps.

use std::num::NonZeroU16;

use scaleout_core::{BusConfig, Role, StreamIndex};
use scaleout_testkit::load::Traffic;

use crate::{Scene, channels, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_stream_keeps_what_the_settings_say() {
    scaleout_testkit::needs_redis!();
    const RETAINED: usize = 1 << 20;
    let mut scene = Scene::forgetful().await;
    scene.config = scene
        .config
        .with_streams(NonZeroU16::MIN)
        .with_max_payload_bytes(64 << 10)
        .with_max_retained_bytes(RETAINED);
    let mut load = scene.quiet(2).await;
    let emitter = load.join(scene.node(), BusConfig::default().with_role(Role::PublishOnly)).await;
    load.traffic(emitter, Traffic { channels: channels(), rate: 2_000, len: 1_000 });
    let mut most = 0;
    eventually("ten times as much is published", async || {
        let log = scene.log(StreamIndex(0)).await;
        most = most.max(log.iter().map(|held| held.bytes.len()).sum());
        load.bus(0).counters().received > 10 * (RETAINED / 1_000) as u64
    })
    .await;
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
    assert!((RETAINED / 2..=RETAINED * 13 / 10).contains(&most), "at most {most} bytes, of {RETAINED}");
}
