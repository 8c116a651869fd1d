//! How a command ends: exit codes, and what is told of a failure.

use std::{error::Error as StdError, fmt, io, process::ExitCode};

use scaleout::{Error, ErrorKind};
use serde::Serialize;

use crate::output::Output;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked, and found no problem.
    Done,
    /// It found a problem, or could not do what was asked.
    Failed,
    /// Arguments or settings are wrong.
    Usage,
    /// The store cannot be reached.
    Unreachable,
    /// It was interrupted before it was done.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Arguments that make no sense together, for a command to fail with.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for UsageError {}

/// An error with which the command ends.
pub(crate) fn usage(problem: impl Into<String>) -> anyhow::Error {
    UsageError(problem.into()).into()
}

/// Ctrl-C came before the command was done.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl StdError for Interrupted {}

/// What a command failed with, for people and for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    exit: Exit,
    /// Nobody reads what we write: there is nothing to tell.
    #[serde(skip)]
    is_silent: bool,
    kind: &'static str,
    error: String,
    exit_code: u8,
}

impl Failure {
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            // What is behind an error of a store is the store's: a connection that broke is no pipe of ours.
            if cause.is::<Error>() {
                break;
            }
            if let Some(error) = cause.downcast_ref::<io::Error>()
                && error.kind() == io::ErrorKind::BrokenPipe
            {
                return Self { is_silent: true, ..Self::new(Exit::Done, "pipe", String::new()) };
            }
            if let Some(UsageError(problem)) = cause.downcast_ref() {
                return Self::usage(problem);
            }
            if cause.is::<Interrupted>() {
                return Self::new(Exit::Interrupted, "interrupted", chain(error.as_ref()));
            }
        }
        let Some(of_store) = error.chain().find_map(|cause| cause.downcast_ref::<Error>()) else {
            return Self::new(Exit::Failed, "failed", chain(error.as_ref()));
        };
        let exit = match of_store.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout => Exit::Unreachable,
            ErrorKind::Config | ErrorKind::InvalidChannel | ErrorKind::InvalidCursor => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, kind_name(of_store.kind()), chain(error.as_ref()))
    }

    pub(crate) fn usage(problem: &str) -> Self {
        Self::new(Exit::Usage, "usage", problem.to_owned())
    }

    fn new(exit: Exit, kind: &'static str, error: String) -> Self {
        Self { exit, is_silent: false, kind, error, exit_code: exit.code() }
    }

    /// Writes it to stderr, and yields how the process ends.
    pub(crate) fn tell(&self, output: &Output) -> Exit {
        if !self.is_silent {
            output.error(self, &self.error);
        }
        self.exit
    }
}

/// An error and its causes in one line; a cause that the line before says already is left out.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The kind of an error, as JSON has it.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Unconfirmed => "unconfirmed",
        ErrorKind::Rewound { .. } => "rewound",
        ErrorKind::PayloadTooLarge { .. } => "payload_too_large",
        ErrorKind::QueueFull => "queue_full",
        ErrorKind::Expired => "expired",
        ErrorKind::Dropped => "dropped",
        ErrorKind::Closed => "closed",
        ErrorKind::InvalidChannel => "invalid_channel",
        ErrorKind::InvalidCursor => "invalid_cursor",
        ErrorKind::Config => "config",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Unsupported => "unsupported",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_pipe() -> io::Error {
        io::ErrorKind::BrokenPipe.into()
    }

    #[test]
    fn a_connection_that_broke_is_not_a_pipe_that_nobody_reads() {
        let of_store = Error::new(ErrorKind::Unavailable, "sending").with_source(broken_pipe());
        for error in [anyhow::Error::new(of_store.clone()), anyhow::Error::new(of_store).context("message 1")]
        {
            let failure = Failure::of(&error);
            assert_eq!((failure.exit, failure.is_silent), (Exit::Unreachable, false), "{error:#}");
        }
        let of_stdout = Failure::of(&anyhow::Error::new(broken_pipe()).context("stdout"));
        assert_eq!((of_stdout.exit, of_stdout.is_silent), (Exit::Done, true));
    }
}
