//! The frame: what a payload on a stream holds, version 1.
//!
//! ```text
//! "SO" | version u8 | flags u8 | crc32c u32 little-endian | body
//! ```
//!
//! The checksum covers version, flags and body. The body is bincode 2 in its standard configuration (little-endian,
//! variable-length integers): `app u64, stream count u16, node u128, number u64, after u64, sent at u64`, then the
//! messages, each `channel str, payload bytes, extensions [(tag u8, bytes)]`. `docs/wire-format.md` has the tables
//! and a worked example.
//!
//! Decoding borrows and never copies: a [`FrameMessage`] tells where its payload lies in the received bytes, so that
//! it can be a [`Bytes::slice`] of them. Whatever the bytes are, the outcome is a value or a [`FrameError`], and
//! nothing is allocated before its size was checked against the bytes there are.
//!
//! This is the only module that knows bincode.

use std::{error::Error as StdError, fmt, num::NonZeroU16, ops::Range};

use bincode::{
    BorrowDecode, Encode,
    config::{self, Configuration, Limit, LittleEndian, Varint},
    enc::write::Writer,
    error::{DecodeError, EncodeError},
};
use bytes::Bytes;

use crate::{MAX_CHANNEL_BYTES, NodeId};

/// The version that this release writes, and the newest that it reads.
pub const FRAME_VERSION: u8 = 1;

/// Bytes at most of everything in a frame but its messages.
pub const MAX_HEAD_BYTES: usize = PREAMBLE_BYTES + MAX_BODY_HEAD_BYTES;

/// Messages of a frame at most; a frame that claims more is refused.
pub const MAX_FRAME_MESSAGES: u32 = 1 << 20;

/// The extension tag of a W3C `traceparent`.
pub const TRACEPARENT: u8 = 1;

/// What stands before the messages of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// The app, as [`AppName::hash`](crate::AppName::hash).
    pub app: u64,
    /// How many streams the sender's backplane has.
    pub stream_count: u16,
    /// The sender.
    pub node: NodeId,
    /// 1, 2, … per node and stream.
    pub number: u64,
    /// The last number confirmed when the frame was first tried, below `number`; 0 where there was none.
    pub after: u64,
    /// When the sender made the frame, in microseconds since 1970 by its own clock; for people, never for decisions.
    pub sent_at_micros: u64,
}

/// What this node expects of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The app, as [`AppName::hash`](crate::AppName::hash).
    pub app: u64,
    /// How many streams the backplane has.
    pub stream_count: NonZeroU16,
}

/// A decoded frame; it borrows from the bytes it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who sent it, and its place among the sender's frames.
    pub head: FrameHead,
    /// At least one message, in the order in which they were published.
    pub messages: Vec<FrameMessage<'a>>,
}

/// A message of a [`Frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameMessage<'a> {
    /// The channel, 1 to [`MAX_CHANNEL_BYTES`] bytes.
    pub channel: &'a str,
    /// Where the payload lies in the frame's bytes.
    pub payload: Range<u32>,
    /// Where the extensions lie in the frame's bytes, for [`extension`].
    pub extensions: Range<u32>,
}

/// Appends one encoded message to `out`.
///
/// `channel` is 1 to [`MAX_CHANNEL_BYTES`] bytes, else receivers refuse the whole frame. A tag may come once.
pub fn encode_message(out: &mut Vec<u8>, channel: &str, payload: &[u8], extensions: &[(u8, Bytes)]) {
    debug_assert!((1..=MAX_CHANNEL_BYTES).contains(&channel.len()), "channels are checked at the call");
    append(out, (channel, payload, extensions.len()));
    for (tag, value) in extensions {
        append(out, (tag, value.as_ref()));
    }
}

/// How many bytes [`encode_message`] appends for such a message.
#[must_use]
pub fn encoded_message_len(channel_len: usize, payload_len: usize, extensions: &[(u8, Bytes)]) -> usize {
    let with_len = |len: usize| varint_len(len) + len;
    let values: usize = extensions.iter().map(|(_, value)| 1 + with_len(value.len())).sum();
    with_len(channel_len) + with_len(payload_len) + varint_len(extensions.len()) + values
}

