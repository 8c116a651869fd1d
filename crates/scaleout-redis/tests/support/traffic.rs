//! Load on nodes of real servers.

use std::{collections::HashSet, time::Duration};

use scaleout_core::BusConfig;
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    checker::{Item, Outcome},
    load::{Load, Traffic, Verdict},
};

use crate::support::node;

/// Channels on all streams.
pub(crate) fn channels() -> Vec<String> {
    (0..12).map(|index| format!("channel {index}")).collect()
}

/// One node for each of `configs`, with a client and traffic of all channels.
pub(crate) async fn load_of(configs: impl IntoIterator<Item = RedisConfig>, rate: u32) -> Load {
    // So that tests do not wait for long.
    let bus = BusConfig::default().with_max_backoff(Duration::from_millis(500));
    let (mut load, mut nodes) = (Load::new(), Vec::new());
    for config in configs {
        let node = load.join(node(config), bus.clone()).await;
        load.listen(node, &channels());
        nodes.push(node);
    }
    // Every client is there before the first message.
    for node in nodes {
        load.traffic(node, Traffic { channels: channels(), rate, len: 32 });
    }
    load.flows().await;
    load
}

/// Fails unless the run was good, and every client got every message that was confirmed.
pub(crate) fn expect_all(verdict: &Verdict) {
    verdict.expect_good();
    let publishes = verdict.recording.publishes.iter();
    let confirmed: Vec<_> = publishes.filter(|publish| publish.outcome == Outcome::Ok).collect();
    for (client, seen) in verdict.recording.clients.iter().enumerate() {
        let messages = seen.items.iter().filter_map(|item| match item {
            Item::Message(message) => Some(&message.bytes),
            _ => None,
        });
        let got: HashSet<_> = messages.collect();
        let missing = confirmed.iter().filter(|publish| !got.contains(&publish.bytes)).count();
        assert_eq!(missing, 0, "client {client} lacks so many of {} confirmed messages", confirmed.len());
    }
}
