//! The chat as several processes on one real Redis server.
#![cfg(unix)]

use std::{net::SocketAddr, time::Duration};

use scaleout_testkit::{
    needs_redis,
    servers::{RedisServer, TestCa},
};
use scaleout_tests::{ChatProcess, Client, DEADLINE, get};
use serde_json::Value;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;

/// How soon a process is asked again; its health cannot be waited for from outside.
const POLL: Duration = Duration::from_millis(20);

#[tokio::test]
async fn two_processes_catch_up_after_their_redis_was_killed() {
    needs_redis!();
    const MESSAGES: usize = 25;
    let server = redis().await;
    // One stays ready for as long as this test, the other leaves the balancer at once.
    let mut patient = chat(&server, &["--grace-seconds", "3600"]);
    let mut strict = chat(&server, &["--grace-seconds", "0"]);
    let (patient_at, strict_at) = (patient.address().await, strict.address().await);
    let mut ada = Client::join(patient_at, "lobby", "Ada").await;
    let mut grace = Client::join(strict_at, "lobby", "Grace").await;
    ada.say("hello").await;
    assert_eq!((ada.text().await, grace.text().await), ("hello".into(), "hello".into()));
    grace.say("hello yourself").await;
    assert_eq!((ada.text().await, grace.text().await), ("hello yourself".into(), "hello yourself".into()));
    until_all(patient_at, "up", 200).await;
    until_all(strict_at, "up", 200).await;

    server.kill();
    let told = [until_all(patient_at, "degraded", 200).await, until_all(strict_at, "degraded", 503).await];
    for (health, is_ready) in told.iter().zip([true, false]) {
        assert_eq!(health["ready"], is_ready, "{health}");
        for stream in health["streams"].as_array().unwrap() {
            assert!(stream["error"].is_string() && stream["attempts"].as_u64() > Some(0), "{health}");
        }
    }
    for number in 0..MESSAGES {
        ada.say(&format!("ada {number}")).await;
        grace.say(&format!("grace {number}")).await;
    }
    // So that all of it was taken by the processes while there is no Redis.
    reached(&mut ada).await;
    reached(&mut grace).await;
    until_all(patient_at, "degraded", 200).await;
    until_all(strict_at, "degraded", 503).await;

    server.start().await.expect("redis-server starts again");
    let mut heard = Vec::new();
    for _ in 0..2 * MESSAGES {
        let text = ada.text().await;
        assert_eq!(grace.text().await, text, "one order on both");
        heard.push(text);
    }
    for who in ["ada", "grace"] {
        let theirs: Vec<_> = heard.iter().filter(|text| text.starts_with(who)).cloned().collect();
        assert_eq!(theirs, (0..MESSAGES).map(|number| format!("{who} {number}")).collect::<Vec<_>>());
    }
    grace.say("over").await;
    assert_eq!((ada.text().await, grace.text().await), ("over".into(), "over".into()), "nothing came twice");
    until_all(patient_at, "up", 200).await;
    until_all(strict_at, "up", 200).await;

    for mut process in [patient, strict] {
        process.terminate().await;
        assert!(process.ended().await.success());
    }
}

#[tokio::test]
async fn a_client_goes_on_at_another_process_without_loss() {
    needs_redis!();
    let server = redis().await;
    let (mut first, mut second) = (chat(&server, &[]), chat(&server, &[]));
    let (first_at, second_at) = (first.address().await, second.address().await);
    let mut ada = Client::join(first_at, "lobby", "Ada").await;
    let mut grace = Client::join(second_at, "lobby", "Grace").await;
    say(&mut grace, 0..10).await;
    hear(&mut ada, 0..5).await;

    // It dies with half of it heard; what follows is said elsewhere.
    first.kill().await;
    say(&mut grace, 10..20).await;
    let mut ada = Client::resume(second_at, "lobby", "Ada", &ada.cursor).await;
    hear(&mut ada, 5..20).await;

    // A process that was not there when it was said has it from Redis.
    say(&mut grace, 20..30).await;
    let mut third = chat(&server, &[]);
    let third_at = third.address().await;
    let mut ada = Client::resume(third_at, "lobby", "Ada", &ada.cursor).await;
    hear(&mut ada, 20..30).await;

    // She changes again while there is no Redis, and what is said meanwhile waits.
    server.kill();
    until_all(second_at, "degraded", 200).await;
    let mut ada = Client::resume(second_at, "lobby", "Ada", &ada.cursor).await;
    for number in 30..40 {
        grace.say(&number.to_string()).await;
    }
    reached(&mut grace).await;
    server.start().await.expect("redis-server starts again");
    hear(&mut grace, 30..40).await;
    hear(&mut ada, 30..40).await;
    ada.say("over").await;
    assert_eq!((ada.text().await, grace.text().await), ("over".into(), "over".into()), "nothing came twice");
}

