//! Numbers about what an adapter did.

use std::sync::atomic::{AtomicU64, Ordering};

/// What an adapter did since it was made, of all namespaces together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AdapterCounters {
    /// Operations handed to the backplane.
    pub published: u64,
    /// Operations of others that were done, or answered, here.
    pub received: u64,
    /// Operations of others on namespaces, or aimed at servers, that this node does not have.
    pub skipped: u64,
    /// Operations of later releases, which this one cannot do.
    pub newer: u64,
    /// Operations and answers that could not be read.
    pub unreadable: u64,
    /// Times that operations of others may have been lost on their way here.
    pub gaps: u64,
    /// Operations that waited for the backplane when their outcome was told.
    pub queued: u64,
    /// Operations that were done on this node alone.
    pub local_only: u64,
    /// Operations that were done nowhere.
    pub not_sent: u64,
    /// Operations of which nobody knows whether other nodes get them.
    pub unconfirmed: u64,
    /// Answers in which a node was missing that still was a member.
    pub partial_answers: u64,
    /// Failures that were not told, since an earlier one of the same operation was.
    pub untold: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) published: Counter,
    pub(crate) received: Counter,
    pub(crate) skipped: Counter,
    pub(crate) newer: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) gaps: Counter,
    pub(crate) queued: Counter,
    pub(crate) local_only: Counter,
    pub(crate) not_sent: Counter,
    pub(crate) unconfirmed: Counter,
    pub(crate) partial_answers: Counter,
    pub(crate) untold: Counter,
}

impl Counts {
    pub(crate) fn read(&self) -> AdapterCounters {
        AdapterCounters {
            published: self.published.read(),
            received: self.received.read(),
            skipped: self.skipped.read(),
            newer: self.newer.read(),
            unreadable: self.unreadable.read(),
            gaps: self.gaps.read(),
            queued: self.queued.read(),
            local_only: self.local_only.read(),
            not_sent: self.not_sent.read(),
            unconfirmed: self.unconfirmed.read(),
            partial_answers: self.partial_answers.read(),
            untold: self.untold.read(),
        }
    }
}
