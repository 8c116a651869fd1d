//! What the conformance suite gets: the nodes of an app, on whatever servers.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, StreamIndex};
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    fixture::{Fault, Fixture, Held, Need},
    servers::RedisServer,
};

use crate::{log::log_of, support::node};

/// The servers that nodes are connected to, and the faults these can be put through.
pub(crate) trait Servers: Send + Sync {
    /// The settings of a node of `app`.
    fn config(&self, app: &str) -> RedisConfig;

    /// Those that hold keys and take commands.
    fn masters(&self) -> Vec<&RedisServer>;

    /// Whether [`inject`](Self::inject) knows `fault`.
    fn can(&self, fault: Fault) -> bool;

    /// Puts the servers through a fault that they [can](Self::can) be put through, for nodes of `app` at least.
    fn inject<'a>(&'a self, app: &'a str, fault: Fault) -> BoxFuture<'a, ()>;
}

/// The nodes of an app on servers.
#[derive(Debug)]
pub(crate) struct Nodes<S> {
    pub(crate) app: String,
    pub(crate) servers: S,
}

/// The keys of a server that fit a pattern.
pub(crate) async fn keys(server: &RedisServer, pattern: &str) -> Vec<String> {
    redis::from_redis_value(server.command(&["KEYS", pattern]).await.expect("the server obeys"))
        .expect("keys")
}

impl<S: Servers> Fixture for Nodes<S> {
    fn capabilities(&self) -> Capabilities {
        self.node().capabilities()
    }

    fn expects(&self, need: Need) -> bool {
        match need {
            // Nodes register nothing in Redis.
            Need::Registrations => false,
            Need::Fault(fault) => fault == Fault::Aging || self.servers.can(fault),
            _ => true,
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn node(&self) -> Arc<dyn Backplane> {
        node(self.servers.config(&self.app))
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        node(self.servers.config(&format!("another-{}", self.app)))
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        let config = self.servers.config(&self.app);
        let more = config.streams.saturating_add(1);
        Some(node(config.with_streams(more)))
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        async move {
            if fault == Fault::Aging {
                return true;
            }
            let can = self.servers.can(fault);
            if can {
                self.servers.inject(&self.app, fault).await;
            }
            can
        }
        .boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        async { None }.boxed()
    }

    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        async move {
            let config = self.servers.config(&self.app);
            for master in self.servers.masters() {
                if let Some(held) = log_of(master, &config, stream).await {
                    return Some(held);
                }
            }
            None
        }
        .boxed()
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
