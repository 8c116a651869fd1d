//! Frames whose answer is lost, that come late, or that the store forgot.

use std::sync::Arc;

use redis::Value;
use scaleout_core::{BusConfig, Role};
use scaleout_redis::RedisBackplane;
use scaleout_testkit::{
    load::Load,
    servers::{Fate, TcpProxy},
};

use crate::{Scene, channels, channels_of_stream_0, eventually, settings, traffic};

/// A node behind a proxy, and one that is not.
async fn behind_a_proxy() -> (Scene, TcpProxy, Load) {
    let scene = Scene::forgetful().await;
    let proxy = TcpProxy::to_port(scene.server.port()).await.expect("a free port");
    let node = |port| Arc::new(RedisBackplane::new(settings(port)).expect("settings that work"));
    let mut load = Load::new();
    for port in [proxy.port(), scene.server.port()] {
        let node = load.join(node(port), BusConfig::default()).await;
        load.listen(node, &channels());
    }
    (scene, proxy, load)
}

/// A fresh node, to which a client comes that stood at another one.
async fn read_over(scene: &Scene, load: &mut Load, client: usize) {
    let fresh = load.join(scene.node(), BusConfig::default()).await;
    load.listen(fresh, &channels());
    load.hop(client, fresh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_reads_over_a_retried_frame() {
    scaleout_testkit::needs_redis!();
    let (scene, proxy, mut load) = behind_a_proxy().await;
    let channel = channels_of_stream_0()[0].clone();
    let waits = load.listen(1, &channels());
    load.pause(waits, true).await;
    for fate in [Fate::LoseAnswer, Fate::LoseSend, Fate::LoseAnswer] {
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        proxy.next_frame(fate);
        for _ in 0..3 {
            drop(load.publish(0, &channel, 32));
        }
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        assert!(!proxy.is_fate_pending());
        read_over(&scene, &mut load, waits).await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_a_frame_is_not_added() {
    scaleout_testkit::needs_redis!();
    let (scene, proxy, mut load) = behind_a_proxy().await;
    let channel = channels_of_stream_0()[0].clone();
    let waits = load.listen(1, &channels());
    load.pause(waits, true).await;
    for _ in 0..3 {
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        proxy.next_frame(Fate::Delay);
        let held = load.publish(0, &channel, 32);
        proxy.wait_held().await;
        // The node gives the connection up, and sends the frame again by another one.
        held.await.expect("it does not panic").expect("it is sent");
        read_over(&scene, &mut load, waits).await;
        proxy.release().await;
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
    }
    read_over(&scene, &mut load, waits).await;
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_come_late_under_load_are_not_added() {
    scaleout_testkit::needs_redis!();
    let (scene, proxy, mut load) = behind_a_proxy().await;
    for node in 0..2 {
        load.traffic(node, traffic(1_000));
    }
    for fate in [Fate::Delay, Fate::LoseAnswer, Fate::Delay, Fate::LoseSend] {
        proxy.next_frame(fate);
        eventually("the fate meets a frame", async || !proxy.is_fate_pending()).await;
        load.flows().await;
        proxy.release().await;
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_publishes_repairs_what_the_store_forgot() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::durable().await;
    let mut load = scene.quiet(1).await;
    let emitter = load.join(scene.node(), BusConfig::default().with_role(Role::PublishOnly)).await;
    for _ in 0..20 {
        for channel in channels() {
            load.publish(emitter, &channel, 32).await.expect("it does not panic").expect("it is sent");
        }
    }
    let forgotten = scene.server.forget_last(5).await.expect("the server starts again");
    // Nothing is published: the node finds out by itself.
    eventually("all is repaired", async || load.bus(emitter).counters().repaired >= forgotten as u64).await;
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_expire_when_all_nodes_are_gone() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::durable().await;
    let load = scene.load(2, 500).await;
    scene.server.restart().await.expect("the server starts again");
    load.flows().await;
    scene.settle(load).await;
    eventually("no connection is left", async || scene.connections().await == 0).await;
    let keys: Vec<String> = redis::from_redis_value(scene.command(&["KEYS", "*"]).await).expect("keys");
    assert!(keys.len() > 4, "{keys:?}");
    let expiry = i64::try_from(scene.config.key_expiry.as_secs()).expect("days");
    for key in keys {
        let Value::Int(left) = scene.command(&["TTL", &key]).await else { panic!("seconds") };
        assert!((expiry - 60..=expiry).contains(&left), "{key}: {left} of {expiry}");
    }
}
