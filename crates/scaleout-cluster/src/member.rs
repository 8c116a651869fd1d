//! The nodes of a cluster, as an application sees them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use scaleout_core::NodeId;
use tokio::sync::watch;

use crate::wire::NodeState;

/// A node with a living lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    node: NodeId,
    pub(crate) state: NodeState,
}

impl Member {
    pub(crate) fn new(node: NodeId, state: NodeState) -> Self {
        Self { node, state }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which life of the node this is; one that was given up and came back is a new member, with a greater number.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.state.incarnation
    }

    /// What people call it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.state.about.label
    }

    /// What it is for.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.state.about.role
    }

    /// The release that it runs.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.state.about.version
    }

    /// When it joined first, by its own clock; for people.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        let since = Duration::from_micros(self.state.about.started_at_micros);
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How long it is kept while nothing is heard of it.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.state.about.lease
    }
}

/// The members at one moment, by their nodes.
#[derive(Debug, Clone, Default)]
pub struct Members {
    list: BTreeMap<NodeId, Arc<Member>>,
    /// How the last life of each node that is gone ended; of those that went lately.
    departed: Arc<BTreeMap<NodeId, (u64, Departure)>>,
    /// Whether this node takes part no longer.
    closed: bool,
}

/// How a member went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    Left,
    Expired,
}

impl Members {
    pub(crate) fn new(
        list: BTreeMap<NodeId, Arc<Member>>,
        departed: BTreeMap<NodeId, (u64, Departure)>,
    ) -> Self {
        Self { list, departed: Arc::new(departed), closed: false }
    }

    /// Those of a node that takes part no longer.
    pub(crate) fn closed() -> Self {
        Self { closed: true, ..Self::default() }
    }

    /// All of them, by their nodes.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.values().map(|member| &**member)
    }

    /// The member that is `node`.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.list.get(&node).map(|member| &**member)
    }

    /// Whether `node` is a member.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.list.contains_key(&node)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none: this node has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What happened between these members and `later` ones.
    fn changes(&self, later: &Self) -> Vec<MemberEvent> {
        let mut events = Vec::new();
        for (node, member) in &self.list {
            let stays = later.list.get(node).is_some_and(|other| other.incarnation() == member.incarnation());
            if stays {
                continue;
            }
            let left = later
                .departed
                .get(node)
                .is_some_and(|&(life, how)| life == member.incarnation() && how == Departure::Left);
            let member = Member::clone(member);
            events.push(if left { MemberEvent::Left(member) } else { MemberEvent::Expired(member) });
        }
        for (node, member) in &later.list {
            let was = self.list.get(node).is_some_and(|other| other.incarnation() == member.incarnation());
            if !was {
                events.push(MemberEvent::Joined(Member::clone(member)));
            }
        }
        events
    }
}

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// It is a member now.
    Joined(Member),
    /// It said goodbye.
    Left(Member),
    /// Nothing was heard of it for as long as its lease.
    Expired(Member),
}

/// Follows the members of a cluster.
///
/// It sees every state that lasts, and no more: of one that joined and left in between two calls, nothing is told.
#[derive(Debug, Clone)]
pub struct MemberWatch {
    seen: Arc<Members>,
    members: watch::Receiver<Arc<Members>>,
}

impl MemberWatch {
    pub(crate) fn new(mut members: watch::Receiver<Arc<Members>>) -> Self {
        let seen = Arc::clone(&members.borrow_and_update());
        Self { seen, members }
    }

    /// The members as of the last [`changed`](Self::changed), or of when this watch was made.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.seen)
    }

    /// Waits for a change, and tells what differs: who went first, then who came. `None` once the cluster is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Vec<MemberEvent>> {
        loop {
            // Before the wait: once the cluster is closed, nothing changes any more.
            let now = Arc::clone(&self.members.borrow_and_update());
            if now.closed {
                return None;
            }
            if !Arc::ptr_eq(&now, &self.seen) {
                let events = self.seen.changes(&now);
                self.seen = now;
                if !events.is_empty() {
                    return Some(events);
                }
            }
            self.members.changed().await.ok()?;
        }
    }
}
