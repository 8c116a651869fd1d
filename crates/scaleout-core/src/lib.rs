#![doc = include_str!("../README.md")]

mod backoff;
pub mod backplane;
mod channel;
mod config;
mod error;
mod ids;

pub use crate::{
    backoff::Backoff,
    backplane::{Backplane, Capabilities, Event, Start},
    channel::{AppName, MAX_CHANNEL_BYTES, check_channel, stream_of},
    config::{BusConfig, Overflow, QueuePolicy, Role},
    error::{Error, ErrorKind},
    ids::{Epoch, FrameId, NodeId, PayloadId, Position, StreamIndex},
};
