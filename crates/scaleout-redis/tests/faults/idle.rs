//! What nodes cost that have nothing to do.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use scaleout_core::BusConfig;
use scaleout_redis::{RedisConfig, Topology};
use scaleout_testkit::load::Load;
use tokio::time::sleep;

use crate::{Scene, eventually};

/// A server whose nodes have default settings.
async fn defaults(streams: u16) -> Scene {
    let mut scene = Scene::forgetful().await;
    let Topology::Standalone(endpoint) = scene.config.topology.clone() else { panic!("one server") };
    let config = RedisConfig::new(scene.config.app.clone(), Topology::Standalone(endpoint));
    scene.config = config.with_streams(NonZeroU16::new(streams).expect("not 0"));
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_sends_two_commands_a_second() {
    scaleout_testkit::needs_redis!();
    const WINDOW: Duration = Duration::from_secs(5);
    let scene = defaults(4).await;
    let mut load = Load::new();
    load.join(scene.node(), BusConfig::default()).await;
    let publish = load.publish(0, "channel", 32);
    publish.await.expect("it does not panic").expect("it is sent");
    let (began, before) = (Instant::now(), scene.number("total_commands_processed").await);
    // That nothing happens has no event.
    sleep(WINDOW).await;
    let (elapsed, after) = (began.elapsed(), scene.number("total_commands_processed").await);
    // One is this test's own, and two may begin before the window or end in it.
    let commands = (after - before - 1) as f64;
    assert!(commands <= 2.0 * elapsed.as_secs_f64() + 2.0, "{commands} commands in {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_need_two_connections() {
    scaleout_testkit::needs_redis!();
    let scene = defaults(1_000).await;
    let mut load = Load::new();
    for _ in 0..2 {
        load.join(scene.node(), BusConfig::default()).await;
    }
    let channels: Vec<String> = (0..2_000).map(|index| format!("channel {index}")).collect();
    let client = load.listen(1, &channels);
    let publishes: Vec<_> = channels.iter().map(|channel| load.publish(0, channel, 32)).collect();
    for publish in publishes {
        publish.await.expect("it does not panic").expect("it is sent");
    }
    eventually("all is delivered", async || load.bus(1).counters().delivered == 2_000).await;
    assert!(load.gaps(client).is_empty());
    assert_eq!(scene.connections().await, 4);
}