/// The bytes of payload that a message to a channel of `channel_len` bytes may have, alone in a frame of `limit` bytes.
pub(crate) fn max_message_bytes(limit: usize, channel_len: usize) -> usize {
    // A length is written in at most five bytes, since places in a frame are u32.
    let around = encoded_message_len(channel_len, 0, &[]) + 4;
    limit.saturating_sub(MAX_HEAD_BYTES + around)
}

/// Makes a frame of `count` already encoded messages, copying them once.
///
/// `count` is 1 to [`MAX_FRAME_MESSAGES`] and `messages` is what as many calls of [`encode_message`] appended, below
/// 4 GiB less [`MAX_HEAD_BYTES`]; else receivers refuse the frame.
#[must_use]
pub fn seal(head: &FrameHead, count: u32, messages: &[u8]) -> Bytes {
    debug_assert!((1..=MAX_FRAME_MESSAGES).contains(&count) && head.after < head.number);
    let mut body_head = [0; MAX_BODY_HEAD_BYTES];
    let body_head_len = bincode::encode_into_slice(BodyHead::new(head, count), &mut body_head, CONFIG)
        .expect("the array has room for the largest head");

    let mut frame = Vec::with_capacity(PREAMBLE_BYTES + body_head_len + messages.len());
    frame.extend_from_slice(&[MAGIC[0], MAGIC[1], FRAME_VERSION, NO_FLAGS, 0, 0, 0, 0]);
    frame.extend_from_slice(&body_head[..body_head_len]);
    frame.extend_from_slice(messages);
    let checksum = checksum(&frame);
    frame[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    frame.into()
}

impl<'a> Frame<'a> {
    /// Decodes `bytes`, which must be one frame and nothing more.
    ///
    /// # Errors
    /// The first of these that holds: no magic; a version or a flag of another release; a wrong checksum; another
    /// app; another stream count; a body that is not what its version says.
    pub fn decode(bytes: &'a [u8], layout: &Layout) -> Result<Self, FrameError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(FrameError::NotAFrame);
        }
        // A release reads the version before its own as well; version 1 is the first.
        match *bytes.get(VERSION).ok_or(FrameError::Truncated)? {
            1 => Self::decode_v1(bytes, layout),
            version => Err(FrameError::Version(version)),
        }
    }

    fn decode_v1(bytes: &'a [u8], layout: &Layout) -> Result<Self, FrameError> {
        let flags = *bytes.get(FLAGS).ok_or(FrameError::Truncated)?;
        if flags != NO_FLAGS {
            return Err(FrameError::Flags(flags));
        }
        check_size(bytes.len())?;
        let stated = bytes.get(CHECKSUM).ok_or(FrameError::Truncated)?;
        if stated != checksum(bytes).to_le_bytes() {
            return Err(FrameError::Checksum);
        }

        let mut reader = Reader { bytes, at: PREAMBLE_BYTES };
        let body: BodyHead = reader.take()?;
        if body.app != layout.app {
            return Err(FrameError::ForeignApp);
        }
        if body.stream_count != layout.stream_count.get() {
            return Err(FrameError::StreamCount {
                theirs: body.stream_count,
                ours: layout.stream_count.get(),
            });
        }
        if body.after >= body.number {
            return Err(FrameError::Malformed("the frame's number is not above the one it follows"));
        }
        if body.count == 0 {
            return Err(FrameError::Empty);
        }
        let most = (reader.left() / MIN_MESSAGE_BYTES).min(MAX_FRAME_MESSAGES as usize);
        check_count(u64::from(body.count), most)?;
        let mut messages = Vec::with_capacity(body.count as usize);
        for _ in 0..body.count {
            messages.push(reader.message()?);
        }
        if reader.left() > 0 {
            return Err(FrameError::TrailingBytes);
        }
        Ok(Self { head: body.head(), messages })
    }
}

/// The extension `tag` of a message: the first in `range`, which is [`FrameMessage::extensions`] of the frame `bytes`.
#[must_use]
pub fn extension(bytes: &Bytes, range: Range<u32>, tag: u8) -> Option<Bytes> {
    let mut reader = Reader { bytes: bytes.get(..range.end as usize)?, at: range.start as usize };
    let count: u64 = reader.take().ok()?;
    for _ in 0..count {
        let (found, value): (u8, &[u8]) = reader.take().ok()?;
        if found == tag {
            return Some(bytes.slice(reader.at - value.len()..reader.at));
        }
    }
    None
}

