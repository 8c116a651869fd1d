//! Publishes that are turned away, whose answers are lost, or that come late.

use std::time::Duration;

use scaleout_testkit::checker::Outcome;
use sqlserver_testserver::Fate;

use crate::{Scene, channel_of_stream_0, eventually, expect_no_gap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_deadlocks_loses_nothing() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for storm in [1, 3, 50, 500] {
        scene.server.deadlocks(storm);
        load.flows().await;
    }
    // All of them are over: more than nodes repeat at once.
    eventually("publishes go through", async || {
        scene.server.deadlocks(0);
        true
    })
    .await;
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
    assert_eq!(verdict.outcomes(Outcome::Ok), verdict.recording.publishes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_throttles_loses_nothing() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for requests in [1, 2, 3, 20, 50] {
        scene.server.throttle(requests);
        load.flows().await;
    }
    scene.server.throttle(0);
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
    assert_eq!(verdict.outcomes(Outcome::Ok), verdict.recording.publishes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_or_request_neither_loses_nor_doubles_a_frame() {
    let scene = Scene::polled().await;
    let load = scene.load(3, 500).await;
    for fate in [Fate::LoseAnswer, Fate::LoseSend].repeat(6) {
        scene.server.next_publish(fate);
        eventually("the fate meets a publish", async || !scene.server.is_fate_pending()).await;
        load.flows().await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_that_come_late_under_load_are_not_added() {
    let scene = Scene::polled().await.with(|config| config.with_command_timeout(Duration::from_secs(1)));
    let load = scene.load(2, 500).await;
    for fate in [Fate::Delay, Fate::LoseAnswer, Fate::Delay, Fate::LoseSend, Fate::Delay] {
        scene.server.next_publish(fate);
        eventually("the fate meets a publish", async || !scene.server.is_fate_pending()).await;
        // The node gives the connection up, and sends the frame again by another one.
        load.flows().await;
        scene.server.release().await;
        load.flows().await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_that_come_after_another_epoch_began_are_not_added() {
    let scene = Scene::polled().await.with(|config| config.with_command_timeout(Duration::from_secs(1)));
    let load = scene.load(2, 500).await;
    for _ in 0..3 {
        scene.server.next_publish(Fate::Delay);
        scene.server.wait_held().await;
        scene.server.fail_over(0);
        load.flows().await;
        scene.server.release().await;
        load.flows().await;
    }
    scene.settle(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_reads_over_a_retried_frame() {
    let scene = Scene::polled().await;
    let mut load = scene.quiet(2).await;
    let channel = channel_of_stream_0();
    let waits = load.listen(1, &crate::channels());
    load.pause(waits, true).await;
    for fate in [Fate::LoseAnswer, Fate::LoseSend, Fate::LoseAnswer] {
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        scene.server.next_publish(fate);
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        assert!(!scene.server.is_fate_pending());
        let fresh = load.join(scene.node(), crate::bus_config()).await;
        load.hop(waits, fresh).await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_is_only_slow() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for milliseconds in [5, 40, 200] {
        scene.server.set_latency(Duration::from_millis(milliseconds));
        load.flows().await;
    }
    scene.server.set_latency(Duration::ZERO);
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
    let counters = &verdict.counters;
    assert!(
        counters.iter().all(|counters| counters.duplicates == 0 && counters.rewound == 0),
        "{counters:?}"
    );
}
