//! Faults of all kinds, one after the other, in an order that nobody chose.
//!
//! `SCALEOUT_TEST_SEED` repeats the choices of a run, as far as real time lets them; `SCALEOUT_TEST_STEPS` sets how many
//! faults strike.

use std::time::Duration;

use fastrand::Rng;
use scaleout_core::Interest;
use scaleout_testkit::load::Load;
use sqlserver_testserver::Fate;

use crate::{SCHEMA, Scene, bus_config, channels, traffic};

/// Enough for some seconds.
const STEPS: usize = 15;

/// Nodes at the start.
const NODES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_nothing_is_missing_unreported_and_nothing_comes_twice() {
    let seed = number("SCALEOUT_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = number("SCALEOUT_TEST_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap_or(STEPS));
    let mut random = Rng::with_seed(seed);
    // Only shown where the test fails.
    println!("SCALEOUT_TEST_SEED={seed}");
    let scene = Scene::woken().await.with(|config| config.with_command_timeout(Duration::from_secs(1)));
    let mut load = Load::new();
    for node in 0..NODES {
        // Every second one receives only what somebody listens to.
        let interest = if node % 2 == 1 { Interest::OnDemand } else { Interest::AllStreams };
        load.join(scene.node(), bus_config().with_interest(interest)).await;
        load.listen(node, &channels());
    }
    let guest = load.listen(0, &channels());
    for node in 0..NODES {
        load.traffic(node, traffic(200));
    }
    load.flows().await;
    for step in 0..steps {
        let fault = strike(&scene, &load, guest, &mut random).await;
        println!("{step}: {fault} {:?}", load.elapsed());
        if random.u8(..3) > 0 {
            load.flows().await;
        }
    }
    scene.server.release().await;
    scene.server.set_latency(Duration::ZERO);
    scene.server.set_broker(true);
    scene.server.set_queue(true);
    scene.server.throttle(0);
    load.flows().await;
    let verdict = scene.judge(load).await;
    if verdict.gaps().is_empty() {
        verdict.expect_all();
    }
}

async fn strike(scene: &Scene, load: &Load, guest: usize, random: &mut Rng) -> String {
    let server = &scene.server;
    let again = "its port is free";
    match random.u8(..16) {
        0 => {
            server.restart().await.expect(again);
            "restart".into()
        }
        1 => {
            server.stop().await;
            load.state(0, "degraded", |states| states.iter().all(|state| !state.is_up())).await;
            server.start().await.expect(again);
            "outage".into()
        }
        2 | 3 => {
            let forgotten = random.usize(..30);
            server.fail_over(forgotten);
            format!("{forgotten} forgotten")
        }
        4 => {
            server.flush(SCHEMA);
            "flush".into()
        }
        5 => {
            server.cut_all();
            "cut".into()
        }
        6 => {
            server.freeze();
            load.state(0, "degraded", |states| states.iter().all(|state| !state.is_up())).await;
            server.thaw();
            "freeze".into()
        }
        7 => {
            let fate = [Fate::LoseAnswer, Fate::LoseSend, Fate::Delay][random.usize(..3)];
            server.next_publish(fate);
            format!("{fate:?}")
        }
        8 => {
            server.release().await;
            "release".into()
        }
        9 => {
            server.deadlocks(random.usize(..20));
            "deadlocks".into()
        }
        10 => {
            server.throttle(random.usize(..20));
            "throttling".into()
        }
        11 => {
            let latency = Duration::from_millis(random.u64(..30));
            server.set_latency(latency);
            format!("latency of {latency:?}")
        }
        12 => {
            let on = random.bool();
            server.set_broker(on);
            format!("broker {on}")
        }
        13 => {
            let on = random.bool();
            server.set_queue(on);
            format!("queue {on}")
        }
        14 => {
            server.end_conversations();
            "conversations end".into()
        }
        _ => {
            let to = random.usize(..NODES);
            load.hop(guest, to).await;
            format!("hop to {to}")
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
