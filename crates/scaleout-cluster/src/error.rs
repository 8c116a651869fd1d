//! Why a request failed.

use std::fmt;

use scaleout_core::{Error, NodeId};

use crate::Missing;

/// Why a request could not be made, or the one node that was asked did not answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RequestError {
    /// The node that should be asked is no member.
    NoSuchNode(NodeId),
    /// That many requests of this node are unanswered, which is all that may be.
    TooMany {
        /// [`ClusterConfig::max_pending_requests`](crate::ClusterConfig::max_pending_requests).
        limit: usize,
    },
    /// A subject is 1 to 255 bytes.
    InvalidSubject,
    /// The node did not answer before the deadline.
    Deadline(NodeId),
    /// The request could not be sent: the backplane is not reachable, or refused it.
    NotSent(Error),
    /// The node did not answer for another reason.
    Failed {
        /// The node that was asked.
        node: NodeId,
        /// Why.
        why: Missing,
    },
    /// The cluster is closed.
    Closed,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(node) => write!(f, "node {node} is no member of the cluster"),
            Self::TooMany { limit } => write!(f, "{limit} requests are unanswered, which is all that may be"),
            Self::InvalidSubject => f.write_str("a subject is 1 to 255 bytes of UTF-8"),
            Self::Deadline(node) => write!(f, "node {node} did not answer before the deadline"),
            Self::NotSent(_) => f.write_str("the request could not be sent"),
            Self::Failed { node, why } => write!(f, "node {node} did not answer: {why}"),
            Self::Closed => f.write_str("the cluster is closed"),
        }
    }
}

impl std::error::Error for RequestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotSent(error) | Self::Failed { why: Missing::NotSent(error), .. } => Some(error),
            _ => None,
        }
    }
}
