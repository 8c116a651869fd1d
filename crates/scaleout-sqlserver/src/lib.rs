#![doc = include_str!("../README.md")]

mod backplane;
mod bell;
mod config;
mod error;
mod examine;
mod health;
mod install;
mod link;
mod look;
mod names;
mod node;
mod pace;
mod pool;
mod reader;
mod remnants;
mod retained;
mod send;
mod sql;
mod store;
mod upkeep;

pub use backplane::SqlServerBackplane;
pub use bell::Doorbell;
pub use config::{Authentication, Encryption, Install, Notifications, SqlServerConfig, TokenProvider};
pub use health::{ServiceBrokerHealth, SqlServerHealth};
pub use scaleout_core::provider::Secret;
pub use sql::Script;
