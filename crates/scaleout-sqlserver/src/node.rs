//! What the tasks of a node share: settings, connections for sends, and what is known of the store.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use scaleout_core::{
    Error, ErrorKind, NodeId, StreamIndex,
    provider::{Arrivals, Closing, Place},
};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::{
    bell::Doorbell,
    config::SqlServerConfig,
    install::{self, Prepared},
    link::{Call, Link},
    look,
    names::Names,
    pool::Pool,
    store::Positions,
};

/// A node's part of a backplane.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Arc<SqlServerConfig>,
    pub(crate) names: Names,
    pub(crate) lanes: Box<[Lane]>,
    pub(crate) pool: Pool,
    pub(crate) arrivals: Arrivals,
    /// Tells the reader that there is a new reception, room in one that was slow, one less, or the end.
    pub(crate) changed: Arc<Notify>,
    /// Tells the reader that this node has appended something.
    pub(crate) appended: Notify,
    /// Tells the reader that the doorbell rang.
    pub(crate) rung: Notify,
    /// Tells whoever waits before its next attempt to connect that another one succeeded.
    pub(crate) reachable: Notify,
    /// How the doorbell of this node is.
    pub(crate) doorbell: watch::Sender<Doorbell>,
    /// Under which this node is registered for the doorbell.
    pub(crate) listener: Uuid,
    /// Held by the task that listens for the doorbell; how giving that up ended.
    pub(crate) listening: tokio::sync::Mutex<Result<(), Error>>,
    /// The newest epoch that was found in the store.
    epoch: AtomicU64,
    /// What the installer found; `None`: it has to look.
    prepared: tokio::sync::Mutex<Option<Prepared>>,
    is_kept_up: AtomicBool,
    closing: Closing,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) stream: StreamIndex,
    known: Mutex<Known>,
    activity: Mutex<Activity>,
    /// Held for a send: one is outstanding per stream.
    pub(crate) sending: tokio::sync::Mutex<Sent>,
}

/// What a node knows of a stream, whatever the store says.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// The last row that this node has read or appended.
    seen: Place,
    /// The store forgot rows of this epoch: a later one must be opened.
    forked: Option<u64>,
}

/// What trim goes by.
#[derive(Debug, Clone, Copy)]
struct Activity {
    /// When a row of the stream was read or appended last.
    last: Option<Instant>,
    /// Payload bytes since the last trim.
    bytes: u64,
    trimmed: Option<Instant>,
}

/// What the store confirmed of nodes.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) confirmed: HashMap<NodeId, Confirmed>,
}

/// The last frame of a node that a stream held.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    /// When the store was last told that the node lives, so that it does not forget it.
    pub(crate) renewed: Instant,
}

/// How often a connection is looked at again while the store's epoch changes.
pub(crate) const MAX_LOOKS: usize = 8;

