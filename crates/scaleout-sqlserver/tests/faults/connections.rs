//! Connections that are cut, in every state that they can be in.

use std::time::Duration;

use crate::{Scene, eventually, expect_no_gap, traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_lose_nothing() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for round in 0..30 {
        scene.server.cut_all();
        if round % 3 == 0 {
            load.flows().await;
        }
    }
    load.flows().await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_in_a_publish_or_a_read_lose_nothing() {
    let scene = Scene::polled().await;
    let load = scene.load(2, 500).await;
    for request in ["publish", "read", "positions", "publish", "read"] {
        if request == "positions" {
            // Nodes look where the streams stand when they connect.
            scene.server.cut_all();
        }
        scene.cut_during(request).await;
        load.flows().await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_while_they_are_made_lose_nothing() {
    let scene = Scene::woken().await;
    let load = scene.load(2, 500).await;
    for _ in 0..5 {
        // Nobody gets in, and those who try are cut.
        scene.server.freeze();
        scene.server.cut_all();
        let from = load.published();
        eventually("nodes try to connect", async || load.published() > from + 100).await;
        scene.server.cut_all();
        scene.server.thaw();
        load.flows().await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_at_rest_lose_nothing() {
    let scene = Scene::woken().await;
    let load = scene.quiet(3).await;
    for _ in 0..3 {
        scene.all_are_armed(3).await;
        scene.server.cut_all();
        scene.say_to_all(&load, 3).await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_while_they_set_the_doorbell_up_lose_nothing() {
    let scene =
        Scene::woken().await.with(|config| config.with_max_poll_with_broker(Duration::from_millis(500)));
    let load = scene.quiet(2).await;
    for request in ["wait", "arm", "register", "wait", "register", "arm"] {
        scene.all_are_armed(2).await;
        if request != "arm" {
            // Nodes register anew, and wait.
            scene.server.cut_all();
        }
        scene.cut_during(request).await;
        scene.say_to_all(&load, 2).await;
    }
    scene.all_are_armed(2).await;
    assert_eq!((scene.server.listeners(), scene.server.conversations()), (2, 4));
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_while_an_epoch_is_opened_lose_nothing() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for _ in 0..4 {
        let before = scene.server.epoch(crate::SCHEMA);
        scene.server.fail_over(0);
        scene.cut_during("open_epoch").await;
        load.flows().await;
        assert!(scene.server.epoch(crate::SCHEMA) > before);
    }
    scene.settle(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_during_an_installation_leave_a_whole_one() {
    let scene = Scene::woken().await;
    let mut load = scene.quiet(2).await;
    for _ in 0..3 {
        scene.server.flush(crate::SCHEMA);
        drop(load.publish(0, &crate::channel_of_stream_0(), 32));
        scene.cut_during("batch").await;
        eventually("all is installed", async || scene.server.table_count(crate::SCHEMA) == 4).await;
        scene.say(&load).await;
    }
    for node in 0..2 {
        load.traffic(node, traffic(500));
    }
    load.flows().await;
    assert_eq!(scene.server.schemas(), [crate::SCHEMA]);
    // What was flushed away after it was read by all is not there for late readers, which is told.
    scene.judge(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_come_and_go_and_none_is_left() {
    let scene = Scene::woken().await;
    for round in 0..12 {
        let load = scene.quiet(2).await;
        if round % 2 == 0 {
            scene.say_to_all(&load, 2).await;
        }
        if round % 3 == 0 {
            // Late answers are not waited for.
            scene.server.set_latency(Duration::from_millis(50));
        }
        // Fails if anything is left over.
        scene.judge(load).await;
        scene.server.set_latency(Duration::ZERO);
    }
}
