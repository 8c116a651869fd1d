//! The store itself: what a server is elsewhere.

use std::{
    fmt,
    num::NonZeroU16,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::{faults::Faults, log::Log};
use crate::{Epoch, LogEntry, MemoryBackplane, MemoryConfig, PayloadId, Retained, StreamIndex};

/// A store in this process; a cheap clone, shared by the [`MemoryBackplane`]s of its nodes.
///
/// Besides [`backplane`](Self::backplane) its methods are switches for tests: they take effect at once, depend on no
/// clock and no chance, and apply to every node. Their effects on what is under way are said at each.
///
/// # Panics
/// The switches panic on a stream that the store does not have.
///
/// # Examples
///
/// ```
/// use scaleout_core::{Backplane, MemoryConfig, MemoryStore};
///
/// let store = MemoryStore::new(MemoryConfig::default());
/// let (one_node, another) = (store.backplane(), store.backplane());
/// assert_eq!(one_node.stream_count(), another.stream_count());
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    config: MemoryConfig,
    lanes: Vec<Lane>,
    connections: AtomicU64,
    receptions: AtomicUsize,
}

/// One stream, and the wake-up of all who wait for a change of it.
pub(super) struct Lane {
    /// Held for one step of a send or a reception, never across an await.
    state: Mutex<LaneState>,
    changed: Notify,
}

pub(super) struct LaneState {
    pub(super) log: Log,
    pub(super) faults: Faults,
}

impl MemoryStore {
    /// An empty store: every stream is in epoch 1.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        let lanes = (0..config.streams.get()).map(|stream| Lane::new(StreamIndex(stream), &config)).collect();
        let (connections, receptions) = (AtomicU64::new(0), AtomicUsize::new(0));
        Self { shared: Arc::new(Shared { config, lanes, connections, receptions }) }
    }

    /// A new node's connection.
    #[must_use]
    pub fn backplane(&self) -> MemoryBackplane {
        let number = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        MemoryBackplane::new(self.clone(), number)
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &MemoryConfig {
        &self.shared.config
    }

    /// How many streams there are.
    #[must_use]
    pub fn stream_count(&self) -> NonZeroU16 {
        self.shared.config.streams
    }

    /// All streams.
    pub fn streams(&self) -> impl Iterator<Item = StreamIndex> + use<> {
        (0..self.stream_count().get()).map(StreamIndex)
    }

    /// Receptions that are registered: opened, and neither dropped nor ended by `close`.
    #[must_use]
    pub fn open_receptions(&self) -> usize {
        self.shared.receptions.load(Ordering::Acquire)
    }

    /// Every payload that `stream` ever held, in the order of appending, also what it forgot or no longer retains.
    ///
    /// Empty without [`MemoryConfig::keep_log`].
    #[must_use]
    pub fn log(&self, stream: StreamIndex) -> Vec<LogEntry> {
        self.lane(stream).lock().log.record().to_vec()
    }

    /// What `stream` retains now, oldest first.
    #[must_use]
    pub fn held(&self, stream: StreamIndex) -> Vec<LogEntry> {
        self.lane(stream).lock().log.retained()
    }

    /// The newest epoch of `stream`, and its last id (`None`: it has no payload yet).
    #[must_use]
    pub fn head(&self, stream: StreamIndex) -> (Epoch, Option<PayloadId>) {
        self.lane(stream).lock().log.head()
    }

    pub(super) fn retained(&self, stream: StreamIndex) -> Retained {
        let lane = self.lane(stream).lock();
        let (epoch, last) = lane.log.head();
        let first = lane.log.retained().iter().find(|entry| entry.epoch == epoch).map(|entry| entry.id);
        Retained { epoch, first, last }
    }

    pub(super) fn lane(&self, stream: StreamIndex) -> &Lane {
        &self.shared.lanes[stream.index()]
    }

    pub(super) fn has(&self, stream: StreamIndex) -> bool {
        stream.0 < self.stream_count().get()
    }

    pub(super) fn receptions(&self) -> &AtomicUsize {
        &self.shared.receptions
    }
}

impl Default for MemoryStore {
    /// A store with the default [`MemoryConfig`].
    fn default() -> Self {
        Self::new(MemoryConfig::default())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("MemoryStore");
        debug.field("config", self.config()).field("open_receptions", &self.open_receptions());
        debug.finish_non_exhaustive()
    }
}

impl Lane {
    fn new(stream: StreamIndex, config: &MemoryConfig) -> Self {
        let state = LaneState { log: Log::new(stream, config), faults: Faults::default() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes all who wait for a change.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut LaneState) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_waiters();
        result
    }

    /// The next change after this call.
    pub(super) fn changed(&self) -> impl Future<Output = ()> {
        self.changed.notified()
    }
}
