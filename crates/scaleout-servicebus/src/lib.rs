#![doc = include_str!("../README.md")]

mod backplane;
mod commands;
mod config;
mod course;
mod entities;
#[cfg(feature = "entra")]
mod entra;
mod error;
mod examine;
mod management;
mod node;
mod pulse;
mod reader;
mod sender;
#[cfg(test)]
mod test_server;
mod token;
mod wire;

pub use backplane::ServiceBusBackplane;
pub use config::{Protocol, Reception, ServiceBusConfig};
#[cfg(feature = "entra")]
pub use entra::EntraToken;
pub use scaleout_core::provider::Secret;
pub use token::{AccessToken, Credential, TokenProvider};
