//! What a subscription receives: messages and gaps.

use std::{
    fmt,
    num::NonZeroU16,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{Cursor, CursorEntry, NodeId, Position, StreamIndex, Traceparent, frame};

/// What [`Subscription::recv`](crate::Subscription::recv) yields.
#[derive(Debug, Clone)]
pub enum Received {
    /// A message of one of the subscription's channels.
    Message(Message),
    /// Messages that should have come and may not have.
    Gap(Gap),
}

/// A message, as published by some node.
///
/// The payload is a slice of the frame that carried it: holding one message keeps the memory of its whole frame.
/// [`detach`](Self::detach) copies it out.
#[derive(Clone)]
pub struct Message {
    pub(crate) channel: Arc<str>,
    pub(crate) payload: Bytes,
    /// The frame, and where this message's extensions stand in it.
    pub(crate) extensions: Option<Box<(Bytes, Range<u32>)>>,
    pub(crate) node: NodeId,
    pub(crate) sent_at_micros: u64,
    pub(crate) stream: StreamIndex,
    pub(crate) position: Position,
    /// What a cursor behind this message says of its stream.
    pub(crate) behind: CursorEntry,
    pub(crate) stream_count: NonZeroU16,
    /// Where its subscription stood on other streams; `None` where it has none.
    pub(crate) others: Option<Arc<Cursor>>,
}

impl Message {
    /// The channel it was published to.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The bytes that were published.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The node that published it.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// When its frame was first sent, by the clock of [`node`](Self::node); for people and histograms.
    #[must_use]
    pub fn sent_at(&self) -> SystemTime {
        let since = Duration::from_micros(self.sent_at_micros);
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The stream that carried it.
    #[must_use]
    pub fn stream(&self) -> StreamIndex {
        self.stream
    }

    /// Its own place, the same on every node: `index` counts the messages before it in its payload.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The cursor right behind this message, for a client that has seen it.
    ///
    /// It says of other streams where the subscription stood when the message came;
    /// [`Subscription::cursor`](crate::Subscription::cursor) also knows of quiet ones how far they are.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        cursor(self.others.as_deref(), self.stream_count, self.stream, self.behind)
    }

    /// The trace that its publisher made it part of, by [`Bus::publish_with`](crate::Bus::publish_with).
    ///
    /// `None` where there is none, or one that no release of W3C Trace Context allows.
    #[must_use]
    pub fn traceparent(&self) -> Option<Traceparent> {
        let value = self.extension(frame::TRACEPARENT)?;
        std::str::from_utf8(&value).ok()?.parse().ok()
    }

    /// The bytes of the extension `tag`, such as [`frame::TRACEPARENT`].
    #[must_use]
    pub fn extension(&self, tag: u8) -> Option<Bytes> {
        let (bytes, range) = self.extensions.as_deref()?;
        frame::extension(bytes, range.clone(), tag)
    }

    /// The same message in memory of its own, so that it does not keep its frame.
    #[must_use]
    pub fn detach(self) -> Self {
        let extensions = self.extensions.map(|extensions| {
            let (bytes, range) = *extensions;
            let copy = Bytes::copy_from_slice(&bytes[range.start as usize..range.end as usize]);
            let end = u32::try_from(copy.len()).expect("a part of a frame is shorter than the frame");
            Box::new((copy, 0..end))
        });
        Self { payload: Bytes::copy_from_slice(&self.payload), extensions, ..self }
    }
}

impl fmt::Debug for Message {
    /// Payloads stay out of logs: only their length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel)
            .field("payload_bytes", &self.payload.len())
            .field("node", &self.node)
            .field("stream", &self.stream)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Messages that a subscription should have got and may not have.
///
/// After a gap delivery goes on with the next message there is.
#[derive(Debug, Clone)]
pub struct Gap {
    pub(crate) stream: StreamIndex,
    pub(crate) reason: GapReason,
    pub(crate) frames: Option<u64>,
    pub(crate) behind: CursorEntry,
    pub(crate) stream_count: NonZeroU16,
    pub(crate) others: Option<Arc<Cursor>>,
}

/// Why messages may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// They did not reach this node, or could not be read.
    Lost,
    /// The cursor is of a history that this node does not share: another epoch, fork or layout.
    Reset,
    /// They left this node's ring before the client resumed.
    Expired,
    /// They left this node's ring before this subscription read them: it is too slow.
    Lagged,
}

impl Gap {
    /// The stream on which messages are missing.
    #[must_use]
    pub fn stream(&self) -> StreamIndex {
        self.stream
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> GapReason {
        self.reason
    }

    /// How many frames are concerned, at most, of all channels of the stream; `None` where nobody knows.
    #[must_use]
    pub fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// The cursor right behind the gap, for a client that was told of it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        cursor(self.others.as_deref(), self.stream_count, self.stream, self.behind)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Reset => "reset",
            Self::Expired => "expired",
            Self::Lagged => "lagged",
        })
    }
}

fn cursor(
    others: Option<&Cursor>,
    stream_count: NonZeroU16,
    stream: StreamIndex,
    behind: CursorEntry,
) -> Cursor {
    let mut cursor = others.cloned().unwrap_or_else(|| Cursor::new(stream_count));
    cursor.set(stream, behind);
    cursor
}
