//! Scripts of Node.js, and what they ask for that a client cannot do.

use std::{fmt::Write as _, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{ChatProcess, DEADLINE, scenarios::Store};

/// How many deadlines a script has for all of its scenarios; each of them waits for one deadline at most.
const SCRIPT_DEADLINES: u32 = 5;

/// Runs a script to its end. A line of it that begins with `> ` asks for something, and is answered once that is done.
///
/// # Panics
/// Where it fails, with all that it told.
pub(crate) async fn run(script: std::process::Command, mut ask: impl AsyncFnMut(&str)) {
    let mut script = Command::from(script);
    script.env("RUNNER", "scaleout-tests").kill_on_drop(true);
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
            ask(command).await;
            answers.write_all(b"done\n").await.expect("the script waits for it");
        }
        script.wait().await.expect("it can be waited for")
    };
    let ended = timeout(SCRIPT_DEADLINES * DEADLINE, run).await;
    assert!(matches!(ended, Ok(status) if status.success()), "the script: {ended:?}\n{told}");
    // What passed, for those who look.
    print!("{told}");
}

/// Does to the store or to a node what a script asks for; a node that is gone, is no more among `processes`.
pub(crate) async fn change(store: &impl Store, processes: &mut Vec<ChatProcess>, command: &str) {
    let (what, node) = command.split_once(' ').unwrap_or((command, ""));
    match what {
        "stop-store" => return store.stop().await,
        "start-store" => return store.start().await,
        _ => {}
    }
    assert_eq!(processes.len(), 2, "nodes that can be changed have a process each, and one only goes once");
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

/// Stops the nodes that are left.
///
/// # Panics
/// Where one does not stop cleanly.
pub(crate) async fn stop(processes: impl IntoIterator<Item = ChatProcess>) {
    for mut process in processes {
        process.terminate().await;
        assert!(process.ended().await.success(), "a node stops cleanly");
    }
}
