//! Real buses on an emulator, under load and under faults: nothing is missing unreported, nothing comes twice, and neither
//! connections nor links nor subscriptions are left over.
//!
//! The history checker of the testkit judges what every node and client saw.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod chaos;
mod endings;
mod entities;
mod foreign;
mod links;
mod rights;
mod starts;
mod subscribers;
mod tokens;

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::Bytes;
use scaleout_core::{
    Backplane, Bus, BusConfig, Epoch, Error, ErrorKind, PayloadId, StreamIndex, StreamState, stream_of,
};
use scaleout_servicebus::{ServiceBusBackplane, ServiceBusConfig};
use scaleout_testkit::{
    checker::{ArrivalKind, Content, Outcome},
    fixture::Held,
    load::{Load, Traffic, Verdict},
};
use servicebus_emulator::{Emulator, EmulatorBuilder, Faults, Logged, Namespace};

use self::support::for_tests;

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of every app here, unless a test says otherwise.
const TOPICS: u16 = 3;

/// An emulator, and the settings of nodes on it.
struct Scene {
    emulator: Emulator,
    config: ServiceBusConfig,
    /// By place in the run, where all nodes of the run are of this scene.
    backplanes: Mutex<Vec<ServiceBusBackplane>>,
}

impl Scene {
    async fn new() -> Self {
        Self::on(Emulator::builder()).await
    }

    /// Nodes on an emulator that is not as usual.
    async fn on(emulator: EmulatorBuilder) -> Self {
        let emulator = emulator.keep_log(true).start().await.expect("free ports");
        let config = settings(&emulator.connection_string());
        Self { emulator, config, backplanes: Mutex::default() }
    }

    fn with(mut self, adapt: impl FnOnce(ServiceBusConfig) -> ServiceBusConfig) -> Self {
        self.config = adapt(self.config);
        self
    }

    fn faults(&self) -> &Faults {
        self.emulator.faults()
    }

    fn namespace(&self) -> &Namespace {
        self.emulator.namespace()
    }

    fn node(&self) -> Arc<dyn Backplane> {
        self.node_of(self.config.clone())
    }

    fn node_of(&self, config: ServiceBusConfig) -> Arc<dyn Backplane> {
        let backplane = ServiceBusBackplane::new(config).expect("settings that work");
        self.backplanes.lock().unwrap_or_else(PoisonError::into_inner).push(backplane.clone());
        Arc::new(backplane)
    }

    /// The name of a node's subscriptions.
    fn subscription(&self, node: usize) -> String {
        self.backplanes.lock().unwrap_or_else(PoisonError::into_inner)[node].subscription().to_owned()
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
    async fn load(&self, nodes: usize) -> Load {
        let mut load = self.quiet(nodes).await;
        for node in 0..nodes {
            load.traffic(node, traffic());
        }
        load.flows().await;
        load
    }

    /// Has node 0 publish on all channels, and waits until that is confirmed.
    async fn say(&self, load: &Load) {
        let publishes: Vec<_> = channels().iter().map(|channel| load.publish(0, channel, 32)).collect();
        for publish in publishes {
            publish.await.expect("it does not panic").expect("it is sent");
        }
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
        let left = || {
            let figures = self.faults().figures();
            (figures.connections, figures.links, figures.http_connections, self.subscriptions())
        };
        let deadline = Instant::now() + PATIENCE;
        while left() != (0, 0, 0, 0) {
            assert!(
                Instant::now() < deadline,
                "connections, links, HTTP connections and subscriptions are left: {:?}",
                left()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The name of a topic.
    fn topic(&self, index: u16) -> String {
        format!("{}{}-{index}", self.config.topic_prefix, self.config.app)
    }

    fn topics(&self) -> Vec<String> {
        self.namespace().topics(0, usize::MAX).into_iter().map(|topic| topic.name).collect()
    }

    /// How many subscriptions there are on all topics.
    fn subscriptions(&self) -> usize {
        self.namespace().topics(0, usize::MAX).iter().map(|topic| topic.subscriptions).sum()
    }

    fn log(&self, stream: StreamIndex) -> Vec<Held> {
        let held = |message: Logged| Held {
            epoch: epoch_of(message.topic_created_at),
            id: PayloadId(message.enqueued_sequence_number.unsigned_abs()),
            // Of what has a body of another kind, nodes make something that is no frame.
            bytes: message.data().unwrap_or_else(|| Bytes::from_static(b"not a frame")),
        };
        self.namespace().log(&self.topic(stream.0)).into_iter().map(held).collect()
    }

    /// The same where nobody is asked when topics were made: all are of the configured epoch.
    fn configured_log(&self, stream: StreamIndex) -> Vec<Held> {
        let epoch = Epoch(self.config.epoch);
        self.log(stream).into_iter().map(|held| Held { epoch, ..held }).collect()
    }
}

/// Settings, so that tests do not wait for long.
fn settings(connection_string: &str) -> ServiceBusConfig {
    let config: ServiceBusConfig =
        format!("{connection_string};App=app").parse().expect("its own connection string");
    for_tests(config)
        .with_topic_count(NonZeroU16::new(TOPICS).expect("it is not 0"))
        .with_fatal_retry(Duration::from_millis(500))
        .with_max_backoff(Duration::from_millis(500))
}

fn bus_config() -> BusConfig {
    BusConfig::default().with_max_backoff(Duration::from_millis(500))
}

/// With `create_entities`.
fn epoch_of(created_at: std::time::SystemTime) -> Epoch {
    let micros = created_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    Epoch(u64::try_from(micros).expect("it is not that late"))
}

/// Channels on all streams.
fn channels() -> Vec<String> {
    (0..12).map(|index| format!("channel {index}")).collect()
}

/// A channel on a stream.
fn channel_of_stream(stream: u16) -> String {
    let streams = NonZeroU16::new(TOPICS).expect("it is not 0");
    channels()
        .into_iter()
        .find(|channel| stream_of(channel, streams).0 == stream)
        .expect("one on each stream")
}

fn traffic() -> Traffic {
    Traffic { channels: channels(), rate: 60, len: 32 }
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

/// An error and its causes, in one line.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Fails if a client was told of a gap.
fn expect_no_gap(verdict: &Verdict) {
    assert!(verdict.gaps().is_empty(), "{:?}", verdict.gaps());
}

/// Fails if a publish was not confirmed.
fn expect_confirmed(verdict: &Verdict) {
    assert_eq!(verdict.outcomes(Outcome::Ok), verdict.recording.publishes.len());
}

/// How many frames the store had.
fn frames_in_log(verdict: &Verdict) -> usize {
    verdict.recording.log.iter().filter(|frame| matches!(frame.content, Content::Frame(_))).count()
}

/// How often receptions told that payloads may be missing.
fn broken_links(verdict: &Verdict) -> usize {
    let arrivals = verdict.recording.nodes.iter().flat_map(|node| &node.arrivals);
    arrivals.filter(|arrival| matches!(arrival.kind, ArrivalKind::Opened { unbroken: false, .. })).count()
}
