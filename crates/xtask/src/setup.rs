//! What the tests need beside Rust.
//!
//! A provider whose tests start a real server adds a step here that installs that server on a fresh machine, for
//! instance from the packages of the distribution. The tests themselves start and stop it.

use crate::steps::Step;

/// The steps that make a fresh machine ready for the tests.
pub(crate) fn steps() -> Vec<Step> {
    // The in-memory backplane needs no server.
    Vec::new()
}
