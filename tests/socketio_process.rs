//! The chat by Socket.IO as people start it: a process, its options, its signals; without a client of Socket.IO.
#![cfg(unix)]

use std::process::Output;

use scaleout_tests::{ChatProcess, DEADLINE, Example, get, scenarios::until_all};
use tokio::time::timeout;

#[tokio::test]
async fn one_process_serves_two_nodes_and_leaves_cleanly_at_sigterm() {
    let listen = ["--listen", "127.0.0.1:0"].repeat(2);
    let mut chat = ChatProcess::start_of(Example::SocketioChat, &[&listen[..], &["--log", "warn"]].concat());
    let (first, second) = (chat.address().await, chat.address().await);
    assert_ne!(first, second);
    for node in [first, second] {
        until_all(node, "up", 200).await;
        // What every client begins with: an id, and what it may upgrade to.
        let (status, open) = get(node, "/socket.io/?EIO=4&transport=polling").await;
        assert_eq!(status, 200);
        assert!(open.contains("\"sid\"") && open.contains("websocket"), "{open}");
    }
    chat.terminate().await;
    assert!(chat.ended().await.success());
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_with_the_reason() {
    for (options, problems) in [
        (["--backplane", "nats://:secret@localhost"].as_slice(), ["nats://", "memory:, redis://"]),
        (&["--backplane", "redis://:secret@localhost"], ["app is missing", "app=<name>"]),
    ] {
        let refused = run(options).await;
        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8(refused.stderr).expect("it writes UTF-8");
        assert!(problems.iter().all(|problem| told.contains(problem)) && !told.contains("secret"), "{told}");
    }
    assert_eq!(run(&["--delivery", "sometimes"]).await.status.code(), Some(2));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let refused = run(&["--listen", &address]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&address));
}

#[tokio::test]
async fn help_names_every_option() {
    let help = run(&["--help"]).await;
    let told = String::from_utf8(help.stdout).expect("it writes UTF-8");
    assert!(help.status.success());
    for option in [
        "--listen",
        "--backplane",
        "--app",
        "--delivery",
        "--request-seconds",
        "--confirm-seconds",
        "--admin-token",
        "--log",
    ] {
        assert!(told.contains(option), "{option} in {told}");
    }
}

async fn run(options: &[&str]) -> Output {
    let output = ChatProcess::command_of(Example::SocketioChat, options).output();
    timeout(DEADLINE, output).await.expect("it ends by itself").expect("the binary was just built")
}
