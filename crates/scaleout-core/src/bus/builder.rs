//! How a bus is set up.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Bus, Inner, Lane, Owner, Ring, heard::Heard, metrics, metrics::Metrics, receiving, sending, upkeep,
};
use crate::{
    AppName, Backplane, BusConfig, Error, ErrorKind, Interest, NodeId, Role, StreamIndex, StreamState,
    budget::{QueueBudget, SharedBudget},
    counters::AtomicCounters,
    mutant::{Mutant, Mutation},
    queue::{QueueSettings, SendQueue, SharedQueue},
    state::Status,
    store::Store,
};

/// Sets up a [`Bus`].
#[derive(Debug)]
#[must_use]
pub struct BusBuilder {
    backplane: Arc<dyn Backplane>,
    config: BusConfig,
    node: Option<NodeId>,
    mutation: Mutation,
}

impl BusBuilder {
    pub(super) fn new(backplane: Arc<dyn Backplane>) -> Self {
        Self { backplane, config: BusConfig::default(), node: None, mutation: Mutation::default() }
    }

    /// Takes all settings at once.
    pub fn config(mut self, config: BusConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the application's namespace.
    pub fn app(mut self, app: AppName) -> Self {
        self.config.app = app;
        self
    }

    /// Sets whether this node receives.
    pub fn role(mut self, role: Role) -> Self {
        self.config.role = role;
        self
    }

    /// Sets which streams this node receives.
    pub fn interest(mut self, interest: Interest) -> Self {
        self.config.interest = interest;
        self
    }

    /// Sets the node's id, which is random otherwise, and with it the jitter of its retries.
    ///
    /// For tests. No two buses may ever have the same: a process that starts again is a new node.
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// Gives the bus a deliberate fault.
    #[cfg(feature = "mutants")]
    pub fn mutant(mut self, mutant: crate::Mutant) -> Self {
        self.mutation = Mutation(Some(mutant));
        self
    }

    /// Starts the bus, and returns when every stream is open and has caught up with the store.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for settings that cannot work, also with this backplane, and the first fatal error of the backplane. While
    /// the store is merely away it waits: give it a time-out where that is wanted, or use [`start`](Self::start).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future stops the bus.
    pub async fn connect(self) -> Result<Bus, Error> {
        let bus = self.start()?;
        let inner = Arc::clone(bus.inner());
        let mut states = inner.states.subscribe();
        loop {
            let fatal = states.borrow_and_update().iter().find_map(|state| match state {
                StreamState::Degraded { error, .. } if error.is_fatal() => Some(error.clone()),
                _ => None,
            });
            if let Some(error) = fatal {
                bus.close(std::time::Duration::ZERO).await;
                return Err(error);
            }
            if inner.were_up() {
                return Ok(bus);
            }
            if states.changed().await.is_err() {
                return Err(ErrorKind::Closed.into());
            }
        }
    }

    /// Starts the bus and returns at once: streams connect in the background, publishes wait for them.
    ///
    /// With feature `metrics` this is where its metrics are registered, with the recorder that is installed by then.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for settings that cannot work, also with this backplane.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Result<Bus, Error> {
        self.config.check()?;
        let Self { backplane, config, node, mutation } = self;
        let node = node.unwrap_or_else(NodeId::random);
        let (stream_count, capabilities) = (backplane.stream_count(), backplane.capabilities());
        if config.interest == Interest::OnDemand && !capabilities.replay {
            let problem =
                "interest on demand opens streams with a backlog, and this backplane does not replay";
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let streams = usize::from(stream_count.get());
        let queue_budget = match mutation.is(Mutant::IgnoreQueueBudget) {
            true => QueueBudget::new(usize::MAX, usize::MAX),
            false => QueueBudget::new(config.max_queue_messages, config.max_queue_bytes),
        };
        let queue_budget = Arc::new(queue_budget);
        let tail_budget = Arc::new(SharedBudget::new(config.max_tail_bytes, streams));
        let is_received = config.role == Role::Full && config.interest == Interest::AllStreams;
        let lane = |stream| {
            let mut settings = QueueSettings::new(stream, node, stream_count, &config, &capabilities);
            settings.mutation = mutation;
            let queue = SendQueue::new(settings, Arc::clone(&queue_budget), Arc::clone(&tail_budget));
            // A copy of a forgotten frame may come as long as its publisher keeps it; twice that, for slow ones.
            let settle = config.max_tail_age.saturating_mul(2);
            let store = Store::new(stream, stream_count, capabilities.dense_ids, settle, mutation);
            Lane {
                status: Mutex::new(Status::new(is_received)),
                interest: Notify::new(),
                queue: SharedQueue::new(queue),
                wake_sender: Notify::new(),
                abandon_attempt: Notify::new(),
                opened: Notify::new(),
                store: Mutex::new(Ring { store, budgeted: 0 }),
            }
        };
        let lanes = (0..stream_count.get()).map(StreamIndex).map(lane).collect();
        let app = config.app.clone();
        let inner = Arc::new(Inner {
            ring_budget: SharedBudget::new(config.max_ring_bytes, streams),
            evicting: Mutex::new(()),
            config,
            counters: AtomicCounters::default(),
            backplane,
            node,
            stream_count,
            streams: lanes,
            queue_budget,
            tail_budget,
            heard: Heard::default(),
            metrics: Metrics::register(&app, stream_count),
            states: watch::Sender::new(vec![StreamState::Connecting; streams]),
            started: Instant::now(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            drain: Notify::new(),
            idle: Mutex::default(),
            mutation,
        });
        let mut tasks = Vec::with_capacity(2 * streams + 2);
        for stream in inner.stream_indices() {
            if inner.config.role == Role::Full {
                tasks.push(tokio::spawn(receiving::run(Arc::clone(&inner), stream)).abort_handle());
            }
            tasks.push(tokio::spawn(sending::run(Arc::clone(&inner), stream)).abort_handle());
        }
        if mutation.is(Mutant::LeakTask) {
            drop(tokio::spawn(std::future::pending::<()>()));
        }
        tasks.push(tokio::spawn(upkeep::run(Arc::clone(&inner))).abort_handle());
        tasks.extend(metrics::spawn(&inner));
        Ok(Bus { owner: Arc::new(Owner { inner, tasks }) })
    }
}
