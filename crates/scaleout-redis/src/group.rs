//! The streams that share a slot, a writer and a reader.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use scaleout_core::{
    Error, ErrorKind, NodeId, StreamIndex,
    provider::{Arrivals, Closing, Place},
};
use tokio::sync::Notify;

use crate::{
    config::RedisConfig, discover::Places, epochs::Known, keys::Keys, retention::Retention,
    writer::WriterSlot,
};

/// A group of streams on one server.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) config: Arc<RedisConfig>,
    pub(crate) keys: Keys,
    pub(crate) lanes: Box<[Lane]>,
    pub(crate) places: Places,
    pub(crate) writer: tokio::sync::Mutex<WriterSlot>,
    pub(crate) arrivals: Arrivals,
    /// Tells the reader that there is a new reception, room in one that was slow, one less, or the end.
    pub(crate) changed: Arc<Notify>,
    /// Tells whoever waits before its next attempt to connect that another one succeeded.
    pub(crate) reachable: Notify,
    closing: Closing,
}

/// One stream of a group.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) stream: StreamIndex,
    pub(crate) key: String,
    /// Receptions of it.
    pub(crate) received: AtomicUsize,
    known: Mutex<Known>,
    retention: Mutex<Retention>,
    /// Held for a send: one is outstanding per stream.
    pub(crate) sending: tokio::sync::Mutex<Sent>,
}

/// What the store is known to hold of nodes, by what it answered on one connection in one epoch.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Which connection, and which epoch.
    pub(crate) of: (u64, u64),
    pub(crate) held: HashMap<NodeId, u64>,
    /// The epoch and number of the last frame of each node that the store confirmed, through all connections.
    pub(crate) confirmed: HashMap<NodeId, (u64, u64)>,
    /// The last entry of a frame, through all connections.
    pub(crate) last: Place,
}

impl Group {
    pub(crate) fn new(config: Arc<RedisConfig>, index: u16) -> Self {
        let changed = Arc::<Notify>::default();
        let groups = config.group_count().get();
        let keys = Keys::new(&config.key_prefix, &config.app, index);
        let lane = |stream| Lane {
            stream: StreamIndex(stream),
            key: keys.stream(stream),
            received: AtomicUsize::new(0),
            known: Mutex::default(),
            retention: Mutex::new(Retention::new(config.max_retained_bytes, config.max_retained_age)),
            sending: tokio::sync::Mutex::default(),
        };
        let lanes = (index..config.streams.get()).step_by(usize::from(groups)).map(lane).collect();
        Self {
            keys,
            lanes,
            places: Places::default(),
            writer: tokio::sync::Mutex::new(WriterSlot::new(&config)),
            config,
            arrivals: Arrivals::new(Arc::clone(&changed)),
            changed,
            reachable: Notify::new(),
            closing: Closing::default(),
        }
    }

    /// What all nodes of an app must agree on, in words.
    pub(crate) fn layout(&self) -> String {
        format!("v1 streams={} groups={}", self.config.streams, self.config.group_count())
    }

    /// The name that the server shows for our connections.
    pub(crate) fn name(&self) -> String {
        format!("scaleout:{}", self.config.app)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_closed()
    }

    /// Ends sends and receptions.
    pub(crate) async fn close(&self) {
        self.closing.close();
        self.arrivals.end();
        self.writer.lock().await.drop_link();
    }

    /// What `work` comes to, or `Closed` as soon as the backplane is.
    pub(crate) async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.closing.unless_closed(work, closed).await
    }
}

impl Lane {
    /// Whether this node receives it.
    pub(crate) fn is_received(&self) -> bool {
        self.received.load(Ordering::Acquire) > 0
    }

    pub(crate) fn known(&self) -> Known {
        *lock(&self.known)
    }

    pub(crate) fn saw(&self, place: Place) {
        let mut known = lock(&self.known);
        known.seen = known.seen.max(place);
    }

    pub(crate) fn used(&self, epoch: u64) {
        lock(&self.known).used = epoch;
    }

    /// The store holds less of a node than it confirmed in `epoch`.
    pub(crate) fn forked(&self, epoch: u64) {
        lock(&self.known).forked = epoch;
    }

    /// Takes note of an entry's size; whether the server should be told soon of what has to go.
    pub(crate) fn note(&self, place: Place, bytes: usize, now: Instant) -> bool {
        let mut retention = lock(&self.retention);
        retention.note(place, bytes, now);
        retention.is_urgent()
    }

    /// The oldest entry to keep, to be told to the server.
    pub(crate) fn floor(&self) -> Option<Place> {
        lock(&self.retention).floor(Instant::now())
    }

    /// The same, if the server was not told.
    pub(crate) fn untold_floor(&self) -> Option<Place> {
        lock(&self.retention).untold_floor(Instant::now())
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the Redis backplane is closed")
}

/// A panic elsewhere leaves plain values whole, so poisoning tells nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