/// Why bytes are not a frame that this node can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes do not begin with the magic `"SO"`: somebody else's payload.
    NotAFrame,
    /// The frame is of a version that this release does not read.
    Version(u8),
    /// A flag is set, and this release knows none.
    Flags(u8),
    /// The frame has this many bytes; it must have less than 4 GiB.
    TooLarge(usize),
    /// The checksum does not fit the bytes.
    Checksum,
    /// The frame is of another app.
    ForeignApp,
    /// The sender counts other streams than this node, so that the two disagree about where channels are.
    StreamCount {
        /// The sender's count.
        theirs: u16,
        /// This node's count.
        ours: u16,
    },
    /// The bytes end before the frame does.
    Truncated,
    /// Bytes follow the last message.
    TrailingBytes,
    /// The frame claims more messages or extensions than its bytes can hold, or than are allowed.
    Count {
        /// The number it claims.
        claimed: u64,
        /// The number there can be at most.
        most: u64,
    },
    /// The frame has no message.
    Empty,
    /// A channel has this many bytes; it must have 1 to [`MAX_CHANNEL_BYTES`].
    Channel(usize),
    /// The body is not what its version says, and what is wrong with it.
    Malformed(&'static str),
}

impl FrameError {
    /// Whether the payload was never meant for this app: it is to be skipped, and nothing is missing.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::NotAFrame | Self::ForeignApp)
    }

    /// Whether the sender and this node are set up for different stream counts.
    #[must_use]
    pub fn is_layout(self) -> bool {
        matches!(self, Self::StreamCount { .. })
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFrame => f.write_str("not a frame: it does not begin with \"SO\""),
            Self::Version(version) => {
                write!(f, "a frame of version {version}; this release reads {FRAME_VERSION}")
            }
            Self::Flags(flags) => {
                write!(f, "a frame with flags {flags:#04x}, which this release does not know")
            }
            Self::TooLarge(bytes) => write!(f, "a frame of {bytes} bytes, at most {} are read", u32::MAX),
            Self::Checksum => f.write_str("a frame whose checksum does not fit its bytes"),
            Self::ForeignApp => f.write_str("a frame of another app"),
            Self::StreamCount { theirs, ours } => {
                write!(f, "a frame of a node with {theirs} streams, this node has {ours}")
            }
            Self::Truncated => f.write_str("a frame that ends too early"),
            Self::TrailingBytes => f.write_str("a frame with bytes behind its last message"),
            Self::Count { claimed, most } => {
                write!(f, "a frame that claims {claimed} items where there can be {most}")
            }
            Self::Empty => f.write_str("a frame without a message"),
            Self::Channel(bytes) => {
                write!(f, "a frame with a channel of {bytes} bytes, which has 1 to {MAX_CHANNEL_BYTES}")
            }
            Self::Malformed(what) => write!(f, "a malformed frame: {what}"),
        }
    }
}

impl StdError for FrameError {}

/// What the body begins with; `count` is the length that bincode writes before the items of a `Vec`.
#[derive(Encode, BorrowDecode)]
struct BodyHead {
    app: u64,
    stream_count: u16,
    node: u128,
    number: u64,
    after: u64,
    sent_at_micros: u64,
    count: u32,
}

impl BodyHead {
    fn new(head: &FrameHead, count: u32) -> Self {
        let FrameHead { app, stream_count, node, number, after, sent_at_micros } = *head;
        Self { app, stream_count, node: node.0, number, after, sent_at_micros, count }
    }

    fn head(&self) -> FrameHead {
        let Self { app, stream_count, node, number, after, sent_at_micros, count: _ } = *self;
        FrameHead { app, stream_count, node: NodeId(node), number, after, sent_at_micros }
    }
}

