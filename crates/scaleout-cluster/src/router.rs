//! The tasks of a node of a cluster: one takes what comes, one lets time pass.

use std::sync::{Arc, MutexGuard, atomic::Ordering};

use hashbrown::HashMap;
use scaleout_core::{Message, NodeId, Received, Subscription};
use tokio::time::{Instant, sleep_until};

use crate::{
    Incoming, Target,
    cluster::{Inner, inbox},
    handlers::Responder,
    membership::{Effect, Membership},
    wire::{self, Wire},
};

/// Takes what comes on the channels of the cluster.
pub(crate) async fn receive(inner: Arc<Inner>, mut subscription: Subscription) {
    let mut inboxes = Inboxes::default();
    while let Some(received) = subscription.recv().await {
        match received {
            Received::Message(message) => inner.take(&mut inboxes, message),
            // Heartbeats tell what was missed of members and groups; of requests and casts nobody knows.
            Received::Gap(gap) => {
                inner.counters.gaps.add(1);
                let (reason, stream) = (gap.reason(), gap.stream().0);
                tracing::warn!(%reason, stream, cluster = %inner.config.name, "messages of the cluster may be missing");
                inner.tell_gap(&gap);
            }
        }
    }
    // The bus is closed: nothing will come any more.
    drop(inner.leave());
}

/// The channels of those who asked lately: their names take a search.
#[derive(Default)]
struct Inboxes(HashMap<NodeId, Arc<str>>);

/// More nodes than a cluster has; of those that are gone nothing is known here.
const MAX_INBOXES: usize = 1_000;

impl Inboxes {
    fn of(&mut self, inner: &Inner, node: NodeId) -> Arc<str> {
        if self.0.len() >= MAX_INBOXES && !self.0.contains_key(&node) {
            self.0.clear();
        }
        let channel =
            self.0.entry(node).or_insert_with(|| inbox(&inner.bus, &inner.config.name, node).into());
        Arc::clone(channel)
    }
}

/// Lets time pass: heartbeats, leases, answers that are due.
pub(crate) async fn pass_time(inner: Arc<Inner>) {
    while !inner.is_closed() {
        let next = {
            let mut membership = inner.membership();
            if inner.heard_itself.swap(false, Ordering::Relaxed) {
                membership.hear_itself();
            }
            let heard_ago = |node| inner.bus.heard_ago(node);
            membership.tick(inner.now(), inner.presence.version(), heard_ago);
            let next = membership.next_tick();
            inner.settle(membership);
            next
        };
        let wait = next.saturating_sub(inner.now());
        tokio::select! {
            biased;
            () = sleep_until(Instant::now() + wait) => {}
            () = inner.pulse.notified() => {}
        }
    }
}

impl Inner {
    #[inline]
    fn take(self: &Arc<Self>, inboxes: &mut Inboxes, message: Message) {
        let (from, is_mine) = (message.node(), message.node() == self.bus.node());
        if is_mine {
            // All of it is on one stream.
            self.heard_itself.store(true, Ordering::Relaxed);
            if wire::is_for_others(message.payload()) {
                return;
            }
        }
        let read = match wire::read(message.payload().clone()) {
            Ok(read) => read,
            Err(error) => {
                if self.counters.unreadable.add_first() {
                    let cluster = &self.config.name;
                    tracing::warn!(%error, node = %from, %cluster, "a message of the cluster cannot be read");
                }
                return;
            }
        };
        match read {
            Wire::Part { id, .. } | Wire::Finish { id, .. } | Wire::Failure { id, .. } => {
                if message.channel() == &*self.channel || !self.requests.take(id, from, read) {
                    self.counters.late.add(1);
                }
            }
            Wire::Cast { target, subject, payload } => {
                if self.is_meant(target, from) {
                    self.dispatch(&subject, Incoming { node: from, payload, responder: Responder::none() });
                }
            }
            Wire::Request { target, id, deadline, subject, payload } => {
                if is_mine {
                    self.requests.came_back(id);
                }
                if self.is_meant(target, from) {
                    let channel = inboxes.of(self, from);
                    // One that is said to wait for centuries waits for a day.
                    let deadline = Instant::now() + deadline.min(MAX_DEADLINE);
                    let responder = Responder::new(Arc::downgrade(self), channel, id, deadline);
                    self.dispatch(&subject, Incoming { node: from, payload, responder });
                }
            }
            read => {
                let mut membership = self.membership();
                membership.receive(self.now(), from, read);
                self.settle(membership);
                self.pulse.notify_one();
            }
        }
    }

    #[inline]
    fn is_meant(&self, target: Target, from: NodeId) -> bool {
        match target {
            Target::All => true,
            Target::Others => from != self.bus.node(),
            Target::Node(node) => node == self.bus.node(),
        }
    }

    /// Does what the membership wants, and shows what it has become.
    fn settle(&self, mut membership: MutexGuard<'_, Membership>) {
        let (effects, changed, ready) =
            (membership.take_effects(), membership.take_changed(), membership.is_ready());
        let incarnation = membership.incarnation();
        // Still under the lock, so that members are shown, and messages sent, in the order of what made them.
        if self.is_closed() {
            return;
        }
        if let Some(members) = changed {
            self.members.send_replace(Arc::new(members));
        }
        for effect in effects {
            match effect {
                Effect::Send(message) => self.control(&self.channel, &message),
                Effect::Joined { node, new } if node != self.bus.node() => self.requests.joined(node, new),
                Effect::Gone(node, _) if node == self.bus.node() => {
                    self.counters.expelled.add(1);
                    self.note_incarnation(incarnation);
                    let cluster = &self.config.name;
                    tracing::warn!(%cluster, "the others gave this node up: it comes back as a new one");
                }
                Effect::Gone(node, how) => {
                    self.requests.gone(node, how);
                    self.presence.gone(node);
                }
                Effect::PresenceUnknown(node) => self.presence.unknown(node),
                Effect::PresenceVersion { node, incarnation, version } => {
                    self.presence.beat(node, incarnation, version);
                }
                Effect::Joined { .. } => {}
            }
        }
        let was_ready =
            self.ready.send_if_modified(|known| std::mem::replace(known, ready || *known) != *known);
        if was_ready {
            self.requests.ready();
        }
    }
}

const MAX_DEADLINE: std::time::Duration = std::time::Duration::from_secs(86_400);
