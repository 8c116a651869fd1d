//! How a node answers a client.

use std::fmt;

use serde::Serialize;
use serde_json::json;
use socketioxide::{BroadcastError, ParserError, SocketError, adapter::Adapter, extract::AckSender};

/// Why a node does not do what a client wants, for the client to read.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl Refusal {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl From<ParserError> for Refusal {
    fn from(error: ParserError) -> Self {
        Self(format!("not understood: {error}"))
    }
}

/// How far something went that was emitted.
#[derive(Debug, Serialize)]
#[serde(tag = "delivered", rename_all = "snake_case")]
pub(super) enum Delivered {
    /// The store has it, and every node gets it.
    Everywhere,
    /// The sockets of this node have it; why the others do not, or not yet.
    Here { why: String },
    /// A socket of this node does not read, and did not get it.
    Partly,
}

impl Delivered {
    /// What `emit` says.
    ///
    /// # Errors
    /// Where nobody gets it.
    pub(super) fn of(emitted: Result<(), BroadcastError>) -> Result<Self, Refusal> {
        match emitted {
            Ok(()) => Ok(Self::Everywhere),
            Err(BroadcastError::Adapter(error)) => Ok(Self::Here { why: error.to_string() }),
            Err(BroadcastError::Socket(errors)) => {
                // Who is gone is none of those who should have it.
                let all_gone = errors.iter().all(|error| matches!(error, SocketError::Closed));
                Ok(if all_gone { Self::Everywhere } else { Self::Partly })
            }
            Err(BroadcastError::Serialize(error)) => Err(Refusal::new(error)),
        }
    }
}

/// Acknowledges an event.
pub(super) fn answer<A: Adapter>(ack: AckSender<A>, outcome: Result<impl Serialize, Refusal>) {
    let sent = match outcome {
        Ok(answer) => ack.send(&answer),
        Err(Refusal(why)) => ack.send(&json!({ "error": why })),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "not acknowledged; the client is gone, or does not read");
    }
}
