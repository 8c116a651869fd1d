//! Restarts that keep everything, a part, or nothing.

use crate::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_data_costs_nothing() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::durable().await;
    let load = scene.load(3, 2_000).await;
    scene.server.restart().await.expect("the server starts again");
    load.flows().await;
    scene.server.kill();
    scene.server.start().await.expect("the server starts again");
    load.flows().await;
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
    assert!(verdict.counters.iter().all(|counters| counters.rewound == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_data_is_repaired_from_the_publishers() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let load = scene.load(3, 2_000).await;
    for _ in 0..4 {
        scene.server.restart_empty().await.expect("the server starts again");
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.counters.iter().all(|counters| counters.repaired > 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_forgets_the_last_frames_is_repaired_without_a_gap() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::durable().await;
    let load = scene.load(3, 2_000).await;
    for frames in [1, 7, 40, 3] {
        let forgotten = scene.server.forget_last(frames).await.expect("the server starts again");
        assert!(forgotten > 0);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    let repaired: u64 = verdict.counters.iter().map(|counters| counters.repaired).sum();
    assert!(repaired > 0, "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_under_load_is_repaired_from_the_publishers() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let load = scene.load(3, 2_000).await;
    for _ in 0..10 {
        scene.command(&["FLUSHALL"]).await;
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.counters.iter().all(|counters| counters.repaired > 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_again_and_again_lose_nothing() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let load = scene.load(3, 2_000).await;
    for _ in 0..20 {
        scene.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}
