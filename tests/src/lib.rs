//! What the tests from outside share: nodes of the chat, and a client that knows only its protocol.

mod client;
mod node;
mod process;
pub mod scenarios;

pub use crate::{
    client::{Client, Heard, get},
    node::ChatNode,
    process::ChatProcess,
};

use std::time::Duration;

/// How long a test waits for what must happen; it only passes by when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The README's quick start, compiled and run as everybody would type it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
