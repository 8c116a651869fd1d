//! What a run records.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;

use scaleout_core::{Epoch, ErrorKind, NodeId, PayloadId, Position, StreamIndex};

/// Everything that [`check`](super::check) judges. Times are virtual, since the run began.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Every publish; a publish's id is its place here.
    pub publishes: Vec<Published>,
    /// Where the payloads name publishes otherwise, the place of each of those names; empty where they name the places.
    pub places: HashMap<usize, usize>,
    /// What the store ever held, per stream in the order in which it was appended.
    pub log: Vec<LogFrame>,
    /// The nodes; others name a node by its place here.
    pub nodes: Vec<NodeRecord>,
    /// The clients.
    pub clients: Vec<Client>,
    /// How long a publish may take at most, faults included.
    pub resolve_within: Duration,
    /// What was still there after everything was closed (tasks, receptions, registrations): name and number.
    pub left_over: Vec<(&'static str, usize)>,
}

/// One publish.
#[derive(Debug, Clone)]
pub struct Published {
    /// The node it was called on.
    pub node: usize,
    /// The stream of its channel.
    pub stream: StreamIndex,
    /// Its channel.
    pub channel: String,
    /// The order of the calls on that node.
    pub order: u64,
    /// Its payload, made by [`publish_payload`].
    pub bytes: Bytes,
    /// When it was called.
    pub began: Duration,
    /// When it resolved.
    pub resolved: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the store had it when it resolved `Ok`.
    pub in_log: bool,
}

/// How a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The store has it.
    Ok,
    /// It is surely not in the store.
    Refused(ErrorKind),
    /// It was tried, and may be in the store.
    Unconfirmed,
    /// It never resolved.
    Unresolved,
}

/// A payload that the store held.
#[derive(Debug, Clone)]
pub struct LogFrame {
    /// Its stream.
    pub stream: StreamIndex,
    /// The epoch it was appended in.
    pub epoch: Epoch,
    /// Its id.
    pub id: PayloadId,
    /// What it carries.
    pub content: Content,
    /// The epoch that began when the store forgot it.
    pub forgotten_in: Option<Epoch>,
    /// Appended by the run behind the back of the node it names (a late or foreign write), not by a send.
    pub injected: bool,
}

/// What a payload carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Empty,
    /// Bytes that are not a frame of this app.
    Foreign,
    /// A frame that cannot be read: another version, a bad checksum.
    Unreadable,
    /// A frame of a node with another number of streams.
    OtherLayout,
    /// A frame of this app.
    Frame(FrameContent),
}

/// A frame, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameContent {
    /// The node that sent it.
    pub node: NodeId,
    /// Its number on this stream.
    pub number: u64,
    /// The last number confirmed when it was first tried.
    pub after: u64,
    /// Channels and payloads.
    pub messages: Vec<(String, Bytes)>,
}

/// A node: its settings as far as they matter, what its receptions yielded, and how it ended.
#[derive(Debug, Clone)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// When it was closed or dropped, if before the end.
    pub ended: Option<Duration>,
    /// Whether the store replays what a broken link missed.
    pub replay: bool,
    /// Whether ids of the store have no holes.
    pub dense_ids: bool,
    /// Bytes of its ring; `None`: more than the run can fill.
    pub ring_bytes: Option<usize>,
    /// Age of its ring.
    pub ring_age: Duration,
    /// How far back its tail surely reaches; zero where the bytes of the tail are bounded tightly.
    pub tail_age: Duration,
    /// What its receptions yielded, in order.
    pub arrivals: Vec<Arrival>,
    /// For each stream whether it was up at the end; empty for a node that ended before.
    pub up: Vec<bool>,
    /// States seen during outages.
    pub states: Vec<StateSample>,
    /// The greatest use of each budget.
    pub samples: Vec<Sample>,
    /// Counters beside what was observed.
    pub accounts: Vec<Account>,
}

/// What a reception yielded.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When.
    pub at: Duration,
    /// On which stream.
    pub stream: StreamIndex,
    /// What.
    pub kind: ArrivalKind,
}

/// An event of a reception, with its payload decoded, or its beginning or end.
#[derive(Debug, Clone)]
pub enum ArrivalKind {
    /// The bus asked for the reception. What it knew of the stream from an earlier one it has forgotten.
    Began,
    /// The bus gave the reception up.
    Ended,
    /// The link opened, or the epoch changed.
    Opened {
        /// The epoch of what follows.
        epoch: Epoch,
        /// What it continues.
        after: Option<(Epoch, PayloadId)>,
        /// The head of the store.
        head: (Epoch, Option<PayloadId>),
        /// Whether nothing was lost that ids do not show.
        unbroken: bool,
    },
    /// A payload.
    Payload {
        /// Its id.
        id: PayloadId,
        /// Bytes of it.
        len: usize,
        /// What it carries.
        content: Content,
    },
    /// The link failed.
    Faulted,
}

