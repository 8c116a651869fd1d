//! Tokens that expire, and keys that are changed.

use std::time::Duration;

use scaleout_core::{ErrorKind, StreamState};
use servicebus_emulator::Rights;

use crate::{Scene, eventually, expect_confirmed, expect_no_gap, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_the_service_declares_expired_lose_nothing() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    for _ in 0..2 {
        scene.faults().expire_tokens();
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_lived_tokens_are_renewed_without_any_interruption() {
    const LIFETIME: Duration = Duration::from_secs(8);
    let scene = Scene::new().await.with(|config| config.with_token_lifetime(LIFETIME));
    let load = scene.load(2).await;
    let connections = scene.faults().figures().connections_made;
    eventually("the first tokens are over", async || load.elapsed() > LIFETIME + LIFETIME / 2).await;
    load.flows().await;
    assert_eq!(scene.faults().figures().connections_made, connections);
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
    assert!(verdict.counters.iter().all(|counters| counters.faults == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_changed_is_a_fatal_error_until_it_is_accepted_again() {
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    let (policy, key) = scene.emulator.key();
    scene.namespace().add_policy(policy, "another key", Rights::ALL);
    scene.faults().expire_tokens();
    scene.faults().kill_connections();
    for node in 0..2 {
        load.state(node, "degraded", |states| !states.iter().any(StreamState::is_up)).await;
        let error = trouble(load.bus(node), ErrorKind::Unauthorized).await;
        assert!(error.is_fatal() && error.to_string().contains(policy), "{error}");
        assert!(!error.to_string().contains(key), "{error}");
    }
    scene.namespace().add_policy(policy, key, Rights::ALL);
    load.flows().await;
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}
