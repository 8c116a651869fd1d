#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod connect;
mod examine;
mod memory;
mod settings;
mod url;

#[doc(inline)]
pub use scaleout_core::*;

/// The backplane on Redis and Valkey streams, and its settings (feature `redis`).
#[cfg(feature = "redis")]
#[doc(inline)]
pub use scaleout_redis as redis;

/// The backplane on Azure Service Bus, and its settings (feature `servicebus`).
#[cfg(feature = "servicebus")]
#[doc(inline)]
pub use scaleout_servicebus as servicebus;

/// The backplane on SQL Server, and its settings (feature `sqlserver`).
#[cfg(feature = "sqlserver")]
#[doc(inline)]
pub use scaleout_sqlserver as sqlserver;

pub use crate::{
    config::BackplaneConfig,
    connect::{connect, connect_with},
    settings::Settings,
};
