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
