//! Numbers about what an adapter did.

scaleout_core::counters! {
    /// What an adapter did since it was made, of all namespaces together.
    pub AdapterCounters, Counts {
        /// Operations handed to the backplane.
        published,
        /// Operations of others that were done, or answered, here.
        received,
        /// Operations of others on namespaces, or aimed at servers, that this node does not have.
        skipped,
        /// Operations of later releases, which this one cannot do.
        newer,
        /// Operations and answers that could not be read.
        unreadable,
        /// Times that operations of others may have been lost on their way here.
        gaps,
        /// Operations that waited for the backplane when their outcome was told.
        queued,
        /// Operations that were done on this node alone.
        local_only,
        /// Operations that were done nowhere.
        not_sent,
        /// Operations of which nobody knows whether other nodes get them.
        unconfirmed,
        /// Answers in which a node was missing that still was a member.
        partial_answers,
        /// Failures that were not told, since an earlier one of the same operation was.
        untold,
    }
}
