//! Load on nodes of real servers.

use std::time::Duration;

use scaleout_core::BusConfig;
use scaleout_redis::RedisConfig;
use scaleout_testkit::load::{Load, Traffic};

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
