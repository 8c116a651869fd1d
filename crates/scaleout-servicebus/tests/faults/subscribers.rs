//! What receivers make of what the service does with messages.

use scaleout_servicebus::Reception;
use scaleout_testkit::servers::TcpProxy;

use crate::{
    Scene, broken_links, bus_config, channels, eventually, expect_confirmed, expect_no_gap, traffic,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_delivered_twice_comes_out_once() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    for _ in 0..3 {
        scene.faults().duplicate_deliveries(20);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
    // They do not even come as far as the bus.
    assert!(verdict.counters.iter().all(|counters| counters.duplicates == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_with_a_link_is_told_where_messages_are_deleted_when_they_are_delivered() {
    const CUTS: usize = 3;
    let scene = Scene::new().await.with(|config| config.with_reception(Reception::ReceiveAndDelete));
    let load = scene.load(2).await;
    for _ in 0..CUTS {
        scene.faults().kill_connections();
        load.flows().await;
        // A link that is cut once more before it is back tells of both at once.
        load.is_up(0).await;
        load.is_up(1).await;
    }
    scene.faults().cut_deliveries(2);
    load.flows().await;
    let verdict = scene.judge(load).await;
    expect_confirmed(&verdict);
    // Each node tells it of each stream after each cut.
    assert!(broken_links(&verdict) >= CUTS * 2 * usize::from(crate::TOPICS), "{}", broken_links(&verdict));
    assert!(!verdict.gaps().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_while_a_node_was_away_waits_for_it_in_either_way_of_reception() {
    for reception in [Reception::PeekLock, Reception::ReceiveAndDelete] {
        let scene = Scene::new().await.with(|config| config.with_reception(reception));
        let proxy = TcpProxy::to_port(scene.emulator.amqp_port()).await.expect("a free port");
        let mut load = scene.quiet(1).await;
        let connections = scene.faults().figures().connections;
        let away =
            load.join(scene.node_of(scene.config.clone().with_amqp_port(proxy.port())), bus_config()).await;
        load.listen(away, &channels());
        proxy.refuse().await;
        proxy.cut_all();
        load.state(away, "degraded", |states| !states.iter().any(scaleout_core::StreamState::is_up)).await;
        eventually("the service knows it", async || scene.faults().figures().connections == connections)
            .await;
        scene.say(&load).await;
        proxy.accept().await.expect("its port is free");
        let verdict = scene.settle(load).await;
        expect_confirmed(&verdict);
        match reception {
            Reception::ReceiveAndDelete => {
                assert_eq!(broken_links(&verdict), usize::from(crate::TOPICS));
            }
            _ => expect_no_gap(&verdict),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_delays_nobody() {
    let scene = Scene::new().await;
    let mut load = scene.quiet(2).await;
    let slow = load.listen(1, &channels());
    for node in 0..2 {
        load.traffic(node, traffic());
    }
    load.flows().await;
    load.pause(slow, true).await;
    let published = load.published();
    eventually("a lot is published", async || load.published() > published + 300).await;
    let delivered = load.bus(1).counters().delivered;
    eventually("the other one of the node reads", async || {
        load.bus(1).counters().delivered > delivered + 100
    })
    .await;
    load.pause(slow, false).await;
    load.flows().await;
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}
