//! Nodes that may send and listen, and no more: others make what they need.

use std::{sync::Arc, time::Duration};

use scaleout_core::{Backplane, Bus, Error, ErrorKind, Role};
use scaleout_servicebus::ServiceBusConfig;
use scaleout_testkit::load::Load;
use servicebus_emulator::{Emulator, EmulatorBuilder, Right, SubscriptionProperties, TopicProperties};

use crate::{
    Scene, TOPICS, bus_config, channels, eventually, expect_confirmed, expect_no_gap, said, settings,
    traffic, trouble,
};

const EVERYTHING: (&str, &str) = ("owner", "key of the owner");

/// An emulator that nodes may not manage.
fn guarded(rights: &[Right]) -> EmulatorBuilder {
    Emulator::builder().key(EVERYTHING.0, EVERYTHING.1, &[Right::Manage]).key("node", "key of nodes", rights)
}

/// A node with a subscription of its own.
fn config(scene: &Scene, subscription: &str) -> ServiceBusConfig {
    settings(&scene.emulator.connection_string_of("node", "key of nodes"))
        .with_create_entities(false)
        .with_subscription(subscription)
}

fn create(scene: &Scene, index: u16, subscriptions: &[&str]) {
    let topic = scene.topic(index);
    let properties = TopicProperties { requires_duplicate_detection: true, ..TopicProperties::default() };
    scene.namespace().create_topic(&topic, properties).expect("it is new");
    for name in subscriptions {
        let properties = SubscriptionProperties {
            lock_duration: Duration::from_secs(5),
            max_delivery_count: 2_000,
            ..SubscriptionProperties::default()
        };
        scene.namespace().create_subscription(&topic, name, properties).expect("it is new");
    }
}

/// A scene where others have made topics, and these subscriptions on each.
async fn prepared(subscriptions: &[&str]) -> Scene {
    let scene = Scene::on(guarded(&[Right::Send, Right::Listen])).await;
    (0..TOPICS).for_each(|index| create(&scene, index, subscriptions));
    scene
}

