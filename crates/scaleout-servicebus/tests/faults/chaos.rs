//! Faults of all kinds, one after the other, in an order that nobody chose.
//!
//! `SCALEOUT_TEST_SEED` repeats the choices of a run, as far as real time lets them; `SCALEOUT_TEST_SEEDS` sets how many
//! runs there are, and `SCALEOUT_TEST_STEPS` how many faults strike in each.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use scaleout_servicebus::{Protocol, Reception, ServiceBusConfig};
use scaleout_testkit::{checker::Invariant, load::Load};
use servicebus_emulator::Emulator;

use crate::{Scene, TOPICS, channels, settings, traffic};

/// Runs.
const SEEDS: u64 = 6;

/// Enough for some seconds.
const STEPS: usize = 8;

const NODES: usize = 2;

/// Runs by each of the other ways that messages travel.
const OTHER_SEEDS: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_nothing_is_missing_unreported_and_nothing_comes_twice() {
    runs(SEEDS, |_, config| config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_by_tls_is_reported_as_well() {
    runs(OTHER_SEEDS, by_tls).await;
}

#[cfg(feature = "websocket")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_in_a_websocket_is_reported_as_well() {
    runs(OTHER_SEEDS, |emulator, config| {
        let config = by_tls(emulator, config).with_protocol(Protocol::WebSocket);
        config.with_amqp_port(emulator.websocket_port())
    })
    .await;
}

#[cfg(feature = "rest")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strikes_by_rest_is_reported_as_well() {
    runs(OTHER_SEEDS, |emulator, config| by_tls(emulator, config).with_protocol(Protocol::Rest)).await;
}

fn by_tls(emulator: &Emulator, _: ServiceBusConfig) -> ServiceBusConfig {
    settings(&emulator.tls_connection_string()).with_ca(emulator.ca_pem())
}

async fn runs(seeds: u64, way: impl Fn(&Emulator, ServiceBusConfig) -> ServiceBusConfig + Copy) {
    let steps = number("SCALEOUT_TEST_STEPS").map_or(STEPS, |steps| usize::try_from(steps).unwrap_or(STEPS));
    let seeds: Vec<u64> = match number("SCALEOUT_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SCALEOUT_TEST_SEEDS").unwrap_or(seeds)).map(|_| fastrand::u64(..)).collect(),
    };
    join_all(seeds.into_iter().map(|seed| run(seed, steps, way))).await;
}

async fn run(seed: u64, steps: usize, way: impl Fn(&Emulator, ServiceBusConfig) -> ServiceBusConfig) {
    let mut random = Rng::with_seed(seed);
    // Only shown where the test fails.
    println!("SCALEOUT_TEST_SEED={seed}");
    let deletes = random.u8(..4) == 0;
    let reception = if deletes { Reception::ReceiveAndDelete } else { Reception::PeekLock };
    let mut scene = Scene::new().await;
    scene.config = way(&scene.emulator, scene.config.clone());
    let scene = scene.with(|config| {
        let config = config.with_operation_timeout(Duration::from_secs(1)).with_reception(reception);
        config.with_idle_timeout(Duration::from_secs(2))
    });
    let mut load = scene.quiet(NODES).await;
    let guest = load.listen(0, &channels());
    for node in 0..NODES {
        load.traffic(node, traffic());
    }
    load.flows().await;
    let mut is_replaced = false;
    for step in 0..steps {
        let fault = strike(&scene, &load, guest, &mut random).await;
        is_replaced |= fault.ends_with("is deleted: true");
        println!("{seed}, {step}: {fault} {:?}", load.elapsed());
        if random.u8(..3) > 0 {
            load.flows().await;
        }
    }
    scene.faults().release_sends();
    scene.faults().clear();
    load.flows().await;
    let mut verdict = load.settle(async |stream| scene.log(stream)).await;
    if is_replaced && scene.config.protocol == Protocol::Rest {
        // Nothing ties a request to a topic: what is under way while its topic is made anew may be stored there, before
        // what is repaired. All else is checked: who gets it comes in order, and what is not passed on is told.
        verdict.violations.retain(|violation| {
            violation.invariant != Invariant::Repair || !violation.detail.contains("stands behind its frame")
        });
    }
    if !verdict.violations.is_empty() {
        println!("{seed} by {reception:?} is the one that fails");
    }
    verdict.expect_good();
    scene.nothing_is_left().await;
    if verdict.gaps().is_empty() {
        verdict.expect_all();
    }
}

async fn strike(scene: &Scene, load: &Load, guest: usize, random: &mut Rng) -> String {
    let faults = scene.faults();
    let few = random.usize(1..4);
    let topic = scene.topic(random.u16(..TOPICS));
    match random.u8(..18) {
        0 | 1 => format!("{} connections are killed", faults.kill_connections()),
        2 => format!("a connection is killed: {}", faults.kill_connection()),
        3 => {
            faults.freeze();
            "freeze".into()
        }
        4 => {
            faults.thaw();
            "thaw".into()
        }
        5 => {
            faults.detach_all();
            "detach".into()
        }
        6 => {
            faults.detach(&topic);
            format!("detach {topic}")
        }
        7 => {
            faults.server_busy(few);
            format!("busy for {few}")
        }
        8 => {
            let delay = Duration::from_millis(random.u64(..30));
            faults.delay(delay);
            format!("delay of {delay:?}")
        }
        9 => {
            faults.lose_outcomes(few);
            format!("{few} outcomes are lost")
        }
        10 => {
            faults.lose_sends(few);
            format!("{few} sends are lost")
        }
        11 => {
            faults.hold_sends(few);
            format!("{few} sends are held")
        }
        12 => format!("{} sends come late", faults.release_sends()),
        13 => {
            faults.cut_deliveries(few);
            format!("{few} deliveries are cut")
        }
        14 => {
            faults.duplicate_deliveries(few);
            format!("{few} deliveries come twice")
        }
        15 => {
            faults.expire_tokens();
            "tokens expire".into()
        }
        16 => match random.bool() {
            true => format!("{topic} is deleted: {:?}", faults.delete_entity(&topic).is_ok()),
            false => {
                let node = random.usize(..NODES);
                let subscription = format!("{topic}/Subscriptions/{}", scene.subscription(node));
                format!("{subscription} is deleted: {:?}", faults.delete_entity(&subscription).is_ok())
            }
        },
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
