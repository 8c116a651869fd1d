//! Masters that die or step down under load: what the promoted server never got is sent again, or told as missing.
//!
//! The failovers of the first test are 10, or as many as the environment variable `SCALEOUT_TEST_FAILOVERS` says.

#[path = "support/log.rs"]
mod log;
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use std::env;

use scaleout_core::StreamIndex;
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    load::{Load, Verdict},
    needs_redis,
    servers::{RedisSentinels, RedisServer, TcpProxy},
};

use self::{
    log::log_of,
    support::config_of,
    traffic::{channels, load_of},
};

const STREAMS: u16 = 4;

/// Messages a second of each node.
const RATE: u32 = 200;

/// The last entry of each stream.
type Heads = Vec<(u64, u64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_with_what_its_replica_lacks_loses_nothing_unreported() {
    needs_redis!();
    let failovers = env::var("SCALEOUT_TEST_FAILOVERS").map_or(10, |count| count.parse().expect("a number"));
    let sentinels = start().await;
    let config = config_of(&sentinels.url(), "app");
    let load = load_of([config.clone(), config.clone(), config.clone()], RATE).await;
    let mut lossy = 0;
    for failover in 1..=failovers {
        // Whatever waits between two attempts is to be done with it before the replicas lag: the Sentinels end that.
        confirm_everywhere(&load).await;
        sentinels.lag_replicas().await.expect("replicas that lag");
        let master = &sentinels.servers()[sentinels.master().await.expect("a master")];
        let replicated = heads(master, &config).await;
        confirm_everywhere(&load).await;
        let old = sentinels.kill_master().await.expect("a master");
        let new = sentinels.wait_master_after(old).await.expect("another master");
        let is_lossy = lacks_what_came_behind(&sentinels.servers()[new], &config, &replicated).await;
        lossy += usize::from(is_lossy);
        load.flows().await;
        sentinels.servers()[old].start().await.expect("the old master starts as a replica");
        sentinels.relink_replicas().await.expect("a replica");
        sentinels.servers()[old].wait_caught_up(&sentinels.servers()[new]).await.expect("a replica");
        // Kept by the test harness, unless many are asked for and somebody looks on.
        println!("failover {failover} of {failovers}, {lossy} lost what was confirmed");
    }
    let verdict = settle(load, &sentinels, &config).await;
    assert!(2 * lossy >= failovers, "only {lossy} of {failovers} failovers lost what was confirmed");
    let repaired: u64 = verdict.counters.iter().map(|counters| counters.repaired).sum();
    assert!(repaired >= lossy as u64, "{repaired} frames were sent again for {lossy} failovers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_loses_nothing_unreported() {
    needs_redis!();
    let sentinels = start().await;
    let config = config_of(&sentinels.url(), "app");
    let load = load_of([config.clone(), config.clone(), config.clone()], RATE).await;
    for _ in 0..3 {
        sentinels.failover().await.expect("another master");
        load.flows().await;
        sentinels.relink_replicas().await.expect("a replica");
    }
    settle(load, &sentinels, &config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_position_means_two_payloads_whoever_comes_back_first_and_whatever_it_saw() {
    needs_redis!();
    for has_seen_more_than_the_replica in [false, true] {
        for first in [0, 1] {
            let master = RedisServer::builder().start().await.expect("a server");
            let between = TcpProxy::to_port(master.port()).await.expect("a free port");
            let replica =
                RedisServer::builder().replica_of_port(between.port()).start().await.expect("a replica");
            let before = [
                TcpProxy::to_port(master.port()).await.expect("a free port"),
                TcpProxy::to_port(master.port()).await.expect("a free port"),
            ];
            let configs =
                before.each_ref().map(|proxy| config_of(&format!("redis://{}", proxy.address()), "app"));
            let load = load_of(configs.clone(), RATE).await;

            let [_, behind] = &before;
            if has_seen_more_than_the_replica {
                between.stall();
                load.flows().await;
                shut(behind).await;
            } else {
                shut(behind).await;
                confirm(&load, 0).await;
                let caught_up = replica.wait_caught_up(&master);
                caught_up.await.expect("a replica that is up to date");
                between.stall();
            }
            let replicated = heads(&master, &configs[0]).await;
            confirm(&load, 0).await;
            shut(&before[0]).await;
            master.kill();
            replica.command(&["REPLICAOF", "NO", "ONE"]).await.expect("the server obeys");
            if !has_seen_more_than_the_replica {
                assert!(lacks_what_came_behind(&replica, &configs[0], &replicated).await);
            }

            for index in [first, 1 - first] {
                before[index].set_target(([127, 0, 0, 1], replica.port()).into());
                before[index].accept().await.expect("its port is free");
                load.is_up(index).await;
                confirm(&load, index).await;
            }
            load.flows().await;
            let log = async |stream| log_of(&replica, &configs[0], stream).await.expect("its streams");
            let verdict = load.settle(log).await;
            verdict.expect_good();
            verdict.expect_all();
        }
    }
}

async fn start() -> RedisSentinels {
    let sentinels = RedisSentinels::builder().start().await.expect("Sentinels");
    for sentinel in sentinels.sentinels() {
        // A second of each, else; a failover is several rounds of all. Fewer pings, and a master that lives is taken for
        // dead now and then; more, and a busy machine has no replica that answers soon enough to be promoted.
        let periods = ["ping-period", "200", "ask-period", "100", "info-period", "100"];
        sentinel
            .command(&[&["SENTINEL", "DEBUG"][..], &periods[..]].concat())
            .await
            .expect("the server obeys");
    }
    sentinels
}

/// Breaks all links of a node, and lets it make none.
async fn shut(proxy: &TcpProxy) {
    proxy.refuse().await;
    proxy.cut_all();
}

/// Has a message confirmed on each stream by a node.
async fn confirm(load: &Load, node: usize) {
    let publishes: Vec<_> = channels().iter().map(|channel| load.publish(node, channel, 32)).collect();
    for publish in publishes {
        publish.await.expect("a task").expect("a confirmation");
    }
}

async fn confirm_everywhere(load: &Load) {
    for node in 0..3 {
        confirm(load, node).await;
    }
}

async fn heads(server: &RedisServer, config: &RedisConfig) -> Heads {
    let mut heads = Vec::new();
    for stream in (0..STREAMS).map(StreamIndex) {
        let log = log_of(server, config, stream).await.expect("its streams");
        let last = log.last().expect("an opening");
        heads.push((last.epoch.0, last.id.0));
    }
    heads
}

/// Whether a server has nothing on any stream of what came behind `heads` in their epochs.
async fn lacks_what_came_behind(server: &RedisServer, config: &RedisConfig, heads: &Heads) -> bool {
    for (stream, (epoch, id)) in (0..STREAMS).zip(heads) {
        let log = log_of(server, config, StreamIndex(stream)).await.expect("its streams");
        if log.iter().any(|held| held.epoch.0 == *epoch && held.id.0 > *id) {
            return false;
        }
    }
    true
}

async fn settle(load: Load, sentinels: &RedisSentinels, config: &RedisConfig) -> Verdict {
    let master = &sentinels.servers()[sentinels.master().await.expect("a master")];
    let log = async |stream| log_of(master, config, stream).await.expect("its streams");
    let verdict = load.settle(log).await;
    verdict.expect_good();
    verdict.expect_all();
    verdict
}
