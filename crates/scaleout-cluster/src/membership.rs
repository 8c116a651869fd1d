//! Who is a member. Plain state: no I/O, no clock, no runtime.
//!
//! All nodes read the same messages in the same order, so that most of it follows by itself:
//!
//! - A node tells its state in a *heartbeat* every interval, and is a member from the first one that others read.
//!   A first one, a *hello*, also asks for the *members*; one of them answers with the list.
//! - Every frame of a node is a sign of life. One that is silent for its lease is *expelled* by whoever notices first;
//!   the expulsion is a message, so that all give it up at the same place of the log, and it learns of it when it is
//!   back. Then it begins a new *incarnation*. A heartbeat of an incarnation that was expelled is answered by another
//!   expulsion, so that nobody is kept for dead for ever.
//! - A lease runs only while this node hears *itself* on the channel of all, and begins again when it hears itself
//!   again: while the store is away, or this node cut off, it learns nothing of others, and gives up none. Time that
//!   this node did not run (a pause of the process) does not count either. Nobody's clock is compared with another's.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use scaleout_core::NodeId;

use crate::{
    Member,
    member::{Departure, Members},
    wire::{self, About, MAX_MEMBERS, NodeState, Wire},
};

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Send this to all.
    Send(Vec<u8>),
    /// A node became a member, or one after an earlier life; `new` if it has only come.
    Joined { node: NodeId, new: bool },
    /// A member went, for ever in that incarnation.
    Gone(NodeId, Departure),
    /// A member told which of its groups' versions it has.
    PresenceVersion { node: NodeId, incarnation: u64, version: u64 },
    /// A member is known from a list, which has the version that it told last: it may have a later one by now.
    PresenceUnknown(NodeId),
}

/// The members of a cluster, as one node sees them.
///
/// `now` is the time since the node started, by its own clock; it never goes back.
#[derive(Debug)]
pub(crate) struct Membership {
    me: NodeId,
    about: About,
    interval: Duration,
    join_wait: Duration,
    incarnation: u64,
    /// Others, and this node once its heartbeat came back.
    members: BTreeMap<NodeId, Entry>,
    gone: BTreeMap<NodeId, Gone>,
    next_heartbeat: Duration,
    last_tick: Duration,
    /// When this node's last message to all came back, as far as it was told.
    own_heard_at: Option<Duration>,
    /// Whether this node heard itself at the last tick.
    heard_itself: bool,
    hello: Hello,
    /// When to answer a hello, if nobody else does before.
    answer_at: Option<Duration>,
    effects: Vec<Effect>,
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    member: Arc<Member>,
    /// When its last sign of life came.
    heard_at: Duration,
    /// How long it has been silent, as far as this node could tell.
    silent: Duration,
}

/// The last life of a node that is gone.
#[derive(Debug)]
struct Gone {
    incarnation: u64,
    how: Departure,
    at: Duration,
    /// Heartbeats that came of it afterwards and were not answered by anybody.
    heartbeats: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    /// It did not come back yet.
    Sent,
    /// It is in the log; the list of members is awaited until then.
    Answered { until: Duration },
    /// The members are known.
    Done,
}

/// How long those that are gone are remembered, and how many of them.
const GONE_KEPT: Duration = Duration::from_secs(600);
const MAX_GONE: usize = 10_000;

/// How long each further member waits for one before it to answer a hello; this many may answer.
const ANSWER_STEP: Duration = Duration::from_millis(80);
const ANSWERERS: usize = 4;

impl Membership {
    /// A node that begins its life `incarnation`, greater than any it had before.
    pub(crate) fn new(
        me: NodeId,
        incarnation: u64,
        about: About,
        interval: Duration,
        join_wait: Duration,
    ) -> Self {
        Self {
            me,
            about,
            interval,
            join_wait,
            incarnation,
            members: BTreeMap::new(),
            gone: BTreeMap::new(),
            next_heartbeat: Duration::ZERO,
            last_tick: Duration::ZERO,
            own_heard_at: None,
            heard_itself: false,
            hello: Hello::Sent,
            answer_at: None,
            effects: Vec::new(),
            changed: true,
        }
    }

