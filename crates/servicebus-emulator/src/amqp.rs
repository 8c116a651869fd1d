//! The AMQP side.

mod frame;
mod link;
mod performative;
mod wire;
