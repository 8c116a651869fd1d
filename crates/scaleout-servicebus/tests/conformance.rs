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

/// AMQP in a WebSocket, with TLS.
#[cfg(feature = "websocket")]
mod websocket {
    mod two_topics {
        scaleout_testkit::conformance_tests!({
            crate::emulated::Emulated::by(crate::emulated::Wire::WebSocket, 2).await
        });
    }
}

/// REST, with TLS.
#[cfg(feature = "rest")]
mod rest {
    mod two_topics {
        scaleout_testkit::conformance_tests!({
            crate::emulated::Emulated::by(crate::emulated::Wire::Rest, 2).await
        });
    }
}
