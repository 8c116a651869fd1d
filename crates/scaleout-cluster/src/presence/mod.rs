//! Who is in which group, on all nodes.

mod directory;
mod entry;
mod exchange;
mod message;
mod outbox;
mod state;
mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use scaleout_core::NodeId;
use tokio::sync::Notify;

pub(crate) use self::exchange::{SUBJECT, register, run};
pub use self::{
    entry::{Entry, PresenceError, PresenceEvent},
    watch::PresenceWatch,
};
use self::{
    state::State,
    watch::{Queue, Queues},
};

/// The members of groups on all nodes; a cheap clone.
///
/// Every node *tracks* members of groups, each with a small value, and is the only authority on what it tracks. All nodes
/// see what all of them track, and answer from their own memory: nothing here waits for the store. What a node tracks
/// appears on the others after about one trip through the store, in few messages, however much it is; what was lost on the
/// way is noticed with the next heartbeat, and asked for. When a node leaves the cluster or expires, its entries vanish with
/// one event.
///
/// Entries of other nodes are visible while these are members. What this node tracks is visible here at once, also while
/// the store is away, and stays tracked however often the others give this node up.
///
/// # Bounds
/// Names of groups and members have at most 255 bytes, values 1 KiB. A node tracks at most
/// [`max_presence_entries`](crate::ClusterConfig::max_presence_entries) entries.
///
/// # Memory
/// An entry takes about 110 bytes and its member's name on every node, whichever tracks it: 128 bytes with a name of 20, as
/// `cargo bench -p scaleout-cluster` counts them with 100,000 members of one group on eight nodes; 141 in groups of ten.
/// A value takes its bytes and 16 more. While all entries of a node are fetched, at a start or after a gap, nothing is held
/// twice. What a node tracked and did not publish yet takes about 100 bytes more for so long. In the same run a call of
/// [`track`](Self::track) took 0.7 µs, and each of the eight nodes saw an entry for 0.6 µs of the one thread they shared.
///
/// # Examples
///
/// ```
/// use scaleout_cluster::{Cluster, ClusterConfig};
/// use scaleout_core::{Bus, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::default();
/// let bus = Bus::builder(store.backplane()).connect().await?;
/// let cluster = Cluster::join(&bus, ClusterConfig::default()).await?;
/// let presence = cluster.presence();
///
/// presence.track("room:42", "ann", "typing")?;
/// assert_eq!(presence.count("room:42"), 1);
/// assert!(presence.contains("room:42", "ann"));
/// presence.untrack_all("ann"); // her connection closed
/// assert!(presence.list("room:42").is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Presence {
    shared: Arc<Shared>,
}

struct Shared {
    /// All that is known, and who is told. Held for one step, never across an await.
    step: Mutex<Step>,
    /// There may be a delta to publish.
    changed: Notify,
    /// There may be somebody to ask.
    questions: Notify,
    /// All entries of a node are here.
    settled: Notify,
}

/// What one step changes, so that watches see changes in their order.
struct Step {
    state: State,
    queues: Queues,
}

impl Presence {
    pub(crate) fn new(node: NodeId, life: u64, max_entries: usize) -> Self {
        let step = Step { state: State::new(node, life, max_entries), queues: Queues::default() };
        Self {
            shared: Arc::new(Shared {
                step: Mutex::new(step),
                changed: Notify::new(),
                questions: Notify::new(),
                settled: Notify::new(),
            }),
        }
    }

    /// Tracks a member of a group, or changes its value.
    ///
    /// # Errors
    /// [`NameTooLong`](PresenceError::NameTooLong), [`ValueTooLarge`](PresenceError::ValueTooLarge),
    /// [`TooMany`](PresenceError::TooMany), [`Closed`](PresenceError::Closed).
    pub fn track(&self, group: &str, member: &str, value: impl AsRef<[u8]>) -> Result<(), PresenceError> {
        self.update(|state| state.track(group, member, value.as_ref()))
    }

