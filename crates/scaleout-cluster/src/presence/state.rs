//! Presence without I/O: own changes, deltas, pages and signs of life in; deltas to publish, nodes to ask and events out.
//!
//! Every node is the only authority on its own entries. It numbers the deltas it publishes, and says the number of the
//! latest one, its *version*, with every sign of life. Whoever lacks one asks that node for all its entries, page by page:
//!
//! ```text
//!  node A                                     node B
//!  delta 6 → 7       ───── lost ────────╳
//!  delta 7 → 8       ────────────────────────▶ lacks 7: asks; keeps telling deltas from 7 on
//!                    ◀─────────────── ask 0 ──
//!  page, version 8   ────────────────────────▶ entries that no delta told of since
//!  delta 8 → 9       ────────────────────────▶ told at once
//!                    ◀─────────────── ask n ──
//!  last page, version 9 ─────────────────────▶ has 9 as well: drops what neither told of
//! ```
//!
//! Pages and deltas come by different ways, so a page may be older or newer than the deltas around it. The first page is
//! where the reader stands from then on, if it is newer than all deltas so far. Otherwise, and afterwards, what a delta told
//! wins over pages: a page that knows better has it from a later delta, which comes, or whose number is missed, and then
//! everything is asked again. So pages need no common point in time, and entries are told as they come. A delta may be told again as part of a later one, `from` an earlier version than the reader has: it says what entries
//! are, not what became of them.

#[cfg(test)]
mod tests;

use std::{mem, sync::Arc};

use hashbrown::{HashMap, HashSet};
use scaleout_core::NodeId;

use super::{
    Entry, PresenceError, PresenceEvent,
    directory::{Directory, Mark, Owner, Put},
    message::{Ask, Change, Changes, ChangesWriter, Delta, Page},
    outbox::{self, Key, KeyRef, Outbox},
};

/// Bytes of the name of a group or a member.
pub(super) const MAX_NAME_BYTES: usize = 255;

/// Bytes of a value.
pub(super) const MAX_VALUE_BYTES: usize = 1_024;

/// All that a node knows of presence.
#[derive(Debug)]
pub(super) struct State {
    me: NodeId,
    max_entries: usize,
    closed: bool,
    directory: Directory,
    outbox: Outbox,
    /// The other members.
    peers: HashMap<NodeId, Peer>,
    /// Whether anybody wants events.
    watched: bool,
    events: Vec<PresenceEvent>,
    /// Nodes to begin to ask.
    questions: Vec<Question>,
    /// Whether all entries of a node came, or are no longer wanted.
    finished: bool,
    /// Names questions and series, which are never the same twice.
    names: u64,
}

/// A node that is to be asked, until [`State::ask`] has nothing more to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) node: NodeId,
    name: u64,
}

/// What to ask a node, and which pages the answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextAsk {
    pub(super) ask: Ask,
    pub(super) series: Series,
}

/// The pages of one attempt to get all entries of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series(u64);

#[derive(Debug)]
struct Peer {
    owner: Owner,
    incarnation: u64,
    /// Every delta up to this one is told, since the first one or since the question.
    version: u64,
    /// The question that asks it at the moment.
    asking: Option<u64>,
    pull: Option<Pull>,
}

/// All entries of a node are asked for.
#[derive(Debug)]
struct Pull {
    series: Series,
    /// The version that its node was known to have.
    asked_at: u64,
    /// The greatest version of a page so far.
    needed: u64,
    /// The next page; `None`: all are here.
    cursor: Option<u64>,
    /// Entries that deltas removed since the question.
    removed: HashSet<Key>,
}

impl State {
    /// The state of a node in its life `life`, greater than any it had before.
    pub(super) fn new(me: NodeId, life: u64, max_entries: usize) -> Self {
        Self {
            me,
            max_entries,
            closed: false,
            directory: Directory::new(me),
            outbox: Outbox::of_life(life),
            peers: HashMap::new(),
            watched: false,
            events: Vec::new(),
            questions: Vec::new(),
            finished: false,
            names: 0,
        }
    }

    /// Adds or changes an entry of this node.
    pub(super) fn track(&mut self, group: &str, member: &str, value: &[u8]) -> Result<(), PresenceError> {
        if self.closed {
            return Err(PresenceError::Closed);
        }
        let limit = MAX_NAME_BYTES;
        if let Some(actual) = [group, member].map(str::len).into_iter().find(|&actual| actual > limit) {
            return Err(PresenceError::NameTooLong { actual, limit });
        }
        if value.len() > MAX_VALUE_BYTES {
            let (actual, limit) = (value.len(), MAX_VALUE_BYTES);
            return Err(PresenceError::ValueTooLarge { actual, limit });
        }
        if self.directory.count_of(Owner::ME) >= self.max_entries
            && self.directory.own_value(group, member).is_none()
        {
            return Err(PresenceError::TooMany { limit: self.max_entries });
        }
        let put = self.directory.put(Owner::ME, group, member, value, Mark::Settled);
        if let Put::Added(slot) | Put::Changed(slot) = put {
            let Entry { group, member, .. } = self.directory.entry(slot);
            self.outbox.changed(Key { group, member });
        }
        self.tell(put);
        Ok(())
    }