/// Reads bincode values one after the other, and knows where it stands.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    fn take<T: BorrowDecode<'a, ()>>(&mut self) -> Result<T, FrameError> {
        let rest = self.bytes.get(self.at..).ok_or(FrameError::Truncated)?;
        let (value, len) = bincode::borrow_decode_from_slice(rest, CONFIG).map_err(why_malformed)?;
        self.at += len;
        Ok(value)
    }

    /// Bytes behind their length; as `take` of them, but without its detours for every message.
    #[inline]
    fn slice(&mut self) -> Result<&'a [u8], FrameError> {
        let len = usize::try_from(self.length()?).map_err(|_| FrameError::Truncated)?;
        let end = self.at.checked_add(len).ok_or(FrameError::Truncated)?;
        let slice = self.bytes.get(self.at..end).ok_or(FrameError::Truncated)?;
        self.at = end;
        Ok(slice)
    }

    /// A length, of which nearly all are one byte.
    #[inline]
    fn length(&mut self) -> Result<u64, FrameError> {
        match self.bytes.get(self.at) {
            Some(byte @ 0..=MAX_ONE_BYTE_LEN) => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.take(),
        }
    }

    #[inline]
    fn message(&mut self) -> Result<FrameMessage<'a>, FrameError> {
        let channel = self.slice()?;
        let channel = str::from_utf8(channel).map_err(|_| NOT_UTF8)?;
        let payload_len = self.slice()?.len();
        if !(1..=MAX_CHANNEL_BYTES).contains(&channel.len()) {
            return Err(FrameError::Channel(channel.len()));
        }
        let payload = self.at - payload_len..self.at;
        let extensions = self.at;
        let count = self.length()?;
        check_count(count, self.left() / MIN_EXTENSION_BYTES)?;
        for _ in 0..count {
            let _: (u8, &[u8]) = self.take()?;
        }
        Ok(FrameMessage { channel, payload: range(payload), extensions: range(extensions..self.at) })
    }
}

fn append(out: &mut Vec<u8>, value: impl Encode) {
    struct Append<'a>(&'a mut Vec<u8>);
    impl Writer for Append<'_> {
        #[inline]
        fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::encode_into_writer(value, Append(out), CONFIG).expect("a Vec takes whatever is written");
}

/// Bytes of `value` as a variable-length integer of bincode.
fn varint_len(value: usize) -> usize {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn checksum(frame: &[u8]) -> u32 {
    let version_and_flags = crc32c::crc32c(&frame[VERSION..=FLAGS]);
    crc32c::crc32c_append(version_and_flags, &frame[PREAMBLE_BYTES..])
}

/// Ranges are of `u32`, which halves them: a store keeps one or two for every message.
fn check_size(bytes: usize) -> Result<(), FrameError> {
    u32::try_from(bytes).map(|_| ()).map_err(|_| FrameError::TooLarge(bytes))
}

fn check_count(claimed: u64, most: usize) -> Result<(), FrameError> {
    let most = most as u64;
    if claimed > most { Err(FrameError::Count { claimed, most }) } else { Ok(()) }
}

fn range(range: Range<usize>) -> Range<u32> {
    let narrow = |at: usize| u32::try_from(at).expect("the frame's size was checked");
    narrow(range.start)..narrow(range.end)
}

fn why_malformed(error: DecodeError) -> FrameError {
    match error {
        // A length beyond the bytes there are, however absurd.
        DecodeError::UnexpectedEnd { .. }
        | DecodeError::LimitExceeded
        | DecodeError::OutsideUsizeRange(_) => FrameError::Truncated,
        DecodeError::Utf8 { .. } => NOT_UTF8,
        DecodeError::InvalidIntegerType { .. } => FrameError::Malformed("an integer is wider than its field"),
        _ => FrameError::Malformed("the body cannot be decoded"),
    }
}

/// bincode's standard configuration; the limit is the frame's own, so that no length beyond it is believed.
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_FRAME_BYTES>> =
    config::standard().with_limit::<MAX_FRAME_BYTES>();
const MAX_FRAME_BYTES: usize = u32::MAX as usize;
const NOT_UTF8: FrameError = FrameError::Malformed("a channel is not UTF-8");
/// Above it the first byte of a variable-length integer says how many follow.
const MAX_ONE_BYTE_LEN: u8 = 250;
const MAGIC: [u8; 2] = *b"SO";
const VERSION: usize = 2;
const FLAGS: usize = 3;
const NO_FLAGS: u8 = 0;
const CHECKSUM: Range<usize> = 4..8;
const PREAMBLE_BYTES: usize = 8;
/// Four u64 of 9 bytes at most, the stream count of 3, the node of 17, the number of messages of 5.
const MAX_BODY_HEAD_BYTES: usize = 4 * 9 + 3 + 17 + 5;
/// A length, one byte of channel, a length, no payload, no extensions.
const MIN_MESSAGE_BYTES: usize = 4;
/// A tag and a length.
const MIN_EXTENSION_BYTES: usize = 2;

#[cfg(test)]
mod tests;