    /// Ends what [`track`](Self::track) began on this node; answers whether it was tracked.
    ///
    /// Other nodes that track the same member still do.
    pub fn untrack(&self, group: &str, member: &str) -> bool {
        self.update(|state| state.untrack(group, member))
    }

    /// Ends all tracking of a member by this node, in whatever groups; answers in how many it was tracked.
    pub fn untrack_all(&self, member: &str) -> usize {
        self.update(|state| state.untrack_all(member))
    }

    /// The entries of a group, in no order. A member that two nodes track has two.
    #[must_use]
    pub fn list(&self, group: &str) -> Vec<Entry> {
        self.step().state.directory().list(group)
    }

    /// The entries of one member of a group: one for each node that tracks it.
    #[must_use]
    pub fn find(&self, group: &str, member: &str) -> Vec<Entry> {
        self.step().state.directory().entries_of(group, member)
    }

    /// How many distinct members a group has.
    #[must_use]
    pub fn count(&self, group: &str) -> usize {
        self.step().state.directory().count(group)
    }

    /// Whether any node tracks that member of that group.
    #[must_use]
    pub fn contains(&self, group: &str, member: &str) -> bool {
        self.step().state.directory().contains(group, member)
    }

    /// The groups that have members, in no order.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<str>> {
        self.step().state.directory().groups()
    }

    /// Follows all changes from now on.
    ///
    /// It is bounded: one that falls 16,384 events behind loses them and is told [`Resync`](PresenceEvent::Resync).
    #[must_use]
    pub fn watch(&self) -> PresenceWatch {
        let queue = Arc::new(Queue::default());
        let mut step = self.step();
        if step.state.is_closed() {
            queue.close();
        }
        step.queues.add(&queue);
        step.state.set_watched(true);
        drop(step);
        PresenceWatch::new(queue)
    }

    /// Waits until all entries are here that the members of now had when they became known, or the cluster is closed.
    ///
    /// Right after [`Cluster::ready`](crate::Cluster::ready) that is all that the nodes tracked which were there before this one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn ready(&self) {
        loop {
            let settled = self.shared.settled.notified();
            if self.step().state.is_settled() {
                return;
            }
            settled.await;
        }
    }

    /// A sign of life: `node`, in its life `incarnation`, has published its changes up to `version`.
    ///
    /// For living members only. What the node cast before it sent this has been handed to the handlers.
    pub(crate) fn beat(&self, node: NodeId, incarnation: u64, version: u64) {
        self.update(|state| state.beat(node, incarnation, version));
    }

    /// `node` may have published more than the version that was told of it.
    pub(crate) fn unknown(&self, node: NodeId) {
        self.update(|state| state.unknown(node));
    }

    /// `node`, another one, left or expired.
    pub(crate) fn gone(&self, node: NodeId) {
        self.update(|state| state.gone(node));
    }

    /// What this node's heartbeats carry, if they are sent after this was read.
    pub(crate) fn version(&self) -> u64 {
        self.step().state.version()
    }

    /// Forgets everything, ends watches, refuses to track.
    pub(crate) fn close(&self) {
        let mut step = self.step();
        step.state.close();
        step.queues.close();
        drop(step);
        self.shared.settled.notify_waiters();
    }

    /// Makes a step, and tells those whom it concerns.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut step = self.step();
        let result = change(&mut step.state);
        let Step { state, queues } = &mut *step;
        let events = state.events();
        if !events.is_empty() && !queues.tell(events) {
            state.set_watched(false);
        }
        let (changed, questions, settled) =
            (state.has_changes(), state.has_questions(), state.take_finished());
        drop(step);
        if changed {
            self.shared.changed.notify_one();
        }
        if questions {
            self.shared.questions.notify_one();
        }
        if settled {
            self.shared.settled.notify_waiters();
        }
        result
    }

    fn step(&self) -> MutexGuard<'_, Step> {
        self.shared.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.step().state.directory().len();
        f.debug_struct("Presence").field("entries", &entries).finish_non_exhaustive()
    }
}