    /// Removes an entry of this node; answers whether there was one.
    pub(super) fn untrack(&mut self, group: &str, member: &str) -> bool {
        let removed = self.directory.remove(Owner::ME, group, member);
        removed.map(|entry| self.untracked(entry)).is_some()
    }

    /// Removes all entries of this node for `member`; answers how many there were.
    pub(super) fn untrack_all(&mut self, member: &str) -> usize {
        let mut count = 0;
        while let Some(entry) = self.directory.remove_any_own(member) {
            self.untracked(entry);
            count += 1;
        }
        count
    }

    fn untracked(&mut self, entry: Entry) {
        self.outbox.changed(Key { group: Arc::clone(&entry.group), member: Arc::clone(&entry.member) });
        self.left(entry);
    }

    /// The next delta to publish, with changes of about `max_bytes`; none while one is out.
    pub(super) fn next_delta(&mut self, max_bytes: usize) -> Option<Delta> {
        let directory = &self.directory;
        let mut writer = ChangesWriter::default();
        let (from, to) = self.outbox.send(|Key { group, member }| {
            writer.write(Change { group, member, value: directory.own_value(group, member) });
            writer.len() < max_bytes
        })?;
        Some(Delta { from, to, changes: writer.finish() })
    }

    /// The delta that is out is in the store (`true`), or may not be.
    pub(super) fn settle(&mut self, stored: bool) {
        self.outbox.settle(stored);
    }

    pub(super) fn has_changes(&self) -> bool {
        self.outbox.is_ready()
    }

    pub(super) fn version(&self) -> u64 {
        self.outbox.version()
    }

    /// A page of this node's entries, of about `max_bytes`.
    pub(super) fn page(&self, ask: Ask, max_bytes: usize) -> Page {
        let mut writer = ChangesWriter::default();
        let mut next = None;
        // A cursor that does not fit names no slot either.
        let first = usize::try_from(ask.cursor).unwrap_or(usize::MAX);
        for (slot, group, member, value) in self.directory.own_from(first) {
            if writer.len() >= max_bytes {
                next = Some(slot as u64);
                break;
            }
            writer.write(Change { group, member, value: Some(value) });
        }
        Page { version: self.outbox.made(), next, entries: writer.finish() }
    }

    /// A member is alive, and everything up to `version` that it published was handed in.
    pub(super) fn beat(&mut self, node: NodeId, incarnation: u64, version: u64) {
        if self.closed || node == self.me {
            return;
        }
        match self.peers.get(&node) {
            Some(peer) if incarnation < peer.incarnation => return,
            Some(peer) if incarnation > peer.incarnation => self.gone(node),
            _ => {}
        }
        let directory = &mut self.directory;
        let entry = self.peers.entry(node);
        let hashbrown::hash_map::Entry::Occupied(peer) = entry else {
            let Some(owner) = directory.admit(node) else { return };
            let first = outbox::first_of(version);
            entry.insert(Peer { owner, incarnation, version: first, asking: None, pull: None });
            if version > first {
                self.pull(node, version);
            }
            return;
        };
        if peer.get().version < version {
            self.pull(node, version);
        }
    }

    /// A member may have a later version than was told.
    pub(super) fn unknown(&mut self, node: NodeId) {
        if let Some(Peer { version, pull: None, .. }) = self.peers.get(&node) {
            self.pull(node, *version);
        }
    }

    /// A node is no longer a member.
    pub(super) fn gone(&mut self, node: NodeId) {
        let Some(peer) = self.peers.remove(&node) else { return };
        self.finished |= peer.pull.is_some();
        let entries = self.directory.dismiss(peer.owner);
        if self.watched && !entries.is_empty() {
            self.events.push(PresenceEvent::NodeLeft { node, entries: entries.into() });
        }
    }

    /// A delta of another node came.
    pub(super) fn delta(&mut self, node: NodeId, delta: &Delta) {
        let Some(peer) = self.peers.get(&node) else { return };
        if delta.to <= peer.version.max(delta.from) {
            return;
        }
        if delta.from > peer.version {
            self.pull(node, delta.from);
        }
        self.apply(node, &delta.changes, delta.to);
        self.finish(node);
    }

