//! Nodes that end, in good order or not.

use std::{sync::PoisonError, time::Duration};

use scaleout_core::{Backplane, Bus, ErrorKind};
use tokio::{runtime::Runtime, time::timeout};

use crate::{PATIENCE, Scene, TOPICS, bus_config, channels, eventually, expect_no_gap, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_leaves_subscriptions_that_delete_themselves() {
    let scene = Scene::new().await;
    let load = scene.quiet(1).await;
    let runtime = Runtime::new().expect("threads");
    let dies = scene.node();
    let bus = runtime
        .spawn(async move { Bus::builder_from(dies).config(bus_config()).connect().await })
        .await
        .expect("it does not panic")
        .expect("it connects");
    let all = 2 * usize::from(TOPICS);
    assert_eq!(scene.subscriptions(), all);
    // What it does is gone from one moment to the next, with its sockets.
    runtime.shutdown_background();
    drop(bus);
    scene.backplanes.lock().unwrap_or_else(PoisonError::into_inner).pop();
    eventually("its connections end", async || scene.faults().figures().connections == 1).await;
    assert_eq!(scene.subscriptions(), all);
    scene.namespace().age(scene.config.subscription_idle_expiry - Duration::from_secs(60));
    assert_eq!(scene.subscriptions(), all);
    scene.namespace().age(scene.config.subscription_idle_expiry);
    // Those of the node that lives are in use.
    assert_eq!(scene.subscriptions(), usize::from(TOPICS));
    scene.say(&load).await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_while_the_service_is_away_ends_in_time_and_says_what_is_left() {
    let scene = Scene::new().await.with(|config| config.with_operation_timeout(Duration::from_secs(1)));
    let bus = Bus::builder_from(scene.node()).config(bus_config()).connect().await.expect("it connects");
    let backplane = scene.backplanes.lock().unwrap_or_else(PoisonError::into_inner)[0].clone();
    scene.faults().refuse_connections(true);
    scene.faults().kill_connections();
    let error = timeout(PATIENCE, backplane.close()).await.expect("in time").expect_err("nobody is there");
    assert!(!error.is_fatal() && said(&error).contains(backplane.subscription()), "{}", said(&error));
    drop(bus);
    scene.faults().refuse_connections(false);
    assert_eq!(scene.subscriptions(), usize::from(TOPICS));
    scene.namespace().age(scene.config.subscription_idle_expiry);
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_while_the_service_does_not_answer_ends_in_time_and_says_what_is_left() {
    let scene = Scene::new().await.with(|config| config.with_operation_timeout(Duration::from_secs(1)));
    let bus = Bus::builder_from(scene.node()).config(bus_config()).connect().await.expect("it connects");
    let backplane = scene.backplanes.lock().unwrap_or_else(PoisonError::into_inner)[0].clone();
    scene.faults().freeze();
    scene.faults().delay(Duration::from_secs(3_600));
    let error = timeout(PATIENCE, backplane.close()).await.expect("in time").expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(said(&error).contains(backplane.subscription()), "{}", said(&error));
    drop(bus);
    scene.faults().clear();
    scene.faults().kill_connections();
    scene.namespace().age(scene.config.subscription_idle_expiry);
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_come_and_go_leave_nothing() {
    let scene = Scene::new().await;
    for round in 0..6 {
        let load = scene.quiet(2).await;
        match round % 3 {
            0 => scene.say(&load).await,
            1 => drop(load.publish(1, &channels()[0], 32)),
            _ => drop(scene.faults().kill_connections()),
        }
        // Fails if anything is left over.
        scene.judge(load).await;
    }
}
