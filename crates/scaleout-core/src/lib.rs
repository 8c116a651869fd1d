#![doc = include_str!("../README.md")]

mod backoff;
pub mod backplane;
mod channel;
mod config;
mod cursor;
mod error;
pub mod frame;
mod ids;
mod memory;

pub use crate::{
    backoff::Backoff,
    backplane::{Backplane, Capabilities, Event, Start},
    channel::{AppName, MAX_CHANNEL_BYTES, check_channel, stream_of},
    config::{BusConfig, Overflow, QueuePolicy, Role},
    cursor::{Cursor, CursorEntry},
    error::{Error, ErrorKind},
    ids::{Epoch, FrameId, NodeId, PayloadId, Position, StreamIndex},
    memory::{LogEntry, MemoryBackplane, MemoryConfig, MemoryStore, SendFault},
};
