//! Real buses on a test server, under load and under faults: nothing is missing unreported, nothing comes twice, and
//! neither connections nor conversations are left over.
//!
//! The history checker of the testkit judges what every node and client saw. The server does in memory what our procedures
//! do: these tests are about the provider, not about T-SQL.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod chaos;
mod connections;
mod doorbell;
mod idle;
mod install;
mod pool;
mod restarts;
mod restored;
mod retention;
mod rings;

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use scaleout_core::{
    Backplane, Bus, BusConfig, Epoch, Error, ErrorKind, PayloadId, StreamIndex, StreamState, stream_of,
};
use scaleout_sqlserver::{Doorbell, Notifications, SqlServerBackplane, SqlServerConfig};
use scaleout_testkit::{
    fixture::Held,
    load::{Load, Traffic, Verdict},
};
use sqlserver_testserver::TestServer;

use self::support::for_tests;

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of all nodes.
const SCHEMA: &str = "scaleout";

/// A server, and the settings of nodes on it.
struct Scene {
    server: TestServer,
    config: SqlServerConfig,
    /// By place in the run, where all nodes of the run are of this scene.
    backplanes: Mutex<Vec<SqlServerBackplane>>,
}

impl Scene {
    /// Nodes that are woken by Service Broker.
    async fn woken() -> Self {
        let server = TestServer::launch().await.expect("a free port");
        let config = settings(&server);
        Self { server, config, backplanes: Mutex::default() }
    }

    /// Nodes that poll.
    async fn polled() -> Self {
        Self::woken().await.with(|config| config.with_notifications(Notifications::PollOnly))
    }

    fn with(mut self, adapt: impl FnOnce(SqlServerConfig) -> SqlServerConfig) -> Self {
        self.config = adapt(self.config);
        self
    }

    fn node(&self) -> Arc<dyn Backplane> {
        self.node_of(self.config.clone())
    }

    fn node_of(&self, config: SqlServerConfig) -> Arc<dyn Backplane> {
        let backplane = SqlServerBackplane::new(config).expect("settings that work");
        self.backplanes.lock().unwrap_or_else(PoisonError::into_inner).push(backplane.clone());
        Arc::new(backplane)
    }

    fn backplane(&self, node: usize) -> SqlServerBackplane {
        self.backplanes.lock().unwrap_or_else(PoisonError::into_inner)[node].clone()
    }

    /// Nodes, each with a client of all channels.
    async fn quiet(&self, nodes: usize) -> Load {
        let mut load = Load::new();
        for _ in 0..nodes {
            let node = load.join(self.node(), bus_config()).await;
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

    /// Waits until every node of the scene hears the doorbell.
    async fn all_hear(&self, nodes: usize) {
        for node in 0..nodes {
            let backplane = self.backplane(node);
            eventually("the doorbell works", async || matches!(backplane.doorbell(), Doorbell::Works)).await;
        }
    }

    /// Waits until every node is registered and armed.
    async fn all_are_armed(&self, nodes: usize) {
        self.all_hear(nodes).await;
        eventually("all are armed", async || self.server.armed() == nodes).await;
    }

    /// Has node 0 publish on all channels, and waits until that is confirmed.
    async fn say(&self, load: &Load) {
        let publishes: Vec<_> = channels().iter().map(|channel| load.publish(0, channel, 32)).collect();
        for publish in publishes {
            publish.await.expect("it does not panic").expect("it is sent");
        }
    }

    /// Has node 0 publish on all channels, and waits until every client has got that.
    async fn say_to_all(&self, load: &Load, nodes: usize) {
        let delivered = |node| load.bus(node).counters().delivered;
        let before: Vec<u64> = (0..nodes).map(delivered).collect();
        self.say(load).await;
        let all = |node: usize| delivered(node) >= before[node] + channels().len() as u64;
        eventually("all is delivered", async || (0..nodes).all(all)).await;
    }

    /// Ends the run, and fails unless it was good: all that was confirmed came, and nothing is left over.
    async fn settle(&self, load: Load) -> Verdict {
        let verdict = self.judge(load).await;
        verdict.expect_all();
        verdict
    }

    /// The same, where a part need not come if that is told.
    async fn judge(&self, load: Load) -> Verdict {
        let verdict = load.settle(async |stream| self.log(stream)).await;
        verdict.expect_good();
        self.nothing_is_left().await;
        verdict
    }

    /// After all nodes were closed.
    async fn nothing_is_left(&self) {
        let left = || (self.server.connections(), self.server.listeners(), self.server.conversations());
        let deadline = Instant::now() + PATIENCE;
        while left() != (0, 0, 0) {
            assert!(
                Instant::now() < deadline,
                "connections, listeners and conversations are left: {:?}",
                left()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self, stream: StreamIndex) -> Vec<Held> {
        let held = |row: sqlserver_testserver::LoggedMessage| Held {
            epoch: Epoch(row.epoch),
            id: PayloadId(row.id),
            bytes: row.payload,
        };
        self.server.log(SCHEMA, stream.index()).into_iter().map(held).collect()
    }

    /// Cuts all connections while the server has a request of this name under way.
    async fn cut_during(&self, request: &str) {
        let before = self.server.requests_of(request);
        self.server.set_latency(Duration::from_millis(100));
        eventually(request, async || self.server.requests_of(request) > before).await;
        self.server.cut_all();
        self.server.set_latency(Duration::ZERO);
    }
}

/// Settings, so that tests do not wait for long.
fn settings(server: &TestServer) -> SqlServerConfig {
    let config: SqlServerConfig = server.url("app").parse().expect("its own URL");
    for_tests(config)
        .with_fatal_retry(Duration::from_millis(500))
        .with_max_backoff(Duration::from_millis(500))
}

fn bus_config() -> BusConfig {
    BusConfig::default().with_max_backoff(Duration::from_millis(500))
}

/// Channels on all streams.
fn channels() -> Vec<String> {
    (0..12).map(|index| format!("channel {index}")).collect()
}

/// A channel on stream 0, which is the one whose publishes meet fates.
fn channel_of_stream_0() -> String {
    let streams = NonZeroU16::new(4).expect("4 is not 0");
    channels().into_iter().find(|channel| stream_of(channel, streams).0 == 0).expect("one on each stream")
}

fn traffic(rate: u32) -> Traffic {
    Traffic { channels: channels(), rate, len: 32 }
}

/// Waits until `is_so`.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is wrong with a stream of a bus, once that is of this kind.
async fn trouble(bus: &Bus, kind: ErrorKind) -> Error {
    let mut found = None;
    eventually(&format!("trouble of the kind {kind:?}"), async || {
        found = bus.health().streams.iter().find_map(|state| match state {
            StreamState::Degraded { error, .. } if error.kind() == kind => Some(error.clone()),
            _ => None,
        });
        found.is_some()
    })
    .await;
    found.expect("it was found")
}

/// Fails if a client was told of a gap.
fn expect_no_gap(verdict: &Verdict) {
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}
