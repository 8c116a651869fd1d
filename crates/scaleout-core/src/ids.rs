//! The names of things on a backplane: streams, nodes, epochs, payloads, frames, positions.

use std::fmt;

use crate::{Error, ErrorKind};

/// One ordered lane of a backplane, `0` to `stream_count - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIndex(pub u16);

impl StreamIndex {
    /// The index as a place in a `Vec` with one item per stream.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for StreamIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One process attached to a backplane; random, so that a restarted process is a new node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u128);

impl NodeId {
    /// A new random id, from the operating system's entropy by way of `RandomState`.
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let half = || u128::from(RandomState::new().hash_one(std::process::id()));
        Self((half() << 64) | half())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// One history of a stream in the store. It only grows.
///
/// Every event that may have lost or replaced payloads begins a new, greater epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The store's id of a payload, strictly increasing within a stream and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadId(pub u64);

impl fmt::Display for PayloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What names a frame for ever: its node, and its number there on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameId {
    /// The node that sends the frame.
    pub node: NodeId,
    /// 1, 2, … per node and stream; 0 is a probe, which carries no payload.
    pub number: u64,
    /// The last number of this node that the store confirmed on this stream; 0 where there is none.
    pub after: u64,
}

impl FrameId {
    /// Whether a backplane may be asked to send this with `payload_bytes`, where it takes up to `max_payload_bytes` (rules
    /// 2 and 15 of the [contract](crate::backplane)).
    ///
    /// # Errors
    /// [`PayloadTooLarge`](ErrorKind::PayloadTooLarge); [`Config`](ErrorKind::Config) for a probe with a payload, and for a
    /// frame without one.
    pub fn check(self, payload_bytes: usize, max_payload_bytes: usize) -> Result<(), Error> {
        if payload_bytes > max_payload_bytes {
            let (actual, limit) = (payload_bytes, max_payload_bytes);
            return Err(Error::from(ErrorKind::PayloadTooLarge { actual, limit }));
        }
        match (self.number, payload_bytes) {
            (0, 1..) => Err(Error::new(ErrorKind::Config, "a probe (number 0) carries no payload")),
            (1.., 0) => Err(Error::new(ErrorKind::Config, "an empty payload has no frame number")),
            _ => Ok(()),
        }
    }
}

/// Where a reader stands on a stream: a place between two messages, the same on every node.
///
/// It reads "`index` messages of payload `id` are passed". Two values of `index` stand for a payload that is
/// passed as a whole, so that they order after every message of it: [`Position::WHOLE`], and
/// [`Position::TOLD`], which also says that the reader was told of a gap right behind the payload.
/// `(epoch, 0, 0)` is the start of an epoch. Positions order by epoch, id, index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The history that `id` belongs to.
    pub epoch: Epoch,
    /// The payload.
    pub id: PayloadId,
    /// Messages of that payload that are passed.
    pub index: u32,
}

impl Position {
    /// The `index` of a position behind the last message of its payload.
    pub const WHOLE: u32 = u32::MAX - 1;
    /// The `index` of a position behind its payload, and behind a gap that was told there.
    pub const TOLD: u32 = u32::MAX;

    /// The position before the first payload of `epoch`.
    #[must_use]
    pub fn start_of(epoch: Epoch) -> Self {
        Self::before(epoch, PayloadId(0))
    }

    /// The position right before a payload.
    #[must_use]
    pub fn before(epoch: Epoch, id: PayloadId) -> Self {
        Self { epoch, id, index: 0 }
    }

    /// The position right behind a payload.
    #[must_use]
    pub fn behind(epoch: Epoch, id: PayloadId) -> Self {
        Self { epoch, id, index: Self::WHOLE }
    }

    /// Whether the whole payload `id` is passed.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.index >= Self::WHOLE
    }
}
