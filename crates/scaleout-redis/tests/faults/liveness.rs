//! Servers that do not answer, do not write, or are gone, on links where nothing happens.

use std::time::Duration;

use scaleout_core::{BusConfig, StreamState};
use scaleout_redis::{RedisConfig, Topology};
use scaleout_testkit::load::Load;
use scaleout_testkit::servers::RedisServer;

use crate::{Scene, channels, traffic};

/// Within this time a server that does not serve is noticed, by default.
const LIVENESS: Duration = Duration::from_secs(2);

/// What a machine may be late by that runs many tests at once. Without a look at the server a frozen or demoted one
/// would never be noticed, and one that the network ate only after many minutes.
const SLACK: Duration = Duration::from_secs(8);

/// Two idle nodes with a client each, and default settings.
async fn idle() -> (Scene, Load) {
    let mut scene = Scene::durable().await;
    let Topology::Standalone(endpoint) = scene.config.topology.clone() else { panic!("one server") };
    scene.config = RedisConfig::new(scene.config.app.clone(), Topology::Standalone(endpoint));
    assert_eq!(scene.config.liveness, LIVENESS);
    let mut load = Load::new();
    for node in 0..2 {
        load.join(scene.node(), BusConfig::default()).await;
        load.listen(node, &channels());
    }
    (scene, load)
}

async fn is_noticed(load: &Load) {
    let degraded =
        |states: &[StreamState]| states.iter().all(|state| matches!(state, StreamState::Degraded { .. }));
    let (one, other) = tokio::join!(load.state(0, "degraded", degraded), load.state(1, "degraded", degraded));
    assert!(one.max(other) <= LIVENESS + SLACK, "noticed after {one:?} and {other:?}");
}

/// Nodes come back by themselves, and messages flow.
async fn goes_on(scene: &Scene, mut load: Load, loses_all: bool) {
    for node in 0..2 {
        load.is_up(node).await;
        load.traffic(node, traffic(500));
    }
    load.flows().await;
    let verdict = scene.settle(load).await;
    assert!(loses_all || verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_on_an_idle_link() {
    scaleout_testkit::needs_redis!();
    let (scene, load) = idle().await;
    scene.server.freeze().expect("it runs");
    is_noticed(&load).await;
    scene.server.thaw().expect("it runs");
    goes_on(&scene, load, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_is_noticed_on_an_idle_link() {
    scaleout_testkit::needs_redis!();
    let (scene, load) = idle().await;
    scene.server.kill();
    is_noticed(&load).await;
    scene.server.start().await.expect("the server starts again");
    goes_on(&scene, load, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_server_is_noticed_on_an_idle_link() {
    scaleout_testkit::needs_redis!();
    let (scene, load) = idle().await;
    let other = RedisServer::builder().start().await.expect("redis-server starts");
    let port = other.port().to_string();
    scene.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    is_noticed(&load).await;
    crate::eventually("the replica has what its master has: nothing", async || {
        let link = scene.server.info("master_link_status").await;
        matches!(link, Ok(Some(status)) if status == "up")
    })
    .await;
    scene.command(&["REPLICAOF", "NO", "ONE"]).await;
    goes_on(&scene, load, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_under_load_loses_nothing() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let load = scene.load(2, 1_000).await;
    for _ in 0..2 {
        scene.server.freeze().expect("it runs");
        for node in 0..2 {
            load.state(node, "degraded", |states| !states.iter().any(StreamState::is_up)).await;
        }
        scene.server.thaw().expect("it runs");
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}