#[tokio::test]
async fn apps_on_one_redis_do_not_hear_each_other() {
    needs_redis!();
    let server = redis().await;
    let url = |app| format!("{}?app={app}", server.url());
    let [mut test, mut live] = ["shop-test", "shop-live"].map(|app| start(&url(app), &[]));
    let mut ada = Client::join(test.address().await, "lobby", "Ada").await;
    let mut grace = Client::join(live.address().await, "lobby", "Grace").await;
    for _ in 0..10 {
        ada.say("test").await;
        grace.say("live").await;
        assert_eq!((ada.text().await, grace.text().await), ("test".into(), "live".into()));
    }
}

#[tokio::test]
async fn one_redis_is_reached_by_tls_and_by_a_unix_socket() {
    needs_redis!();
    let ca = TestCa::new().expect("certificates are made");
    let server = RedisServer::builder().tls(&ca).require_client_certificates();
    let server = server.start().await.expect("redis-server starts");
    let by_tls = format!(
        "{}?app=chat-test&ca={}&client_cert={}&client_key={}",
        server.tls_url().expect("it has a port for TLS"),
        ca.ca_file().display(),
        ca.client_certificate_file().display(),
        ca.client_key_file().display(),
    );
    let by_socket = format!("redis+unix://{}?app=chat-test", server.unix_socket_path().display());
    let [mut first, mut second] = [&by_tls, &by_socket].map(|url| start(url, &[]));
    let mut ada = Client::join(first.address().await, "lobby", "Ada").await;
    let mut grace = Client::join(second.address().await, "lobby", "Grace").await;
    for (number, speaker) in ["from Ada", "from Grace"].into_iter().enumerate() {
        [&mut ada, &mut grace][number].say(speaker).await;
        assert_eq!((ada.text().await, grace.text().await), (speaker.into(), speaker.into()));
    }
}

#[tokio::test]
async fn a_wrong_password_ends_the_process_and_is_not_shown() {
    needs_redis!();
    let server = RedisServer::builder().requirepass("hunter2").start().await.expect("redis-server starts");
    let address = format!("127.0.0.1:{}", server.port());
    let url = format!("redis://:hunter3@{address}?app=chat");
    let refused = ChatProcess::command(&["--node", "127.0.0.1:0", "--backplane", &url]).output();
    let refused = timeout(DEADLINE, refused).await.expect("it ends by itself").expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("password") && !told.contains("hunter"), "{told}");

    let mut right = start(&format!("redis://:hunter2@{address}?app=chat"), &[]);
    until_all(right.address().await, "up", 200).await;
}

/// A server that keeps what it confirmed.
async fn redis() -> RedisServer {
    RedisServer::builder().appendonly().start().await.expect("redis-server starts")
}

/// A process with one node on that server.
fn chat(server: &RedisServer, options: &[&str]) -> ChatProcess {
    start(&format!("{}?app=chat-test", server.url()), options)
}

fn start(url: &str, options: &[&str]) -> ChatProcess {
    let fixed = ["--node", "127.0.0.1:0", "--log", "error", "--backplane", url];
    ChatProcess::start(&[&fixed, options].concat())
}

async fn say(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        client.say(&number.to_string()).await;
        assert_eq!(client.text().await, number.to_string());
    }
}

async fn hear(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(client.text().await, number.to_string());
    }
}

/// Waits until the node has read all that the client sent: it answers in order what it does not understand.
async fn reached(client: &mut Client) {
    client.send(Message::text("no JSON")).await;
    client.expect("error").await;
}

/// The node's health once all of its streams are in `state`.
///
/// # Panics
/// Where it comes with another status than `status`.
async fn until_all(node: SocketAddr, state: &str, status: u16) -> Value {
    let asked = async {
        let mut pace = interval(POLL);
        loop {
            pace.tick().await;
            let (answered, health) = get(node, "/health").await;
            let health: Value = serde_json::from_str(&health).expect("health is JSON");
            let streams = health["streams"].as_array().expect("health lists streams");
            if !streams.is_empty() && streams.iter().all(|stream| stream["state"] == state) {
                assert_eq!(answered, status, "{health}");
                return health;
            }
        }
    };
    timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("its streams never were all {state}"))
}
