//! The command line of the chat by Socket.IO.

use std::{fmt, net::SocketAddr};

use clap::{Parser, ValueEnum};

use crate::store::StoreOptions;

/// A chat by Socket.IO on many nodes, for the official client or any other.
///
/// Without options: two nodes in this process, on 127.0.0.1:3000 and 127.0.0.1:3001, over a store in memory.
#[derive(Parser)]
#[command(name = "socketio_chat")]
pub struct Options {
    /// Address of a node of this process; repeat it for more. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_values = ["127.0.0.1:3000", "127.0.0.1:3001"])]
    pub listen: Vec<SocketAddr>,

    /// Where the nodes meet.
    #[command(flatten)]
    pub store: StoreOptions,

    /// When the sockets of the own node get what is emitted.
    #[arg(long, value_name = "WHEN", default_value = "local-first")]
    pub delivery: Delivery,

    /// Seconds for which a node waits for the answers of others.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub request_seconds: u64,

    /// Seconds for which a node waits for the store to confirm what is emitted, before it says that it comes later.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub confirm_seconds: u64,

    /// What opens the namespace /admin. Without it, nothing does.
    #[arg(long, value_name = "TOKEN")]
    pub admin_token: Option<String>,
}

/// When the sockets of the own node get what is emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Delivery {
    /// At once, whatever becomes of the store.
    LocalFirst,
    /// When it comes back from the store: in one order on all nodes.
    Ordered,
}

impl From<Delivery> for scaleout_socketioxide::Delivery {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::LocalFirst => Self::LocalFirst,
            Delivery::Ordered => Self::Ordered,
        }
    }
}

/// Without the token.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, store, delivery, request_seconds, confirm_seconds, admin_token: _ } = self;
        f.debug_struct("Options")
            .field("listen", listen)
            .field("store", store)
            .field("delivery", delivery)
            .field("request_seconds", request_seconds)
            .field("confirm_seconds", confirm_seconds)
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
        let default = Options::parse_from(["socketio_chat"]);
        assert_eq!((default.listen.len(), default.delivery), (2, Delivery::LocalFirst));
        let one = "socketio_chat --listen 127.0.0.1:0 --delivery ordered --backplane redis://:hunter2@host --app team-1 --admin-token hunter3";
        let options = Options::parse_from(one.split(' '));
        assert_eq!((options.listen.len(), options.delivery), (1, Delivery::Ordered));
        assert_eq!(options.store.bus_config().app.as_str(), "team-1");
        assert!(!format!("{options:?}").contains("hunter"));
    }
}
