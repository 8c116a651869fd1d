//! What a run sees of buses, written down for the checker: items, outcomes, and a bus's own figures beside them.

use std::time::Duration;

use scaleout_core::{
    Bus, BusConfig, Counters, CursorEntry, Error, ErrorKind, Gap, GapReason, Message, StreamIndex,
};

use crate::checker::{
    Account, Arrival, ArrivalKind, Arrived, Coverage, GapItem, HopEntry, MessageItem, Outcome, Published,
    Reason, Sample,
};

/// What the subscriptions of one node yielded.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Yielded {
    pub(crate) messages: u64,
    /// By [`Reason`].
    pub(crate) gaps: [u64; 4],
}

impl Yielded {
    pub(crate) fn gaps_of(&mut self, reason: Reason) -> &mut u64 {
        &mut self.gaps[reason as usize]
    }
}

pub(crate) fn message_item(node: usize, message: &Message) -> MessageItem {
    MessageItem {
        node,
        stream: message.stream(),
        position: message.position(),
        origin: message.node(),
        channel: message.channel().to_owned(),
        bytes: message.payload().clone(),
    }
}

pub(crate) fn gap_item(node: usize, at: Duration, gap: &Gap) -> GapItem {
    let position = match gap.cursor().entry(gap.stream()) {
        Some(CursorEntry::At { position, .. }) => Some(*position),
        _ => None,
    };
    GapItem { node, at, stream: gap.stream(), reason: reason(gap.reason()), frames: gap.frames(), position }
}

pub(crate) fn hop_entry((stream, entry): (StreamIndex, &CursorEntry)) -> HopEntry {
    match *entry {
        CursorEntry::At { position, stem } => HopEntry { stream, position: Some(position), stem },
        CursorEntry::Unpositioned => HopEntry { stream, position: None, stem: None },
    }
}

fn reason(reason: GapReason) -> Reason {
    match reason {
        GapReason::Lost => Reason::Lost,
        GapReason::Reset => Reason::Reset,
        GapReason::Expired => Reason::Expired,
        GapReason::Lagged => Reason::Lagged,
    }
}

pub(crate) fn outcome_of(result: &Result<(), Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Ok,
        Err(error) => match error.kind() {
            ErrorKind::Unconfirmed => Outcome::Unconfirmed,
            kind => Outcome::Refused(kind),
        },
    }
}

/// How much of its budgets a bus uses.
pub(crate) fn budgets(bus: &Bus, config: &BusConfig) -> Vec<Sample> {
    let usage = bus.usage();
    let sample = |what, used: usize, limit: usize| Sample { what, used: used as u64, limit: limit as u64 };
    vec![
        sample("queue messages", usage.queue_messages, config.max_queue_messages),
        sample("queue bytes", usage.queue_bytes, config.max_queue_bytes),
        sample("tail bytes", usage.tail_bytes, config.max_tail_bytes),
        sample("ring bytes", usage.ring_bytes, config.max_ring_bytes),
    ]
}

/// Counters of what a node received and handed out.
pub(crate) fn arrivals(counters: &Counters, arrived: &Arrived, yielded: &Yielded) -> Vec<Account> {
    let gaps = |reason: Reason| yielded.gaps[reason as usize];
    vec![
        account("duplicates", counters.duplicates, arrived.copies + arrived.repeated),
        account("foreign", counters.foreign, arrived.foreign),
        account("unreadable", counters.unreadable, arrived.unreadable),
        account("mislaid", counters.mislaid, arrived.other_layout),
        account("empty", counters.empty, arrived.empty),
        account("received", counters.received, arrived.messages),
        account("delivered", counters.delivered, yielded.messages),
        account("gaps_lost", counters.gaps_lost, gaps(Reason::Lost)),
        account("gaps_reset", counters.gaps_reset, gaps(Reason::Reset)),
        account("gaps_expired", counters.gaps_expired, gaps(Reason::Expired)),
        account("gaps_lagged", counters.gaps_lagged, gaps(Reason::Lagged)),
    ]
}

/// Counters of how the publishes of a node ended.
pub(crate) fn outcomes(counters: &Counters, node: usize, publishes: &[Published]) -> Vec<Account> {
    let ended = |outcome: &dyn Fn(Outcome) -> bool| {
        publishes.iter().filter(|publish| publish.node == node && outcome(publish.outcome)).count() as u64
    };
    let refused = |kind: ErrorKind| ended(&|outcome| outcome == Outcome::Refused(kind));
    vec![
        account("published", counters.published, ended(&|outcome| outcome == Outcome::Ok)),
        account("unconfirmed", counters.unconfirmed, ended(&|outcome| outcome == Outcome::Unconfirmed)),
        account("refused", counters.refused, refused(ErrorKind::QueueFull)),
        account("unavailable", counters.unavailable, refused(ErrorKind::Unavailable)),
        account("expired", counters.expired, refused(ErrorKind::Expired)),
        account("dropped", counters.dropped, refused(ErrorKind::Dropped)),
    ]
}

/// Which rows of the look-up table were met, and how often frames were sent again to a store that forgot them.
pub(crate) fn count_look_ups(counters: &Counters, coverage: &mut Coverage) {
    coverage.count("look-up: in ring", counters.lookups_in_ring);
    coverage.count("look-up: older", counters.lookups_older);
    coverage.count("look-up: expired", counters.lookups_expired);
    coverage.count("look-up: ahead", counters.lookups_ahead);
    coverage.count("look-up: reset", counters.lookups_reset);
    coverage.count("look-up: absent", counters.lookups_absent);
    coverage.count("look-up: unpositioned", counters.lookups_unpositioned);
    coverage.count("rewound", counters.rewound);
    coverage.count("repaired", counters.repaired);
}

/// How often a node opened and gave up streams on demand.
pub(crate) fn count_receptions(arrivals: &[Arrival], streams: u16, coverage: &mut Coverage) {
    for stream in (0..streams).map(StreamIndex) {
        let count = |counted: fn(&ArrivalKind) -> bool| {
            arrivals.iter().filter(|arrival| arrival.stream == stream && counted(&arrival.kind)).count()
                as u64
        };
        let began = count(|kind| matches!(kind, ArrivalKind::Began));
        coverage.count("interest: a stream opened on demand", began);
        coverage.count("interest: a stream opened again", began.saturating_sub(1));
        coverage.count("interest: a stream given up", count(|kind| matches!(kind, ArrivalKind::Ended)));
    }
}

fn account(what: &'static str, counted: u64, observed: u64) -> Account {
    Account { what, counted, observed }
}
