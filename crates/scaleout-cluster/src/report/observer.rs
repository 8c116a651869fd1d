//! Looking at a cluster from outside.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use scaleout_core::{Bus, Error, ErrorKind, NodeId, Received, Role, Subscription};
use tokio::time::{Instant, timeout};

use super::{NodeReport, SUBJECT, message, message::Answer, unreadable};
use crate::{
    Member, Missing, Target,
    cluster::{channel, inbox, next_id},
    config::check_name,
    wire::{self, Reason, Wire},
};

/// Sees what the members of a cluster are up to without being one: for command lines and dashboards.
///
/// No member learns of it: nobody joins, nobody leaves, and it has no lease. Its question is one request to all,
/// which each member answers on a channel that only this node reads; who is there it learns from the members
/// themselves.
#[derive(Debug)]
pub struct Observer {
    bus: Bus,
    channel: String,
    inbox: Subscription,
}

/// What an [`Observer`] saw.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Observations {
    /// The members that answered, in the order of their nodes.
    pub seen: Vec<Observation>,
    /// Those that did not, what people call them, where somebody knows, and why. A member that runs an earlier release
    /// answers [`Missing::NoHandler`].
    pub missing: Vec<(NodeId, String, Missing)>,
}

/// What one member said.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Observation {
    /// Who it is.
    pub member: Member,
    /// What it is up to.
    pub report: NodeReport,
    /// How long the answer took, from the question on.
    pub round_trip: Duration,
    /// By how many milliseconds its clock is ahead of the one here; less than none where it is behind.
    ///
    /// It may be wrong by half the [`round_trip`](Self::round_trip).
    pub clock_ahead_ms: i64,
}

impl Observer {
    /// Prepares to look at the cluster of that name.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for what is no name, and for a bus that only publishes: it would hear no answer.
    pub fn new(bus: &Bus, name: &str) -> Result<Self, Error> {
        check_name(name)?;
        if bus.config().role == Role::PublishOnly {
            let problem = "a node that only publishes hears no answer, and cannot observe a cluster";
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let inbox = bus.subscribe([inbox(bus, name, bus.node())]);
        Ok(Self { bus: bus.clone(), channel: channel(name), inbox })
    }

    /// Asks all members what they are up to, and waits for those that the others know, until `deadline` has passed at
    /// most.
    ///
    /// Where nobody answers at all it waits that long: there is no cluster of that name, or its nodes are cut off.
    ///
    /// # Errors
    /// As [`Bus::publish`] for the question, and [`Timeout`](ErrorKind::Timeout) where the store does not take it
    /// within `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    pub async fn observe(&mut self, deadline: Duration) -> Result<Observations, Error> {
        let (id, asked_at) = (next_id(), Instant::now());
        let question = wire::request(Target::All, id, deadline, SUBJECT, &message::ask(true));
        let (mut told, mut was_sent) = (Told::default(), false);
        let whole = async {
            self.bus.publish(&self.channel, question).await?;
            was_sent = true;
            while !told.is_whole() {
                // What is missing in a gap is not awaited for longer than the rest.
                let Some(received) = self.inbox.recv().await else { break };
                if let Received::Message(message) = received
                    && let Ok(read) = wire::read(message.payload().clone())
                {
                    told.take(id, message.node(), read, asked_at.elapsed());
                }
            }
            Ok::<(), Error>(())
        };
        match timeout(deadline, whole).await {
            Ok(outcome) => outcome?,
            Err(_) if was_sent => {}
            Err(_) => {
                return Err(Error::new(ErrorKind::Timeout, "the store did not take the question in time"));
            }
        }
        Ok(told.into_observations())
    }
}

/// The answers so far.
#[derive(Debug, Default)]
struct Told {
    seen: BTreeMap<NodeId, Observation>,
    failed: BTreeMap<NodeId, Missing>,
    /// Whoever is a member in the eyes of any other.
    known: BTreeMap<NodeId, String>,
}

impl Told {
    /// Whether all have answered that anybody knows.
    fn is_whole(&self) -> bool {
        // An answer of an earlier release does not say who else is there.
        !self.known.is_empty() && self.known.keys().all(|node| self.has_answered(*node))
    }

    fn has_answered(&self, node: NodeId) -> bool {
        self.seen.contains_key(&node) || self.failed.contains_key(&node)
    }

    fn take(&mut self, of: u64, node: NodeId, message: Wire, round_trip: Duration) {
        match message {
            Wire::Finish { id, last: Some(payload), .. } if id == of => match Answer::decode(payload) {
                Ok(answer) => self.answered(node, answer, round_trip),
                Err(error) => drop(self.failed.insert(node, Missing::Failed(unreadable(&error)))),
            },
            Wire::Failure { id, reason, why } if id == of => {
                let missing = match reason {
                    Reason::NoHandler => Missing::NoHandler,
                    Reason::Failed => Missing::Failed(why),
                    Reason::Dropped => Missing::Dropped,
                };
                self.failed.insert(node, missing);
            }
            _ => {}
        }
    }

    fn answered(&mut self, node: NodeId, answer: Answer, round_trip: Duration) {
        let Answer { state, report, members } = answer;
        self.known.extend(members);
        self.known.insert(node, state.about.label.clone());
        let then = SystemTime::now().checked_sub(round_trip / 2).unwrap_or(SystemTime::UNIX_EPOCH);
        let clock_ahead_ms = match report.clock.duration_since(then) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
            Err(behind) => -i64::try_from(behind.duration().as_millis()).unwrap_or(i64::MAX),
        };
        let member = Member::new(node, state);
        self.seen.insert(node, Observation { member, report, round_trip, clock_ahead_ms });
    }

    fn into_observations(mut self) -> Observations {
        for node in self.known.keys() {
            if !self.seen.contains_key(node) {
                self.failed.entry(*node).or_insert(Missing::Deadline);
            }
        }
        let label = |node| self.known.get(&node).cloned().unwrap_or_default();
        let missing = self.failed.into_iter().map(|(node, why)| (node, label(node), why));
        Observations { missing: missing.collect(), seen: self.seen.into_values().collect() }
    }
}
