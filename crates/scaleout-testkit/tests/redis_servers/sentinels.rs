//! A master, replicas and Sentinels.

use redis::Value;
use scaleout_testkit::{
    needs_redis,
    servers::{RedisSentinels, RedisServer, TestCa},
};

use crate::{connect, run, text};

#[tokio::test]
async fn sentinels_replace_a_master_on_command() {
    needs_redis!();
    let all = RedisSentinels::builder().start().await.unwrap();
    assert_eq!(all.master().await.unwrap(), 0);
    assert_eq!(all.failover().await.unwrap(), 1);
    all.relink_replicas().await.unwrap();
    assert_eq!(all.failover().await.unwrap(), 0);
    assert_eq!(all.master().await.unwrap(), 0);
}

#[tokio::test]
async fn sentinels_replace_a_master_that_died() {
    needs_redis!();
    let all = RedisSentinels::builder().replicas(2).start().await.unwrap();
    let old = all.kill_master().await.unwrap();
    let new = all.wait_master_after(old).await.unwrap();
    assert!(old == 0 && new != 0);
    all.servers()[new].command(&["SET", "key", "value"]).await.unwrap();
    all.servers()[old].start().await.unwrap();
    all.relink_replicas().await.unwrap();
    all.servers()[old].wait_caught_up(&all.servers()[new]).await.unwrap();
}

#[tokio::test]
async fn what_replicas_did_not_get_is_lost() {
    needs_redis!();
    let all = RedisSentinels::builder().start().await.unwrap();
    let master = &all.servers()[0];
    master.command(&["SET", "early", "1"]).await.unwrap();
    all.servers()[1].wait_caught_up(master).await.unwrap();
    all.lag_replicas().await.unwrap();
    master.command(&["SET", "late", "2"]).await.unwrap();
    let old = all.kill_master().await.unwrap();
    let new = &all.servers()[all.wait_master_after(old).await.unwrap()];
    assert_eq!(new.command(&["GET", "early"]).await.unwrap(), text("1"));
    assert_eq!(new.command(&["GET", "late"]).await.unwrap(), Value::Nil);
    new.command(&["SET", "late", "3"]).await.unwrap();
    all.servers()[old].start().await.unwrap();
    all.relink_replicas().await.unwrap();
    all.servers()[old].wait_caught_up(new).await.unwrap();
    assert_eq!(all.servers()[old].command(&["GET", "late"]).await.unwrap(), text("3"));
}

#[tokio::test]
async fn lag_ends_without_loss_where_the_master_lives() {
    needs_redis!();
    let all = RedisSentinels::builder().start().await.unwrap();
    let (master, replica) = (&all.servers()[0], &all.servers()[1]);
    all.lag_replicas().await.unwrap();
    master.command(&["SET", "late", "2"]).await.unwrap();
    assert_eq!(replica.command(&["GET", "late"]).await.unwrap(), Value::Nil);
    all.relink_replicas().await.unwrap();
    replica.wait_caught_up(master).await.unwrap();
    assert_eq!(replica.command(&["GET", "late"]).await.unwrap(), text("2"));
}

#[tokio::test]
async fn sentinels_may_speak_tls_and_ask_for_passwords() {
    needs_redis!();
    let ca = TestCa::new().unwrap();
    let servers = RedisServer::builder().tls(&ca).requirepass("secret");
    let sentinels = RedisServer::builder().tls(&ca).requirepass("other");
    let all = RedisSentinels::builder().servers(servers).sentinels(sentinels).start().await.unwrap();
    assert!(all.url().starts_with("rediss+sentinel://127.0.0.1:"));
    let mut stranger = connect(all.sentinels()[0].url()).await.unwrap();
    let error = run(&mut stranger, "SENTINEL MASTERS").await.unwrap_err();
    assert_eq!(error.code(), Some("NOAUTH"));
    assert_eq!(all.failover().await.unwrap(), 1);
}
