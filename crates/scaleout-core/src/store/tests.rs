//! A store on its own: what it holds and who reads it, without a bus.

mod holes;
mod look_up;
mod model;
mod random;
mod readers;

use std::{fmt::Write as _, num::NonZeroU16, sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;

use super::{Appended, Arrival, Asked, LookUp, Notified, ReaderKey, Store};
use crate::{
    CursorEntry, Epoch, GapReason, NodeId, PayloadId, Position, Received, StreamIndex, frame::FrameMessage,
    mutant::Mutation, subscription::Signal,
};

const SETTLE: Duration = Duration::from_secs(120);
const AHEAD_WAIT: Duration = Duration::from_secs(10);
const STREAM: StreamIndex = StreamIndex(3);

/// A store, and the time.
#[derive(Debug)]
struct Node {
    store: Store,
    now: Duration,
    wakes: Vec<Waker>,
}

/// What a reader was given; a message by its channel and its own position.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Message(String, Position),
    Gap(GapReason, Option<u64>),
}

impl Node {
    fn new(dense_ids: bool) -> Self {
        let stream_count = NonZeroU16::new(8).unwrap();
        let store = Store::new(STREAM, stream_count, dense_ids, SETTLE, Mutation::default());
        Self { store, now: Duration::ZERO, wakes: Vec::new() }
    }

    /// A node of a stream that begins with epoch 1.
    fn open(dense_ids: bool) -> Self {
        let mut node = Self::new(dense_ids);
        node.store.open(node.now, Epoch(1), None, (Epoch(1), None), true);
        node
    }

    /// Appends a payload of one message for each of `channels`, and notifies everybody.
    fn append(&mut self, id: u64, channels: &[&str]) {
        let mut appended = self.append_only(id, channels);
        while self.store.notify(&mut appended, &mut self.wakes) == Notified::More {}
        self.store.release_waiting(&mut self.wakes);
    }

    fn append_only(&mut self, id: u64, channels: &[&str]) -> Appended {
        let mut text = String::new();
        let mut messages = Vec::new();
        for (index, channel) in channels.iter().enumerate() {
            let start = u32::try_from(text.len()).unwrap();
            write!(text, "{channel} {id}.{index}").unwrap();
            let end = u32::try_from(text.len()).unwrap();
            messages.push(FrameMessage { channel, payload: start..end, extensions: end..end });
        }
        let received =
            Arrival { node: NodeId(7), sent_at_micros: 0, bytes: Bytes::from(text.clone()), messages };
        self.store.append(self.now, PayloadId(id), Some(received))
    }

    /// Appends a payload that carries nothing.
    fn append_blank(&mut self, id: u64) {
        self.store.append(self.now, PayloadId(id), None);
        self.store.release_waiting(&mut self.wakes);
    }

    fn note_hole(&mut self, to: Option<Position>, frames: Option<u64>) {
        self.store.note_hole(self.now, to, frames);
        let mut next = 0;
        while self.store.notify_all(&mut next, &mut self.wakes) == Notified::More {}
    }

    fn begin_epoch(&mut self, epoch: u64, after: Option<(u64, u64)>) {
        let after = after.map(|(epoch, id)| (Epoch(epoch), PayloadId(id)));
        self.store.begin_epoch(self.now, Epoch(epoch), after);
        self.store.release_waiting(&mut self.wakes);
    }

    fn subscribe(&mut self, channels: &[&str]) -> ReaderKey {
        self.begin(channels, Asked::Now).0
    }

    fn resume(&mut self, channels: &[&str], position: Position) -> (ReaderKey, LookUp) {
        self.begin(channels, Asked::Cursor(Some(&CursorEntry::At { position, stem: None })))
    }

    fn begin(&mut self, channels: &[&str], asked: Asked<'_>) -> (ReaderKey, LookUp) {
        let key = self.store.add_reader(Arc::new(Signal::default()));
        self.store.join(key, channels.iter().copied());
        let look_up = self.store.begin(key, asked, AHEAD_WAIT, &mut self.wakes);
        (key, look_up)
    }

    fn read(&mut self, key: ReaderKey) -> Option<Got> {
        got(self.store.read_item(key))
    }

    fn read_all(&mut self, key: ReaderKey) -> Vec<Got> {
        std::iter::from_fn(|| self.read(key)).collect()
    }

    fn cursor(&self, key: ReaderKey) -> CursorEntry {
        self.store.cursor_entry(key)
    }

    fn position(&self, key: ReaderKey) -> Position {
        match self.cursor(key) {
            CursorEntry::At { position, stem: None } => position,
            other => panic!("a plain position, not {other:?}"),
        }
    }

    fn pass_up_time(&mut self, elapsed: Duration) {
        self.store.pass_up_time(elapsed, &mut self.wakes);
    }
}

fn got(item: Option<Received>) -> Option<Got> {
    Some(match item? {
        Received::Message(message) => {
            let expected = format!("{} {}.{}", message.channel, message.position.id, message.position.index);
            assert_eq!(message.payload, expected.as_bytes(), "a payload in another one's place");
            Got::Message(message.channel.to_string(), message.position)
        }
        Received::Gap(gap) => Got::Gap(gap.reason, gap.frames),
    })
}

fn message(channel: &str, id: u64, index: u32) -> Got {
    Got::Message(channel.to_owned(), at(1, id, index))
}

fn at(epoch: u64, id: u64, index: u32) -> Position {
    Position { epoch: Epoch(epoch), id: PayloadId(id), index }
}

fn behind(id: u64) -> Position {
    at(1, id, Position::WHOLE)
}

fn before(id: u64) -> Position {
    at(1, id, 0)
}
