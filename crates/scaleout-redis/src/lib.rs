//! The backplane of scaleout on Redis and Valkey streams.

#![expect(dead_code, reason = "the backplane that uses it is not there yet")]

mod config;
mod error;

pub use config::{Endpoint, RedisConfig, Secret, TlsConfig, Topology};
