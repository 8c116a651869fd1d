//! Ways to a server, and servers that are not the right ones.

#[path = "support/probe.rs"]
mod probe;
mod support;

use std::time::Duration;

use scaleout_core::{Bus, Error, ErrorKind, Received};
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    needs_redis,
    servers::{RedisCluster, RedisServer},
};
use tokio::time::timeout;

use self::{
    probe::probe,
    support::{config_of, node},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_unix_socket_will_do() {
    needs_redis!();
    let server = RedisServer::builder().start().await.expect("a server");
    let url = format!("redis+unix://{}", server.unix_socket_path().display());
    messages_arrive(config_of(&url, "app")).await;
}

#[tokio::test]
async fn a_database_has_all_keys() {
    needs_redis!();
    let server = RedisServer::builder().start().await.expect("a server");
    messages_arrive(config_of(&format!("{}/3", server.url()), "app")).await;
    let databases = [server.info("db0").await, server.info("db3").await];
    let [zero, three] = databases.map(|keys| keys.expect("the server tells"));
    assert!(zero.is_none() && three.is_some(), "{zero:?} {three:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    needs_redis!();
    let server = RedisServer::builder().config("databases", "2").start().await.expect("a server");
    let error = refusal(config_of(&format!("{}/3", server.url()), "app")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("database"), "{error}");
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_named() {
    needs_redis!();
    let server = RedisServer::builder().start().await.expect("a server");
    for name in ["meta", "stream:3"] {
        let key = format!("scaleout:{{app:0}}:{name}");
        server.command(&["SET", &key, "something else"]).await.expect("the server obeys");
        let error = refusal(config_of(&server.url(), "app")).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(&key), "{error}");
        server.command(&["FLUSHALL"]).await.expect("the server obeys");
    }
    let config = config_of(&server.url(), "app");
    messages_arrive(config.clone()).await;
    let keys = server.command(&["KEYS", "*:last:0:*"]).await.expect("the server obeys");
    let keys: Vec<String> = redis::from_redis_value(keys).expect("keys");
    server.command(&["SET", &keys[0], "something else"]).await.expect("the server obeys");
    let error = refusal(config).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(&keys[0]), "{error}");
}

#[tokio::test]
async fn a_replica_serves_as_soon_as_it_is_promoted() {
    needs_redis!();
    let master = RedisServer::builder().start().await.expect("a server");
    let replica = RedisServer::builder().replica_of(&master).start().await.expect("a replica");
    let config = config_of(&replica.url(), "app");
    let error = refusal(config.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("replica"), "{error}");
    let bus = Bus::builder_from(node(config.clone())).start().expect("settings that work");
    let mut states = bus.state();
    while !states.current().iter().any(|state| state.name() == "degraded") {
        states.changed().await.expect("the bus is open");
    }
    replica.command(&["REPLICAOF", "NO", "ONE"]).await.expect("the server obeys");
    let healed = async {
        while !states.current().iter().all(|state| state.is_up()) {
            states.changed().await.expect("the bus is open");
        }
    };
    timeout(PATIENCE, healed).await.expect("a bus that heals");
    messages_arrive(config).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_is_not_taken_for_a_lone_server() {
    needs_redis!();
    let cluster = RedisCluster::builder().start().await.expect("a cluster");
    let error = refusal(config_of(&cluster.servers()[0].url(), "app")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
}

#[tokio::test]
async fn a_lone_server_is_not_taken_for_a_cluster() {
    needs_redis!();
    let server = RedisServer::builder().start().await.expect("a server");
    let error = refusal(config_of(&format!("redis+cluster://127.0.0.1:{}", server.port()), "app")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("use redis://"), "{error}");
}

async fn refusal(config: RedisConfig) -> Error {
    probe(&node(config)).await.expect_err("a refusal")
}

/// What one node publishes comes to a client of another one.
async fn messages_arrive(config: RedisConfig) {
    let connect = || Bus::builder_from(node(config.clone())).connect();
    let (here, there) = (connect().await.expect("a bus"), connect().await.expect("a bus"));
    let mut client = there.subscribe(["room"]);
    here.publish("room", "hello").await.expect("a confirmation");
    let received = timeout(PATIENCE, client.recv()).await.expect("a message in time");
    let Some(Received::Message(message)) = received else { panic!("{received:?}") };
    assert_eq!(message.payload().as_ref(), b"hello");
}
