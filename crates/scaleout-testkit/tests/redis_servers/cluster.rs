//! Servers that share the keys among them.

use redis::RedisError;
use scaleout_testkit::{
    needs_redis,
    servers::{RedisCluster, RedisServer, TestCa},
};

use crate::text;

#[tokio::test]
async fn masters_share_the_slots() {
    needs_redis!();
    let cluster = RedisCluster::builder().start().await.unwrap();
    for key in ["a", "b", "c", "{tag}d"] {
        let slot = RedisCluster::slot_of(key);
        let owner = cluster.owner(slot).await.unwrap();
        for (index, server) in cluster.servers().iter().enumerate() {
            let outcome = server.command(&["SET", key, "value"]).await;
            match index == owner {
                true => drop(outcome.unwrap()),
                false => assert_eq!(code(outcome), "MOVED"),
            }
        }
    }
    assert_eq!(cluster.url(), format!("redis+cluster://{}", cluster.addresses().join(",")));
}

#[tokio::test]
async fn a_slot_moves_in_steps() {
    needs_redis!();
    let cluster =
        RedisCluster::builder().servers(RedisServer::builder().requirepass("secret")).start().await.unwrap();
    let slot = RedisCluster::slot_of("{x}");
    let from = cluster.owner(slot).await.unwrap();
    let to = (from + 1) % 3;
    let (old, new) = (&cluster.servers()[from], &cluster.servers()[to]);
    for key in ["{x}1", "{x}2"] {
        old.command(&["SET", key, key]).await.unwrap();
    }

    let moving = cluster.begin_move(slot, to).await.unwrap().unwrap();
    assert_eq!(moving.move_keys(1).await.unwrap(), 1);
    assert_eq!(code(old.command(&["GET", "{x}3"]).await), "ASK");
    assert_eq!(code(old.command(&["MGET", "{x}1", "{x}2"]).await), "TRYAGAIN");
    assert_eq!(code(new.command(&["GET", "{x}1"]).await), "MOVED");
    assert_eq!(moving.move_keys(9).await.unwrap(), 1);
    assert_eq!(moving.move_keys(9).await.unwrap(), 0);
    moving.finish().await.unwrap();

    assert_eq!(cluster.owner(slot).await.unwrap(), to);
    assert_eq!(new.command(&["GET", "{x}1"]).await.unwrap(), text("{x}1"));
    assert_eq!(code(old.command(&["GET", "{x}1"]).await), "MOVED");
    cluster.move_slot(slot, from).await.unwrap();
    assert_eq!(old.command(&["GET", "{x}2"]).await.unwrap(), text("{x}2"));
    assert!(cluster.begin_move(slot, from).await.unwrap().is_none());
}

#[tokio::test]
async fn a_replica_takes_over_on_command_and_after_a_death() {
    needs_redis!();
    let cluster = RedisCluster::builder().replicas_per_master(1).start().await.unwrap();
    let owner = async |key| cluster.owner(RedisCluster::slot_of(key)).await.unwrap();
    // Slots of these are of the last master and the first one.
    let (last, first) = ("a", "b");
    assert_eq!((owner(last).await, owner(first).await), (2, 0));
    cluster.failover(5).await.unwrap();
    assert_eq!(owner(last).await, 5);

    cluster.servers()[0].kill();
    cluster.wait_master(3).await.unwrap();
    assert_eq!(owner(first).await, 3);
    cluster.servers()[0].start().await.unwrap();
    cluster.wait_ready().await.unwrap();
    assert_eq!(owner(first).await, 3);
}

#[tokio::test]
async fn a_cluster_may_speak_tls() {
    needs_redis!();
    let ca = TestCa::new().unwrap();
    let cluster = RedisCluster::builder().servers(RedisServer::builder().tls(&ca)).start().await.unwrap();
    assert!(cluster.url().starts_with("rediss+cluster://"));
    let slot = RedisCluster::slot_of("key");
    let from = cluster.owner(slot).await.unwrap();
    cluster.servers()[from].command(&["SET", "key", "value"]).await.unwrap();
    let to = (from + 1) % 3;
    cluster.move_slot(slot, to).await.unwrap();
    assert_eq!(cluster.servers()[to].command(&["GET", "key"]).await.unwrap(), text("value"));
}

fn code<T: std::fmt::Debug>(outcome: Result<T, RedisError>) -> String {
    outcome.expect_err("a refusal").code().expect("an answer of the server").to_owned()
}
