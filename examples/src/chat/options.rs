//! The command line of the chat.

use std::net::SocketAddr;

use clap::Parser;
use scaleout_core::{AppName, BusConfig};
use tracing_subscriber::filter::LevelFilter;

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

    /// The store that connects the nodes. `memory:` reaches the nodes of this process only.
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub backplane: String,

    /// The application's namespace in the store: 1 to 31 of a-z, 0-9 and '-'.
    #[arg(long, value_name = "NAME", default_value = "chat")]
    pub app: AppName,

    /// Bytes of received messages that each node keeps for returning clients.
    #[arg(long, value_name = "BYTES", default_value_t = BusConfig::default().max_ring_bytes)]
    pub ring_bytes: usize,

    /// How much is logged on stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: LevelFilter,
}

impl Options {
    /// The settings of each node's bus.
    #[must_use]
    pub fn bus_config(&self) -> BusConfig {
        BusConfig::default().with_app(self.app.clone()).with_max_ring_bytes(self.ring_bytes)
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
        let one = "chat --node 127.0.0.1:0 --backplane memory: --app team-1 --ring-bytes 4096";
        let options = Options::parse_from(one.split(' '));
        assert_eq!((options.nodes.len(), options.bus_config().max_ring_bytes), (1, 4096));
        assert!(Options::try_parse_from(["chat", "--app", "Not an app"]).is_err());
    }
}
