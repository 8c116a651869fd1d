//! What the runner and the nodes say to each other: lines of JSON, an answer to each order.
//!
//! Nodes in Rust and in JavaScript say the same. A node says `"ready"` first, and ends when its input ends.

use serde::{Deserialize, Serialize};

use crate::case::{Runtime, Which};

/// What a node is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// `a`, `b` or `c`.
    pub name: String,
    pub which: Which,
    pub runtime: Runtime,
    /// Of the server.
    pub url: String,
    /// By which the nodes of a run share nothing with those of others.
    pub app: String,
    /// Whether it has a socket.
    pub socket: bool,
    /// Whether a node that is behind is given time: more than the defaults is kept for it.
    pub patient: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Emits its name; answers with the names that its socket has heard so far.
    Probe,
    /// Counts from here on; `keep`: and keeps when each message was sent and came. Answers `null`.
    Begin { keep: bool },
    /// Emits until all of it is emitted; answers [`Emitted`].
    Emit(Emit),
    /// Counts until so many came, or nothing comes any more; answers [`Received`].
    End { sent: u64 },
    /// Begins to emit so many messages a second, whatever comes of them. Answers `null`.
    Pace { rate: u64, size: usize },
    /// Ends that; answers [`Paced`].
    Stop,
    /// Answers with a list of [`Arrival`], in the order in which they came.
    Times,
    /// Asks for all sockets of all nodes; answers [`Fetched`].
    Fetch,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Emit {
    /// Emits under way at a time.
    pub under_way: usize,
    /// Bytes of text in a message.
    pub size: usize,
    /// Messages a second, none of which waits for another; 0 is as fast as it goes.
    pub rate: u64,
    /// How many; where it does not say, as many as go in `seconds`.
    pub count: Option<u64>,
    pub seconds: f64,
}

/// Times are in nanoseconds here and below, of a clock that all processes of the machine share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Emitted {
    pub emitted: u64,
    /// How many of these ended with an error.
    pub errors: u64,
    pub first_error: Option<String>,
    /// When it began.
    pub first: u64,
    /// Of the processor.
    pub cpu: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Received {
    /// Different messages.
    pub received: u64,
    pub duplicates: u64,
    /// How often the node was told that messages are missing; a side that never tells has none.
    pub gaps: u64,
    /// Messages that came after one with a greater number.
    pub reordered: u64,
    /// When the last one came.
    pub last: u64,
    /// Of the processor, from `Begin` on.
    pub cpu: u64,
    /// From the call of `emit` to the socket, like the next two.
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Arrival {
    pub number: u64,
    pub sent: u64,
    pub came: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Paced {
    pub emits: Vec<PacedEmit>,
    pub first_error: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PacedEmit {
    pub number: u64,
    pub sent: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Error,
    /// `emit` has not returned when the run was over.
    Hangs,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fetched {
    pub ms: f64,
    /// How many sockets the answer has; `None` where it is an error.
    pub sockets: Option<usize>,
    pub error: Option<String>,
}
