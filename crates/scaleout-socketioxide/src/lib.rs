#![doc = include_str!("../README.md")]

mod ack;
mod adapter;
mod config;
mod counters;
mod ctr;
mod emitter;
mod error;
mod events;
mod op;
mod receive;
mod registry;
mod requests;
mod servers;
mod shared;

/// Selects sockets, for [`ScaleoutCtr::fetch`].
pub use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions};

pub use crate::{
    ack::AckStream,
    adapter::{Init, ScaleoutAdapter},
    config::{AdapterConfig, Confirm, Delivery, Partial},
    counters::AdapterCounters,
    ctr::ScaleoutCtr,
    emitter::{Emitter, Selection, Sent},
    error::ScaleoutError,
    events::{EventRegistration, ServerAnswers, ServerEvent},
    requests::Fetched,
};
