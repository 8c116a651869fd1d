//! What a test does that cannot run here.

use std::{env, io::Write as _};

/// Says aloud that `test` is skipped for `reason`.
///
/// # Panics
/// Where the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `what` (comma-separated).
pub(super) fn skip(test: &str, what: &str, reason: &str) {
    let required = env::var("SCALEOUT_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| ["all", what].contains(&name.trim()));
    assert!(!is_required, "{test} was skipped, and SCALEOUT_TEST_REQUIRE demands {what}: {reason}");
    let line = format!("SKIPPED: {test}: {reason}\n");
    // Past the test harness, which would keep it to itself: a skipped test passes. At once, since tests run in parallel.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
