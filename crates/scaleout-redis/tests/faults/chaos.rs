//! Faults of all kinds, one after the other, in an order that nobody chose.
//!
//! `SCALEOUT_TEST_SEED` repeats the choices of a run, as far as real time lets them; `SCALEOUT_TEST_STEPS` sets how many
//! faults strike.

use std::sync::Arc;

use fastrand::Rng;
use scaleout_core::{BusConfig, Interest};
use scaleout_redis::RedisBackplane;
use scaleout_testkit::{
    load::Load,
    servers::{Fate, TcpProxy},
};

use crate::{Scene, channels, settings, traffic};

/// Enough for some seconds.
const STEPS: usize = 25;

/// Nodes at the start; each has a proxy.
const NODES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_nothing_is_missing_unreported_and_nothing_comes_twice() {
    scaleout_testkit::needs_redis!();
    let seed = number("SCALEOUT_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = number("SCALEOUT_TEST_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap_or(STEPS));
    let mut random = Rng::with_seed(seed);
    // Only shown where the test fails.
    println!("SCALEOUT_TEST_SEED={seed}");
    let scene = Scene::durable().await;
    let (mut load, mut proxies) = (Load::new(), Vec::new());
    for node in 0..NODES {
        join(&scene, &mut load, &mut proxies).await;
        load.listen(node, &channels());
    }
    let guest = load.listen(0, &channels());
    for node in 0..NODES {
        load.traffic(node, traffic(500));
    }
    load.flows().await;
    for step in 0..steps {
        let fault = strike(&scene, &mut load, &mut proxies, guest, &mut random).await;
        println!("{step}: {fault} {:?}", load.elapsed());
        if random.u8(..3) > 0 {
            load.flows().await;
        }
    }
    for proxy in &proxies {
        proxy.release().await;
    }
    load.flows().await;
    scene.settle(load).await;
}

async fn join(scene: &Scene, load: &mut Load, proxies: &mut Vec<TcpProxy>) -> usize {
    let proxy = TcpProxy::to_port(scene.server.port()).await.expect("a free port");
    let backplane = RedisBackplane::new(settings(proxy.port())).expect("settings that work");
    proxies.push(proxy);
    // Every second one receives only what somebody listens to.
    let interest = if proxies.len().is_multiple_of(2) { Interest::OnDemand } else { Interest::AllStreams };
    load.join(Arc::new(backplane), BusConfig::default().with_interest(interest)).await
}

async fn strike(
    scene: &Scene,
    load: &mut Load,
    proxies: &mut Vec<TcpProxy>,
    guest: usize,
    random: &mut Rng,
) -> String {
    let node = random.usize(..proxies.len());
    let again = "the server starts again";
    match random.u8(..15) {
        0 => {
            scene.server.restart().await.expect(again);
            "restart".into()
        }
        1 => {
            scene.server.restart_empty().await.expect(again);
            "restart without data".into()
        }
        2 => {
            scene.server.kill();
            load.state(node, "degraded", |states| states.iter().all(|state| !state.is_up())).await;
            scene.server.start().await.expect(again);
            "outage".into()
        }
        3 | 4 => {
            let frames = random.usize(1..30);
            let forgotten = scene.server.forget_last(frames).await.expect(again);
            format!("{forgotten} forgotten")
        }
        5 => {
            scene.command(&["FLUSHALL"]).await;
            "flush".into()
        }
        6 => {
            scene.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            "kill".into()
        }
        7 => {
            scene.server.freeze().expect("it runs");
            load.state(node, "degraded", |states| states.iter().all(|state| !state.is_up())).await;
            scene.server.thaw().expect("it runs");
            "freeze".into()
        }
        8 => {
            proxies[node].cut_all();
            format!("cut {node}")
        }
        9 => {
            let fate = [Fate::LoseAnswer, Fate::LoseSend][random.usize(..2)];
            proxies[node].next_frame(fate);
            format!("{fate:?} at {node}")
        }
        10 => {
            proxies[node].next_frame(Fate::Delay);
            format!("delay at {node}")
        }
        11 => {
            proxies[node].release().await;
            format!("release at {node}")
        }
        12 => {
            let from = load.published();
            proxies[node].stall();
            crate::eventually("time passes", async || load.published() > from + 300).await;
            proxies[node].flow();
            format!("stall of {node}")
        }
        13 => {
            let from = load.published();
            load.hold(node, true);
            crate::eventually("time passes", async || load.published() > from + 300).await;
            load.hold(node, false);
            format!("hold of {node}")
        }
        _ => {
            let to = if proxies.len() < 2 * NODES && random.bool() {
                join(scene, load, proxies).await
            } else {
                node
            };
            load.hop(guest, to).await;
            format!("hop to {to}")
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
