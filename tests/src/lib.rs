//! What the tests from outside share: nodes of the chats, a client that knows only the protocol of one, the official client
//! of the other, and a browser.

#[cfg(unix)]
pub mod browser;
mod client;
mod events;
mod node;
mod process;
pub mod scenarios;
#[cfg(unix)]
mod script;
#[cfg(unix)]
pub mod socketio;
#[cfg(unix)]
pub mod stores;

pub use crate::{
    client::{Client, Heard, get},
    events::{Events, Told},
    node::ChatNode,
    process::{ChatProcess, Example},
};

use std::time::Duration;

/// How long a test waits for what must happen; it only passes by when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How soon a process is asked again for what cannot be waited for from outside, as its health.
const POLL: Duration = Duration::from_millis(20);

/// The README's quick start, compiled and run as everybody would type it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The code in the pages of `docs`, compiled as everybody would type it.
#[cfg(doctest)]
pub mod docs {
    #[doc = include_str!("../../docs/guide.md")]
    pub struct Guide;
    #[doc = include_str!("../../docs/operations.md")]
    pub struct Operations;
    #[doc = include_str!("../../docs/adapters/socketio.md")]
    pub struct SocketIo;
    #[doc = include_str!("../../docs/providers/redis.md")]
    pub struct Redis;
    #[doc = include_str!("../../docs/providers/servicebus.md")]
    pub struct ServiceBus;
    #[doc = include_str!("../../docs/providers/sqlserver.md")]
    pub struct SqlServer;
}
