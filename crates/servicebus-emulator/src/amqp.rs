//! AMQP 1.0 as Service Bus speaks it: one task per connection, which owns all of its state.
//!
//! [`connection`] reads and writes; what it reads goes to a [`session`] and its [`link`]s, which append their answers to the
//! [`wire`]. Nothing in between waits, so that answers are written together, and there is nothing to lock.

mod cbs;
mod connection;
mod delivery;
mod frame;
mod link;
mod management;
mod performative;
mod sasl;
mod session;
mod wait;
mod wire;

pub(crate) use self::connection::serve;
