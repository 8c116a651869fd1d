#![doc = include_str!("../README.md")]

mod broker;
mod catalog;
mod doorbell;
mod error;
mod faults;
mod messages;
mod objects;
mod port;
mod procedures;
mod results;
mod server;
mod session;
mod shared;
mod sql;
mod statements;
mod store;
mod tds;
mod tls;

pub use self::{
    faults::Fate,
    server::{LoggedMessage, TestServer, TestServerBuilder},
};
