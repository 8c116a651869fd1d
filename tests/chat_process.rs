//! The chat as people start it: a process, its options, its signals.
#![cfg(unix)]

use std::process::Output;

use scaleout_tests::{ChatProcess, Client, get};

const RESTART: Option<u16> = Some(1012);

#[tokio::test]
async fn one_process_serves_two_nodes_and_leaves_cleanly_at_sigterm() {
    let mut chat = ChatProcess::start(&[
        "--node",
        "127.0.0.1:0",
        "--node",
        "127.0.0.1:0",
        "--app",
        "test-1",
        "--log",
        "warn",
    ]);
    let (first, second) = (chat.address().await, chat.address().await);
    assert_ne!(first, second);
    let mut ada = Client::join(first, "lobby", "Ada").await;
    let mut grace = Client::join(second, "lobby", "Grace").await;
    ada.say("hello").await;
    assert_eq!(grace.text().await, "hello");
    assert_eq!(ada.text().await, "hello");
    let (status, nodes) = get(first, "/nodes").await;
    assert_eq!(status, 200);
    assert!(nodes.contains(&first.to_string()) && nodes.contains(&second.to_string()), "{nodes}");

    chat.terminate().await;
    assert_eq!((ada.closed().await, grace.closed().await), (RESTART, RESTART));
    assert!(chat.ended().await.success());
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_with_the_reason() {
    for (options, problems) in [
        (["--backplane", "nats://:secret@localhost"].as_slice(), ["nats://", "memory:, redis://"]),
        (&["--backplane", "redis://:secret@localhost"], ["app is missing", "app=<name>"]),
        (&["--backplane", "localhost:6379,password=secret,app=chat"], ["no scheme", "RedisConfig"]),
        (&["--backplane", "redis://:secret@localhost?app=chat", "--app", "shop"], ["app chat", "app shop"]),
    ] {
        let refused = run(options).await;
        assert_eq!(refused.status.code(), Some(1));
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(problems.iter().all(|problem| told.contains(problem)) && !told.contains("secret"), "{told}");
    }

    let refused = run(&["--app", "Not an app"]).await;
    assert_eq!(refused.status.code(), Some(2));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&["--node", &address]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains(&address));
}

#[tokio::test]
async fn the_backplane_may_be_said_in_the_environment_and_is_not_shown() {
    for (options, status) in [([].as_slice(), 1), (&["--help"], 0)] {
        let mut command = ChatProcess::command(options);
        let output = command.env("SCALEOUT_BACKPLANE", "nats://:secret@localhost").output().await.unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{told}");
        let expected = if status == 0 { "[env: SCALEOUT_BACKPLANE]" } else { "nats://" };
        assert!(told.contains(expected) && !told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn help_names_every_option() {
    let help = run(&["--help"]).await;
    let told = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    for option in ["--node", "--peer", "--backplane", "--app", "--ring-bytes", "--grace-seconds", "--log"] {
        assert!(told.contains(option), "{option} in {told}");
    }
}

async fn run(options: &[&str]) -> Output {
    ChatProcess::command(options).output().await.expect("the binary was just built")
}
