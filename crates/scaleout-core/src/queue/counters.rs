//! What a send queue counts.

use crate::ErrorKind;

/// What became of the messages, in messages; `rewound` counts answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueCounters {
    /// The store has them.
    pub(crate) published: u64,
    /// Refused by a full queue.
    pub(crate) refused: u64,
    pub(crate) expired: u64,
    pub(crate) dropped: u64,
    /// Refused or given up because the stream was down.
    pub(crate) unavailable: u64,
    /// Refused or given up because the bus closed.
    pub(crate) closed: u64,
    /// Refused, here or by the store, for their size.
    pub(crate) too_large: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) rewound: u64,
}

impl QueueCounters {
    /// The counter of messages that failed with `kind`.
    pub(super) fn of(&mut self, kind: ErrorKind) -> &mut u64 {
        match kind {
            ErrorKind::QueueFull => &mut self.refused,
            ErrorKind::Expired => &mut self.expired,
            ErrorKind::Dropped => &mut self.dropped,
            ErrorKind::Closed => &mut self.closed,
            ErrorKind::PayloadTooLarge { .. } => &mut self.too_large,
            ErrorKind::Unconfirmed => &mut self.unconfirmed,
            _ => &mut self.unavailable,
        }
    }
}
