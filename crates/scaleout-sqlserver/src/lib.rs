#![doc = include_str!("../README.md")]

mod config;
mod error;

pub use config::{Authentication, Encryption, Install, Notifications, SqlServerConfig, TokenProvider};
pub use scaleout_core::provider::Secret;