/// A state that was seen during an outage longer than the node needs to notice it.
#[derive(Debug, Clone, Copy)]
pub struct StateSample {
    /// When it was looked at.
    pub at: Duration,
    /// The stream.
    pub stream: StreamIndex,
    /// Whether it said `Up`.
    pub up: bool,
}

/// The greatest use of a budget.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The budget's name.
    pub what: &'static str,
    /// The greatest use that was seen.
    pub used: u64,
    /// The bound.
    pub limit: u64,
}

/// A counter beside what was observed.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// The counter's name.
    pub what: &'static str,
    /// What the bus says.
    pub counted: u64,
    /// What was observed.
    pub observed: u64,
}

/// A client: a chain of subscriptions.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// What happened to it, in order.
    pub items: Vec<Item>,
    /// Whether it read until nothing was left, after the faults had ended.
    pub drained: bool,
    /// A client with the same channels, joined at the same time, that stayed on its node.
    pub twin: Option<usize>,
    /// Where its cursor stood at the end, for each stream of its channels, and the store's last payload there.
    pub end: Vec<End>,
}

/// Where a cursor stood on a stream when everything had ended.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The stream.
    pub stream: StreamIndex,
    /// What the cursor says.
    pub cursor: Option<Position>,
    /// The store's last payload.
    pub head: (Epoch, PayloadId),
}

/// Something that happened to a client.
#[derive(Debug, Clone)]
pub enum Item {
    /// It began to listen to a channel.
    Joined {
        /// When.
        at: Duration,
        /// The node that served it then.
        node: usize,
        /// The channel.
        channel: String,
    },
    /// It stopped to listen to a channel.
    Left {
        /// The channel.
        channel: String,
    },
    /// It received a message.
    Message(MessageItem),
    /// It was told of a gap.
    Gap(GapItem),
    /// It went on with a cursor.
    Hop(HopItem),
}

/// A message that a client received.
#[derive(Debug, Clone)]
pub struct MessageItem {
    /// The node that served it.
    pub node: usize,
    /// The message's stream.
    pub stream: StreamIndex,
    /// Its place: `index` counts messages of its frame from 0.
    pub position: Position,
    /// The node that published it, as the message says.
    pub origin: NodeId,
    /// Its channel.
    pub channel: String,
    /// Its payload.
    pub bytes: Bytes,
}

/// A gap that a client was told of.
#[derive(Debug, Clone)]
pub struct GapItem {
    /// The node that served it.
    pub node: usize,
    /// When.
    pub at: Duration,
    /// The stream.
    pub stream: StreamIndex,
    /// Why.
    pub reason: Reason,
    /// How many frames, at most.
    pub frames: Option<u64>,
    /// Where the gap's cursor stands on its stream.
    pub position: Option<Position>,
}

/// A client going on with a cursor.
#[derive(Debug, Clone)]
pub struct HopItem {
    /// The node it goes on at.
    pub to: usize,
    /// When.
    pub at: Duration,
    /// Whether the cursor was made up.
    pub forged: bool,
    /// What the cursor says; streams that it does not name are absent.
    pub entries: Vec<HopEntry>,
}

/// What a cursor says of one stream.
#[derive(Debug, Clone, Copy)]
pub struct HopEntry {
    /// The stream.
    pub stream: StreamIndex,
    /// The place; `None`: not yet positioned.
    pub position: Option<Position>,
    /// The last place that the node of the cursor held before a fork.
    pub stem: Option<(Epoch, PayloadId)>,
}

/// The reason of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A hole, an unreadable frame, a broken link.
    Lost,
    /// The cursor means nothing to the node.
    Reset,
    /// The cursor is older than the ring.
    Expired,
    /// The subscriber was slower than the ring.
    Lagged,
}

/// The payload of the publish `id`, `len` bytes or more; the same every time.
#[must_use]
pub fn publish_payload(id: usize, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len.max(12));
    bytes.extend_from_slice(b"P\0\0\0");
    bytes.extend_from_slice(&(id as u64).to_be_bytes());
    let mut value = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while bytes.len() < len {
        value = value.rotate_left(9).wrapping_add(0x1234_5677);
        bytes.push(value as u8);
    }
    bytes.into()
}

impl Recording {
    /// The publish that `bytes` were made for, whether or not they are still equal.
    pub(crate) fn publish_of(&self, bytes: &[u8]) -> Option<usize> {
        let id = bytes.strip_prefix(b"P\0\0\0")?.get(..8)?;
        let id = usize::try_from(u64::from_be_bytes(id.try_into().ok()?)).ok()?;
        let id = if self.places.is_empty() { id } else { *self.places.get(&id)? };
        (id < self.publishes.len()).then_some(id)
    }
}