async fn refused(node: Arc<dyn Backplane>) -> Error {
    Bus::builder_from(node).config(bus_config()).connect().await.expect_err("something is missing")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_to_send_and_listen_are_enough_where_entities_are_there() {
    let scene = prepared(&["a", "b"]).await;
    let mut load = Load::new();
    for name in ["a", "b"] {
        let node = load.join(scene.node_of(config(&scene, name)), bus_config()).await;
        load.listen(node, &channels());
        load.traffic(node, traffic());
    }
    for _ in 0..2 {
        scene.faults().kill_connections();
        load.flows().await;
    }
    assert_eq!(scene.faults().figures().management_calls, 0);
    let verdict = load.settle(async |stream| scene.configured_log(stream)).await;
    verdict.expect_good();
    verdict.expect_all();
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
    // They belong to whoever made them.
    assert_eq!(scene.subscriptions(), 2 * usize::from(TOPICS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_node_came_back_is_passed_over() {
    let scene = prepared(&["a", "b"]).await;
    let mut load = Load::new();
    let first = load.join(scene.node_of(config(&scene, "a")), bus_config()).await;
    load.listen(first, &channels());
    // The other one was not there yet, and its subscription was.
    scene.say(&load).await;
    let second = load.join(scene.node_of(config(&scene, "b")), bus_config()).await;
    load.listen(second, &channels());
    scene.say(&load).await;
    let verdict = load.settle(async |stream| scene.configured_log(stream)).await;
    verdict.expect_good();
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named() {
    let scene = Scene::on(guarded(&[Right::Send, Right::Listen])).await;
    create(&scene, 0, &["a"]);
    create(&scene, 1, &[]);
    create(&scene, 2, &["a"]);
    let error = refused(scene.node_of(config(&scene, "a"))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    let missing = format!("{}/Subscriptions/a", scene.topic(1));
    assert!(
        said(&error).contains(&missing) && said(&error).contains("subscription create"),
        "{}",
        said(&error)
    );

    scene.namespace().delete_topic(&scene.topic(1)).expect("it is there");
    let error = refused(scene.node_of(config(&scene, "a"))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        said(&error).contains(&scene.topic(1)) && said(&error).contains("topic create"),
        "{}",
        said(&error)
    );

    let without = settings(&scene.emulator.connection_string_of("node", "key of nodes"));
    let error = refused(scene.node_of(without.with_create_entities(false))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(said(&error).contains("subscription is missing"), "{}", said(&error));
    eventually("they are gone", async || scene.faults().figures().connections == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_is_named() {
    for (has, lacks) in [(Right::Listen, "Send"), (Right::Send, "Listen")] {
        let scene = Scene::on(guarded(&[has])).await;
        (0..TOPICS).for_each(|index| create(&scene, index, &["a"]));
        let error = refused(scene.node_of(config(&scene, "a"))).await;
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(said(&error).contains(&format!("'{lacks}'")), "{}", said(&error));
    }
    // Who only publishes need not listen.
    let scene = Scene::on(guarded(&[Right::Send])).await;
    (0..TOPICS).for_each(|index| create(&scene, index, &[]));
    let bus = Bus::builder_from(scene.node_of(config(&scene, "a")))
        .config(bus_config().with_role(Role::PublishOnly))
        .connect()
        .await
        .expect("it may do all that it does");
    bus.publish("channel", "hello").await.expect("it is sent");
    bus.close(Duration::from_secs(10)).await;
    // Managing is another right.
    let manages = settings(&scene.emulator.connection_string_of("node", "key of nodes"));
    let error = refused(scene.node_of(manages)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(said(&error).contains("Manage"), "{}", said(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_anew_needs_another_epoch() {
    let scene = prepared(&["a"]).await;
    let mut load = Load::new();
    load.join(scene.node_of(config(&scene, "a")), bus_config()).await;
    load.listen(0, &channels());
    for _ in 0..3 {
        scene.say(&load).await;
    }
    scene.namespace().delete_topic(&scene.topic(1)).expect("it is there");
    let error = trouble(load.bus(0), ErrorKind::Config).await;
    assert!(said(&error).contains("not there"), "{}", said(&error));
    create(&scene, 1, &["a"]);
    let mut told = String::new();
    eventually("it is told", async || {
        told = said(&trouble(load.bus(0), ErrorKind::Config).await);
        told.contains("Raise `epoch`")
    })
    .await;
    assert!(told.contains(&scene.topic(1)), "{told}");
    load.resolve().await;
    load.bus(0).close(Duration::from_secs(10)).await;

    let raised = config(&scene, "a").with_epoch(2);
    let mut load = Load::new();
    load.join(scene.node_of(raised), bus_config()).await;
    load.listen(0, &channels());
    scene.say(&load).await;
    load.bus(0).close(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_share_a_subscription_are_told() {
    let scene = prepared(&["a"]).await;
    let mut load = Load::new();
    for _ in 0..2 {
        let shared = config(&scene, "a").with_operation_timeout(Duration::from_secs(1));
        let node = load.start(scene.node_of(shared), bus_config());
        load.listen(node, &channels());
        load.traffic(node, traffic());
    }
    // Whatever each gets of the other's: the message of its own that it waits for, or frames with a number left out.
    eventually("it is told", async || {
        let streams = |node| load.bus(node).health().streams;
        let is_told = |state: &scaleout_core::StreamState| match state {
            scaleout_core::StreamState::Degraded { error, .. } => said(error).contains("the only one"),
            _ => false,
        };
        (0..2).any(|node| streams(node).iter().any(is_told)) || (0..2).all(|node| !load.gaps(node).is_empty())
    })
    .await;
    load.resolve().await;
    for node in 0..2 {
        load.bus(node).close(Duration::from_secs(10)).await;
    }
}
