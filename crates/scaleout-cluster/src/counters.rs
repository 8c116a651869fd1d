//! What a cluster counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What this node of a cluster has counted since it joined.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ClusterCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct AtomicCounters {
            $(pub(crate) $name: Counter,)*
        }

        impl AtomicCounters {
            pub(crate) fn snapshot(&self) -> ClusterCounters {
                ClusterCounters { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Counts one; `true` for the first, so that it can be told once.
    pub(crate) fn add_first(&self) -> bool {
        self.0.fetch_add(1, Relaxed) == 0
    }
}

counters! {
    /// Casts and requests that reached a handler here.
    handled,
    /// Casts of a subject that nobody handles here.
    unhandled,
    /// Requests that this node made.
    requested,
    /// Answers, or parts of them, that came when nobody waited for them any more.
    late,
    /// Messages on the cluster's channels that cannot be read.
    unreadable,
    /// Gaps on the cluster's channels: messages to this node may be missing.
    gaps,
    /// Handlers that panicked.
    panics,
    /// Times that the others gave this node up.
    expelled,
    /// Heartbeats and other messages of the cluster itself that the bus refused.
    unsent,
}
