//! The history checker: judges what a run of several nodes recorded, as a pure function.
//!
//! A [`Recording`] holds what was published and how it ended, what the store held (read from the store, never from
//! a bus), what each node's reception yielded, and what each client got. [`check`] answers every breach of the
//! invariants below; [`check_coverage`] judges a set of runs. Neither knows a clock, a runtime or a bus.
//!
//! A client is a chain of subscriptions joined by cursors. A forged cursor begins a new chain: it claims to have
//! seen what it names, and re-reads at most what the ring keeps.

use std::fmt;

mod coverage;
mod delivery;
mod endings;
mod gaps;
mod history;
mod outcomes;
mod recording;
#[cfg(test)]
mod tests;
mod view;

pub use self::{
    coverage::{Coverage, check_coverage},
    recording::{
        Account, Arrival, ArrivalKind, Client, Content, End, FrameContent, GapItem, HopEntry, HopItem, Item,
        LogFrame, MessageItem, NodeRecord, Outcome, Published, Reason, Recording, Sample, StateSample,
        publish_payload,
    },
    view::Arrived,
};

use self::history::Histories;

/// What a run must keep; the numbers are those of the project's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// 1: what is received was published, on a channel of the client, with equal bytes and origin; what was surely
    /// refused is nowhere.
    Validity,
    /// 2: each message at most once in a history, each (node, number) at most once in an epoch of the store.
    Uniqueness,
    /// 3: positions strictly increase within a stream, epochs only grow.
    StreamOrder,
    /// 4: what one node published to one channel comes in the order of the calls.
    PublisherOrder,
    /// 5: one (stream, epoch, id, index) names one message everywhere, and a history follows the store's order.
    Agreement,
    /// 6: what the store accepted comes, or a gap stands in its place.
    Completeness,
    /// 7: every gap has a cause on record.
    NoFalseGap,
    /// 8: the extent of a gap bounds what is missing, and nothing delivered lies inside one.
    Extent,
    /// 9: every publish resolves; `Ok` is in the store at that moment, a sure error never.
    Outcomes,
    /// 10: what a store forgot and a living publisher's tail still has is in the store again, in order.
    Repair,
    /// 11: a client that hops gets what a client that stays gets, but for gaps.
    Transparency,
    /// 12: in the end every stream is up and every cursor at the head; in a long outage no stream is up.
    Liveness,
    /// 13: nothing exceeds its budget, and nothing is left after close.
    Bounds,
    /// 14: counters equal what was observed.
    Accounts,
    /// 15: every fault, gap reason, look-up row and outcome occurred over the set of runs.
    NotVacuous,
}

impl Invariant {
    /// Every invariant, in the order of its number.
    pub const ALL: [Self; 15] = [
        Self::Validity,
        Self::Uniqueness,
        Self::StreamOrder,
        Self::PublisherOrder,
        Self::Agreement,
        Self::Completeness,
        Self::NoFalseGap,
        Self::Extent,
        Self::Outcomes,
        Self::Repair,
        Self::Transparency,
        Self::Liveness,
        Self::Bounds,
        Self::Accounts,
        Self::NotVacuous,
    ];
}

/// A breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What was broken.
    pub invariant: Invariant,
    /// Where, in one line.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.detail)
    }
}

/// Judges one run by invariants 1 to 14; empty where it kept them all.
#[must_use]
pub fn check(recording: &Recording) -> Vec<Violation> {
    let histories = Histories::of(recording);
    let mut found = Findings::default();
    delivery::validity(recording, &histories, &mut found);
    delivery::uniqueness(recording, &histories, &mut found);
    delivery::stream_order(&histories, &mut found);
    delivery::publisher_order(recording, &histories, &mut found);
    delivery::agreement(recording, &histories, &mut found);
    outcomes::completeness(recording, &histories, &mut found);
    gaps::no_false_gap(recording, &histories, &mut found);
    gaps::extent(recording, &histories, &mut found);
    outcomes::outcomes(recording, &histories, &mut found);
    outcomes::repair(recording, &histories, &mut found);
    outcomes::transparency(recording, &histories, &mut found);
    endings::liveness(recording, &mut found);
    endings::bounds(recording, &mut found);
    endings::accounts(recording, &mut found);
    found.violations
}

/// Collects violations.
#[derive(Default)]
struct Findings {
    violations: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, invariant: Invariant, detail: String) {
        self.violations.push(Violation { invariant, detail });
    }

    /// Adds a violation where `held` is false.
    fn expect(&mut self, held: bool, invariant: Invariant, detail: impl FnOnce() -> String) {
        if !held {
            self.add(invariant, detail());
        }
    }
}
