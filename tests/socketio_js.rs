//! The official client of Socket.IO against two nodes of the example `socketio_chat`, on every store.
//!
//! What it does is in `socketio-client/scenarios.mjs` and `socketio-client/failures.mjs`.
#![cfg(unix)]

use scaleout_testkit::{
    needs_redis,
    servers::{JsScripts, RedisServer},
};
use scaleout_tests::{
    scenarios::Store,
    socketio::{self, Nodes},
    stores::redis,
};
use servicebus_emulator::Emulator;
use sqlserver_testserver::TestServer;

/// What any store must be able to carry.
const CORE: [&str; 9] = [
    "in_a_room",
    "broadcast",
    "except_a_room",
    "acks",
    "binary",
    "who_is_there",
    "sockets_of_another_node",
    "in_order",
    "an_emitter",
];

/// No deadline for other nodes, nor for the store, that a test could wait for.
const PATIENT: [&str; 4] = ["--request-seconds", "3600", "--confirm-seconds", "3600"];

/// As [`PATIENT`], but for a store that is away: it takes a second until a message is said to come later.
const AWAY: [&str; 2] = ["--request-seconds", "3600"];

/// As [`PATIENT`], but for nodes that do not answer.
const FROZEN: [&str; 4] = ["--request-seconds", "1", "--confirm-seconds", "3600"];

const ORDERED: [&str; 2] = ["--delivery", "ordered"];

/// The scripts, or the end of a test that cannot run without them.
macro_rules! scripts {
    () => {
        match socketio::scripts(std::thread::current().name().unwrap_or("a test")) {
            Some(scripts) => scripts,
            None => return,
        }
    };
}

#[tokio::test]
async fn two_nodes_of_one_process_do_all_of_it() {
    socketio::run(&scripts!(), Nodes::OneProcess, &Memory, &[], &PATIENT).await;
}

#[tokio::test]
async fn messages_reach_rooms_users_and_everybody() {
    let names = ["in_a_room", "broadcast", "except_a_room", "except_the_sender", "one_socket", "namespaces"];
    needs_redis!();
    over_redis(&scripts!(), &names, &PATIENT).await;
}

#[tokio::test]
async fn acknowledgements_come_from_both_nodes() {
    needs_redis!();
    over_redis(&scripts!(), &["acks"], &PATIENT).await;
}

#[tokio::test]
async fn binary_travels_by_every_transport() {
    needs_redis!();
    over_redis(&scripts!(), &["binary", "transports"], &PATIENT).await;
}

#[tokio::test]
async fn sockets_of_another_node_are_found_moved_and_disconnected() {
    needs_redis!();
    over_redis(&scripts!(), &["who_is_there", "sockets_of_another_node"], &PATIENT).await;
}

#[tokio::test]
async fn packets_come_in_the_order_of_their_node() {
    needs_redis!();
    over_redis(&scripts!(), &["in_order"], &PATIENT).await;
}

#[tokio::test]
async fn ordered_delivery_is_one_order_on_both_nodes() {
    let names = ["in_one_order", "in_a_room", "acks", "sockets_of_another_node"];
    needs_redis!();
    over_redis(&scripts!(), &names, &[&ORDERED[..], &PATIENT].concat()).await;
}

#[tokio::test]
async fn a_client_goes_on_at_the_other_node() {
    needs_redis!();
    over_redis(&scripts!(), &["a_client_changes_nodes", "a_node_stops"], &PATIENT).await;
}

#[tokio::test]
async fn nobody_waits_longer_for_a_killed_node_than_its_lease() {
    needs_redis!();
    over_redis(&scripts!(), &["a_node_is_killed"], &PATIENT).await;
}

#[tokio::test]
async fn a_frozen_node_is_told_as_missing_and_catches_up() {
    needs_redis!();
    over_redis(&scripts!(), &["a_node_is_frozen"], &FROZEN).await;
}

#[tokio::test]
async fn a_process_without_sockets_reaches_both_nodes() {
    needs_redis!();
    over_redis(&scripts!(), &["an_emitter"], &PATIENT).await;
}

#[tokio::test]
async fn without_redis_a_node_goes_on_and_catches_up() {
    needs_redis!();
    over_redis(&scripts!(), &["the_store_is_away"], &AWAY).await;
}

#[tokio::test]
async fn without_redis_ordered_delivery_waits() {
    needs_redis!();
    over_redis(&scripts!(), &["ordered_without_a_store"], &[ORDERED, AWAY].concat()).await;
}

#[tokio::test]
async fn sql_server_carries_the_core_of_it() {
    let scripts = scripts!();
    let server = TestServer::builder().start().await.expect("a free port");
    socketio::run(&scripts, Nodes::TwoProcesses, &server, &CORE, &PATIENT).await;
}

#[tokio::test]
async fn without_sql_server_a_node_goes_on_and_catches_up() {
    let scripts = scripts!();
    let server = TestServer::builder().start().await.expect("a free port");
    socketio::run(&scripts, Nodes::TwoProcesses, &server, &["the_store_is_away"], &AWAY).await;
}

#[tokio::test]
async fn service_bus_carries_the_core_of_it() {
    let scripts = scripts!();
    let emulator = Emulator::builder().start().await.expect("free ports");
    socketio::run(&scripts, Nodes::TwoProcesses, &emulator, &CORE, &PATIENT).await;
}

#[tokio::test]
async fn without_service_bus_a_node_goes_on_and_catches_up() {
    let scripts = scripts!();
    let emulator = Emulator::builder().start().await.expect("free ports");
    socketio::run(&scripts, Nodes::TwoProcesses, &emulator, &["the_store_is_away"], &AWAY).await;
}

async fn over_redis(scripts: &JsScripts, scenarios: &[&str], options: &[&str]) {
    let server: RedisServer = redis().await;
    socketio::run(scripts, Nodes::TwoProcesses, &server, scenarios, options).await;
}

/// The store of one process, which nobody can take away from it.
struct Memory;

impl Store for Memory {
    fn backplane(&self) -> String {
        "memory:".into()
    }

    async fn stop(&self) {
        unreachable!("it is a part of the nodes");
    }

    async fn start(&self) {
        unreachable!("it is a part of the nodes");
    }
}