    /// Lets time pass. `heard_ago` tells how long ago the last frame of a node came.
    pub(crate) fn tick(
        &mut self,
        now: Duration,
        presence_version: u64,
        heard_ago: impl Fn(NodeId) -> Option<Duration>,
    ) {
        let elapsed = now.saturating_sub(self.last_tick);
        self.last_tick = now;
        let heard_at = |node| heard_ago(node).map(|ago| now.saturating_sub(ago));
        let (hears, own_heard_at, interval) = (self.hears(), self.own_heard_at, self.interval);
        let hears_again = !std::mem::replace(&mut self.heard_itself, hears) && hears;
        for (node, entry) in &mut self.members {
            match heard_at(*node) {
                // As of now: it was told by another clock, which must not tell of the same frame once more.
                Some(at) if at > entry.heard_at => entry.hear(now),
                // The others come back in their own time.
                _ if hears_again => entry.silent = Duration::ZERO,
                _ if own_heard_at.is_some_and(|own| now.saturating_sub(own) <= patience(interval, entry)) => {
                    // Beyond a tick, this node did not run; what came meanwhile is not read yet.
                    entry.silent += elapsed.min(entry.member.lease() / 8);
                }
                _ => {}
            }
        }
        self.expire(now);
        if now >= self.next_heartbeat {
            // A hello that is not back yet may be lost; and nobody answered it.
            let hello = self.hello == Hello::Sent;
            self.send_heartbeat(now, presence_version, hello);
        }
        if self.answer_at.is_some_and(|at| now >= at) {
            self.answer();
        }
        if let Hello::Answered { until } = self.hello
            && now >= until
        {
            self.hello = Hello::Done;
            self.changed = true;
        }
        self.forget(now);
    }

    /// Notes that a message of this node to all came back since the last tick.
    ///
    /// Frames on other streams are no sign of that: the one that the others' heartbeats come by may be away.
    pub(crate) fn hear_itself(&mut self) {
        self.own_heard_at = self.own_heard_at.max(Some(self.last_tick));
    }

    /// When [`tick`](Self::tick) is due at the latest.
    pub(crate) fn next_tick(&self) -> Duration {
        let lease = self.members.values().map(|entry| entry.member.lease()).min().unwrap_or(self.about.lease);
        // Whatever others say of theirs.
        let lease = lease.max(Duration::from_millis(30));
        let steady = self.last_tick + (self.interval / 4).min(lease / 12);
        let answered = match self.hello {
            Hello::Answered { until } => Some(until),
            _ => None,
        };
        [Some(steady), Some(self.next_heartbeat), self.answer_at, answered]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(steady)
    }

    /// Takes a message that `from` sent to all.
    pub(crate) fn receive(&mut self, now: Duration, from: NodeId, message: Wire) {
        match message {
            Wire::Heartbeat { state, hello } => self.take_heartbeat(now, from, state, hello),
            Wire::Goodbye { incarnation } if from != self.me => {
                self.remove(now, from, incarnation, Departure::Left);
            }
            Wire::Expulsion { node, incarnation } => self.take_expulsion(now, node, incarnation),
            Wire::Members(list) => self.take_members(now, from, list),
            _ => {}
        }
    }

