//! What all adapters of a process share.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use futures_util::FutureExt;
use scaleout_cluster::{Cluster, Registration, Target};
use scaleout_core::{Error, ErrorKind, Gap, Publish, StateWatch, StreamIndex, StreamState};
use socketioxide_core::adapter::{
    BroadcastFlags, BroadcastOptions,
    errors::{BroadcastError, SocketError},
};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    AdapterConfig, Confirm, Delivery, ScaleoutError, counters::Counts, events::Events, registry::Registry,
    servers::Servers,
};

/// The subject of all operations: one, so that all of them keep their order.
pub(crate) const SUBJECT: &str = "io";

/// Is called with every gap.
pub(crate) type GapHandler = Arc<dyn Fn(&Gap) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) config: AdapterConfig,
    pub(crate) registry: Registry,
    pub(crate) servers: Servers,
    pub(crate) events: Events,
    pub(crate) counts: Arc<Counts>,
    pub(crate) on_gap: RwLock<Option<GapHandler>>,
    stream: StreamIndex,
    state: StateWatch,
    /// Tells emits that wait for the store to look whether they still should.
    look: Arc<Notify>,
    _handlers: [Registration; 2],
}

/// Tells waiting emits to look when the state of the streams changes, and now and then.
async fn make_look(shared: Weak<Shared>, look: Arc<Notify>, mut state: StateWatch, within: Duration) {
    let mut ticks = interval((within / 4).clamp(MIN_LOOK, MAX_LOOK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let open = tokio::select! {
            changed = state.changed() => changed.is_some(),
            _ = ticks.tick() => true,
        };
        look.notify_waiters();
        if !open || shared.strong_count() == 0 {
            return;
        }
    }
}

/// How far apart looks are at least and at most, but for changes.
const MIN_LOOK: Duration = Duration::from_millis(10);
const MAX_LOOK: Duration = Duration::from_secs(1);

/// Where an operation is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// On this node, at once.
    pub(crate) here: bool,
    /// Where it is sent.
    pub(crate) there: Option<Target>,
}

impl Shared {
    pub(crate) fn new(cluster: Cluster, config: AdapterConfig) -> Arc<Self> {
        Arc::new_cyclic(|shared: &Weak<Self>| {
            // Handlers must not keep alive what owns them.
            let (operations, gaps) = (Weak::clone(shared), Weak::clone(shared));
            let handlers = [
                cluster.handle(SUBJECT, move |incoming| {
                    if let Some(shared) = operations.upgrade() {
                        shared.receive(incoming);
                    }
                }),
                cluster.on_gap(move |gap| {
                    if let Some(shared) = gaps.upgrade() {
                        shared.gap(gap);
                    }
                }),
            ];
            let bus = cluster.bus();
            let (state, look) = (bus.state(), Arc::new(Notify::new()));
            if let Confirm::Stored { within } = config.confirm {
                tokio::spawn(make_look(Weak::clone(shared), Arc::clone(&look), bus.state(), within));
            }
            let counts = Arc::<Counts>::default();
            #[cfg(feature = "metrics")]
            bus.export_counters(counts.clone());
            Self {
                stream: bus.stream_of(cluster.channel()),
                state,
                look,
                config,
                registry: Registry::default(),
                servers: Servers::default(),
                events: Events::default(),
                counts,
                on_gap: RwLock::default(),
                _handlers: handlers,
                cluster,
            }
        })
    }

    /// Where an operation that changes something on the sockets of `path` is to be done.
    pub(crate) fn route(&self, path: &str, options: &BroadcastOptions) -> Result<Route, ScaleoutError> {
        self.route_or(path, options, || match self.config.delivery {
            Delivery::LocalFirst => Route { here: true, there: Some(Target::Others) },
            Delivery::Ordered => Route { here: false, there: Some(Target::All) },
        })
    }

    /// As [`route`](Self::route), for an operation that only looks.
    ///
    /// This node is asked by way of the backplane, too: an operation of another node that the store had before has then
    /// been done on all of them.
    pub(crate) fn route_to_ask(
        &self,
        path: &str,
        options: &BroadcastOptions,
    ) -> Result<Route, ScaleoutError> {
        self.route_or(path, options, || {
            let is_alone = self.cluster.is_ready() && self.cluster.members().len() <= 1;
            Route { here: is_alone, there: (!is_alone).then_some(Target::All) }
        })
    }

