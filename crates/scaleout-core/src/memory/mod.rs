//! The in-memory store and its backplane: the reference implementation of the [contract](crate::backplane).
//!
//! A [`MemoryStore`] is what a server is elsewhere; each [`MemoryBackplane`] is one node's connection to it. Nothing
//! leaves the process, so that it serves single-process applications, examples and tests; the switches of
//! [`MemoryStore`] make it fail in every way a real store can.

mod backplane;
mod config;
mod faults;
mod log;
mod reception;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    backplane::MemoryBackplane, config::MemoryConfig, faults::SendFault, log::LogEntry, store::MemoryStore,
};
