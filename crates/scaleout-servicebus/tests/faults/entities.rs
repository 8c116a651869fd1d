//! Topics and subscriptions that are deleted under their nodes, or are not as nodes need them.

use std::{collections::BTreeSet, num::NonZeroU16};

use scaleout_core::{Bus, ErrorKind, Role, StreamIndex};
use scaleout_testkit::load::Load;
use servicebus_emulator::{Emulator, TopicProperties};

use crate::{
    Scene, broken_links, bus_config, channels, eventually, expect_confirmed, expect_no_gap, said, traffic,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_is_made_again_and_begins_a_new_history() {
    let scene = Scene::new().await;
    let load = scene.load(3).await;
    let epochs = || scene.log(StreamIndex(1)).into_iter().map(|held| held.epoch).collect::<BTreeSet<_>>();
    for deleted in 1..3 {
        scene.faults().delete_entity(&scene.topic(1)).expect("it is there");
        eventually("another one is used", async || epochs().len() > deleted).await;
        for node in 0..3 {
            load.is_up(node).await;
        }
        load.flows().await;
    }
    let verdict = scene.judge(load).await;
    expect_confirmed(&verdict);
    assert!(verdict.counters.iter().all(|counters| counters.rewound > 0), "{:?}", verdict.counters);
    let others = verdict.gaps().iter().filter(|gap| gap.stream != StreamIndex(1)).count();
    assert_eq!(others, 0, "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_topics_may_be_deleted_at_once() {
    let scene = Scene::new().await;
    let load = scene.load(3).await;
    for topic in scene.topics() {
        scene.faults().delete_entity(&topic).expect("it is there");
    }
    let all = 3 * usize::from(crate::TOPICS);
    eventually("all is there again", async || scene.subscriptions() == all).await;
    load.flows().await;
    assert_eq!(scene.topics().len(), usize::from(crate::TOPICS));
    expect_confirmed(&scene.judge(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_deleted_is_made_again_and_tells_that_something_may_be_missing() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    let subscription = format!("{}/Subscriptions/{}", scene.topic(0), scene.subscription(1));
    for _ in 0..2 {
        scene.faults().delete_entity(&subscription).expect("it is there");
        eventually("it is there again", async || scene.subscriptions() == 2 * usize::from(crate::TOPICS))
            .await;
        load.is_up(1).await;
        load.flows().await;
    }
    let verdict = scene.judge(load).await;
    expect_confirmed(&verdict);
    assert_eq!(broken_links(&verdict), 2);
    assert!(!verdict.gaps().is_empty());
    let elsewhere =
        verdict.gaps().into_iter().filter(|gap| gap.node != 1 || gap.stream != StreamIndex(0)).count();
    assert_eq!(elsewhere, 0, "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_at_rest_is_made_again_before_anybody_misses_it() {
    let scene = Scene::new().await;
    let load = scene.quiet(2).await;
    for topic in scene.topics() {
        scene.faults().delete_entity(&topic).expect("it is there");
    }
    let all = 2 * usize::from(crate::TOPICS);
    eventually("all is there again", async || scene.subscriptions() == all).await;
    for node in 0..2 {
        load.is_up(node).await;
    }
    scene.say(&load).await;
    expect_confirmed(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_publishes_has_no_subscription() {
    let scene = Scene::new().await;
    let mut load = Load::new();
    let receiver = load.join(scene.node(), bus_config()).await;
    load.listen(receiver, &channels());
    let subscriptions = scene.subscriptions();
    let publisher = load.join(scene.node(), bus_config().with_role(Role::PublishOnly)).await;
    load.traffic(publisher, traffic());
    load.flows().await;
    scene.faults().kill_connections();
    load.flows().await;
    assert_eq!(scene.subscriptions(), subscriptions);
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_topic_is_refused() {
    let scene = Scene::new().await;
    for index in 0..crate::TOPICS {
        let properties = TopicProperties { enable_partitioning: index == 1, ..TopicProperties::default() };
        scene.namespace().create_topic(&scene.topic(index), properties).expect("it is new");
    }
    let error = Bus::builder_from(scene.node()).connect().await.expect_err("it has no order");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(said(&error).contains(&format!("topic {} is partitioned", scene.topic(1))), "{}", said(&error));
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_takes_smaller_messages_than_nodes_send_is_refused() {
    let scene = Scene::on(Emulator::builder().max_message_bytes(64 << 10)).await;
    let error = Bus::builder_from(scene.node()).connect().await.expect_err("192 KiB do not fit");
    assert_eq!(error.kind(), ErrorKind::Config);
    for number in ["65536", "196608"] {
        assert!(said(&error).contains(number), "{}", said(&error));
    }
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_with_no_room_for_the_topics_is_told() {
    let scene = Scene::on(Emulator::builder().max_topics(2)).await;
    let error = Bus::builder_from(scene.node()).connect().await.expect_err("there are three");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(said(&error).contains("quota"), "{}", said(&error));
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_layout_is_refused_whichever_is_larger() {
    let scene = Scene::new().await;
    let load = scene.quiet(1).await;
    for count in [crate::TOPICS - 1, crate::TOPICS + 1] {
        let config = scene.config.clone().with_topic_count(NonZeroU16::new(count).expect("it is not 0"));
        let error = Bus::builder_from(scene.node_of(config)).connect().await.expect_err("another layout");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = said(&error);
        assert!(
            text.contains(&format!("{} topics", crate::TOPICS)) && text.contains(&format!("is {count}")),
            "{text}"
        );
    }
    assert_eq!(scene.topics().len(), usize::from(crate::TOPICS));
    scene.say(&load).await;
    expect_no_gap(&scene.settle(load).await);
}
