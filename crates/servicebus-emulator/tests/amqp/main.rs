//! The AMQP side of the emulator, as an independent client sees it, and one of our own that can also do what no client does.

#![allow(missing_docs, reason = "tests")]

mod faults;
mod library;
mod links;
mod management;
mod raw;
mod secure;
mod support;
mod websocket;
