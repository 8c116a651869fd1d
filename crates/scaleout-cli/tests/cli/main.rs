//! The command line from outside, as processes, against servers of the tests.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod check;
mod clean;
mod messages;
mod nodes;
mod support;
mod usage;
