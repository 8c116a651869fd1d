//! What one run is.

use std::{fmt, time::Duration};

use scaleout_core::BusConfig;
use serde::{Deserialize, Serialize};

/// One run; both processes get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub tables: u16,
    /// Bytes of a payload.
    pub size: usize,
    pub how: How,
    /// Messages a second; 0 is as fast as it goes.
    pub rate: u32,
    pub seconds: u32,
    pub publishers: u32,
    #[serde(default)]
    pub schema: String,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// One message a frame, and so one procedure call a message.
    Single,
    /// Frames of what waits, with the same publishers.
    Coalesced,
    /// Frames of what waits; one task that does not await each message.
    Enqueue,
}

/// How long the server may take for an answer: a machine that is too busy shall be slow in the figures, not fail.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Channels that messages go to in turn, so that all tables get their part.
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
            How::Coalesced | How::Enqueue => config,
        }
    }

    /// Whether `other` is the same, but for `how` and the schema.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.tables, self.size, self.rate) == (other.tables, other.size, other.rate)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, size, how, .. } = self;
        write!(f, "{tables} tables, {size} B, {how}")?;
        if self.is_paced() {
            write!(f, ", {} a second", self.rate)?;
        }
        Ok(())
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "one message a frame",
            Self::Coalesced => "coalesced",
            Self::Enqueue => "coalesced, enqueue",
        })
    }
}
