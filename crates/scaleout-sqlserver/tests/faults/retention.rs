//! What the server keeps.

use std::{num::NonZeroU16, time::Duration};

use scaleout_core::{BusConfig, Role, StreamIndex};
use scaleout_testkit::{
    checker::Reason,
    load::{Load, Traffic},
};

use crate::{SCHEMA, Scene, channels, eventually, expect_no_gap};

/// A scene with one table, in which trim comes every second or two, and its nodes.
async fn scene(
    adapt: impl FnOnce(scaleout_sqlserver::SqlServerConfig) -> scaleout_sqlserver::SqlServerConfig,
) -> (Scene, Load) {
    let scene = Scene::woken().await.with(|config| {
        adapt(config.with_table_count(NonZeroU16::MIN).with_max_retained_age(Duration::from_secs(10)))
    });
    let load = scene.quiet(3).await;
    (scene, load)
}

impl Scene {
    /// Whether the rows of stream 0 are without holes, and end with this one.
    fn ends_unbroken(&self, last: u64) -> bool {
        let rows = self.server.log(SCHEMA, 0);
        rows.windows(2).all(|rows| rows[0].seq + 1 == rows[1].seq)
            && rows.last().is_some_and(|row| row.seq == last)
    }

    fn last(&self) -> u64 {
        self.server.log(SCHEMA, 0).last().expect("never empty").seq
    }
}

/// Has node 0 publish so many messages, each in a row of its own.
async fn rows(load: &Load, count: usize) {
    for channel in channels().iter().cycle().take(count) {
        load.publish(0, channel, 32).await.expect("it does not panic").expect("it is sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_as_many_rows_as_the_settings_say() {
    const RETAINED: usize = 50;
    let (scene, load) = scene(|config| config.with_max_retained_rows(RETAINED as u64)).await;
    for _ in 0..2 {
        rows(&load, 4 * RETAINED).await;
        let last = scene.last();
        eventually("old rows are dropped", async || scene.server.log(SCHEMA, 0).len() == RETAINED).await;
        assert!(scene.ends_unbroken(last));
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_when_they_are_old_and_the_newest_one_stays() {
    let (scene, load) = scene(|config| config).await;
    rows(&load, 100).await;
    let last = scene.last();
    scene.server.age_messages(Duration::from_secs(3600));
    eventually("old rows are dropped", async || scene.server.log(SCHEMA, 0).len() == 1).await;
    assert!(scene.ends_unbroken(last));
    rows(&load, 10).await;
    assert!(scene.ends_unbroken(last + 10));
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_stream_keeps_as_many_bytes_as_the_settings_say() {
    const RETAINED: usize = 256 << 10;
    let adapt = |config: scaleout_sqlserver::SqlServerConfig| {
        let config = config.with_max_payload_bytes(32 << 10).with_max_retained_bytes(RETAINED as u64);
        config.with_max_retained_age(Duration::from_secs(600))
    };
    let (scene, mut load) = scene(adapt).await;
    let emitter = load.join(scene.node(), BusConfig::default().with_role(Role::PublishOnly)).await;
    load.traffic(emitter, Traffic { channels: channels(), rate: 500, len: 1_000 });
    eventually("four times as much is received", async || {
        load.bus(0).counters().received > 4 * (RETAINED / 1_000) as u64
    })
    .await;
    load.resolve().await;
    let kept = || scene.log(StreamIndex(0)).iter().map(|held| held.bytes.len()).sum::<usize>();
    // Nobody looks before a sixteenth has come.
    eventually("old rows are dropped", async || kept() <= RETAINED * 9 / 8).await;
    // Not more than has to go: a frame has some dozen messages at most.
    assert!(kept() >= RETAINED / 2, "{}", kept());
    let last = scene.last();
    assert!(scene.ends_unbroken(last));
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lags_behind_retention_says_so() {
    let (scene, mut load) = scene(|config| config).await;
    load.traffic(0, Traffic { channels: channels(), rate: 4_000, len: 32 });
    load.flows().await;
    load.hold(2, true);
    // More than may wait in the node.
    let from = scene.last();
    eventually("enough is published", async || scene.last() > from + 300).await;
    scene.server.trim(3);
    load.hold(2, false);
    load.flows().await;
    let verdict = scene.judge(load).await;
    let gaps = verdict.gaps();
    assert!(!gaps.is_empty());
    for gap in gaps {
        assert_eq!((gap.node, gap.reason), (2, Reason::Lost), "{gap:?}");
        assert!(gap.frames.is_some(), "ids tell how many: {gap:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_for_longer_than_retention_says_so() {
    let (scene, mut load) = scene(|config| config).await;
    rows(&load, 20).await;
    eventually("all is received", async || load.bus(1).counters().received == 20).await;
    // Nobody is there while the rows are dropped.
    load.hold(1, true);
    let fresh = load.join(scene.node(), crate::bus_config()).await;
    let client = load.listen(1, &channels());
    load.pause(client, true).await;
    rows(&load, 20).await;
    eventually("others receive it", async || load.bus(0).counters().received == 40).await;
    scene.server.trim(1);
    load.hop(client, fresh).await;
    load.pause(client, false).await;
    load.hold(1, false);
    rows(&load, 5).await;
    scene.judge(load).await;
}
