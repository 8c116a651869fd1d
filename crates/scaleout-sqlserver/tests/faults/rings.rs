//! How often the doorbell rings.

use crate::{Scene, eventually, expect_no_gap};

const NODES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_after_a_quiet_time_rings_every_armed_node_once() {
    let scene = Scene::woken().await;
    let load = scene.quiet(NODES).await;
    scene.all_are_armed(NODES).await;
    eventually("all wait", async || waits(&scene) >= 2 * NODES).await;
    for round in 0..3 {
        let before = waits(&scene);
        if round == 0 {
            let publish = load.publish(0, "channel 0", 32);
            publish.await.expect("it does not panic").expect("it is sent");
        } else {
            // Whatever follows closely rings nobody.
            scene.say(&load).await;
        }
        scene.all_are_armed(NODES).await;
        // Whoever was rung waits anew.
        eventually("all wait", async || waits(&scene) >= before + NODES).await;
        assert!(waits(&scene) <= before + NODES, "{} and {before}", waits(&scene));
    }
    let verdict = scene.settle(load).await;
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_under_load_are_not_rung() {
    let scene = Scene::woken().await;
    let load = scene.load(2, 1_000).await;
    scene.all_hear(2).await;
    let before = waits(&scene);
    let from = load.published();
    eventually("much is published", async || load.published() > from + 2_000).await;
    load.flows().await;
    // Streams that are never quiet arm nothing; a busy machine may let one pause.
    let rings = waits(&scene) - before;
    assert!(rings <= 10, "{rings} waits for 2000 messages");
    expect_no_gap(&scene.settle(load).await);
}

/// How many waits began.
fn waits(scene: &Scene) -> usize {
    scene.server.requests_of("wait")
}