    /// What is to be done since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The members, if they changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Option<Members> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let list = self.members.iter().map(|(node, entry)| (*node, Arc::clone(&entry.member))).collect();
        let departed = self.gone.iter().map(|(node, gone)| (*node, (gone.incarnation, gone.how))).collect();
        Some(Members::new(list, departed))
    }

    /// Whether the members that were there before this node are known.
    pub(crate) fn is_ready(&self) -> bool {
        self.hello == Hello::Done
    }

    /// Whether this node hears itself, so that it would hear others.
    fn hears(&self) -> bool {
        self.own_heard_at.is_some_and(|at| self.last_tick.saturating_sub(at) <= self.interval * 3 / 2)
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What this node tells of itself; of its presence nothing.
    pub(crate) fn state(&self) -> NodeState {
        NodeState { incarnation: self.incarnation, presence_version: 0, about: self.about.clone() }
    }

    fn take_heartbeat(&mut self, now: Duration, from: NodeId, state: NodeState, hello: bool) {
        if from == self.me {
            if state.incarnation == self.incarnation {
                self.own_heard_at = Some(now);
                self.insert(now, from, state, hello);
                if self.hello == Hello::Sent {
                    self.hello = Hello::Answered { until: now + self.join_wait };
                }
            }
            return;
        }
        if self.gone.get(&from).is_some_and(|gone| gone.incarnation >= state.incarnation) {
            self.meet_ghost(now, from);
            return;
        }
        if hello {
            self.plan_answer(now, from);
        }
        self.insert(now, from, state, hello);
    }

    fn insert(&mut self, now: Duration, node: NodeId, state: NodeState, new: bool) {
        let (incarnation, version) = (state.incarnation, state.presence_version);
        match self.members.get_mut(&node) {
            Some(entry) if entry.member.incarnation() > incarnation => return,
            Some(entry) if entry.member.incarnation() == incarnation => {
                entry.hear(now);
                if entry.member.state != state {
                    entry.member = Arc::new(Member::new(node, state));
                }
            }
            earlier => {
                if let Some(entry) = earlier {
                    let earlier = entry.member.incarnation();
                    self.remove(now, node, earlier, Departure::Expired);
                }
                let member = Arc::new(Member::new(node, state));
                self.members.insert(node, Entry { member, heard_at: now, silent: Duration::ZERO });
                self.effects.push(Effect::Joined { node, new });
                self.changed = true;
            }
        }
        self.effects.push(Effect::PresenceVersion { node, incarnation, version });
    }

    fn remove(&mut self, now: Duration, node: NodeId, incarnation: u64, how: Departure) {
        let known = self.gone.get(&node).is_some_and(|gone| gone.incarnation >= incarnation);
        if !known {
            self.gone.insert(node, Gone { incarnation, how, at: now, heartbeats: 0 });
        }
        if self.members.get(&node).is_some_and(|entry| entry.member.incarnation() <= incarnation) {
            self.members.remove(&node);
            self.effects.push(Effect::Gone(node, how));
            self.changed = true;
        }
    }

    fn take_expulsion(&mut self, now: Duration, node: NodeId, incarnation: u64) {
        if let Some(gone) = self.gone.get_mut(&node) {
            gone.heartbeats = 0;
        }
        if node != self.me {
            self.remove(now, node, incarnation, Departure::Expired);
        } else if incarnation >= self.incarnation {
            self.remove(now, node, incarnation, Departure::Expired);
            if let Some(next) = incarnation.checked_add(1) {
                self.incarnation = next;
                self.next_heartbeat = now;
            }
            // Else it has no life left, which only a lie brings about: each heartbeat is answered by another expulsion,
            // so none goes out before its time.
            // Whoever came meanwhile is unknown here if messages were lost.
            self.hello = Hello::Sent;
        }
    }

    fn take_members(&mut self, now: Duration, from: NodeId, list: Vec<(NodeId, NodeState)>) {
        if from == self.me {
            self.correct(&list);
            return;
        }
        self.answer_at = None;
        for (node, state) in list {
            let gone = self.gone.get(&node).is_some_and(|gone| gone.incarnation >= state.incarnation);
            let known = self.members.get(&node).is_some_and(|m| m.member.incarnation() >= state.incarnation);
            if node != self.me && !gone && !known {
                self.insert(now, node, state, false);
                self.effects.push(Effect::PresenceUnknown(node));
            }
        }
        // A list that was on its way before the hello came does not have those that came between.
        if let Hello::Answered { .. } = self.hello {
            self.hello = Hello::Done;
            self.changed = true;
        }
    }

    /// Takes back what this node's list said of those who went while it was on its way: a newcomer may know no better.
    fn correct(&mut self, list: &[(NodeId, NodeState)]) {
        for (node, state) in list {
            if let Some(gone) = self.gone.get(node).filter(|gone| gone.incarnation >= state.incarnation) {
                self.effects.push(Effect::Send(wire::expulsion(*node, gone.incarnation)));
            }
        }
    }

    /// Answers a heartbeat of somebody who was given up: the members in turn.
    fn meet_ghost(&mut self, now: Duration, ghost: NodeId) {
        // Twice as many with every turn: where only the last of them gave it up, the wait for it is short all the same.
        let turn = (self.rank(ghost) + 1).ilog2();
        let Some(gone) = self.gone.get_mut(&ghost) else { return };
        gone.at = now;
        gone.heartbeats += 1;
        if gone.heartbeats > turn {
            gone.heartbeats = 0;
            let incarnation = gone.incarnation;
            self.effects.push(Effect::Send(wire::expulsion(ghost, incarnation)));
        }
    }

    fn plan_answer(&mut self, now: Duration, newcomer: NodeId) {
        let rank = self.rank(newcomer);
        if rank < ANSWERERS && self.members.contains_key(&self.me) {
            let at = now + ANSWER_STEP * rank as u32;
            self.answer_at = Some(self.answer_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Sends the list of the members.
    fn answer(&mut self) {
        self.answer_at = None;
        let list: Vec<_> =
            self.members.iter().map(|(node, entry)| (*node, entry.member.state.clone())).collect();
        for some in list.chunks(MAX_MEMBERS) {
            self.effects.push(Effect::Send(wire::members(some)));
        }
    }

    /// Which place this node has among the members when they take turns over `node`; another order for each.
    fn rank(&self, node: NodeId) -> usize {
        let turn = |other: NodeId| (other.0 ^ node.0).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let mine = turn(self.me);
        self.members.keys().filter(|other| **other != node && turn(**other) < mine).count()
    }

    fn expire(&mut self, now: Duration) {
        let silent = |(node, entry): (&NodeId, &Entry)| {
            (*node != self.me && entry.silent >= entry.member.lease())
                .then(|| (*node, entry.member.incarnation()))
        };
        let expired: Vec<_> = self.members.iter().filter_map(silent).collect();
        for (node, incarnation) in expired {
            self.effects.push(Effect::Send(wire::expulsion(node, incarnation)));
            self.remove(now, node, incarnation, Departure::Expired);
        }
    }

    fn send_heartbeat(&mut self, now: Duration, presence_version: u64, hello: bool) {
        self.next_heartbeat = now + self.interval;
        let state = NodeState { incarnation: self.incarnation, presence_version, about: self.about.clone() };
        self.effects.push(Effect::Send(wire::heartbeat(&state, hello)));
    }

    fn forget(&mut self, now: Duration) {
        self.gone.retain(|_, gone| now.saturating_sub(gone.at) <= GONE_KEPT);
        while self.gone.len() > MAX_GONE
            && let Some((&oldest, _)) = self.gone.iter().min_by_key(|(_, gone)| gone.at)
        {
            self.gone.remove(&oldest);
        }
    }
}

/// How long after this node heard itself the silence of a member counts.
///
/// When the store goes away it takes that long to be noticed, and the member was silent for up to a third of its lease
/// by then: the rest is the time that it has to come back. Its own interval may be another one than this node's.
fn patience(interval: Duration, entry: &Entry) -> Duration {
    (interval * 3 / 2).min(entry.member.lease() * 2 / 5)
}

impl Entry {
    fn hear(&mut self, at: Duration) {
        self.heard_at = self.heard_at.max(at);
        self.silent = Duration::ZERO;
    }
}
