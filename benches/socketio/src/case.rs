//! What is compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One thing that is measured, of one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    pub what: What,
    pub which: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// As fast as it goes.
    Speed { size: usize, under_way: usize },
    /// From the call of `emit` on one node to the socket of the other.
    Latency { size: usize, rate: u64 },
    /// What a restart of the server does.
    Restart,
    /// What a question to all nodes gives while one of them is frozen.
    Frozen,
}

/// The sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// `scaleout-socketioxide` as it is by default: `emit` waits until the store has the message.
    Scaleout,
    /// The same, and `emit` does not wait (`Confirm::Queued`).
    ScaleoutQueued,
    /// `socketioxide-redis` with its `redis` driver.
    SocketioxideRedis,
    /// `socket.io` with `@socket.io/redis-adapter` and node-redis.
    SocketioNode,
}

impl Which {
    pub const ALL: [Self; 4] =
        [Self::Scaleout, Self::ScaleoutQueued, Self::SocketioxideRedis, Self::SocketioNode];

    /// Whether it is what the others are compared with.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::SocketioxideRedis | Self::SocketioNode)
    }
}

/// The kind of tokio runtime of each node in Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// `current_thread`.
    Current,
    /// `multi_thread` with 2 workers.
    Multi,
}

/// Emits under way at a time, as fast as it goes.
const UNDER_WAY: [usize; 2] = [64, 1_024];

/// What latencies are measured with: bytes, and messages a second.
const LATENCY: What = What::Latency { size: 256, rate: 1_000 };

/// All cases, those that are compared with each other one after the other.
pub fn cases(sizes: &[usize]) -> Vec<Case> {
    let speeds =
        sizes.iter().flat_map(|&size| UNDER_WAY.map(move |under_way| What::Speed { size, under_way }));
    let whats = speeds.chain([LATENCY, What::Restart, What::Frozen]);
    let mut cases: Vec<_> = whats.flat_map(|what| Which::ALL.map(|which| Case { what, which })).collect();
    // A question waits for no confirmation.
    cases.retain(|case| (case.what, case.which) != (What::Frozen, Which::ScaleoutQueued));
    cases
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.what, self.which)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speed { size, under_way } => write!(f, "speed, {size} B, {under_way} under way"),
            Self::Latency { size, rate } => write!(f, "latency, {size} B, {rate} a second"),
            Self::Restart => write!(f, "restart"),
            Self::Frozen => write!(f, "frozen"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scaleout => "scaleout",
            Self::ScaleoutQueued => "scaleout, queued",
            Self::SocketioxideRedis => "socketioxide-redis",
            Self::SocketioNode => "socket.io",
        })
    }
}
