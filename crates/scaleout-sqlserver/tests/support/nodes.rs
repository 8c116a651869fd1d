//! What the conformance suite gets: the nodes of an app, in a schema of their own.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, StreamIndex};
use scaleout_sqlserver::SqlServerConfig;
use scaleout_testkit::fixture::{Fault, Fixture, Held, Need};

use crate::support::node;

/// The server that nodes are connected to, and the faults it can be put through.
pub(crate) trait Server: Send + Sync {
    /// The settings of a node of `app` in `schema`.
    fn config(&self, app: &str, schema: &str) -> SqlServerConfig;

    /// Whether [`inject`](Self::inject) knows `fault`.
    fn can(&self, fault: Fault) -> bool;

    /// Whether nodes register with Service Broker.
    fn has_broker(&self) -> bool;

    /// Puts the server through a fault that it [can](Self::can) be put through, for the nodes in `schema` at least.
    fn inject<'a>(&'a self, schema: &'a str, fault: Fault) -> BoxFuture<'a, ()>;

    /// How many listeners are registered in `schema`.
    fn registrations<'a>(&'a self, schema: &'a str) -> BoxFuture<'a, usize>;

    /// What a stream holds.
    fn log<'a>(&'a self, schema: &'a str, stream: StreamIndex) -> BoxFuture<'a, Vec<Held>>;

    /// Removes these schemas.
    fn clean_up<'a>(&'a self, schemas: [&'a str; 2]) -> BoxFuture<'a, ()>;
}

/// The nodes of an app on a server.
#[derive(Debug)]
pub(crate) struct Nodes<S> {
    pub(crate) schema: String,
    pub(crate) server: S,
}

impl<S: Server> Nodes<S> {
    fn another_schema(&self) -> String {
        format!("{}_another", self.schema)
    }
}

impl<S: Server> Fixture for Nodes<S> {
    fn capabilities(&self) -> Capabilities {
        self.node().capabilities()
    }

    fn expects(&self, need: Need) -> bool {
        match need {
            Need::Registrations => self.server.has_broker(),
            Need::Fault(Fault::Aging) => true,
            Need::Fault(fault) => self.server.can(fault),
            Need::Streams => self.node().stream_count().get() > 1,
            Need::Retained => false,
            _ => true,
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn node(&self) -> Arc<dyn Backplane> {
        node(self.server.config("app", &self.schema))
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        node(self.server.config("another", &self.another_schema()))
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        let config = self.server.config("app", &self.schema);
        let more = config.table_count.saturating_add(1);
        Some(node(config.with_table_count(more)))
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        async move {
            if fault == Fault::Aging && !self.server.has_broker() {
                // Nothing is registered that could age.
                return true;
            }
            let can = self.server.can(fault);
            if can {
                self.server.inject(&self.schema, fault).await;
            }
            can
        }
        .boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        async {
            if !self.server.has_broker() {
                return None;
            }
            Some(self.server.registrations(&self.schema).await)
        }
        .boxed()
    }

    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        async move { Some(self.server.log(&self.schema, stream).await) }.boxed()
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        async move {
            let another = self.another_schema();
            self.server.clean_up([&self.schema, &another]).await;
        }
        .boxed()
    }
}
