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

#[cfg(feature = "metrics")]
impl scaleout_core::CounterSource for Counts {
    fn counters(&self) -> Vec<scaleout_core::CounterValue> {
        use scaleout_core::CounterValue;

        // Without `..`: one that is added must be exported.
        let AdapterCounters {
            published,
            received,
            skipped,
            newer,
            unreadable,
            gaps,
            queued,
            local_only,
            not_sent,
            unconfirmed,
            partial_answers,
            untold,
        } = self.snapshot();
        let alone = |name, description, value| CounterValue { name, description, reason: None, value };
        let one = |name, description| {
            move |reason, value| CounterValue { name, description, reason: Some(reason), value }
        };
        let not_done = one(
            "scaleout_socketio_skipped_operations_total",
            "Operations of other nodes that were not done here.",
        );
        let late = one(
            "scaleout_socketio_impaired_operations_total",
            "Operations of this node that were late, or did not surely reach all nodes.",
        );
        vec![
            alone(
                "scaleout_socketio_published_operations_total",
                "Operations handed to the backplane.",
                published,
            ),
            alone(
                "scaleout_socketio_received_operations_total",
                "Operations of other nodes that were done, or answered, here.",
                received,
            ),
            not_done("elsewhere", skipped),
            not_done("newer", newer),
            not_done("unreadable", unreadable),
            alone(
                "scaleout_socketio_gaps_total",
                "Times that operations of others may have been lost.",
                gaps,
            ),
            late("queued", queued),
            late("local_only", local_only),
            late("not_sent", not_sent),
            late("unconfirmed", unconfirmed),
            alone(
                "scaleout_socketio_partial_answers_total",
                "Answers in which a node was missing that still was a member.",
                partial_answers,
            ),
            alone(
                "scaleout_socketio_untold_failures_total",
                "Failures that were not told, since an earlier one of the same operation was.",
                untold,
            ),
        ]
    }
}
