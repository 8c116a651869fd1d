//! The backplane of scaleout on Redis and Valkey streams.

#![cfg_attr(not(test), expect(dead_code, reason = "the backplane that uses it is not there yet"))]

mod config;
mod error;
#[cfg(test)]
mod test_server;

pub use config::{Endpoint, RedisConfig, Secret, TlsConfig, Topology};
