//! A server that copies another one.

use redis::Value;
use scaleout_testkit::{
    needs_redis,
    servers::{RedisServer, TcpProxy},
};

use crate::{eventually, text};

#[tokio::test]
async fn a_replica_copies_its_master() {
    needs_redis!();
    let master = RedisServer::builder().requirepass("secret").start().await.unwrap();
    master.command(&["SET", "before", "1"]).await.unwrap();
    let replica = RedisServer::builder().replica_of(&master).start().await.unwrap();
    assert_eq!(replica.command(&["GET", "before"]).await.unwrap(), text("1"));
    master.command(&["SET", "after", "2"]).await.unwrap();
    replica.wait_caught_up(&master).await.unwrap();
    assert_eq!(replica.command(&["GET", "after"]).await.unwrap(), text("2"));
    let error = replica.command(&["SET", "after", "3"]).await.unwrap_err();
    assert_eq!(error.code(), Some("READONLY"));
}

#[tokio::test]
async fn a_replica_behind_a_stalled_proxy_lags() {
    needs_redis!();
    let master = RedisServer::builder().start().await.unwrap();
    let proxy = TcpProxy::to_port(master.port()).await.unwrap();
    let replica = RedisServer::builder().replica_of_port(proxy.port()).start().await.unwrap();
    proxy.stall();
    master.command(&["SET", "key", "value"]).await.unwrap();
    assert_eq!(replica.command(&["GET", "key"]).await.unwrap(), Value::Nil);
    proxy.flow();
    replica.wait_caught_up(&master).await.unwrap();
    assert_eq!(replica.command(&["GET", "key"]).await.unwrap(), text("value"));
}

#[tokio::test]
async fn a_replica_outlives_its_master() {
    needs_redis!();
    let master = RedisServer::builder().start().await.unwrap();
    let replica = RedisServer::builder().replica_of(&master).start().await.unwrap();
    master.kill();
    let is_down = async || replica.info("master_link_status").await.unwrap().as_deref() == Some("down");
    eventually("the replica notices", is_down).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    replica.command(&["SET", "key", "value"]).await.unwrap();
}
