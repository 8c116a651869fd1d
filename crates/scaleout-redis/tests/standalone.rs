//! The conformance suite on one real Redis server.

mod support;

use scaleout_testkit::conformance_tests;

use self::support::Standalone;

conformance_tests!(Standalone::start().await);
