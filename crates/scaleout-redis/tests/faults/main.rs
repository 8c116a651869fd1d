//! Real buses on one real Redis server, under load and under faults: nothing is missing unreported, nothing comes twice.
//!
//! The history checker of the testkit judges what every node and client saw.

#[path = "../support/log.rs"]
mod log;

mod chaos;
mod epochs;
mod idle;
mod liveness;
mod outages;
mod readers;
mod replication;
mod restarts;
mod retention;
mod retries;

use std::{
    num::NonZeroU16,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::Value;
use scaleout_core::{Backplane, BusConfig, StreamIndex, stream_of};
use scaleout_redis::{Endpoint, RedisBackplane, RedisConfig, Topology};
use scaleout_testkit::{
    fixture::Held,
    load::{Load, Traffic, Verdict},
    servers::{RedisServer, RedisServerBuilder},
};

use self::log::log_of;

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and the settings of nodes on it.
struct Scene {
    server: RedisServer,
    config: RedisConfig,
}

impl Scene {
    async fn of(server: RedisServerBuilder) -> Self {
        let server = server.start().await.expect("redis-server starts");
        let config = settings(server.port());
        Self { server, config }
    }

    /// A server that keeps what it confirmed.
    async fn durable() -> Self {
        Self::of(RedisServer::builder().appendonly()).await
    }

    /// A server that keeps nothing.
    async fn forgetful() -> Self {
        Self::of(RedisServer::builder()).await
    }

    fn node(&self) -> Arc<dyn Backplane> {
        Arc::new(RedisBackplane::new(self.config.clone()).expect("settings that work"))
    }

    /// Nodes, each with a client of all channels.
    async fn quiet(&self, nodes: usize) -> Load {
        let mut load = Load::new();
        for _ in 0..nodes {
            let node = load.join(self.node(), BusConfig::default()).await;
            load.listen(node, &channels());
        }
        load
    }

    /// Nodes, each with a client and traffic of all channels.
    async fn load(&self, nodes: usize, rate: u32) -> Load {
        let mut load = self.quiet(nodes).await;
        for node in 0..nodes {
            load.traffic(node, traffic(rate));
        }
        load.flows().await;
        load
    }

    async fn settle(&self, load: Load) -> Verdict {
        let verdict = load.settle(async |stream| self.log(stream).await).await;
        verdict.expect_good();
        verdict
    }

    async fn log(&self, stream: StreamIndex) -> Vec<Held> {
        log_of(&self.server, &self.config, stream).await.unwrap_or_default()
    }

    async fn command(&self, words: &[&str]) -> Value {
        self.server.command(words).await.expect("the server obeys")
    }

    async fn number(&self, field: &str) -> u64 {
        let value = self.server.info(field).await.expect("the server tells").expect("a field of INFO");
        value.parse().expect("a number")
    }

    /// The names that the app's connections have given themselves.
    async fn connections(&self) -> usize {
        let list: String = redis::from_redis_value(self.command(&["CLIENT", "LIST"]).await).expect("text");
        list.lines().filter(|line| line.contains(" name=scaleout:app ")).count()
    }
}

/// The settings of nodes on a port of this machine.
fn settings(port: u16) -> RedisConfig {
    let app = "app".parse().expect("a name");
    let topology = Topology::Standalone(Endpoint::tcp("127.0.0.1", port));
    // So that tests do not wait for long.
    RedisConfig::new(app, topology).with_liveness(Duration::from_millis(600))
}

/// Channels on all streams.
fn channels() -> Vec<String> {
    (0..12).map(|index| format!("channel {index}")).collect()
}

/// Channels on stream 0, which is the one that proxies know.
fn channels_of_stream_0() -> Vec<String> {
    let streams = NonZeroU16::new(4).expect("4 is not 0");
    channels().into_iter().filter(|channel| stream_of(channel, streams).0 == 0).collect()
}

fn traffic(rate: u32) -> Traffic {
    Traffic { channels: channels(), rate, len: 32 }
}

/// Waits until `is_so`.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
