//! The command line of the chat.

use std::{fmt, net::SocketAddr, time::Duration};

use clap::Parser;
use scaleout::{AppName, BackplaneConfig, BusConfig, Error};
use tracing_subscriber::filter::LevelFilter;

/// A chat on many nodes, to show what scaleout does.
///
/// Without options: two nodes in this process, on 127.0.0.1:8081 and 127.0.0.1:8082, over a store in memory.
/// Open both in a browser, say something, and switch a client to the other node.
#[derive(Parser)]
#[command(name = "chat")]
pub struct Options {
    /// Address of a node of this process; repeat it for more. Port 0 takes a free one.
    #[arg(long = "node", value_name = "ADDR", default_values = ["127.0.0.1:8081", "127.0.0.1:8082"])]
    pub nodes: Vec<SocketAddr>,

    /// Address of a node elsewhere, to which clients may reconnect; repeat it for more.
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,

    /// The store that connects the nodes: redis://127.0.0.1:6379?app=chat for instance,
    /// sqlserver://user:password@localhost/database?app=chat, or a connection string of Azure Service Bus with App=chat.
    /// `memory:` reaches the nodes of this process only.
    // A string, since clap would show what it cannot parse, password and all.
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub backplane: String,

    /// The application's namespace in the store: 1 to 31 of a-z, 0-9 and '-'. Not needed where --backplane says it.
    #[arg(long, value_name = "NAME")]
    pub app: Option<AppName>,

    /// Bytes of received messages that each node keeps for returning clients.
    #[arg(long, value_name = "BYTES", default_value_t = BusConfig::default().max_ring_bytes)]
    pub ring_bytes: usize,

    /// Seconds for which a node without its store still counts as ready: /health says 200, then 503.
    #[arg(long, value_name = "SECONDS", default_value_t = BusConfig::default().degraded_grace.as_secs())]
    pub grace_seconds: u64,

    /// How much is logged on stderr: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: LevelFilter,
}

impl Options {
    /// Where the nodes meet.
    ///
    /// # Errors
    /// Where no provider can read it, or it needs an app and neither says one.
    pub fn backplane_config(&self) -> Result<BackplaneConfig, Error> {
        match &self.app {
            Some(app) => BackplaneConfig::parse_for(app, &self.backplane),
            None => self.backplane.parse(),
        }
    }

    /// The settings of each node's bus.
    #[must_use]
    pub fn bus_config(&self) -> BusConfig {
        BusConfig::default()
            .with_app(self.app.clone().unwrap_or_default())
            .with_max_ring_bytes(self.ring_bytes)
            .with_degraded_grace(Duration::from_secs(self.grace_seconds))
    }
}

/// Without the backplane, whose URL may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, peers, backplane: _, app, ring_bytes, grace_seconds, log } = self;
        f.debug_struct("Options")
            .field("nodes", nodes)
            .field("peers", peers)
            .field("app", app)
            .field("ring_bytes", ring_bytes)
            .field("grace_seconds", grace_seconds)
            .field("log", log)
            .finish_non_exhaustive()
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
        assert!(Options::try_parse_from(["chat", "--app", "Not an app"]).is_err());
    }

    #[test]
    fn the_app_of_the_options_is_that_of_the_backplane_unless_it_has_one() {
        let string = "Endpoint=sb://localhost;SharedAccessKeyName=ada;SharedAccessKey=hunter2;UseDevelopmentEmulator=true";
        for (backplane, expected) in
            [(string, "team-1"), ("redis://localhost", "team-1"), ("redis://localhost?app=chat", "chat")]
        {
            let options = Options::parse_from(["chat", "--app", "team-1", "--backplane", backplane]);
            let config = options.backplane_config().expect(backplane);
            assert_eq!(config.app().map(AppName::as_str), Some(expected), "{backplane}");
        }
        let nameless = Options::parse_from(["chat", "--backplane", string]).backplane_config().unwrap_err();
        assert!(nameless.to_string().contains("app is missing"), "{nameless}");
    }
}
