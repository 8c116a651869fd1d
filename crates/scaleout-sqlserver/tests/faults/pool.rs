//! The connections that sends share.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use bytes::Bytes;
use scaleout_core::{Backplane, FrameId, NodeId, StreamIndex};
use scaleout_sqlserver::{Notifications, SqlServerBackplane};
use tokio::{task::JoinSet, time::timeout};

use crate::{SCHEMA, Scene, eventually, expect_no_gap};

/// Frames of each stream.
const FRAMES: u64 = 40;

fn payload(stream: u16, number: u64) -> Bytes {
    format!("frame {number} of stream {stream}").into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_was_dropped_leaves_no_connection_that_answers_a_later_one() {
    let scene = Scene::polled().await;
    let backplane = Arc::new(SqlServerBackplane::new(scene.config.clone()).expect("settings that work"));
    scene.server.set_latency(Duration::from_millis(2));
    let node = NodeId(7);
    let mut tasks = JoinSet::new();
    for stream in 0..4 {
        let backplane = Arc::clone(&backplane);
        tasks.spawn(async move {
            let mut dropped = 0;
            for number in 1..=FRAMES {
                let frame = FrameId { node, number, after: number - 1 };
                loop {
                    // From before the request is written to behind the answer.
                    let patience = Duration::from_micros(fastrand::u64(0..6_000));
                    let send = backplane.send(StreamIndex(stream), frame, payload(stream, number));
                    match timeout(patience, send).await {
                        Ok(result) => break result.expect("it is sent"),
                        Err(_) => dropped += 1,
                    }
                    if dropped % 8 == 0 {
                        let send = backplane.send(StreamIndex(stream), frame, payload(stream, number));
                        break send.await.expect("it is sent");
                    }
                }
            }
            dropped
        });
    }
    // Questions of another form, dropped as well.
    tasks.spawn({
        let backplane = Arc::clone(&backplane);
        async move {
            let mut dropped = 0;
            for _ in 0..FRAMES {
                let patience = Duration::from_micros(fastrand::u64(0..12_000));
                match timeout(patience, backplane.health()).await {
                    Ok(health) => assert_eq!(health.expect("an answer to this question").rows.len(), 4),
                    Err(_) => dropped += 1,
                }
            }
            dropped
        }
    });
    let dropped: usize = tasks.join_all().await.into_iter().sum();
    assert!(dropped > 20, "{dropped}");
    // What was confirmed is there: once, in order, each with its own bytes.
    for stream in 0..4 {
        let log = scene.server.log(SCHEMA, stream);
        let held: Vec<Bytes> = log.into_iter().skip(1).map(|row| row.payload).collect();
        let wanted: Vec<Bytes> = (1..=FRAMES).map(|number| payload(stream as u16, number)).collect();
        assert_eq!(held, wanted);
    }
    let most = usize::from(scene.config.max_connections.get());
    eventually("dropped connections are gone", async || scene.server.connections() <= most).await;
    backplane.close().await.expect("nothing was registered");
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_no_more_connections_than_the_settings_say_and_three() {
    const MOST: usize = 3;
    for notifications in [Notifications::Auto, Notifications::PollOnly] {
        let scene = Scene::woken().await.with(|config| {
            let most = NonZeroU16::new(MOST as u16).expect("not 0");
            let tables = NonZeroU16::new(32).expect("not 0");
            // The server sees a connection for a moment longer that was given up for want of an answer.
            let config = config.with_command_timeout(Duration::from_secs(60));
            config.with_max_connections(most).with_table_count(tables).with_notifications(notifications)
        });
        scene.server.set_latency(Duration::from_millis(5));
        let mut load = scene.quiet(1).await;
        // One reads, one looks after the tables, and one waits for the doorbell.
        let others = if notifications == Notifications::Auto { 3 } else { 2 };
        if others == 3 {
            scene.all_hear(1).await;
        }
        // Those that were given up while all was made are gone.
        let connections = || scene.server.connections();
        eventually("all is made", async || connections() <= MOST + others).await;
        load.traffic(0, crate::traffic(1_000));
        let from = load.published();
        let mut seen = 0;
        eventually("much is published", async || {
            seen = seen.max(connections());
            load.published() > from + 1_000
        })
        .await;
        assert!(seen <= MOST + others, "{seen} connections");
        assert!(seen > 1, "{seen} connections");
        scene.server.set_latency(Duration::ZERO);
        load.resolve().await;
        eventually("none is left over", async || connections() <= MOST + others).await;
        expect_no_gap(&scene.settle(load).await);
    }
}
