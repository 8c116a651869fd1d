//! A Redis Cluster whose slots move and whose masters change, under load.

#[path = "support/log.rs"]
mod log;
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use std::num::NonZeroU16;

use scaleout_core::{StreamIndex, stream_of};
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    load::{Load, Verdict},
    needs_redis,
    servers::RedisCluster,
};

use self::{
    log::log_of,
    support::config_of,
    traffic::{channels, load_of},
};

/// As many as groups, so that each stream has a slot of its own.
const STREAMS: u16 = 4;

/// Messages a second of each node.
const RATE: u32 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_step_by_step_cost_nothing() {
    needs_redis!();
    let cluster = RedisCluster::builder().start().await.expect("a cluster");
    let (config, load) = load_on(&cluster).await;
    for stream in 0..STREAMS {
        let slot = slot_of(&config, stream);
        let to = (cluster.owner(slot).await.expect("an owner") + 1) % 3;
        let moving = cluster.begin_move(slot, to).await.expect("a move").expect("another master");
        confirm(&load, stream).await;
        // From here on some of the group's keys are at the old master, and some at the new one.
        while moving.move_keys(1).await.expect("a step") > 0 {
            confirm(&load, (stream + 1) % STREAMS).await;
        }
        // All are at the new one, which serves only those whom the old one sends there.
        confirm(&load, stream).await;
        moving.finish().await.expect("the last step");
        confirm(&load, stream).await;
        load.flows().await;
    }
    let verdict = settle(load, &cluster, &config).await;
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
    assert!(verdict.counters.iter().all(|counters| counters.faults > 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_step_down_lose_nothing_unreported() {
    needs_redis!();
    let cluster = RedisCluster::builder().replicas_per_master(1).start().await.expect("a cluster");
    let (config, load) = load_on(&cluster).await;
    for index in [3, 4, 5, 0] {
        cluster.failover(index).await.expect("another master");
        confirm_everywhere(&load).await;
        load.flows().await;
        cluster.wait_ready().await.expect("a cluster that is well");
    }
    settle(load, &cluster, &config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_die_lose_nothing_unreported() {
    needs_redis!();
    let cluster = RedisCluster::builder().replicas_per_master(1).start().await.expect("a cluster");
    let (config, load) = load_on(&cluster).await;
    for old in 0..3 {
        cluster.servers()[old].kill();
        cluster.wait_master(old + 3).await.expect("another master");
        confirm_everywhere(&load).await;
        load.flows().await;
        cluster.servers()[old].start().await.expect("the old master starts as a replica");
        cluster.wait_ready().await.expect("a cluster that is well");
    }
    settle(load, &cluster, &config).await;
}

async fn load_on(cluster: &RedisCluster) -> (RedisConfig, Load) {
    let config = config_of(&cluster.url(), "app");
    let mut owners = Vec::new();
    for stream in 0..STREAMS {
        owners.push(cluster.owner(slot_of(&config, stream)).await.expect("an owner"));
    }
    owners.sort_unstable();
    owners.dedup();
    assert!(owners.len() > 1, "one master has all groups of this app");
    let load = load_of([config.clone(), config.clone(), config.clone()], RATE).await;
    (config, load)
}

/// The slot of a stream's group.
fn slot_of(config: &RedisConfig, stream: u16) -> u16 {
    RedisCluster::slot_of(format!("{{{}:{}}}", config.app, stream % config.group_count()))
}

/// Has a message of each node confirmed on a stream.
async fn confirm(load: &Load, stream: u16) {
    let streams = NonZeroU16::new(STREAMS).expect("4 is not 0");
    let all = channels();
    let channel = all.iter().find(|channel| stream_of(channel, streams) == StreamIndex(stream));
    let channel = channel.expect("channels on all streams");
    let publishes: Vec<_> = (0..3).map(|node| load.publish(node, channel, 32)).collect();
    for publish in publishes {
        publish.await.expect("a task").expect("a confirmation");
    }
}

async fn confirm_everywhere(load: &Load) {
    for stream in 0..STREAMS {
        confirm(load, stream).await;
    }
}

async fn settle(load: Load, cluster: &RedisCluster, config: &RedisConfig) -> Verdict {
    let log = async |stream| {
        for server in cluster.servers() {
            if let Some(log) = log_of(server, config, stream).await {
                return log;
            }
        }
        panic!("nobody has stream {stream}");
    };
    let verdict = load.settle(log).await;
    verdict.expect_good();
    verdict.expect_all();
    verdict
}
