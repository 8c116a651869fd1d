//! What presence is made of: entries, what happens to them, and why one is refused.

use std::{fmt, sync::Arc};

use scaleout_core::NodeId;

/// A member of a group, as one node tells it; a cheap handle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Entry {
    /// The group.
    pub group: Arc<str>,
    /// The member.
    pub member: Arc<str>,
    /// The node that tracks it. Two nodes that track one member have an entry each.
    pub node: NodeId,
    /// What that node says about it.
    pub value: Arc<[u8]>,
}

/// A change of what this node sees.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// An entry is new.
    Joined(Entry),
    /// An entry has another value.
    Updated(Entry),
    /// Its node no longer tracks an entry.
    Left(Entry),
    /// A node left the cluster or expired, and all its entries with it.
    NodeLeft {
        /// The node.
        node: NodeId,
        /// Its entries, in no order.
        entries: Arc<[Entry]>,
    },
    /// The watch fell behind, and events were dropped: list anew what matters. Later events follow.
    Resync,
}

/// Why an entry is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceError {
    /// The name of the group or the member is longer than 255 bytes.
    NameTooLong {
        /// Bytes of the name.
        actual: usize,
        /// Bytes that a name may have.
        limit: usize,
    },
    /// The value is longer than 1 KiB.
    ValueTooLarge {
        /// Bytes of the value.
        actual: usize,
        /// Bytes that a value may have.
        limit: usize,
    },
    /// This node tracks as many entries as it may.
    TooMany {
        /// Entries that a node may track.
        limit: usize,
    },
    /// The cluster is closed.
    Closed,
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTooLong { actual, limit } => {
                write!(f, "the name of a group or member has {actual} bytes, at most {limit}")
            }
            Self::ValueTooLarge { actual, limit } => {
                write!(f, "the value of a member has {actual} bytes, at most {limit}")
            }
            Self::TooMany { limit } => write!(f, "this node tracks {limit} members, which is all it may"),
            Self::Closed => f.write_str("the cluster is closed"),
        }
    }
}

impl std::error::Error for PresenceError {}
