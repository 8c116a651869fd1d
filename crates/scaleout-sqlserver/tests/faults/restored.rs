//! Databases that forgot something: restored ones, copies that took over, emptied ones.

use std::sync::Arc;

use scaleout_core::{BusConfig, Role};
use scaleout_sqlserver::SqlServerBackplane;
use scaleout_testkit::{
    checker::Invariant,
    load::{Load, Verdict},
};
use sqlserver_testserver::Fate;

use crate::{SCHEMA, Scene, bus_config, channel_of_stream_0, channels, eventually};

fn repaired(verdict: &Verdict) -> u64 {
    verdict.counters.iter().map(|counters| counters.repaired).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_takes_over_is_repaired() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for forgotten in [1, 7, 40, 3, 0] {
        let before = scene.server.epoch(SCHEMA);
        scene.server.fail_over(forgotten);
        load.flows().await;
        assert!(scene.server.epoch(SCHEMA) > before);
    }
    let verdict = scene.settle(load).await;
    assert!(repaired(&verdict) > 0, "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_that_says_it_is_the_same_is_repaired() {
    let scene = Scene::woken().await;
    let mut load = scene.quiet(3).await;
    for forgotten in [1, 7, 40, 3] {
        scene.say_to_all(&load, 3).await;
        let epoch = scene.server.epoch(SCHEMA);
        scene.server.roll_back(forgotten);
        for node in 0..3 {
            load.traffic(node, crate::traffic(500));
        }
        load.flows().await;
        load.resolve().await;
        assert!(scene.server.epoch(SCHEMA) > epoch);
        all_is_received(&load, 3).await;
    }
    let verdict = scene.settle(load).await;
    assert!(repaired(&verdict) > 0, "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_that_says_it_is_the_same_loses_nothing_under_load() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for forgotten in [1, 7, 40, 3] {
        scene.server.roll_back(forgotten);
        load.flows().await;
    }
    but_for_reused_ids(&scene, load).await;
}

/// Whoever has not read what was forgotten cannot know, and appends under ids that were there before; whoever has read it
/// opens another epoch then. That is all that may be wrong: nothing is lost, nothing comes twice.
async fn but_for_reused_ids(scene: &Scene, load: Load) {
    let mut verdict = load.settle(async |stream| scene.log(stream)).await;
    verdict.violations.retain(|violation| violation.invariant != Invariant::Agreement);
    verdict.expect_good();
    verdict.expect_all();
    scene.nothing_is_left().await;
}

/// Waits until nodes have received all that was published.
async fn all_is_received(load: &Load, nodes: usize) {
    let published = |node: usize| load.bus(node).counters().published;
    let all: u64 = (0..nodes).map(published).sum();
    eventually("all is received", async || (0..nodes).all(|node| load.bus(node).counters().received >= all))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_proves_by_its_last_row_that_the_store_forgot_it() {
    let scene = Scene::polled().await;
    let mut load = scene.quiet(1).await;
    scene.say_to_all(&load, 1).await;
    let epoch = scene.server.epoch(SCHEMA);
    // Another node appends as many rows as were forgotten before the first one is back, so that the numbers fit.
    let other = load.start(scene.node(), bus_config().with_role(Role::PublishOnly));
    load.is_up(other).await;
    scene.server.roll_back(3);
    let publishes: Vec<_> =
        (0..20).flat_map(|_| channels()).map(|channel| load.publish(other, &channel, 32)).collect();
    for publish in publishes {
        publish.await.expect("it does not panic").expect("it is sent");
    }
    eventually("another epoch is opened", async || scene.server.epoch(SCHEMA) > epoch).await;
    // By its next send a node learns that the store forgot what it had sent.
    scene.say(&load).await;
    for channel in channels() {
        load.publish(other, &channel, 32).await.expect("it does not panic").expect("it is sent");
    }
    but_for_reused_ids(&scene, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_forgot_a_frame_whose_answer_was_lost_is_repaired() {
    let scene = Scene::polled().await;
    let mut load = scene.quiet(1).await;
    let channel = channel_of_stream_0();
    load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
    for roll_back in [true, false] {
        scene.server.next_publish(Fate::LoseAnswer);
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        let epoch = scene.server.epoch(SCHEMA);
        if roll_back {
            scene.server.roll_back(1);
        } else {
            scene.server.fail_over(1);
        }
        load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
        eventually("another epoch is opened", async || scene.server.epoch(SCHEMA) > epoch).await;
    }
    let late = load.join(scene.node(), bus_config()).await;
    load.listen(late, &channels());
    let verdict = scene.judge(load).await;
    assert!(repaired(&verdict) >= 2, "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_dropped_under_load_is_installed_and_repaired() {
    let scene = Scene::woken().await;
    let load = scene.load(3, 500).await;
    for _ in 0..4 {
        scene.server.flush(SCHEMA);
        load.flows().await;
        assert_eq!(scene.server.schemas(), [SCHEMA]);
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.counters.iter().all(|counters| counters.repaired > 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_idle_install_a_dropped_schema_and_hear_the_doorbell_again() {
    let scene = Scene::woken()
        .await
        .with(|config| config.with_max_poll_with_broker(std::time::Duration::from_secs(1)));
    let load = scene.quiet(2).await;
    scene.all_are_armed(2).await;
    scene.server.flush(SCHEMA);
    eventually("all is installed", async || scene.server.table_count(SCHEMA) == 4).await;
    scene.all_are_armed(2).await;
    scene.say_to_all(&load, 2).await;
    scene.judge(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_publishes_repairs_what_a_copy_never_got() {
    let verdict = publish_only(|scene| scene.server.fail_over(5)).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_publishes_repairs_what_a_restored_database_forgot() {
    // Nobody can tell what such a history continues, so that there are gaps.
    publish_only(|scene| scene.server.roll_back(5)).await;
}

/// Has the store forget what a node published that publishes nothing more: it finds out by itself.
async fn publish_only(forget: impl FnOnce(&Scene)) -> Verdict {
    let scene = Scene::polled().await;
    let mut load = scene.quiet(1).await;
    let emitter = load.join(scene.node(), bus_config().with_role(Role::PublishOnly)).await;
    for channel in channels().iter().cycle().take(100) {
        load.publish(emitter, channel, 32).await.expect("it does not panic").expect("it is sent");
    }
    eventually("all is received", async || load.bus(0).counters().received == 100).await;
    forget(&scene);
    eventually("all is repaired", async || load.bus(emitter).counters().repaired >= 4 * 5).await;
    scene.settle(load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_late_reads_on_in_the_later_epoch() {
    let scene = Scene::polled().await;
    let mut load = Load::new();
    for _ in 0..2 {
        let backplane = SqlServerBackplane::new(scene.config.clone()).expect("settings that work");
        let node = load.join(Arc::new(backplane), BusConfig::default()).await;
        load.listen(node, &channels());
    }
    load.traffic(0, crate::traffic(1_000));
    load.flows().await;
    for forgotten in [2, 10] {
        load.hold(1, true);
        let from = load.published();
        eventually("the first is ahead", async || load.published() > from + 300).await;
        scene.server.fail_over(forgotten);
        let from = load.bus(0).counters().published;
        eventually("the first publishes again", async || load.bus(0).counters().published > from + 100).await;
        load.hold(1, false);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(repaired(&verdict) > 0, "{:?}", verdict.counters);
}
