//! Invariant 15: a set of runs that never met a fault proves nothing about it.

use std::{collections::BTreeMap, fmt};

use super::{Invariant, Violation};

/// How often each thing occurred over a set of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
}

impl Coverage {
    /// Counts `times` more of `what`.
    pub fn count(&mut self, what: impl Into<String>, times: u64) {
        *self.counts.entry(what.into()).or_default() += times;
    }

    /// How often `what` occurred.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Adds what another set of runs met.
    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.counts {
            self.count(what.as_str(), *times);
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.counts {
            writeln!(f, "{times:>10}  {what}")?;
        }
        Ok(())
    }
}

/// Answers a violation for each of `required` that never occurred.
#[must_use]
pub fn check_coverage(coverage: &Coverage, required: &[&str]) -> Vec<Violation> {
    let absent = required.iter().filter(|what| coverage.of(what) == 0);
    absent
        .map(|what| Violation { invariant: Invariant::NotVacuous, detail: format!("{what} never occurred") })
        .collect()
}
