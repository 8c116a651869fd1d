//! The conformance suite: over the wire on the test server, which does in memory what the procedures do, and on a server that
//! executes T-SQL, where the environment names one.

#[path = "support/admin.rs"]
mod admin;
#[path = "support/double.rs"]
mod double;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/real.rs"]
mod real;
mod support;

/// Nodes that Service Broker wakes.
mod broker {
    mod four_tables {
        scaleout_testkit::conformance_tests!({ crate::double::Double::with_broker(4).await });
    }

    mod one_table {
        scaleout_testkit::conformance_tests!({ crate::double::Double::with_broker(1).await });
    }
}

/// Nodes that poll.
mod polling {
    mod four_tables {
        scaleout_testkit::conformance_tests!({ crate::double::Double::polled(4).await });
    }

    mod one_table {
        scaleout_testkit::conformance_tests!({ crate::double::Double::polled(1).await });
    }
}

/// A server that executes T-SQL; its cases share it.
mod sqlserver {
    use scaleout_testkit::conformance::run_all;

    use crate::real::{Real, settings};

    /// Cases at a time.
    const AT_ONCE: usize = 4;

    #[tokio::test(flavor = "multi_thread")]
    async fn four_tables() {
        let Some(settings) = settings("sqlserver::four_tables") else { return };
        run_all(AT_ONCE, || Real::nodes(settings.clone(), 4)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_table() {
        let Some(settings) = settings("sqlserver::one_table") else { return };
        run_all(AT_ONCE, || Real::nodes(settings.clone(), 1)).await;
    }
}
