#![doc = include_str!("../README.md")]

mod backplane;
mod config;
mod discover;
mod entries;
mod entry_id;
mod epochs;
mod error;
mod examine;
mod group;
mod keys;
mod link;
mod reader;
mod remnants;
mod retained;
mod retention;
mod send;
mod start;
#[cfg(test)]
mod test_server;
mod writer;

pub use backplane::RedisBackplane;
pub use config::{Endpoint, RedisConfig, TlsConfig, Topology};
pub use scaleout_core::provider::Secret;
