//! What an application makes once per process, and gives to socketioxide.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use scaleout_cluster::{Cluster, ClusterConfig};
use scaleout_core::{Bus, Error, Gap};
use serde::{Serialize, de::DeserializeOwned};
use socketioxide_core::adapter::BroadcastOptions;

use crate::{
    AdapterConfig, AdapterCounters, EventRegistration, Fetched, ScaleoutError, ServerAnswers, ServerEvent,
    shared::Shared,
};

/// The name of the cluster that adapters join, where an application gives none of its own.
pub(crate) const CLUSTER: &str = "socketio";

/// Makes the adapters of a process: one subscription, one heartbeat and one handler, whatever the number of namespaces.
///
/// A cheap clone. Several `SocketIo` of a process may share one; a second one of the same cluster would take the
/// operations of the first.
#[derive(Clone)]
pub struct ScaleoutCtr(Arc<Shared>);

impl ScaleoutCtr {
    /// Joins the cluster `socketio` of `bus` in the background, with the default settings.
    ///
    /// # Errors
    /// Those of [`Cluster::start`].
    pub fn new(bus: &Bus) -> Result<Self, Error> {
        Self::with_config(bus, AdapterConfig::default())
    }

    /// Joins the cluster `socketio` of `bus` in the background.
    ///
    /// # Errors
    /// Those of [`Cluster::start`], and of [`AdapterConfig::check`].
    pub fn with_config(bus: &Bus, config: AdapterConfig) -> Result<Self, Error> {
        config.check()?;
        let cluster = Cluster::start(bus, ClusterConfig::default().with_name(CLUSTER))?;
        Self::on(cluster, config)
    }

    /// Uses a cluster that the application has joined, with the lease and label of its choice.
    ///
    /// All nodes whose sockets belong together use the same one.
    ///
    /// # Errors
    /// Those of [`AdapterConfig::check`].
    pub fn on(cluster: Cluster, config: AdapterConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self(Shared::new(cluster, config)))
    }

    /// The nodes that the adapters know of, and requests and presence among them.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &AdapterConfig {
        &self.0.config
    }

    /// What the adapters did so far.
    #[must_use]
    pub fn counters(&self) -> AdapterCounters {
        self.0.counts.snapshot()
    }

    /// How many namespaces have an adapter in this process.
    #[must_use]
    pub fn namespaces(&self) -> usize {
        self.0.registry.len()
    }

    /// Calls `handler` with every gap: operations of other nodes may have been lost on their way here.
    ///
    /// It replaces the handler that was set before, and must not block.
    pub fn on_gap(&self, handler: impl Fn(&Gap) + Send + Sync + 'static) {
        let mut held = self.0.on_gap.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = held.replace(Arc::new(handler));
        drop(held);
        // Without the lock, whatever it holds.
        drop(earlier);
    }

    /// The sockets of `namespace` that `options` select, of all nodes, with the nodes that did not answer.
    ///
    /// As `fetch_sockets` of socketioxide, but what there is, is told in any case. Without rooms, give the options the flag
    /// [`Broadcast`](socketioxide_core::adapter::BroadcastFlags::Broadcast), or they select nobody.
    ///
    /// # Errors
    /// [`ScaleoutError::Request`], and [`ScaleoutError::NoSuchServer`].
    pub async fn fetch(&self, namespace: &str, options: &BroadcastOptions) -> Result<Fetched, ScaleoutError> {
        self.0.fetch(namespace, options).await
    }

    /// Sends an event to all other servers, not to this one.
    ///
    /// # Errors
    /// [`ScaleoutError::Json`], and what became of it where that is not certain or late.
    pub async fn server_emit<T: ?Sized + Serialize>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), ScaleoutError> {
        self.0.server_emit(event, data).await
    }

    /// Sends an event to all other servers, and waits for the answer of each.
    ///
    /// A server that is silent until `timeout`, without a handler, or whose handler drops the event, is among the
    /// missing, with the reason.
    ///
    /// # Errors
    /// [`ScaleoutError::Json`] where `data` has no JSON, [`ScaleoutError::Request`].
    pub async fn server_emit_with_ack<T: ?Sized + Serialize, R: DeserializeOwned>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<ServerAnswers<R>, ScaleoutError> {
        self.0.server_emit_with_ack(event, data, timeout).await
    }

    /// Calls `handler` with every `event` of another server, in the order of their arrival.
    ///
    /// It replaces the handler of that event that was set before, and must not block: it may move the event into a task.
    pub fn on_server_event(
        &self,
        event: &str,
        handler: impl Fn(ServerEvent) + Send + Sync + 'static,
    ) -> EventRegistration {
        self.0.on_server_event(event, handler)
    }

    /// Says goodbye to the other nodes, so that nobody waits for this one any more; the bus stays open.
    ///
    /// It waits for the store to have it, or `deadline` to pass. Sockets of this node get nothing of others afterwards.
    ///
    /// The last clone that is dropped, with all that socketioxide made of it, says goodbye too. But `SocketIo::close` of
    /// socketioxide 0.18 keeps namespaces whose sockets were connected: a process that goes on after that calls this.
    pub async fn close(&self, deadline: Duration) {
        self.0.cluster.close(deadline).await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl fmt::Debug for ScaleoutCtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScaleoutCtr").field(&self.0).finish()
    }
}
