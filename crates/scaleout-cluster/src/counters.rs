//! What a cluster counts.

scaleout_core::counters! {
    /// What this node of a cluster has counted since it joined.
    pub ClusterCounters, AtomicCounters {
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
}
