//! Servers that go away and come back with all that they held, or are there and do not answer.

use std::time::Duration;

use scaleout_core::{BusConfig, StreamState};
use scaleout_testkit::{
    checker::Outcome,
    load::{Load, Traffic},
};

use crate::{Scene, channels, eventually, expect_no_gap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_costs_nothing() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for _ in 0..3 {
        scene.server.restart().await.expect("its port is free");
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
    assert!(verdict.counters.iter().all(|counters| counters.rewound == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_at_2_000_messages_a_second_loses_nothing() {
    const RATE: u32 = 2_000;
    const WAITING: usize = 8_000;
    let scene = Scene::polled().await;
    let mut load = Load::new();
    let config = BusConfig::default()
        .with_max_queue_messages(2_000_000)
        .with_max_queue_bytes(512 << 20)
        .with_max_queue_age(Duration::from_secs(300))
        .with_max_tail_age(Duration::from_secs(300))
        .with_max_backoff(Duration::from_millis(500));
    for _ in 0..2 {
        let node = load.join(scene.node(), config.clone()).await;
        load.listen(node, &channels());
    }
    for node in 0..2 {
        load.traffic(node, Traffic { channels: channels(), rate: RATE / 2, len: 16 });
    }
    load.flows().await;
    scene.server.stop().await;
    let before = load.published();
    for node in 0..2 {
        load.state(node, "degraded", |states| !states.iter().any(StreamState::is_up)).await;
    }
    eventually("enough waits", async || load.published() > before + WAITING).await;
    scene.server.start().await.expect("its port is free");
    load.flows().await;
    let verdict = scene.settle(load).await;
    assert_eq!(verdict.outcomes(Outcome::Ok), verdict.recording.publishes.len());
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_is_noticed_and_costs_nothing() {
    let scene = Scene::woken().await.with(|config| config.with_command_timeout(Duration::from_secs(1)));
    let load = scene.load(2, 500).await;
    for _ in 0..2 {
        scene.server.freeze();
        for node in 0..2 {
            load.state(node, "degraded", |states| !states.iter().any(StreamState::is_up)).await;
        }
        // What had arrived is done, after all.
        scene.server.thaw();
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_notices_that_the_server_is_gone() {
    let scene = Scene::woken().await.with(|config| config.with_max_poll_with_broker(Duration::from_secs(1)));
    let load = scene.quiet(2).await;
    scene.all_are_armed(2).await;
    scene.server.stop().await;
    for node in 0..2 {
        load.state(node, "degraded", |states| !states.iter().any(StreamState::is_up)).await;
    }
    scene.server.start().await.expect("its port is free");
    scene.say_to_all(&load, 2).await;
    scene.all_are_armed(2).await;
    expect_no_gap(&scene.settle(load).await);
}
