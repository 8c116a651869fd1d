//! The lines of a journal: what a node process writes down before it has any effect, and survives its death.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use scaleout::{Cursor, CursorEntry, Epoch, ErrorKind, NodeId, PayloadId, Position, StreamIndex};
use scaleout_testkit::checker::{
    Account, Arrival, ArrivalKind, Content, FrameContent, GapItem, HopEntry, HopItem, Item, MessageItem,
    NodeRecord, Outcome, Published, Reason, Sample,
};
use serde::{Deserialize, Serialize};

/// One line. Times are nanoseconds since the run began.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    /// The node that writes, and its settings as far as they matter.
    Node { id: String, replay: bool, dense_ids: bool, ring_bytes: usize, ring_age: u64, tail_age: u64 },
    /// `local` stands for a stay of a client in this journal from here on.
    Stay { local: usize, client: usize, stay: u32 },
    /// A message is about to be published.
    Published { id: usize, stream: u16, channel: String, bytes: String, at: u64 },
    /// A publish ended.
    Resolved { id: usize, at: u64, outcome: HowEnded },
    /// Something happened to a client; where it goes on if its node ends now.
    Happened { local: usize, what: What, cursor: String },
    /// A reception yielded something.
    Arrived { at: u64, stream: u16, what: Arrived },
    /// The node ended as it should.
    Closed(Box<Closed>),
}

/// How a publish ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HowEnded {
    Ok,
    Unconfirmed,
    Refused(String),
}

/// What happened to a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    Joined { at: u64, channel: String },
    Message { stream: u16, place: Place, origin: String, channel: String, bytes: String },
    Gap { at: u64, stream: u16, reason: String, frames: Option<u64>, place: Option<Place> },
    Hop { at: u64 },
}

/// A position: epoch, id, index.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Place(u64, u64, u32);

/// What a reception yielded.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Arrived {
    Began,
    Ended,
    Faulted,
    Opened { epoch: u64, after: Option<(u64, u64)>, head: (u64, Option<u64>), unbroken: bool },
    Payload { id: u64, len: usize, content: Carried },
}

/// What a payload carries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Carried {
    Empty,
    Foreign,
    Unreadable,
    OtherLayout,
    Frame { node: String, number: u64, after: u64, messages: Vec<(String, String)> },
}

/// How a node ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) up: Vec<bool>,
    pub(crate) samples: Vec<(String, u64, u64)>,
    pub(crate) accounts: Vec<(String, u64, u64)>,
    pub(crate) readers: usize,
    pub(crate) repaired: u64,
    pub(crate) rewound: u64,
    pub(crate) faults: u64,
}

impl Line {
    pub(crate) fn published(id: usize, publish: &Published) -> Self {
        Self::Published {
            id,
            stream: publish.stream.0,
            channel: publish.channel.clone(),
            bytes: hex(&publish.bytes),
            at: nanos(publish.began),
        }
    }

    pub(crate) fn resolved(id: usize, at: Duration, outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Ok => HowEnded::Ok,
            Outcome::Refused(kind) => HowEnded::Refused(format!("{kind:?}")),
            Outcome::Unconfirmed | Outcome::Unresolved => HowEnded::Unconfirmed,
        };
        Self::Resolved { id, at: nanos(at), outcome }
    }

    pub(crate) fn happened(local: usize, item: &Item, cursor: &Cursor) -> Option<Self> {
        let what = match item {
            Item::Joined { at, channel, .. } => What::Joined { at: nanos(*at), channel: channel.clone() },
            Item::Message(message) => What::Message {
                stream: message.stream.0,
                place: message.position.into(),
                origin: message.origin.to_string(),
                channel: message.channel.clone(),
                bytes: hex(&message.bytes),
            },
            Item::Gap(gap) => What::Gap {
                at: nanos(gap.at),
                stream: gap.stream.0,
                reason: format!("{:?}", gap.reason),
                frames: gap.frames,
                place: gap.position.map(Place::from),
            },
            Item::Hop(hop) => What::Hop { at: nanos(hop.at) },
            Item::Left { .. } => return None,
        };
        Some(Self::Happened { local, what, cursor: cursor.to_string() })
    }

    pub(crate) fn arrived(arrival: &Arrival) -> Self {
        let what = match &arrival.kind {
            ArrivalKind::Began => Arrived::Began,
            ArrivalKind::Ended => Arrived::Ended,
            ArrivalKind::Faulted => Arrived::Faulted,
            ArrivalKind::Opened { epoch, after, head, unbroken } => Arrived::Opened {
                epoch: epoch.0,
                after: after.map(|(epoch, id)| (epoch.0, id.0)),
                head: (head.0.0, head.1.map(|id| id.0)),
                unbroken: *unbroken,
            },
            ArrivalKind::Payload { id, len, content } => {
                Arrived::Payload { id: id.0, len: *len, content: content.into() }
            }
        };
        Self::Arrived { at: nanos(arrival.at), stream: arrival.stream.0, what }
    }
}

