//! The conformance suite on a server that executes T-SQL, which the environment names.

#[path = "support/admin.rs"]
mod admin;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/real.rs"]
mod real;
mod support;

use scaleout_testkit::conformance::run_all;

use self::real::{Real, settings};

/// Cases at a time: they share the server.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn four_tables() {
    let Some(settings) = settings("four_tables") else { return };
    run_all(AT_ONCE, || Real::nodes(settings.clone(), 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table() {
    let Some(settings) = settings("one_table") else { return };
    run_all(AT_ONCE, || Real::nodes(settings.clone(), 1)).await;
}
