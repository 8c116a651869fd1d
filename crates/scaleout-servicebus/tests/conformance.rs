//! The conformance suite: on the emulator, and on a namespace, where the environment names one.

#[path = "support/emulated.rs"]
mod emulated;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/real.rs"]
mod real;
mod support;

/// AMQP without TLS, with peek-lock.
mod plain {
    mod one_topic {
        scaleout_testkit::conformance_tests!({ crate::emulated::Emulated::plain(1).await });
    }

    mod three_topics {
        scaleout_testkit::conformance_tests!({ crate::emulated::Emulated::plain(3).await });
    }
}

/// AMQP over TLS.
mod tls {
    mod two_topics {
        use crate::emulated::{Emulated, Use, Wire};

        scaleout_testkit::conformance_tests!({
            Emulated::nodes(Use { topics: 2, wire: Wire::Tls, ..Use::default() }).await
        });
    }
}

/// What is on its way is lost with its connection.
mod receive_and_delete {
    mod one_topic {
        use scaleout_servicebus::Reception;

        use crate::emulated::{Emulated, Use};

        scaleout_testkit::conformance_tests!({
            Emulated::nodes(Use { reception: Reception::ReceiveAndDelete, ..Use::default() }).await
        });
    }
}

/// AMQP in a WebSocket, over TLS.
#[cfg(feature = "websocket")]
mod websocket {
    mod two_topics {
        use crate::emulated::{Emulated, Use, Wire};

        scaleout_testkit::conformance_tests!({
            Emulated::nodes(Use { topics: 2, wire: Wire::WebSocket, ..Use::default() }).await
        });
    }
}

/// Requests, over TLS.
#[cfg(feature = "rest")]
mod rest {
    mod two_topics {
        use crate::emulated::{Emulated, Use, Wire};

        scaleout_testkit::conformance_tests!({
            Emulated::nodes(Use { topics: 2, wire: Wire::Rest, ..Use::default() }).await
        });
    }
}

/// A namespace; its cases share it.
mod namespace {
    use scaleout_testkit::conformance::run_all;

    use crate::real::{Real, settings};

    /// Cases at a time: Microsoft's emulator takes 10 connections.
    const AT_ONCE: usize = 2;

    #[tokio::test(flavor = "multi_thread")]
    async fn two_topics() {
        let Some(settings) = settings("namespace::two_topics") else { return };
        run_all(AT_ONCE, || Real::nodes(settings.clone(), 2)).await;
    }
}
