//! What one run is.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use scaleout_core::BusConfig;
use serde::{Deserialize, Serialize};

/// One run; both processes get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub wire: Wire,
    pub topics: u16,
    /// Bytes of a payload.
    pub size: usize,
    pub how: How,
    /// Messages a second; 0 is as fast as it goes.
    pub rate: u32,
    /// For how long is published; 0 is until told.
    pub seconds: u32,
    pub publishers: u32,
    #[serde(default)]
    pub app: String,
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    Amqp,
    Rest,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The client crate alone: one message of Service Bus for each, one topic, [`BARE_IN_FLIGHT`] under way.
    Bare,
    /// One message a frame, and so one message of Service Bus for each.
    Single,
    /// Frames of what waits, with the same publishers.
    Coalesced,
    /// Frames of what waits; one task that does not await each message.
    Enqueue,
}

/// Sends of the client crate that are not answered yet.
pub const BARE_IN_FLIGHT: usize = 64;

/// How long the server may take for an answer: a machine that is too busy shall be slow in the figures, not fail.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Channels that messages go to in turn, so that all topics get their part.
const CHANNELS: u64 = 64;

impl Case {
    pub fn channel(number: u64) -> String {
        format!("room:{}", number % CHANNELS)
    }

    pub fn channels() -> impl Iterator<Item = String> {
        (0..CHANNELS).map(Self::channel)
    }

    pub fn is_paced(&self) -> bool {
        self.rate > 0
    }

    pub fn bus_config(&self) -> BusConfig {
        let config = BusConfig::default().with_send_timeout(PATIENCE);
        match self.how {
            // No second message has room.
            How::Single => config.with_max_frame_bytes(1),
            How::Bare | How::Coalesced | How::Enqueue => config,
        }
    }

    /// Whether `other` differs in `how` and the app alone.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.wire, self.size, self.rate) == (other.wire, other.size, other.rate)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wire, size, how, .. } = self;
        write!(f, "{wire}, {size} B, {how}")?;
        if self.is_paced() {
            write!(f, ", {} a second", self.rate)?;
        }
        Ok(())
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amqp => "AMQP",
            Self::Rest => "REST",
        })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => write!(f, "bare, {BARE_IN_FLIGHT} in flight"),
            Self::Single => f.write_str("one message a frame"),
            Self::Coalesced => f.write_str("coalesced"),
            Self::Enqueue => f.write_str("coalesced, enqueue"),
        }
    }
}
