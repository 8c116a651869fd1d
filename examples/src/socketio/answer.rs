//! How a node answers a client.

use std::fmt;

use scaleout_socketioxide::ScaleoutError;
use serde::Serialize;
use serde_json::json;
use socketioxide::{
    BroadcastError, ParserError, SocketError, SocketIo, adapter::Adapter, extract::AckSender,
    operators::BroadcastOperators,
};

/// Why a node does not do what a client wants, for the client to read.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl Refusal {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// The sockets of `/`, on all nodes. By `io.to` and the like a handler that is late would panic, once the node stops.
///
/// # Errors
/// Once the node stops.
pub(super) fn users<A: Adapter>(io: &SocketIo<A>) -> Result<BroadcastOperators<A>, Refusal> {
    io.of("/").ok_or_else(|| Refusal::new("the node stops"))
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
    /// It waits for the store; sockets of this node have it, unless delivery is ordered.
    Later,
    /// The sockets of this node have it, and no others, for this reason.
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
        let Err(error) = emitted else { return Ok(Self::Everywhere) };
        match (ScaleoutError::of(&error), &error) {
            (Some(ScaleoutError::Queued), _) => Ok(Self::Later),
            (Some(ScaleoutError::LocalOnly(cause)), _) => Ok(Self::Here { why: cause.to_string() }),
            // Who is gone is none of those who should have it.
            (_, BroadcastError::Socket(errors)) if errors.iter().all(is_gone) => Ok(Self::Everywhere),
            (_, BroadcastError::Socket(_)) => Ok(Self::Partly),
            _ => Err(Refusal::new(error)),
        }
    }
}

fn is_gone(error: &SocketError) -> bool {
    matches!(error, SocketError::Closed)
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
