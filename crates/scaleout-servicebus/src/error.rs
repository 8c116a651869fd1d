//! From what fails on a connection or request to our error.
//!
//! The text of the source is that of Service Bus, of the client or of the token provider; no request but that for a token
//! shows a secret, and its answer does not repeat it.

mod class;

use std::{error::Error as StdError, fmt, io, time::Duration};

use scaleout_core::{Error, ErrorKind};

use self::class::Class;
use crate::config::ServiceBusConfig;

/// What fails on a connection or request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection, or it broke. Trouble with a certificate is found in it.
    Io(io::Error),
    /// Nothing was answered for this long.
    TimedOut {
        /// What was waited.
        after: Duration,
    },
    /// A request about entities was refused.
    Http {
        /// The status of the answer.
        status: u16,
        /// The number that `SubCode=` of the detail names.
        sub_code: Option<u32>,
        /// What the answer says, shortened.
        detail: String,
    },
    /// Service Bus is too busy, or something is under way that must end first.
    Busy {
        /// How long it asks to wait.
        wait: Option<Duration>,
        /// What it says.
        detail: String,
    },
    /// The token is refused, or has not the right that is needed.
    Unauthorized(String),
    /// The entity, which is named, is not there.
    NotFound(String),
    /// There is no token.
    Token(Error),
    /// A link, session or connection ended with this, or a message was rejected with it.
    Amqp {
        /// The symbol, such as `amqp:not-found`.
        condition: String,
        /// What is said about it.
        description: String,
    },
    /// A message is larger than the topic takes.
    TooLarge {
        /// Bytes of the message.
        actual: usize,
        /// Bytes that the topic takes.
        limit: usize,
    },
    /// The other side ended the link or connection without saying why.
    Closed,
    /// Something answers in a form that Service Bus does not have.
    Foreign(String),
    /// Settings do not fit what is there.
    Settings(Error),
}

impl Failure {
    /// Whether to wait and ask again.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Amqp { condition, .. } => condition == "com.microsoft:server-busy",
            _ => false,
        }
    }

    /// Whether an entity is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound(_) => true,
            Self::Amqp { condition, .. } => condition == "amqp:not-found",
            _ => false,
        }
    }

    /// Whether the token is refused, which a new one may mend.
    pub(crate) fn is_unauthorized(&self) -> bool {
        match self {
            Self::Unauthorized(_) => true,
            Self::Amqp { condition, .. } => condition == "amqp:unauthorized-access",
            _ => false,
        }
    }

    /// How long to wait before the same is asked again, where Service Bus asks for that.
    pub(crate) fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } => *wait,
            _ => None,
        }
    }

    /// What it is to a caller, and what to grant or to change, where that helps.
    ///
    /// `doing` says what was being done, in lower case and without secrets.
    pub(crate) fn into_error(self, doing: &str, config: &ServiceBusConfig) -> Error {
        let error = Class::of(&self, config).into_error(doing);
        self.caused(error, doing)
    }

    /// The same for people: what it is, with its causes in one line, and what mends it, where that is known.
    pub(crate) fn told(self, doing: &str, config: &ServiceBusConfig) -> (String, Option<String>) {
        let mut class = Class::of(&self, config);
        let fix = class.fix.take();
        let error = class.into_error(doing);
        (said(&self.caused(error, doing)), fix)
    }

    /// `error` with its source.
    fn caused(self, error: Error, doing: &str) -> Error {
        match self {
            Self::Io(source) => error.with_source(source),
            Self::Token(source) => error.with_source(source),
            Self::Settings(source) => source,
            Self::Http { status, detail, .. } => {
                error.with_source(Said(format!("status {status}: {}", or_nothing(&detail))))
            }
            Self::Busy { detail, .. } | Self::Unauthorized(detail) if !detail.is_empty() => {
                error.with_source(Said(detail))
            }
            Self::Amqp { condition, description } => {
                error.with_source(Said(format!("{condition}: {}", or_nothing(&description))))
            }
            Self::TooLarge { actual, limit } => {
                Error::new(ErrorKind::PayloadTooLarge { actual, limit }, doing)
            }
            Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::Unauthorized(_)
            | Self::NotFound(_)
            | Self::Closed
            | Self::Foreign(_) => error,
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn said(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        // Some repeat what their causes say.
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = source.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the other side says, as a cause.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Said {}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing else is said" } else { text }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests;
