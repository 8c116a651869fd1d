//! What an examination of a store found, and what an app has there.

use std::fmt;

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, with less than it could: slower, with fewer guarantees, or not for long.
    Warning,
    /// It does not work.
    Problem,
}

impl Severity {
    /// `ok`, `warning` or `problem`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that an examination of a store found out.
///
/// It shows no secrets, and no address but those that the settings name, or that the store gives for its other servers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at, in a word or two that stay the same: `version`, `permissions`, `clock`.
    pub subject: &'static str,
    /// What was found, in one line.
    pub what: String,
    /// What to do about it: a command, a statement, a setting; `None` where nothing is to be done.
    pub fix: Option<String>,
}

impl Finding {
    /// Nothing to be done.
    pub fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject, what: what.into(), fix: None }
    }

    /// It works, with less than it could.
    pub fn warning(subject: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, subject, what: what.into(), fix: Some(fix.into()) }
    }

    /// It does not work.
    pub fn problem(subject: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, subject, what: what.into(), fix: Some(fix.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity.name(), self.subject, self.what)?;
        match &self.fix {
            Some(fix) => write!(f, " (to mend it: {fix})"),
            None => Ok(()),
        }
    }
}

/// Something that an app left in a store: a key, a table, a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remnant {
    /// What it is in the words of the store: `stream`, `table`, `topic`.
    pub kind: &'static str,
    /// Its name there.
    pub name: String,
    /// What it holds, for people: `1,204 entries, 3.1 MiB`. Empty where that is not known.
    pub holds: String,
}

impl Remnant {
    /// Something of this kind and name.
    pub fn new(kind: &'static str, name: impl Into<String>, holds: impl Into<String>) -> Self {
        Self { kind, name: name.into(), holds: holds.into() }
    }
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if self.holds.is_empty() { Ok(()) } else { write!(f, " ({})", self.holds) }
    }
}
