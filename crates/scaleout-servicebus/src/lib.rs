#![doc = include_str!("../README.md")]

#[expect(dead_code, reason = "the nodes that need it come next")]
mod config;
#[expect(dead_code, reason = "the nodes that need it come next")]
mod entities;
#[expect(dead_code, reason = "the nodes that need it come next")]
mod error;
#[expect(dead_code, reason = "the nodes that need it come next")]
mod management;
#[cfg(test)]
mod test_server;
#[expect(dead_code, reason = "the nodes that need it come next")]
mod token;

pub use config::{Protocol, Reception, ServiceBusConfig};
pub use scaleout_core::provider::Secret;
pub use token::{AccessToken, Credential, TokenProvider};
