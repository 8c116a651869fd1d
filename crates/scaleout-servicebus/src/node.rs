//! What the tasks of a node share: settings, the way to the namespace, and what is known of the topics.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use scaleout_core::{Epoch, Error, ErrorKind, StreamIndex, provider::Closing};
use tokio_util::task::TaskTracker;

use crate::{
    config::{NodeTls, ServiceBusConfig},
    entities::Entities,
    sender::Sends,
    token::Tokens,
    wire::{self, Wire},
};

/// A node's part of a backplane.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Arc<ServiceBusConfig>,
    pub(crate) entities: Entities,
    pub(crate) wire: Box<dyn Wire>,
    /// All that runs for this node, until it is closed.
    pub(crate) tasks: TaskTracker,
    lanes: Box<[Lane]>,
    closing: Closing,
    /// What could not be released.
    unreleased: Mutex<Option<Error>>,
}

/// How long the end of a link in good order may take.
pub(crate) const CLOSING: Duration = Duration::from_secs(2);

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    sends: OnceLock<Sends>,
    /// The newest epoch of the topic that was seen.
    epoch: Mutex<Option<Epoch>>,
    /// Whether a reception has the node's own subscription on the topic.
    is_received: AtomicBool,
}

impl Node {
    /// It connects to nothing.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where TLS cannot be set up.
    pub(crate) fn new(config: ServiceBusConfig) -> Result<Arc<Self>, Error> {
        let config = Arc::new(config);
        let tokens = Arc::new(Tokens::new(&config));
        let tls = NodeTls::of(&config);
        let entities = Entities::new(Arc::clone(&config), Arc::clone(&tokens), &tls)?;
        let wire = wire::new(&config, tokens, &tls)?;
        Ok(Arc::new(Self {
            lanes: (0..config.topic_count.get()).map(|_| Lane::default()).collect(),
            config,
            entities,
            wire,
            tasks: TaskTracker::new(),
            closing: Closing::default(),
            unreleased: Mutex::default(),
        }))
    }

    pub(crate) fn has(&self, stream: StreamIndex) -> bool {
        stream.index() < self.lanes.len()
    }

    pub(crate) fn lane(&self, stream: StreamIndex) -> &Lane {
        &self.lanes[stream.index()]
    }

    /// The way to send to a stream.
    pub(crate) fn sends(self: &Arc<Self>, stream: StreamIndex) -> &Sends {
        self.lane(stream).sends.get_or_init(|| Sends::start(self, stream))
    }

    /// Ends once the backplane is closed.
    pub(crate) async fn closing(&self) {
        self.closing.wait().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_closed()
    }

    /// What `work` comes to, or `Closed` as soon as the backplane is.
    pub(crate) async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.closing.unless_closed(work, closed).await
    }

    /// Takes note of what could not be released.
    pub(crate) fn could_not_release(&self, error: Error) {
        lock(&self.unreleased).get_or_insert(error);
    }

    /// Ends all tasks, waits until they have released what they had, and ends the connections.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.closing.close();
        self.tasks.close();
        self.tasks.wait().await;
        self.wire.close().await;
        lock(&self.unreleased).clone().map_or(Ok(()), Err)
    }
}

/// Keeps a node going: its tasks end with the last owner, which are backplanes and receptions.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) Arc<Node>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.closing.close();
    }
}

impl Lane {
    /// The newest epoch of the topic that was seen.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        *lock(&self.epoch)
    }

    pub(crate) fn saw_epoch(&self, epoch: Epoch) {
        let mut seen = lock(&self.epoch);
        *seen = (*seen).max(Some(epoch));
    }

    /// Takes the node's own subscription for a reception; `false` if another one has it.
    pub(crate) fn take_subscription(&self) -> bool {
        !self.is_received.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn give_subscription_back(&self) {
        self.is_received.store(false, Ordering::Release);
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the Service Bus backplane is closed")
}

/// A panic elsewhere leaves plain values whole, so poisoning tells nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
