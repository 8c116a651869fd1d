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

#[cfg(feature = "metrics")]
impl scaleout_core::CounterSource for AtomicCounters {
    fn counters(&self) -> Vec<scaleout_core::CounterValue> {
        use scaleout_core::CounterValue;

        // Without `..`: one that is added must be exported.
        let ClusterCounters {
            handled,
            unhandled,
            requested,
            late,
            unreadable,
            gaps,
            panics,
            expelled,
            unsent,
        } = self.snapshot();
        let skipped = |reason, value| {
            let (name, description) =
                ("scaleout_cluster_skipped_messages_total", "Messages among nodes that did nothing here.");
            CounterValue { name, description, reason: Some(reason), value }
        };
        let alone = |name, description, value| CounterValue { name, description, reason: None, value };
        vec![
            alone(
                "scaleout_cluster_handled_messages_total",
                "Casts and requests that reached a handler here.",
                handled,
            ),
            skipped("unhandled", unhandled),
            skipped("late", late),
            skipped("unreadable", unreadable),
            alone("scaleout_cluster_requests_total", "Requests that this node made.", requested),
            alone("scaleout_cluster_gaps_total", "Gaps on the channels of a cluster.", gaps),
            alone("scaleout_cluster_handler_panics_total", "Handlers that panicked.", panics),
            alone("scaleout_cluster_expulsions_total", "Times that the others gave this node up.", expelled),
            alone(
                "scaleout_cluster_unsent_messages_total",
                "Heartbeats and other messages of a cluster itself that the bus refused.",
                unsent,
            ),
        ]
    }
}
