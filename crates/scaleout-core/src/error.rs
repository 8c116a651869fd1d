//! The one error type of scaleout.

use std::{error::Error as StdError, fmt, sync::Arc};

/// A failed operation: a [kind](ErrorKind) to branch on, a line of context, and the cause.
///
/// `Display` is one line that says what was being done; the cause is in [`source`](StdError::source).
/// It is a cheap clone, since one failure of a store is told to everyone who waits for it.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    context: Arc<str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store cannot be reached, or refused for the moment. Nothing was published; try again later.
    Unavailable,
    /// The store did not answer in time. The payload may be there.
    Timeout,
    /// The message was handed to the store, and whether it is there is not known.
    Unconfirmed,
    /// The store holds fewer frames of this node than it once confirmed; `last` is the greatest number there.
    Rewound {
        /// The greatest frame number of this node in the store's history; 0 where there is none.
        last: u64,
    },
    /// The message or payload is larger than the backplane takes.
    PayloadTooLarge {
        /// Bytes of the encoded frame that was refused.
        actual: usize,
        /// Bytes that the backplane takes at most.
        limit: usize,
    },
    /// The queue of messages that wait to be sent is at its bounds.
    QueueFull,
    /// The message waited longer than `max_queue_age` and was not sent.
    Expired,
    /// The message was dropped from a full queue to make room for newer ones.
    Dropped,
    /// The bus is closed.
    Closed,
    /// A channel name is empty, or longer than 1,024 bytes.
    InvalidChannel,
    /// A cursor's text cannot be read.
    InvalidCursor,
    /// A text is no `traceparent` of W3C Trace Context.
    InvalidTraceparent,
    /// Settings are wrong, or do not fit those of the other nodes or of the store.
    Config,
    /// The store refuses the credentials, or they lack a permission.
    Unauthorized,
    /// The store is not one that this backplane can work with.
    Unsupported,
}

impl Error {
    /// An error of `kind`; `context` says what was being done, in one lower-case line without secrets.
    pub fn new(kind: ErrorKind, context: impl Into<Arc<str>>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody's help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::QueueFull | ErrorKind::Rewound { .. }
        )
    }

    /// Whether somebody must change settings, secrets or grants before it can succeed.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.kind, ErrorKind::Config | ErrorKind::Unauthorized | ErrorKind::Unsupported)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match self.kind {
            ErrorKind::PayloadTooLarge { actual, limit } => write!(f, ": {actual} bytes, at most {limit}"),
            ErrorKind::Rewound { last } => write!(f, ": the store holds frames up to number {last}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind).field("context", &self.context);
        if let Some(source) = &self.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        let context = match kind {
            ErrorKind::Unavailable => "the backplane is not reachable",
            ErrorKind::Timeout => "the backplane did not answer in time",
            ErrorKind::Unconfirmed => "sent, but the backplane never confirmed it",
            ErrorKind::Rewound { .. } => "the backplane lost frames of this node",
            ErrorKind::PayloadTooLarge { .. } => "message too large for the backplane",
            ErrorKind::QueueFull => "the send queue is full",
            ErrorKind::Expired => "waited too long in the send queue",
            ErrorKind::Dropped => "dropped from a full send queue",
            ErrorKind::Closed => "the bus is closed",
            ErrorKind::InvalidChannel => "a channel is 1 to 1,024 bytes of UTF-8",
            ErrorKind::InvalidCursor => "not a cursor of this version",
            ErrorKind::InvalidTraceparent => {
                "not a W3C traceparent: 00-<trace id, 32 hex digits>-<parent id, 16>-<flags, 2>, in lower case"
            }
            ErrorKind::Config => "settings do not fit the backplane or its other nodes",
            ErrorKind::Unauthorized => "the backplane refuses the credentials",
            ErrorKind::Unsupported => "the backplane's store is not supported",
        };
        Self::new(kind, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_tells_numbers_and_not_the_source() {
        let error = Error::from(ErrorKind::PayloadTooLarge { actual: 20, limit: 10 })
            .with_source(std::io::Error::other("cause"));
        assert_eq!(error.to_string(), "message too large for the backplane: 20 bytes, at most 10");
        assert_eq!(StdError::source(&error).map(ToString::to_string), Some("cause".into()));
    }

    #[test]
    fn transient_and_fatal_exclude_each_other() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Config, ErrorKind::Closed, ErrorKind::Unconfirmed] {
            let error = Error::from(kind);
            assert!(!(error.is_transient() && error.is_fatal()), "{kind:?}");
        }
    }
}
