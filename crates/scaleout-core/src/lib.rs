#![doc = include_str!("../README.md")]

mod backoff;
pub mod backplane;
mod budget;
mod bus;
mod channel;
mod config;
mod counters;
mod cursor;
mod error;
mod extensions;
mod finding;
pub mod frame;
mod ids;
mod memory;
mod message;
mod mutant;
pub mod provider;
mod queue;
mod receive;
mod state;
mod store;
mod subscription;

#[cfg(feature = "metrics")]
pub use crate::bus::{CounterSource, CounterValue};
#[cfg(feature = "mutants")]
pub use crate::mutant::Mutant;
pub use crate::{
    backoff::Backoff,
    backplane::{Backplane, Capabilities, Event, Retained, Start},
    bus::{Bus, BusBuilder, CloseReport, Lag, Publish, PublishMany, PublishManyError, Usage},
    channel::{AppName, MAX_CHANNEL_BYTES, check_channel, stream_of},
    config::{BusConfig, Interest, Overflow, QueuePolicy, Role},
    counters::{Counter, Counters},
    cursor::{Cursor, CursorEntry},
    error::{Error, ErrorKind},
    extensions::{Extensions, Traceparent},
    finding::{Finding, Remnant, Severity},
    ids::{Epoch, FrameId, NodeId, PayloadId, Position, StreamIndex},
    memory::{LogEntry, MemoryBackplane, MemoryConfig, MemoryStore, SendFault},
    message::{Gap, GapReason, Message, Received},
    queue::Receipt,
    state::{Health, StateWatch, StreamState},
    subscription::Subscription,
};
