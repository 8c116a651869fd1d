//! What a bus counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares numbers that somebody counts: a public struct of them, and the one of [`Counter`](crate::Counter)s that it is
/// read from, which stays in its crate.
///
/// ```
/// scaleout_core::counters! {
///     /// What a door has counted.
///     pub DoorCounters, Counts {
///         /// Times that it was opened.
///         opened,
///     }
/// }
///
/// let counts = Counts::default();
/// counts.opened.add(1);
/// assert_eq!(counts.snapshot().opened, 1);
/// ```
#[macro_export]
macro_rules! counters {
    ($(#[$doc:meta])* pub $public:ident, $counts:ident { $($(#[$field:meta])* $name:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $public {
            $($(#[$field])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counts {
            $(pub(crate) $name: $crate::Counter,)*
        }

        impl $counts {
            /// The numbers as of now.
            pub(crate) fn snapshot(&self) -> $public {
                $public { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// What a [`Bus`](crate::Bus) has counted since it started, over all streams.
    pub Counters, AtomicCounters {
        /// Messages that the store confirmed.
        published,
        /// Messages received from the store, for whatever channel, copies not included.
        received,
        /// Messages handed to subscriptions.
        delivered,
        /// Payloads whose id came again, and frames that a copy of was received before.
        duplicates,
        /// Payloads that are no frame, or a frame of another app.
        foreign,
        /// Frames that could not be read: a newer version, a bad checksum, nonsense.
        unreadable,
        /// Frames of nodes that count the streams differently.
        mislaid,
        /// Payloads without bytes, which backplanes send for themselves.
        empty,
        /// Messages refused by a full queue.
        refused,
        /// Messages that failed because the stream was not up.
        unavailable,
        /// Messages that waited too long in the queue.
        expired,
        /// Messages dropped from a full queue to make room.
        dropped,
        /// Messages refused or given up because the bus closed.
        closed,
        /// Messages that were refused for their size.
        too_large,
        /// Messages that were tried and never confirmed.
        unconfirmed,
        /// Times that the store turned out to have forgotten frames of this node.
        rewound,
        /// Frames sent again to a store that had forgotten them.
        repaired,
        /// Gaps noticed on a stream: ids or numbers missing, unreadable frames, broken links.
        holes,
        /// Gaps told to subscriptions with reason `Lost`.
        gaps_lost,
        /// Gaps told to subscriptions with reason `Reset`.
        gaps_reset,
        /// Gaps told to subscriptions with reason `Expired`.
        gaps_expired,
        /// Gaps told to subscriptions with reason `Lagged`.
        gaps_lagged,
        /// Cursors found in the ring.
        lookups_in_ring,
        /// Cursors older than the ring, of whose channels nothing had gone.
        lookups_older,
        /// Cursors older than the ring, of whose channels messages may have gone.
        lookups_expired,
        /// Cursors ahead of this node.
        lookups_ahead,
        /// Cursors of another history.
        lookups_reset,
        /// Streams absent from a cursor.
        lookups_absent,
        /// Streams not yet positioned in a cursor.
        lookups_unpositioned,
        /// Failed attempts to connect, receive or send.
        faults,
        /// Times that a stream was received again after failed attempts.
        reconnects,
        /// Payloads refused because the backplane broke its contract (no epoch, an older epoch).
        refused_payloads,
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds one; whether it was the first, so that it can be told once.
    pub fn add_first(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
