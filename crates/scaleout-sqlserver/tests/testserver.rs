//! The conformance suite over the wire on the test server, which does in memory what the procedures do.

#[path = "support/admin.rs"]
mod admin;
#[path = "support/double.rs"]
mod double;
#[path = "support/nodes.rs"]
mod nodes;
mod support;

use scaleout_testkit::conformance_tests;

use self::double::Double;

mod broker {
    use super::*;

    mod four_tables {
        use super::*;

        conformance_tests!({ Double::with_broker(4).await });
    }

    mod one_table {
        use super::*;

        conformance_tests!({ Double::with_broker(1).await });
    }
}

mod polling {
    use super::*;

    mod four_tables {
        use super::*;

        conformance_tests!({ Double::polled(4).await });
    }

    mod one_table {
        use super::*;

        conformance_tests!({ Double::polled(1).await });
    }
}
