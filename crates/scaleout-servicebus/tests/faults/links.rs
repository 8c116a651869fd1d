//! Connections and links that end, in whatever way.

use std::time::Duration;

use scaleout_core::StreamState;
use scaleout_servicebus::Reception;
use servicebus_emulator::Emulator;

use crate::{Scene, eventually, expect_confirmed, expect_no_gap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_use_one_connection_each() {
    let scene = Scene::new().await;
    let load = scene.load(3).await;
    assert_eq!(scene.faults().figures().connections_made, 3);
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_lose_nothing() {
    let scene = Scene::new().await;
    let load = scene.load(3).await;
    for _ in 0..3 {
        scene.faults().kill_connections();
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_again_and_again_lose_nothing() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    for round in 0..20 {
        scene.faults().kill_connections();
        let made = scene.faults().figures().connections_made;
        if round % 5 == 0 {
            load.flows().await;
        } else {
            // Some are killed while they are made.
            eventually("somebody connects", async || scene.faults().figures().connections_made > made).await;
        }
    }
    load.flows().await;
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_on_their_way_come_again_after_their_lock_and_none_is_missing() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    for _ in 0..2 {
        scene.faults().cut_deliveries(2);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
    let figures = scene.faults().figures();
    assert!(figures.deliveries > figures.settled, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_are_noticed_and_lose_nothing() {
    let scene = Scene::new().await.with(|config| config.with_idle_timeout(Duration::from_secs(2)));
    let load = scene.load(2).await;
    scene.faults().freeze();
    load.flows().await;
    // The service learns that they are closed.
    scene.faults().thaw();
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_at_rest_notice_half_open_connections() {
    let scene = Scene::new().await.with(|config| config.with_idle_timeout(Duration::from_secs(2)));
    let load = scene.quiet(2).await;
    let made = scene.faults().figures().connections_made;
    scene.faults().freeze();
    eventually("both have another connection", async || {
        scene.faults().figures().connections_made >= made + 2
    })
    .await;
    for node in 0..2 {
        load.is_up(node).await;
    }
    scene.faults().thaw();
    scene.say(&load).await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_are_detached_by_force_lose_nothing() {
    let scene = Scene::new().await;
    let load = scene.load(3).await;
    for _ in 0..3 {
        scene.faults().detach_all();
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_whose_links_are_detached_does_not_disturb_the_others() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    let others_are_up = || {
        let states = (0..2).flat_map(|node| load.bus(node).health().streams.into_iter().skip(1));
        states.into_iter().all(|state| state.is_up())
    };
    for _ in 0..5 {
        let attached = scene.faults().figures().attaches;
        scene.faults().detach(&scene.topic(0));
        eventually("links are back", async || {
            assert!(others_are_up(), "{:?}", load.bus(0).health());
            scene.faults().figures().attaches >= attached + 4
        })
        .await;
        load.flows().await;
    }
    scene.faults().detach(&format!("{}/Subscriptions/{}", scene.topic(1), scene.subscription(1)));
    load.flows().await;
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_is_detached_since_it_was_idle_is_no_fault() {
    let scene = Scene::on(Emulator::builder().link_idle(Duration::from_millis(300))).await;
    let load = scene.quiet(1).await;
    scene.say(&load).await;
    let (links, faults) = (scene.faults().figures().links, load.bus(0).counters().faults);
    // Receivers are idle as well, as far as transfers go; the service keeps them.
    let senders = u64::from(crate::TOPICS);
    eventually("idle senders are detached", async || scene.faults().figures().links <= links - senders).await;
    assert!(load.bus(0).health().streams.iter().all(StreamState::is_up));
    scene.say(&load).await;
    assert_eq!(load.bus(0).counters().faults, faults);
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
    assert!(verdict.counters.iter().all(|counters| counters.faults == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_stream_is_kept_alive_without_anybody_noticing() {
    for (nodes, reception) in
        [(1, Reception::PeekLock), (1, Reception::ReceiveAndDelete), (3, Reception::PeekLock)]
    {
        let scene = Scene::new().await.with(|config| {
            let config = config.with_keep_alive(Duration::from_secs(1)).with_reception(reception);
            // So that what is wrongly missed shows in time.
            config.with_operation_timeout(Duration::from_millis(700))
        });
        let load = scene.quiet(nodes).await;
        let enough = scene.faults().figures().sends + 4 * u64::from(crate::TOPICS);
        eventually("silent streams are heard", async || scene.faults().figures().sends >= enough).await;
        for node in 0..nodes {
            assert_eq!(load.bus(node).counters().faults, 0, "{nodes} nodes by {reception:?}");
        }
        expect_no_gap(&scene.settle(load).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_at_rest_notice_half_open_connections_by_what_does_not_come_back() {
    let scene = Scene::new().await.with(|config| {
        config.with_keep_alive(Duration::from_secs(1)).with_idle_timeout(Duration::from_secs(240))
    });
    let load = scene.quiet(2).await;
    let made = scene.faults().figures().connections_made;
    scene.faults().freeze();
    eventually("both have another connection", async || {
        scene.faults().figures().connections_made >= made + 2
    })
    .await;
    scene.faults().thaw();
    scene.say(&load).await;
    expect_no_gap(&scene.settle(load).await);
}
