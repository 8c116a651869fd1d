#![doc = include_str!("../README.md")]

mod backoff;
pub mod backplane;
#[allow(dead_code)]
mod budget;
mod channel;
mod config;
mod error;
pub mod frame;
mod ids;
#[allow(dead_code)]
mod queue;

pub use crate::{
    backoff::Backoff,
    backplane::{Backplane, Capabilities, Event, Start},
    channel::{AppName, MAX_CHANNEL_BYTES, check_channel, stream_of},
    config::{BusConfig, Overflow, QueuePolicy, Role},
    error::{Error, ErrorKind},
    ids::{Epoch, FrameId, NodeId, PayloadId, Position, StreamIndex},
    queue::Receipt,
};
