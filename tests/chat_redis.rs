//! The chat as several processes on one real Redis server.
#![cfg(unix)]

use scaleout_testkit::{
    needs_redis,
    servers::{RedisServer, TestCa},
};
use scaleout_tests::{
    ChatProcess, Client,
    scenarios::{self, until_all},
    stores::redis,
};

#[tokio::test]
async fn two_processes_catch_up_after_their_redis_was_killed() {
    needs_redis!();
    scenarios::two_processes_catch_up(&redis().await).await;
}

#[tokio::test]
async fn a_client_goes_on_at_another_process_without_loss() {
    needs_redis!();
    scenarios::a_client_changes_processes(&redis().await).await;
}

#[tokio::test]
async fn apps_on_one_redis_do_not_hear_each_other() {
    needs_redis!();
    let server = redis().await;
    let url = |app| format!("{}?app={app}", server.url());
    let [mut test, mut live] = ["shop-test", "shop-live"].map(|app| ChatProcess::on(&url(app), &[]));
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
    let [mut first, mut second] = [&by_tls, &by_socket].map(|url| ChatProcess::on(url, &[]));
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
    let told = ChatProcess::refused(&url).await;
    assert!(told.contains("password") && !told.contains("hunter"), "{told}");

    let mut right = ChatProcess::on(&format!("redis://:hunter2@{address}?app=chat"), &[]);
    until_all(right.address().await, "up", 200).await;
}
