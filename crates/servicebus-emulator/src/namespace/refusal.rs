//! Why something was not done: [`Refusal`].

use std::{borrow::Cow, error::Error, fmt};

/// Why something was not done, in the words of AMQP and of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such entity.
    NotFound {
        /// Its path.
        entity: String,
    },
    /// There is an entity of that name already.
    Exists {
        /// Its path.
        entity: String,
    },
    /// A message, or all messages of a batch together, are longer than allowed.
    TooLarge {
        /// In bytes.
        actual: usize,
        /// In bytes.
        limit: usize,
    },
    /// Something would be more than allowed: entities, or bytes of a topic.
    QuotaExceeded(String),
    /// The namespace throttles, or is told to say so.
    ServerBusy,
    /// The token is none, is expired, or does not hold for this.
    Unauthorized(String),
    /// The entity's status forbids it.
    Disabled {
        /// Its path.
        entity: String,
    },
    /// The lock is over, or never was.
    LockLost,
    /// No message has that sequence number.
    MessageNotFound,
    /// The request makes no sense.
    Invalid(String),
    /// Azure Service Bus could do it; this emulator cannot.
    NotSupported(String),
}

impl Refusal {
    /// The condition of the AMQP error.
    pub fn condition(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "amqp:not-found",
            Self::Exists { .. } => "com.microsoft:entity-already-exists",
            Self::TooLarge { .. } => "amqp:link:message-size-exceeded",
            Self::QuotaExceeded(_) => "amqp:resource-limit-exceeded",
            Self::ServerBusy => "com.microsoft:server-busy",
            Self::Unauthorized(_) => "amqp:unauthorized-access",
            Self::Disabled { .. } => "com.microsoft:entity-disabled",
            Self::LockLost => "com.microsoft:message-lock-lost",
            Self::MessageNotFound => "com.microsoft:message-not-found",
            Self::Invalid(_) => "com.microsoft:argument-error",
            Self::NotSupported(_) => "amqp:not-implemented",
        }
    }

    /// The status of the HTTP answer, and of answers on `$management` and `$cbs` links.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound { .. } | Self::MessageNotFound => 404,
            Self::Exists { .. } => 409,
            Self::TooLarge { .. } | Self::QuotaExceeded(_) | Self::Disabled { .. } => 403,
            Self::ServerBusy => 503,
            Self::Unauthorized(_) => 401,
            Self::LockLost => 410,
            Self::Invalid(_) => 400,
            Self::NotSupported(_) => 501,
        }
    }

    /// What a person reads.
    pub fn description(&self) -> Cow<'_, str> {
        match self {
            Self::NotFound { entity } => {
                format!("The messaging entity '{entity}' could not be found.").into()
            }
            Self::Exists { entity } => format!("The messaging entity '{entity}' already exists.").into(),
            Self::TooLarge { actual, limit } => format!(
                "The received message (size: {actual} bytes) exceeds the limit ({limit} bytes) currently allowed."
            )
            .into(),
            Self::QuotaExceeded(what) | Self::Unauthorized(what) | Self::Invalid(what) => what.into(),
            Self::ServerBusy => "The request was terminated because the entity is being throttled. \
                Error code : 50009. Please wait 2 seconds and try again."
                .into(),
            Self::Disabled { entity } => {
                format!("Messaging entity '{entity}' is currently disabled.").into()
            }
            Self::LockLost => "The lock supplied is invalid. Either the lock expired, or the message has \
                already been removed from the queue."
                .into(),
            Self::MessageNotFound => "Failed to find the message with the sequence number.".into(),
            Self::NotSupported(what) => format!("{what} is not supported by this emulator.").into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description())
    }
}

impl Error for Refusal {}