impl Node {
    pub(crate) fn new(config: SqlServerConfig) -> Arc<Self> {
        let config = Arc::new(config);
        let changed = Arc::<Notify>::default();
        let lane = |stream| Lane {
            stream: StreamIndex(stream),
            known: Mutex::default(),
            activity: Mutex::new(Activity { last: None, bytes: 0, trimmed: None }),
            sending: tokio::sync::Mutex::default(),
        };
        Arc::new_cyclic(|this| Self {
            names: Names::new(&config.schema, config.table_count),
            lanes: (0..config.table_count.get()).map(lane).collect(),
            pool: Pool::new(&config, this.clone()),
            config,
            arrivals: Arrivals::new(Arc::clone(&changed)),
            changed,
            appended: Notify::new(),
            rung: Notify::new(),
            reachable: Notify::new(),
            doorbell: watch::Sender::new(Doorbell::default()),
            listener: Uuid::new_v4(),
            listening: tokio::sync::Mutex::new(Ok(())),
            epoch: AtomicU64::new(0),
            prepared: tokio::sync::Mutex::default(),
            is_kept_up: AtomicBool::new(false),
            closing: Closing::default(),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_closed()
    }

    /// Ends sends, receptions and tasks; `false` if that was done before.
    pub(crate) fn end(&self) -> bool {
        let is_first = self.closing.close();
        self.arrivals.end();
        is_first
    }

    /// What `work` comes to, or `Closed` as soon as the backplane is.
    pub(crate) async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.closing.unless_closed(work, closed).await
    }

    /// A new connection over which the store was looked at, so that frames may be appended and rows read.
    pub(crate) async fn connect(&self) -> Result<(Link, Positions), Error> {
        // On the heap, as is the installation: they are so large that the stack of a thread is soon full of them.
        let mut link = Box::pin(Link::connect(&self.config))
            .await
            .map_err(|failure| failure.into_error("connecting to SQL Server", &self.config))?;
        let positions = self.open(&mut link).await?;
        self.reachable.notify_waiters();
        Ok((link, positions))
    }

    /// Looks where the store stands; opens an epoch if it has forgotten something, or may have.
    pub(crate) async fn open(&self, link: &mut Link) -> Result<Positions, Error> {
        for _ in 0..MAX_LOOKS {
            self.prepare(link).await?;
            // Before the look: what is appended meanwhile may not be in it.
            let known: Vec<Known> = self.lanes.iter().map(|lane| *lock(&lane.known)).collect();
            let positions = match Positions::of(link, &self.names.positions).await {
                Ok(positions) => positions,
                Err(failure) if look::is_missing(&failure) => {
                    self.forget_objects().await;
                    continue;
                }
                Err(failure) => {
                    return Err(failure.into_error("looking where the streams stand", &self.config));
                }
            };
            let Some(layout) = &positions.layout else {
                self.forget_objects().await;
                continue;
            };
            layout.check(&self.config)?;
            if positions.streams.len() != self.lanes.len() {
                // Somebody is emptying the tables.
                self.forget_objects().await;
                continue;
            }
            let after_known = if !layout.is_same_store {
                // Every node sees that on its connections before it appends.
                true
            } else if is_forked(&known, &positions) {
                false
            } else {
                self.epoch.fetch_max(layout.epoch, Ordering::AcqRel);
                return Ok(positions);
            };
            let (old, seen) = (layout.epoch, self.greatest_epoch());
            tracing::warn!(app = %self.config.app, old, after_known, "the store may have forgotten rows: a new epoch begins");
            let call = Call::new(&self.names.open_epoch)
                .with("@old", to_sql(old))
                .with("@seen", to_sql(seen))
                .with("@after_known", after_known);
            link.call(call).await.map_err(|failure| failure.into_error("opening an epoch", &self.config))?;
        }
        let problem = "the objects or the epoch of the schema change faster than they can be looked at";
        Err(Error::new(ErrorKind::Unavailable, problem))
    }

    /// What the installer found.
    pub(crate) async fn prepare(&self, link: &mut Link) -> Result<Prepared, Error> {
        let mut prepared = self.prepared.lock().await;
        if let Some(found) = &*prepared {
            return Ok(found.clone());
        }
        let found = Box::pin(install::prepare(link, &self.config)).await?;
        *prepared = Some(found.clone());
        Ok(found)
    }

    /// Has the installer look again.
    pub(crate) async fn forget_objects(&self) {
        *self.prepared.lock().await = None;
    }

    /// The newest epoch that was found in the store.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn greatest_epoch(&self) -> u64 {
        self.lanes.iter().map(|lane| lock(&lane.known).seen.epoch).max().unwrap_or(0)
    }

    /// Whether this is the first to ask.
    pub(crate) fn begins_upkeep(&self) -> bool {
        !self.is_kept_up.swap(true, Ordering::AcqRel)
    }
}

impl Lane {
    /// Takes note of a row that was read or appended.
    pub(crate) fn saw(&self, place: Place, bytes: usize) {
        let mut known = lock(&self.known);
        known.seen = known.seen.max(place);
        drop(known);
        if bytes == 0 {
            // An opening row is no traffic: a stream that never had any has nothing to trim.
            return;
        }
        let mut activity = lock(&self.activity);
        activity.last = Some(Instant::now());
        activity.bytes += bytes as u64;
    }

    /// The store forgot something in `epoch`.
    pub(crate) fn forked(&self, epoch: u64) {
        lock(&self.known).forked = Some(epoch);
    }

    /// Whether something may be beyond retention that nobody has looked for.
    pub(crate) fn trim_is_due(&self, config: &SqlServerConfig, now: Instant) -> bool {
        let activity = lock(&self.activity);
        let Some(last) = activity.last else { return false };
        if activity.bytes >= config.max_retained_bytes / 16 {
            return true;
        }
        let pause = (config.max_retained_age / 10).clamp(Duration::from_secs(1), Duration::from_secs(60));
        let idle = now.saturating_duration_since(last);
        activity.trimmed.is_none_or(|trimmed| now.saturating_duration_since(trimmed) >= pause)
            && idle <= config.max_retained_age + 2 * pause
    }

    pub(crate) fn trimmed(&self) {
        let mut activity = lock(&self.activity);
        activity.trimmed = Some(Instant::now());
        activity.bytes = 0;
    }
}

/// Whether the store has less than this node knew to be there.
fn is_forked(known: &[Known], positions: &Positions) -> bool {
    known
        .iter()
        .zip(&positions.streams)
        .any(|(known, lineage)| known.forked == Some(lineage.epoch) || lineage.last() < known.seen)
}

/// Numbers of ours stay far below 2^63; one that does not would be refused by the store.
pub(crate) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the SQL Server backplane is closed")
}

/// A panic elsewhere leaves plain values whole, so poisoning tells nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
