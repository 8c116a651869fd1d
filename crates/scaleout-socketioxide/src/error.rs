//! What went wrong, and what was done all the same.

use std::{error::Error as StdError, fmt};

use scaleout_cluster::{Missing, RequestError};
use scaleout_core::{Error, NodeId};
use socketioxide_core::{
    Uid,
    adapter::errors::{AdapterError, BroadcastError},
    parser::ParserError,
};

/// What became of an operation that was not done on every node.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScaleoutError {
    /// It waits for the backplane; with [`Delivery::LocalFirst`](crate::Delivery::LocalFirst) it was done on this node.
    ///
    /// It is sent in its place as soon as the backplane is back, within the bounds of the bus's queue.
    Queued,
    /// It was done on this node, and on no other.
    LocalOnly(Error),
    /// It was done nowhere: it was to arrive by the backplane, or is for another node.
    NotSent(Error),
    /// It was sent, and whether other nodes get it is not known.
    Unconfirmed(Error),
    /// No member of the cluster is the server that it is for.
    NoSuchServer(Uid),
    /// Other nodes could not be asked.
    Request(RequestError),
    /// Nodes did not answer that still are members, each with the reason; or the members are not known yet.
    Incomplete {
        /// Who, and why. Nobody, where the store has been away since this node started, so that it knows of no others.
        missing: Vec<(NodeId, Missing)>,
    },
    /// What a server event, or an answer to one, holds could not be written or read.
    Json(serde_json::Error),
    /// The parser cannot encode the data of an event.
    Encode(ParserError),
}

impl ScaleoutError {
    /// The cause of a failed emit or disconnect, where it is the adapter's.
    #[must_use]
    pub fn of(error: &BroadcastError) -> Option<&Self> {
        match error {
            BroadcastError::Adapter(AdapterError(cause)) => cause.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for ScaleoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => f.write_str("it waits for the backplane"),
            Self::LocalOnly(_) => f.write_str("it was done on this node alone"),
            Self::NotSent(_) => f.write_str("it was not sent, and done nowhere"),
            Self::Unconfirmed(_) => f.write_str("it was sent, and whether other nodes get it is not known"),
            Self::NoSuchServer(uid) => write!(f, "no member of the cluster is server {uid}"),
            Self::Request(_) => f.write_str("other nodes could not be asked"),
            Self::Incomplete { missing } => {
                let Some((node, why)) = missing.first() else {
                    return f.write_str("the other nodes are not known yet");
                };
                write!(f, "{} nodes did not answer, the first of them {node}: {why}", missing.len())
            }
            Self::Encode(_) => f.write_str("the data of an event cannot be encoded"),
            Self::Json(_) => f.write_str("the data of a server event is not what was expected"),
        }
    }
}

impl StdError for ScaleoutError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::LocalOnly(cause) | Self::NotSent(cause) | Self::Unconfirmed(cause) => Some(cause),
            Self::Request(cause) => Some(cause),
            Self::Json(cause) => Some(cause),
            Self::Encode(cause) => Some(cause),
            Self::Queued | Self::NoSuchServer(_) | Self::Incomplete { .. } => None,
        }
    }
}

impl From<ScaleoutError> for AdapterError {
    fn from(error: ScaleoutError) -> Self {
        Self(Box::new(error))
    }
}

impl From<ScaleoutError> for BroadcastError {
    fn from(error: ScaleoutError) -> Self {
        Self::Adapter(error.into())
    }
}

impl From<RequestError> for ScaleoutError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<serde_json::Error> for ScaleoutError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl From<ParserError> for ScaleoutError {
    fn from(error: ParserError) -> Self {
        Self::Encode(error)
    }
}
