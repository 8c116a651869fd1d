//! Nodes that start, one or many.

use std::time::Duration;

use scaleout_testkit::load::Load;

use crate::{Scene, TOPICS, bus_config, channels, expect_confirmed, expect_no_gap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_nodes_start_at_once_on_an_empty_namespace() {
    const NODES: usize = 20;
    let scene = Scene::new().await;
    let mut load = Load::new();
    for _ in 0..NODES {
        load.start(scene.node(), bus_config());
    }
    for node in 0..NODES {
        load.is_up(node).await;
        load.listen(node, &channels());
    }
    let topics: Vec<_> = (0..TOPICS).map(|index| scene.topic(index)).collect();
    assert_eq!(scene.topics(), topics);
    assert_eq!(scene.subscriptions(), NODES * usize::from(TOPICS));
    // A node lists twice at most, and for each topic it may be the one that creates it. Then sending and receiving each
    // look for the topic before and after they have what they need of it, which for receiving is a subscription.
    let figures = scene.faults().figures();
    let most = NODES as u64 * (2 + u64::from(TOPICS) * 6);
    assert!(figures.management_calls <= most, "{} of {most} requests", figures.management_calls);
    assert_eq!(figures.connections_made, NODES as u64);
    scene.say(&load).await;
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_while_the_service_is_away_or_breaks_off_goes_on_until_it_is_there() {
    let scene = Scene::new().await;
    scene.faults().refuse_connections(true);
    let mut load = Load::new();
    for _ in 0..2 {
        load.start(scene.node(), bus_config());
    }
    for node in 0..2 {
        load.state(node, "degraded", |states| {
            states.iter().all(|state| matches!(state, scaleout_core::StreamState::Degraded { .. }))
        })
        .await;
    }
    scene.faults().refuse_connections(false);
    for _ in 0..10 {
        scene.faults().kill_connections();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for node in 0..2 {
        load.is_up(node).await;
        load.listen(node, &channels());
    }
    scene.say(&load).await;
    expect_confirmed(&scene.settle(load).await);
}
