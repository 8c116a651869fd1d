//! The doorbell breaks, and nodes poll, say so, and come back to it by themselves.

use std::{sync::Arc, time::Duration};

use scaleout_core::{Backplane, ErrorKind};
use scaleout_sqlserver::{Doorbell, SqlServerBackplane};
use scaleout_testkit::load::Load;
use sqlserver_testserver::TestServer;

use crate::{Scene, bus_config, channels, eventually, expect_no_gap, settings};

/// Nodes whose lost rings do not cost much.
async fn scene() -> Scene {
    Scene::woken().await.with(|config| config.with_max_poll_with_broker(Duration::from_millis(500)))
}

/// Waits until a node says that it polls; why.
async fn polls(backplane: &SqlServerBackplane) -> scaleout_core::Error {
    let mut why = None;
    eventually("the node says that it polls", async || {
        if let Doorbell::Missing(error) = backplane.doorbell() {
            why = Some(error);
        }
        why.is_some()
    })
    .await;
    why.expect("it was found")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_poll_while_the_broker_is_off_and_come_back() {
    let scene = scene().await;
    let load = scene.quiet(2).await;
    for _ in 0..2 {
        scene.all_are_armed(2).await;
        scene.server.set_broker(false);
        // They are armed, and nothing rings.
        scene.say_to_all(&load, 2).await;
        for node in 0..2 {
            let backplane = scene.backplane(node);
            let why = polls(&backplane).await;
            assert!(why.is_fatal() && why.to_string().contains("SET ENABLE_BROKER"), "{why}");
            let health = backplane.health().await.expect("the server answers");
            assert!(matches!(health.doorbell, Doorbell::Missing(_)), "{health:?}");
            assert!(!health.service_broker.expect("it is installed").is_enabled);
        }
        scene.say_to_all(&load, 2).await;
        scene.server.set_broker(true);
        scene.all_are_armed(2).await;
        scene.say_to_all(&load, 2).await;
        let health = scene.backplane(0).health().await.expect("the server answers");
        let broker = health.service_broker.expect("it is installed");
        assert!(broker.is_enabled);
        assert_eq!((broker.queues_on, broker.undelivered, broker.listeners), (2, 0, 2), "{broker:?}");
        assert_eq!(broker.conversation_ends, 4, "{broker:?}");
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_poll_while_a_queue_is_off_and_come_back() {
    let scene = scene().await;
    let load = scene.quiet(2).await;
    scene.all_are_armed(2).await;
    scene.server.set_queue(false);
    for node in 0..2 {
        let why = polls(&scene.backplane(node)).await;
        assert!(!why.is_fatal(), "{why}");
    }
    // They try again and again, and do not say that it works before it does.
    let before = scene.server.requests_of("register");
    let backplane = scene.backplane(0);
    eventually("they try again", async || {
        assert!(matches!(backplane.doorbell(), Doorbell::Missing(_)), "{:?}", backplane.doorbell());
        scene.server.requests_of("register") > before + 5
    })
    .await;
    let health = backplane.health().await.expect("the server answers");
    assert_eq!(health.service_broker.expect("it is installed").queues_on, 1);
    scene.say_to_all(&load, 2).await;
    scene.server.set_queue(true);
    scene.all_are_armed(2).await;
    scene.say_to_all(&load, 2).await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_register_again_when_their_conversations_are_over() {
    let scene = scene().await;
    let load = scene.quiet(3).await;
    for _ in 0..3 {
        scene.all_are_armed(3).await;
        let before = scene.server.requests_of("register");
        scene.server.end_conversations();
        eventually("all register", async || scene.server.requests_of("register") >= before + 3).await;
        scene.say_to_all(&load, 3).await;
    }
    scene.all_are_armed(3).await;
    eventually("two ends of each", async || scene.server.conversations() == 6).await;
    assert_eq!(scene.server.listeners(), 3);
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_that_comes_and_goes_under_load_leaves_no_conversation() {
    let scene = scene().await;
    let mut load = scene.load(3, 500).await;
    for _ in 0..4 {
        scene.server.set_broker(false);
        load.flows().await;
        scene.server.set_broker(true);
        scene.server.end_conversations();
        load.flows().await;
        scene.server.set_queue(false);
        load.flows().await;
        scene.server.set_queue(true);
        scene.server.cut_all();
        load.flows().await;
    }
    load.resolve().await;
    scene.all_are_armed(3).await;
    eventually("two ends of each", async || scene.server.conversations() == 6).await;
    // Those of sends, and one that reads and one that waits of each.
    let most = 3 * (usize::from(scene.config.max_connections.get()) + 2);
    eventually("no connection is left over", async || scene.server.connections() <= most).await;
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_not_register_polls_and_names_the_grant() {
    let scene = scene().await;
    scene.server.deny("register");
    let load = scene.quiet(1).await;
    let why = polls(&scene.backplane(0)).await;
    assert!(why.to_string().contains("GRANT EXECUTE ON SCHEMA::"), "{why}");
    scene.say_to_all(&load, 1).await;
    scene.server.allow("register");
    scene.all_are_armed(1).await;
    scene.say_to_all(&load, 1).await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_service_broker_is_polled() {
    let server = TestServer::builder().without_service_broker().start().await.expect("a free port");
    let backplane = SqlServerBackplane::new(settings(&server)).expect("settings that work");
    let mut load = Load::new();
    let node = load.join(Arc::new(backplane.clone()) as Arc<dyn Backplane>, bus_config()).await;
    load.listen(node, &channels());
    let why = polls(&backplane).await;
    assert_eq!(why.kind(), ErrorKind::Unsupported);
    for channel in channels() {
        load.publish(node, &channel, 32).await.expect("it does not panic").expect("it is sent");
    }
    eventually("all is delivered", async || load.bus(node).counters().delivered == 12).await;
    backplane.close().await.expect("nothing was registered");
    eventually("no connection is left", async || server.connections() == 0).await;
}
