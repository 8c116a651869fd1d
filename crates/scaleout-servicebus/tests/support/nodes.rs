//! What the conformance suite gets: the nodes of an app, on topics of their own.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, StreamIndex};
use scaleout_servicebus::ServiceBusConfig;
use scaleout_testkit::fixture::{Fault, Fixture, Held, Need};

use crate::support::node;

/// The namespace that nodes are connected to, and the faults it can be put through.
pub(crate) trait Server: Send + Sync {
    /// The settings of a node of `app`.
    fn config(&self, app: &str) -> ServiceBusConfig;

    /// Whether [`inject`](Self::inject) knows `fault`.
    fn can(&self, fault: Fault) -> bool;

    /// Whether what nodes register and what topics hold can be told.
    fn can_tell(&self) -> bool;

    /// Puts the namespace through a fault that it [can](Self::can) be put through, for the nodes of `app` at least.
    fn inject<'a>(&'a self, app: &'a str, fault: Fault) -> BoxFuture<'a, ()>;

    /// How many subscriptions the nodes of `app` have.
    fn registrations(&self, app: &str) -> usize;

    /// What a stream holds.
    fn log(&self, app: &str, stream: StreamIndex) -> Vec<Held>;

    /// Removes the topics of these apps.
    fn clean_up<'a>(&'a self, apps: [&'a str; 2]) -> BoxFuture<'a, ()>;
}

/// The nodes of an app in a namespace.
#[derive(Debug)]
pub(crate) struct Nodes<S> {
    pub(crate) app: String,
    pub(crate) server: S,
}

impl<S: Server> Nodes<S> {
    /// Its name begins like that of the app, so that names which are not told apart well are found.
    fn another_app(&self) -> String {
        format!("{}-0", self.app)
    }
}

impl<S: Server> Fixture for Nodes<S> {
    fn capabilities(&self) -> Capabilities {
        self.node().capabilities()
    }

    fn expects(&self, need: Need) -> bool {
        match need {
            Need::Registrations | Need::Log => self.server.can_tell(),
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
        node(self.server.config(&self.app))
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        node(self.server.config(&self.another_app()))
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        let config = self.server.config(&self.app);
        let more = config.topic_count.saturating_add(1);
        Some(node(config.with_topic_count(more)))
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        async move {
            let can = self.server.can(fault);
            if can {
                self.server.inject(&self.app, fault).await;
            }
            can
        }
        .boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        async { self.server.can_tell().then(|| self.server.registrations(&self.app)) }.boxed()
    }

    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        async move { self.server.can_tell().then(|| self.server.log(&self.app, stream)) }.boxed()
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        async move {
            let another = self.another_app();
            self.server.clean_up([&self.app, &another]).await;
        }
        .boxed()
    }
}