    fn route_or(
        &self,
        path: &str,
        options: &BroadcastOptions,
        everywhere: impl FnOnce() -> Route,
    ) -> Result<Route, ScaleoutError> {
        if options.has_flag(BroadcastFlags::Local) {
            return Ok(Route { here: true, there: None });
        }
        let Some(server) = options.server_id else { return Ok(everywhere()) };
        if self.registry.get(path).is_some_and(|namespace| namespace.serves(server)) {
            return Ok(Route { here: true, there: None });
        }
        // Of a socket that this node does not have, socketioxide would record rooms here for ever: nothing is done here.
        let target = match self.servers.find(server) {
            Some(node) if self.cluster.members().contains(node) => Target::Node(node),
            Some(_) => return Err(ScaleoutError::NoSuchServer(server)),
            // All get it, and all but one leave it.
            None => Target::Others,
        };
        Ok(Route { here: false, there: Some(target) })
    }

    /// Sends an operation, and tells what became of it.
    pub(crate) async fn send(
        &self,
        operation: &[u8],
        target: Target,
        here: bool,
    ) -> Result<(), ScaleoutError> {
        self.counts.published.add(1);
        let mut publish = self.cluster.cast(SUBJECT, operation, target);
        if let Some(outcome) = (&mut publish).now_or_never() {
            return self.outcome(outcome, here);
        }
        match self.config.confirm {
            Confirm::Queued => Ok(()),
            Confirm::Stored { within } => {
                if let Some(outcome) = self.stored(&mut publish, within).await {
                    return self.outcome(outcome, here);
                }
                self.counts.queued.add(1);
                Err(ScaleoutError::Queued)
            }
        }
    }

    /// What became of it, unless the store is away, or slower than `within`.
    ///
    /// Emits look at that together, when one task tells them to: a timer for each would cost a good part of an emit.
    async fn stored(&self, publish: &mut Publish, within: Duration) -> Option<Result<(), Error>> {
        let started = Instant::now();
        loop {
            let look = self.look.notified();
            match self.state.of(self.stream) {
                // The bus is closed, and says what became of all that it took.
                Some(StreamState::Closed) | None => return Some(publish.await),
                Some(StreamState::Up) if started.elapsed() < within => {}
                Some(_) => return None,
            }
            tokio::select! {
                biased;
                outcome = &mut *publish => return Some(outcome),
                () = look => {}
            }
        }
    }

    fn outcome(&self, outcome: Result<(), Error>, here: bool) -> Result<(), ScaleoutError> {
        let Err(error) = outcome else { return Ok(()) };
        Err(if error.kind() == ErrorKind::Unconfirmed {
            self.counts.unconfirmed.add(1);
            ScaleoutError::Unconfirmed(error)
        } else if here {
            self.counts.local_only.add(1);
            ScaleoutError::LocalOnly(error)
        } else {
            self.counts.not_sent.add(1);
            ScaleoutError::NotSent(error)
        })
    }

    /// One outcome of two: that of this node's sockets goes before.
    pub(crate) fn tell(
        &self,
        here: Result<(), Vec<SocketError>>,
        there: Result<(), ScaleoutError>,
    ) -> Result<(), BroadcastError> {
        match (here, there) {
            (Err(errors), there) if !errors.is_empty() => {
                if let Err(error) = there {
                    self.counts.untold.add(1);
                    tracing::warn!(%error, "an operation failed here, and for other nodes");
                }
                Err(BroadcastError::Socket(errors))
            }
            (_, Err(error)) => Err(error.into()),
            (_, Ok(())) => Ok(()),
        }
    }

    pub(crate) fn gap(&self, gap: &Gap) {
        self.counts.gaps.add(1);
        let handler = self.on_gap.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(handler) = handler {
            handler(gap);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("node", &self.cluster.node())
            .field("config", &self.config)
            .field("namespaces", &self.registry)
            .finish_non_exhaustive()
    }
}
