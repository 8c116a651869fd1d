//! The conformance suite: on the emulator, and on a namespace, where the environment names one.

#[path = "support/emulated.rs"]
mod emulated;
#[path = "support/nodes.rs"]
mod nodes;
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
