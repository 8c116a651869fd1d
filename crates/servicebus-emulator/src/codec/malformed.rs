//! Why bytes are not read: [`Malformed`].

use std::fmt;

/// Bytes that are not AMQP, or not what is expected at their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed AMQP: {}", self.0)
    }
}

impl std::error::Error for Malformed {}