impl What {
    /// As the checker knows it, at a node of the run.
    pub(crate) fn item(self, node: usize, cursor: &str) -> Result<Item> {
        Ok(match self {
            Self::Joined { at, channel } => Item::Joined { at: Duration::from_nanos(at), node, channel },
            Self::Message { stream, place, origin, channel, bytes } => Item::Message(MessageItem {
                node,
                stream: StreamIndex(stream),
                position: place.into(),
                origin: node_id(&origin)?,
                channel,
                bytes: unhex(&bytes)?,
            }),
            Self::Gap { at, stream, reason, frames, place } => Item::Gap(GapItem {
                node,
                at: Duration::from_nanos(at),
                stream: StreamIndex(stream),
                reason: match reason.as_str() {
                    "Lost" => Reason::Lost,
                    "Reset" => Reason::Reset,
                    "Expired" => Reason::Expired,
                    "Lagged" => Reason::Lagged,
                    other => anyhow::bail!("{other} is no reason of a gap"),
                },
                frames,
                position: place.map(Position::from),
            }),
            Self::Hop { at } => {
                let cursor: Cursor = cursor.parse().context("the cursor of a hop")?;
                let entry = |(stream, entry): (StreamIndex, &CursorEntry)| match *entry {
                    CursorEntry::At { position, stem } => HopEntry { stream, position: Some(position), stem },
                    CursorEntry::Unpositioned => HopEntry { stream, position: None, stem: None },
                };
                let entries = cursor.entries().map(entry).collect();
                Item::Hop(HopItem { to: node, at: Duration::from_nanos(at), forged: false, entries })
            }
        })
    }
}

impl HowEnded {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Ok => Outcome::Ok,
            Self::Unconfirmed => Outcome::Unconfirmed,
            Self::Refused(kind) => Outcome::Refused(match kind.as_str() {
                "QueueFull" => ErrorKind::QueueFull,
                "Expired" => ErrorKind::Expired,
                "Dropped" => ErrorKind::Dropped,
                "Closed" => ErrorKind::Closed,
                // The checker asks only whether a publish was refused.
                _ => ErrorKind::Unavailable,
            }),
        }
    }
}

impl Arrived {
    pub(crate) fn arrival(self, at: u64, stream: u16) -> Result<Arrival> {
        let kind = match self {
            Self::Began => ArrivalKind::Began,
            Self::Ended => ArrivalKind::Ended,
            Self::Faulted => ArrivalKind::Faulted,
            Self::Opened { epoch, after, head, unbroken } => ArrivalKind::Opened {
                epoch: Epoch(epoch),
                after: after.map(|(epoch, id)| (Epoch(epoch), PayloadId(id))),
                head: (Epoch(head.0), head.1.map(PayloadId)),
                unbroken,
            },
            Self::Payload { id, len, content } => {
                ArrivalKind::Payload { id: PayloadId(id), len, content: content.content()? }
            }
        };
        Ok(Arrival { at: Duration::from_nanos(at), stream: StreamIndex(stream), kind })
    }
}

impl From<&Content> for Carried {
    fn from(content: &Content) -> Self {
        match content {
            Content::Empty => Self::Empty,
            Content::Foreign => Self::Foreign,
            Content::Unreadable => Self::Unreadable,
            Content::OtherLayout => Self::OtherLayout,
            Content::Frame(frame) => Self::Frame {
                node: frame.node.to_string(),
                number: frame.number,
                after: frame.after,
                messages: frame.messages.iter().map(|(to, bytes)| (to.clone(), hex(bytes))).collect(),
            },
        }
    }
}

impl Carried {
    fn content(self) -> Result<Content> {
        Ok(match self {
            Self::Empty => Content::Empty,
            Self::Foreign => Content::Foreign,
            Self::Unreadable => Content::Unreadable,
            Self::OtherLayout => Content::OtherLayout,
            Self::Frame { node, number, after, messages } => Content::Frame(FrameContent {
                node: node_id(&node)?,
                number,
                after,
                messages: messages
                    .into_iter()
                    .map(|(channel, bytes)| Ok((channel, unhex(&bytes)?)))
                    .collect::<Result<_>>()?,
            }),
        })
    }
}

impl Closed {
    pub(crate) fn fill(&self, record: &mut NodeRecord) {
        record.up.clone_from(&self.up);
        let sample = |(what, used, limit): &(String, u64, u64)| Sample {
            what: interned(what),
            used: *used,
            limit: *limit,
        };
        record.samples = self.samples.iter().map(sample).collect();
        let account = |(what, counted, observed): &(String, u64, u64)| Account {
            what: interned(what),
            counted: *counted,
            observed: *observed,
        };
        record.accounts = self.accounts.iter().map(account).collect();
    }
}

impl Place {
    /// A place for what has none: it comes behind what was given a smaller number.
    pub(crate) fn nth(number: u64) -> Self {
        Self(1, number, 0)
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self(position.epoch.0, position.id.0, position.index)
    }
}

impl From<Place> for Position {
    fn from(place: Place) -> Self {
        Self { epoch: Epoch(place.0), id: PayloadId(place.1), index: place.2 }
    }
}

/// The checker has names that live for ever; there are a few dozen.
fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}

pub(crate) fn node_id(text: &str) -> Result<NodeId> {
    Ok(NodeId(u128::from_str_radix(text, 16).context("the id of a node")?))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(crate) fn unhex(text: &str) -> Result<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>().map(Bytes::from).context("bytes in hex")
}