    /// What to ask next of a node that was to be asked; `None`: nothing more.
    ///
    /// An ask that fails is asked again, for as long as this says so.
    pub(super) fn ask(&mut self, question: Question) -> Option<NextAsk> {
        let peer = self.peers.get_mut(&question.node)?;
        if peer.asking != Some(question.name) {
            return None;
        }
        let next = peer
            .pull
            .as_ref()
            .and_then(|pull| pull.cursor.map(|cursor| NextAsk { ask: Ask { cursor }, series: pull.series }));
        if next.is_none() {
            peer.asking = None;
        }
        next
    }

    /// A node answered an ask of `series`; `false`: that is no answer, and it is better asked again a little later.
    pub(super) fn answered(&mut self, node: NodeId, series: Series, page: &Page) -> bool {
        let Some(peer) = self.peers.get_mut(&node) else { return true };
        let owner = peer.owner;
        let Some(pull) = peer.pull.as_mut().filter(|pull| pull.series == series) else { return true };
        if page.version < pull.asked_at {
            // Of another life of the node, whose sign of life is on its way.
            return false;
        }
        if pull.cursor == Some(0) && page.version >= peer.version {
            // All pages are newer than all that deltas told so far.
            peer.version = page.version;
            pull.removed.clear();
            self.directory.mark_all(owner, Mark::Stale);
        }
        pull.needed = pull.needed.max(page.version);
        pull.cursor = page.next;
        let removed = mem::take(&mut pull.removed);
        page.entries.for_each(|Change { group, member, value }| {
            if let Some(value) = value
                && !removed.contains(&KeyRef { group, member })
            {
                let put = self.directory.put(owner, group, member, value, Mark::Paged);
                self.tell(put);
            }
        });
        if let Some(pull) = self.peers.get_mut(&node).and_then(|peer| peer.pull.as_mut()) {
            pull.removed = removed;
        }
        self.finish(node);
        true
    }

    /// The nodes to begin to ask since the last call.
    pub(super) fn questions(&mut self) -> Vec<Question> {
        mem::take(&mut self.questions)
    }

    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Whether nobody is asked for all entries.
    pub(super) fn is_settled(&self) -> bool {
        self.peers.values().all(|peer| peer.pull.is_none())
    }

    /// Whether that may have come about since the last call.
    pub(super) fn take_finished(&mut self) -> bool {
        mem::take(&mut self.finished)
    }

    /// Forgets everything, and takes nothing any more.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::new(self.me, 0, self.max_entries) };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether to make events.
    pub(super) fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// What happened since the last call.
    pub(super) fn events(&mut self) -> Vec<PresenceEvent> {
        mem::take(&mut self.events)
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Asks for all entries of a node whose deltas up to `version` did not all come, or asks anew.
    fn pull(&mut self, node: NodeId, version: u64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        self.directory.mark_all(peer.owner, Mark::Stale);
        peer.version = version;
        self.names += 1;
        let series = Series(self.names);
        let (asked_at, needed) = (version, version);
        peer.pull = Some(Pull { series, asked_at, needed, cursor: Some(0), removed: HashSet::new() });
        if peer.asking.is_none() {
            self.names += 1;
            peer.asking = Some(self.names);
            self.questions.push(Question { node, name: self.names });
        }
    }

    fn apply(&mut self, node: NodeId, changes: &Changes, version: u64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.version = version;
        let owner = peer.owner;
        let mut pull = peer.pull.take();
        let mark = if pull.is_some() { Mark::Told } else { Mark::Settled };
        changes.for_each(|Change { group, member, value }| match value {
            Some(value) => {
                let put = self.directory.put(owner, group, member, value, mark);
                self.tell(put);
            }
            None => {
                if let Some(pull) = &mut pull {
                    pull.removed.insert(Key { group: group.into(), member: member.into() });
                }
                if let Some(entry) = self.directory.remove(owner, group, member) {
                    self.left(entry);
                }
            }
        });
        let many = pull.as_ref().is_some_and(|pull| pull.removed.len() > self.max_entries);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.pull = pull;
        }
        if many {
            // It does not answer, and its entries come and go: what it has now is enough.
            self.pull(node, version);
        }
    }

    /// Ends a pull when all pages are here, and all deltas that they may know of.
    fn finish(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let version = peer.version;
        if peer.pull.take_if(|pull| pull.cursor.is_none() && pull.needed <= version).is_some() {
            self.finished = true;
            for entry in self.directory.sweep(peer.owner) {
                self.left(entry);
            }
        }
    }

    fn tell(&mut self, put: Put) {
        if !self.watched {
            return;
        }
        match put {
            Put::Added(slot) => self.events.push(PresenceEvent::Joined(self.directory.entry(slot))),
            Put::Changed(slot) => self.events.push(PresenceEvent::Updated(self.directory.entry(slot))),
            Put::Same => {}
        }
    }

    fn left(&mut self, entry: Entry) {
        if self.watched {
            self.events.push(PresenceEvent::Left(entry));
        }
    }
}
