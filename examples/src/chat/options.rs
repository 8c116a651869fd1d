//! The command line of the chat.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use scaleout::BusConfig;

use crate::store::StoreOptions;

/// A chat on many nodes, to show what scaleout does.
///
/// Without options: two nodes in this process, on 127.0.0.1:8081 and 127.0.0.1:8082, over a store in memory.
/// Open both in a browser, say something, and switch a client to the other node.
#[derive(Debug, Parser)]
#[command(name = "chat")]
pub struct Options {
    /// Address of a node of this process; repeat it for more. Port 0 takes a free one.
    #[arg(long = "node", value_name = "ADDR", default_values = ["127.0.0.1:8081", "127.0.0.1:8082"])]
    pub nodes: Vec<SocketAddr>,

    /// Address of a node elsewhere, to which clients may reconnect; repeat it for more.
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,

    /// Where the nodes meet.
    #[command(flatten)]
    pub store: StoreOptions,

    /// Bytes of received messages that each node keeps for returning clients.
    #[arg(long, value_name = "BYTES", default_value_t = BusConfig::default().max_ring_bytes)]
    pub ring_bytes: usize,

    /// Seconds for which a node without its store still counts as ready: /health says 200, then 503.
    #[arg(long, value_name = "SECONDS", default_value_t = BusConfig::default().degraded_grace.as_secs())]
    pub grace_seconds: u64,
}

impl Options {
    /// The settings of each node's bus.
    #[must_use]
    pub fn bus_config(&self) -> BusConfig {
        self.store
            .bus_config()
            .with_max_ring_bytes(self.ring_bytes)
            .with_degraded_grace(Duration::from_secs(self.grace_seconds))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn two_nodes_are_the_default_and_one_replaces_them() {
        Options::command().debug_assert();
        assert_eq!(Options::parse_from(["chat"]).nodes.len(), 2);
        let one = "chat --node 127.0.0.1:0 --backplane redis://:hunter2@host --app team-1 --ring-bytes 4096 --grace-seconds 1";
        let options = Options::parse_from(one.split(' '));
        let config = options.bus_config();
        assert_eq!((options.nodes.len(), config.max_ring_bytes), (1, 4096));
        assert_eq!((config.app.as_str(), config.degraded_grace), ("team-1", Duration::from_secs(1)));
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
