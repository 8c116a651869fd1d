//! The test server, as the client of the provider sees it.

#![allow(missing_docs, reason = "tests")]

mod support;

mod doorbell;
mod faults;
mod install;
mod messages;
mod tls;
