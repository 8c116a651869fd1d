//! What each node is up to: the one request that every member answers, whatever the application.

mod message;
mod observer;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use scaleout_core::{NodeId, Position};

pub use self::observer::{Observation, Observations, Observer};

use self::message::Answer;
use crate::{Cluster, Incoming, Member, Missing, RequestError, Target, cluster::Inner};

/// The subject of the request.
pub(crate) const SUBJECT: &str = "$report";

/// Members in one answer at most, so that it stays a message.
const MAX_MEMBERS: usize = 256;

/// What a node says of itself.
///
/// Every member answers for itself, from memory and without asking the store. How far it is behind, and how far from
/// losing something, is [`Lag::of`](scaleout_core::Lag::of) the position here and what the store retains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReport {
    /// The release of `scaleout-cluster` that it runs; that of the application is [`Member::version`].
    pub library_version: String,
    /// How long it takes part.
    pub uptime: Duration,
    /// What its clock said when it answered.
    pub clock: SystemTime,
    /// Whether its bus is ready, as [`Health::ready`](scaleout_core::Health::ready) has it.
    pub ready: bool,
    /// Its streams, by index.
    pub streams: Vec<StreamReport>,
    /// Messages that the store confirmed to it.
    pub published: u64,
    /// Messages that it received.
    pub received: u64,
    /// Messages that it handed to subscriptions.
    pub delivered: u64,
    /// Gaps that it told to subscriptions, of whatever reason.
    pub gaps: u64,
    /// Attempts to connect, receive or send that failed.
    pub faults: u64,
}

/// What a node says of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamReport {
    /// Whether it is [`Up`](scaleout_core::StreamState::Up) there.
    pub up: bool,
    /// How far the node has received it; `None` where it did not open, or nobody there wants it.
    pub position: Option<Position>,
}

/// What the members of a cluster say of themselves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reports {
    /// Those that answered, in the order of their nodes.
    pub reports: Vec<(Member, NodeReport)>,
    /// The members that did not, and why. One that runs an earlier release answers [`Missing::NoHandler`].
    pub missing: Vec<(NodeId, Missing)>,
    /// Whether all members were known; else there may be others, of whom `missing` tells nothing.
    pub members_known: bool,
}

impl Cluster {
    /// Asks all members, this node too, what they are up to, and waits until `deadline` has passed at most.
    ///
    /// See [`Observer`] for who wants to know without being a member.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use scaleout_cluster::{Cluster, ClusterConfig};
    /// use scaleout_core::{Bus, MemoryStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = Bus::builder(MemoryStore::default().backplane()).connect().await?;
    /// let cluster = Cluster::join(&bus, ClusterConfig::default().with_label("web-1")).await?;
    /// let all = cluster.reports(Duration::from_secs(5)).await?;
    /// for (member, report) in &all.reports {
    ///     println!("{}: up for {:?}, {} gaps", member.label(), report.uptime, report.gaps);
    /// }
    /// assert!(all.missing.is_empty(), "{:?}", all.missing);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reports(&self, deadline: Duration) -> Result<Reports, RequestError> {
        let collected = self.request(SUBJECT, &message::ask(false), Target::All, deadline)?.collect().await;
        let (mut reports, mut missing) = (Vec::new(), collected.missing);
        for reply in collected.replies {
            match Answer::decode(reply.payload) {
                Ok(answer) => reports.push((Member::new(reply.node, answer.state), answer.report)),
                Err(error) => missing.push((reply.node, Missing::Failed(unreadable(&error)))),
            }
        }
        reports.sort_by_key(|(member, _)| member.node());
        Ok(Reports { reports, missing, members_known: collected.members_known })
    }
}

/// Answers the request from now on.
pub(crate) fn register(inner: &Arc<Inner>) {
    let weak = Arc::downgrade(inner);
    let handler = move |incoming: Incoming| {
        let Some(inner) = weak.upgrade() else { return };
        if !incoming.wants_reply() {
            return;
        }
        let (ask, responder) = incoming.into_parts();
        responder.reply(&answer(&inner, message::wants_members(&ask)).encode());
    };
    inner.register(SUBJECT, Arc::new(handler)).forever();
}

fn answer(inner: &Inner, with_members: bool) -> Answer {
    let (health, counters) = (inner.bus.health(), inner.bus.counters());
    let streams = health.streams.iter().zip(inner.bus.positions());
    let report = NodeReport {
        library_version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: inner.now(),
        clock: SystemTime::now(),
        ready: health.ready,
        streams: streams.map(|(state, position)| StreamReport { up: state.is_up(), position }).collect(),
        published: counters.published,
        received: counters.received,
        delivered: counters.delivered,
        gaps: counters.gaps_lost + counters.gaps_reset + counters.gaps_expired + counters.gaps_lagged,
        faults: counters.faults,
    };
    let members = with_members.then(|| Arc::clone(&inner.members.borrow()));
    let members = members.iter().flat_map(|members| members.iter());
    let members = members.take(MAX_MEMBERS).map(|member| (member.node(), member.label().to_owned()));
    Answer { state: inner.membership().state(), report, members: members.collect() }
}

fn unreadable(error: &crate::codec::DecodeError) -> String {
    format!("its answer cannot be read here: {error}")
}
