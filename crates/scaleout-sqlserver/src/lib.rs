#![doc = include_str!("../README.md")]

mod config;
mod error;
mod sql;

pub use config::{Authentication, Encryption, Install, Notifications, SqlServerConfig, TokenProvider};
pub use scaleout_core::provider::Secret;
pub use sql::Script;
