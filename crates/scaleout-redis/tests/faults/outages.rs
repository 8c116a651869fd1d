//! Times without a server, and a server without memory.

use std::time::Duration;

use scaleout_core::{BusConfig, StreamState};
use scaleout_testkit::{
    checker::Outcome,
    load::{Load, Traffic},
};
use tokio::time::sleep;

use crate::{Scene, channels, traffic};

/// Messages a second, of two nodes together.
const RATE: u32 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_2_s_at_20_000_messages_a_second_loses_nothing() {
    scaleout_testkit::needs_redis!();
    outage(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_30_s_at_20_000_messages_a_second_loses_nothing() {
    scaleout_testkit::needs_redis!();
    outage(Duration::from_secs(30)).await;
}

async fn outage(length: Duration) {
    let scene = Scene::durable().await;
    let mut load = Load::new();
    let config = BusConfig::default()
        .with_max_queue_messages(2_000_000)
        .with_max_queue_bytes(512 << 20)
        .with_max_queue_age(Duration::from_secs(300))
        .with_max_tail_age(Duration::from_secs(300));
    for _ in 0..2 {
        let node = load.join(scene.node(), config.clone()).await;
        load.listen(node, &channels());
    }
    for node in 0..2 {
        load.traffic(node, Traffic { channels: channels(), rate: RATE / 2, len: 16 });
    }
    load.flows().await;
    scene.server.kill();
    let before = load.published();
    sleep(length).await;
    for node in 0..2 {
        load.state(node, "degraded", |states| !states.iter().any(StreamState::is_up)).await;
    }
    let meanwhile = load.published() - before;
    assert!(meanwhile as f64 >= f64::from(RATE) * length.as_secs_f64() * 0.9, "{meanwhile}");
    scene.server.start().await.expect("the server starts again");
    load.flows().await;
    let verdict = scene.settle(load).await;
    assert_eq!(verdict.outcomes(Outcome::Ok), verdict.recording.publishes.len());
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_finds_no_memory_waits_and_goes_through_once() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let mut load = scene.quiet(2).await;
    let channel = &channels()[0];
    scene.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"]).await;
    let waiting = load.publish(0, channel, 32);
    let stream = load.bus(0).stream_of(channel).index();
    load.state(0, "out of memory", |states| match &states[stream] {
        StreamState::Degraded { error, attempts, .. } => {
            *attempts > 2 && error.to_string().contains("memory")
        }
        _ => false,
    })
    .await;
    assert!(!waiting.is_finished());
    scene.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    waiting.await.expect("it does not panic").expect("the frame goes through");
    load.traffic(0, traffic(1_000));
    load.flows().await;
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}
