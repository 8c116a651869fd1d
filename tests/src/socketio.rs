//! The official client of Socket.IO, as a script, against two nodes of the example.

use std::path::Path;

use scaleout::{BackplaneConfig, BusConfig, Role};
use scaleout_socketioxide::Emitter;
use scaleout_testkit::servers::JsScripts;
use serde_json::{Value, json};

use crate::{ChatProcess, DEADLINE, Example, scenarios::Store, script};

/// What the scripts show to get into `/admin`.
const ADMIN_TOKEN: &str = "hunter2";

/// Where the two nodes run that a script is run against.
#[derive(Debug, Clone, Copy)]
pub enum Nodes {
    /// Both in one process.
    OneProcess,
    /// Each in a process of its own.
    TwoProcesses,
}

/// The scripts; `None`, said aloud, where the client is not installed.
#[must_use]
pub fn scripts(test: &str) -> Option<JsScripts> {
    JsScripts::of_socketio(test, Path::new(env!("CARGO_MANIFEST_DIR")).join("socketio-client"))
}

/// Runs scenarios of the scripts against two nodes on `store`, with these options; without scenarios, all that need neither
/// options nor failures.
///
/// # Panics
/// Where one fails, with what the clients sent and heard; or where a node does not stop cleanly in the end.
pub async fn run(
    scripts: &JsScripts,
    nodes: Nodes,
    store: &impl Store,
    scenarios: &[&str],
    options: &[&str],
) {
    let mut processes = start(nodes, &store.backplane(), options);
    let mut urls = Vec::new();
    for process in &mut processes {
        for _ in 0..2 / nodes.processes() {
            urls.push(format!("http://{}", process.address().await));
        }
    }

    let mut command = scripts.command("e2e.mjs");
    command.args(&urls).args(scenarios);
    script::run(command, async |asked: &str| match asked.strip_prefix("emit ") {
        Some(json) => emit(&store.backplane(), json).await,
        None => script::change(store, &mut processes, asked).await,
    })
    .await;
    script::stop(processes).await;
}

impl Nodes {
    fn processes(self) -> usize {
        match self {
            Self::OneProcess => 1,
            Self::TwoProcesses => 2,
        }
    }
}

fn start(nodes: Nodes, backplane: &str, options: &[&str]) -> Vec<ChatProcess> {
    let listen = ["--listen", "127.0.0.1:0"].repeat(2 / nodes.processes());
    let fixed = ["--log", "error", "--admin-token", ADMIN_TOKEN, "--backplane", backplane];
    let options = [&listen, &fixed[..], options].concat();
    (0..nodes.processes()).map(|_| ChatProcess::start_of(Example::SocketioChat, &options)).collect()
}

/// Says what a script asks for in a room of the chat, from a process without sockets: this one.
async fn emit(backplane: &str, json: &str) {
    let asked: Value = serde_json::from_str(json).expect("a script asks in JSON");
    let (room, text) = (&asked["room"], &asked["text"]);
    let backplane: BackplaneConfig = backplane.parse().expect("the nodes have read it");
    let bus = backplane.bus(BusConfig::default()).expect("the nodes have used it").role(Role::PublishOnly);
    let bus = bus.connect().await.expect("the nodes have reached it");
    let emitter = Emitter::new(&bus).expect("the cluster of the nodes");
    let name = format!("room:{}", room.as_str().expect("a room has a name"));
    let message = json!({ "room": room, "user": "emitter", "text": text });
    emitter.of("/").to(name).emit("message", &message).await.expect("it is stored");
    bus.close(DEADLINE).await;
}
