//! The namespace of Service Bus that somebody named: there is none that a test could make itself.

use std::env;

use super::skip::skip;

/// The connection string of the namespace that the environment variable `SCALEOUT_TEST_SERVICEBUS` names, with `app` added
/// to it; where it names none, `None`, and says aloud that `test` is skipped.
///
/// Its key needs the right Manage. Every test has topics of its own, and deletes them.
///
/// # Panics
/// Where it names none, and the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `servicebus`
/// (comma-separated).
#[must_use]
pub fn servicebus_settings(test: &str, app: &str) -> Option<String> {
    match env::var("SCALEOUT_TEST_SERVICEBUS").ok().filter(|text| !text.is_empty()) {
        Some(text) => Some(format!("{};App={app}", text.trim_end_matches(';'))),
        None => {
            skip(test, "servicebus", "SCALEOUT_TEST_SERVICEBUS names no namespace of Service Bus");
            None
        }
    }
}
