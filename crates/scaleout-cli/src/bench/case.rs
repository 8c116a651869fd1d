//! What one run is.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use scaleout::{BusConfig, Role};
use serde::{Deserialize, Serialize};

/// One run: who publishes what, how, and to whom. All its processes get it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) carrier: Carrier,
    pub(super) publishers: Publishers,
    /// Messages that may be unconfirmed, or tasks that publish.
    pub(super) in_flight: u64,
    /// `PUBLISH` commands in a pipeline, over [`Carrier::PubSub`].
    pub(super) pipeline: u64,
    /// Bytes of a payload.
    pub(super) size: usize,
    /// Messages a second; as fast as it goes where there is none.
    pub(super) rate: Option<u64>,
    pub(super) channels: u64,
    /// How many processes receive.
    pub(super) nodes: usize,
}

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Carrier {
    /// The bus, as applications have it.
    Bus,
    /// The bus with one message a frame, and so one call of the store for each.
    SingleFrames,
    /// `PUBLISH` and `SUBSCRIBE` of Redis, through the client crate alone.
    PubSub,
}

/// How messages are published where no rate is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(super) enum Publishers {
    /// One task, which does not wait for each message to be confirmed.
    Enqueue,
    /// Tasks that each await every message.
    Awaiting,
}

/// Bytes that the publisher is at most ahead of the slowest receiver, so that no store has to drop what it keeps.
///
/// A quarter of what Redis keeps of a stream by default, which is the least of all stores.
const AHEAD: u64 = 16 << 20;

/// The same over publish/subscribe, where Redis by default drops a subscriber that stays 8 MiB behind.
const AHEAD_OF_SUBSCRIBER: u64 = 6 << 20;

/// What a message takes besides its payload, roughly.
const OVERHEAD: u64 = 64;

/// How long the store may take for an answer: what is too busy shall be slow in the figures, not fail.
const PATIENCE: Duration = Duration::from_secs(30);

impl Case {
    /// Messages that the publisher is at most ahead of the slowest receiver.
    pub(super) fn max_ahead(&self) -> u64 {
        let bytes = if self.carrier == Carrier::PubSub { AHEAD_OF_SUBSCRIBER } else { AHEAD };
        (bytes / (self.size as u64 + OVERHEAD)).max(2)
    }

    pub(super) fn channel(&self, number: u64) -> u64 {
        if self.channels == 1 { 0 } else { number % self.channels }
    }

    pub(super) fn channel_names(&self) -> Vec<String> {
        (0..self.channels).map(|index| format!("bench:{index}")).collect()
    }

    pub(super) fn bus_config(&self, role: Role) -> BusConfig {
        let config = BusConfig::default().with_role(role).with_send_timeout(PATIENCE);
        match self.carrier {
            // No second message has room.
            Carrier::SingleFrames => config.with_max_frame_bytes(1),
            Carrier::Bus | Carrier::PubSub => config,
        }
    }

    /// How it is published, in a word.
    pub(super) fn mode(&self) -> &'static str {
        match (self.rate, self.publishers) {
            (Some(_), _) => "paced",
            (None, Publishers::Enqueue) => "enqueue",
            (None, Publishers::Awaiting) => "awaiting",
        }
    }
}

/// The carrier, in the words of reports.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.carrier, self.rate) {
            (Carrier::Bus, _) => f.write_str("scaleout"),
            (Carrier::SingleFrames, _) => f.write_str("one message a frame"),
            (Carrier::PubSub, Some(_)) => f.write_str("bare PUBLISH"),
            (Carrier::PubSub, None) => write!(f, "bare PUBLISH, pipelines of {}", self.pipeline),
        }
    }
}

impl Publishers {
    /// Messages of a size that are under way where nobody says how many: 1 MiB of them, or 1,024 tasks.
    pub(super) fn in_flight(self, size: usize) -> u64 {
        match self {
            Self::Enqueue => (UNCONFIRMED / size as u64).max(64),
            Self::Awaiting => 1_024,
        }
    }
}

/// Bytes of messages that are unconfirmed: frames for several streams, and little enough for the caches.
const UNCONFIRMED: u64 = 1 << 20;
