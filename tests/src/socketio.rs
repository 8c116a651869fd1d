//! The official client of Socket.IO, as a script, against two nodes of the example.

use std::{fmt::Write as _, path::Path, process::Stdio};

use scaleout::{BackplaneConfig, BusConfig, Role};
use scaleout_socketioxide::Emitter;
use scaleout_testkit::servers::JsScripts;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{ChatProcess, DEADLINE, Example, scenarios::Store};

/// What the scripts show to get into `/admin`.
const ADMIN_TOKEN: &str = "hunter2";

/// How many deadlines a script has for all of its scenarios; each of them waits for one deadline at most.
const SCRIPT_DEADLINES: u32 = 5;

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

    let mut script = Command::from(scripts.command("e2e.mjs"));
    script.args(&urls).args(scenarios).env("RUNNER", "scaleout-tests").kill_on_drop(true);
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Node.js was there");
    let mut answers = script.stdin.take().expect("it is piped");
    let mut lines = BufReader::new(script.stdout.take().expect("it is piped")).lines();
    let mut told = String::new();
    let run = async {
        while let Some(line) = lines.next_line().await.expect("a script writes UTF-8") {
            let Some(command) = line.strip_prefix("> ") else {
                writeln!(told, "{line}").expect("a string takes everything");
                continue;
            };
            match command {
                "stop-store" => store.stop().await,
                "start-store" => store.start().await,
                command => match command.strip_prefix("emit ") {
                    Some(json) => emit(&store.backplane(), json).await,
                    None => change(&mut processes, command).await,
                },
            }
            answers.write_all(b"done\n").await.expect("the script waits for it");
        }
        script.wait().await.expect("it can be waited for")
    };
    let ended = timeout(SCRIPT_DEADLINES * DEADLINE, run).await;
    assert!(matches!(ended, Ok(status) if status.success()), "the script: {ended:?}\n{told}");
    // What passed, for those who look.
    print!("{told}");

    for mut process in processes {
        process.terminate().await;
        assert!(process.ended().await.success(), "a node stops cleanly");
    }
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

/// Does to a node what a script asks for; who is gone, is no more among `processes`.
async fn change(processes: &mut Vec<ChatProcess>, command: &str) {
    assert_eq!(processes.len(), 2, "nodes that can be changed have a process each, and one only goes once");
    let (what, node) = command.split_once(' ').unwrap_or((command, ""));
    let index = match node {
        "a" => 0,
        "b" => 1,
        _ => panic!("a script asks for {command:?}"),
    };
    match what {
        "freeze" => processes[index].freeze().await,
        "thaw" => processes[index].thaw().await,
        "kill" => processes.remove(index).kill().await,
        "terminate" => {
            let mut process = processes.remove(index);
            process.terminate().await;
            assert!(process.ended().await.success(), "a node stops cleanly");
        }
        _ => panic!("a script asks for {command:?}"),
    }
}
