//! What is told of runs: a line each, and a table of all.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use scaleout_testkit::checker::{Invariant, Item, Outcome, Reason, Violation, check};
use serde::Serialize;

use crate::{merge::Merged, plan::Persistence, run::Ran};

/// What a bare loop without positions can be held against.
const OF_A_BARE_LOOP: [Invariant; 4] =
    [Invariant::Validity, Invariant::Uniqueness, Invariant::PublisherOrder, Invariant::Completeness];

/// Reasons of gaps, as the checker counts them.
const REASONS: [(Reason, &str); 4] = [
    (Reason::Lost, "lost"),
    (Reason::Reset, "reset"),
    (Reason::Expired, "expired"),
    (Reason::Lagged, "lagged"),
];

/// What came of one seed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    pub(crate) persistence: &'static str,
    pub(crate) faults: BTreeMap<&'static str, usize>,
    pub(crate) nodes_killed: usize,
    pub(crate) published: usize,
    pub(crate) confirmed: usize,
    pub(crate) unconfirmed: usize,
    pub(crate) refused: usize,
    /// Messages that clients got, of all clients.
    pub(crate) delivered: usize,
    /// By reason.
    pub(crate) gaps: BTreeMap<&'static str, usize>,
    /// Frames sent again to a store that forgot them; of nodes that were not killed.
    pub(crate) repaired: u64,
    /// Confirmed, forgotten by the store before anybody read it, and the publisher killed.
    pub(crate) beyond_proof: usize,
    /// Confirmed messages that a client lacks without a gap in their place.
    pub(crate) unreported_losses: usize,
    pub(crate) duplicates: usize,
    pub(crate) out_of_order: usize,
    /// All breaches of invariants, these included.
    pub(crate) violations: usize,
    /// By invariant.
    pub(crate) by_invariant: BTreeMap<String, usize>,
    /// The run itself failed: a node did not get over a fault, or something outside of the product broke.
    pub(crate) error: Option<String>,
    /// Where the journals are, if they were kept.
    pub(crate) folder: Option<PathBuf>,
    /// The first of the violations.
    pub(crate) shown: Vec<String>,
}

impl Report {
    /// Judges a run.
    pub(crate) fn of(ran: &Ran, merged: &Merged, is_bus: bool) -> Self {
        let recording = &merged.recording;
        let mut violations = check(recording);
        if !is_bus {
            violations.retain(|violation| OF_A_BARE_LOOP.contains(&violation.invariant));
        }
        let mut report = Self {
            faults: ran.struck.clone(),
            nodes_killed: ran.nodes_killed,
            published: recording.publishes.len(),
            repaired: merged.closed.iter().map(|closed| closed.repaired).sum(),
            beyond_proof: merged.beyond_proof,
            ..Self::default()
        };
        for publish in &recording.publishes {
            match publish.outcome {
                Outcome::Ok => report.confirmed += 1,
                Outcome::Refused(_) => report.refused += 1,
                Outcome::Unconfirmed | Outcome::Unresolved => report.unconfirmed += 1,
            }
        }
        for item in recording.clients.iter().flat_map(|client| &client.items) {
            match item {
                Item::Message(_) => report.delivered += 1,
                Item::Gap(gap) => {
                    let (_, name) = REASONS[gap.reason as usize];
                    *report.gaps.entry(name).or_default() += 1;
                }
                _ => {}
            }
        }
        report.judge(&violations);
        report
    }

    fn judge(&mut self, violations: &[Violation]) {
        self.violations = violations.len();
        for violation in violations {
            *self.by_invariant.entry(format!("{:?}", violation.invariant)).or_default() += 1;
            match violation.invariant {
                Invariant::Completeness => self.unreported_losses += 1,
                Invariant::Uniqueness => self.duplicates += 1,
                Invariant::StreamOrder | Invariant::PublisherOrder => self.out_of_order += 1,
                _ => {}
            }
        }
        self.shown = violations.iter().take(10).map(ToString::to_string).collect();
    }

    pub(crate) fn is_good(&self) -> bool {
        self.violations == 0 && self.error.is_none()
    }

    pub(crate) fn took(mut self, took: Duration) -> Self {
        self.seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
        self
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let verdict = match (&self.error, self.violations) {
            (Some(_), _) => "FAILED".into(),
            (None, 0) => "ok".into(),
            (None, count) => format!("{count} VIOLATIONS"),
        };
        let gaps: Vec<String> = self.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let gaps = if gaps.is_empty() { "none".to_owned() } else { gaps.join(", ") };
        let faults: usize = self.faults.values().sum();
        format!(
            "seed {}: {verdict}; {faults} faults, {} nodes killed; {} published, {} confirmed, {} delivered; gaps told: {gaps}; \
             {} repaired; {} lost unreported, {} twice, {} out of order; {} s",
            self.seed,
            self.nodes_killed,
            self.published,
            self.confirmed,
            self.delivered,
            self.repaired,
            self.unreported_losses,
            self.duplicates,
            self.out_of_order,
            self.seconds
        )
    }
}

impl Persistence {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "append-only, always",
            Self::EverySecond => "append-only, every second",
            Self::Snapshots => "snapshots",
            Self::Nothing => "none",
        }
    }
}

/// All seeds together.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) seeds: usize,
    pub(crate) failed: Vec<u64>,
    pub(crate) faults: BTreeMap<&'static str, usize>,
    pub(crate) persistence: BTreeMap<&'static str, usize>,
    pub(crate) sums: BTreeMap<&'static str, u64>,
    pub(crate) gaps: BTreeMap<&'static str, usize>,
    pub(crate) by_invariant: BTreeMap<String, usize>,
}

impl Summary {
    pub(crate) fn add(&mut self, report: &Report) {
        self.seeds += 1;
        if !report.is_good() {
            self.failed.push(report.seed);
        }
        for (fault, count) in &report.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if !report.persistence.is_empty() {
            *self.persistence.entry(report.persistence).or_default() += 1;
        }
        for (reason, count) in &report.gaps {
            *self.gaps.entry(reason).or_default() += count;
        }
        for (invariant, count) in &report.by_invariant {
            *self.by_invariant.entry(invariant.clone()).or_default() += count;
        }
        for (what, count) in [
            ("published", report.published as u64),
            ("confirmed", report.confirmed as u64),
            ("unconfirmed", report.unconfirmed as u64),
            ("refused", report.refused as u64),
            ("delivered to clients", report.delivered as u64),
            ("frames repaired", report.repaired),
            ("beyond proof", report.beyond_proof as u64),
            ("nodes killed", report.nodes_killed as u64),
            ("lost and not reported", report.unreported_losses as u64),
            ("delivered twice", report.duplicates as u64),
            ("out of order", report.out_of_order as u64),
        ] {
            *self.sums.entry(what).or_default() += count;
        }
    }

    /// A table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |count: u64, what: &str| {
            writeln!(text, "{count:>10}  {what}").expect("a string takes everything");
        };
        line(self.seeds as u64, "seeds");
        line(self.failed.len() as u64, "seeds that failed");
        for (persistence, count) in &self.persistence {
            line(*count as u64, &format!("seeds with persistence: {persistence}"));
        }
        for (fault, count) in &self.faults {
            line(*count as u64, &format!("fault: {fault}"));
        }
        for (what, count) in &self.sums {
            line(*count, what);
        }
        for (reason, count) in &self.gaps {
            line(*count as u64, &format!("gaps told: {reason}"));
        }
        for (invariant, count) in &self.by_invariant {
            line(*count as u64, &format!("violations: {invariant}"));
        }
        text
    }
}
