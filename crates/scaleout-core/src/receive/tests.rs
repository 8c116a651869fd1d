use std::{num::NonZeroU16, sync::Arc};

use super::*;
use crate::{
    CursorEntry, Received, StreamIndex,
    frame::{FrameHead, encode_message, seal},
    store::{Asked, ReaderKey},
    subscription::Signal,
};

const LAYOUT: Layout = Layout { app: 77, stream_count: NonZeroU16::new(4).expect("4 is not 0") };
const NOW: Duration = Duration::ZERO;

/// An inbox, its store, and a subscriber of `c`.
struct Lane {
    inbox: Inbox,
    store: Store,
    reader: ReaderKey,
}

/// What came of an event: whether a hole was told, and what the subscriber got.
type Outcome = (&'static str, Vec<String>);

impl Lane {
    /// A lane that did not open yet.
    fn new(dense_ids: bool, replay: bool) -> Self {
        let mutation = Mutation::default();
        let inbox = Inbox::new(LAYOUT, dense_ids, replay, 3, mutation);
        let settle = Duration::from_secs(120);
        let mut store = Store::new(StreamIndex(1), LAYOUT.stream_count, dense_ids, settle, mutation);
        let reader = store.add_reader(Arc::new(Signal::default()));
        store.join(reader, ["c"].into_iter());
        store.begin(reader, Asked::Now, Duration::ZERO, &mut Vec::new());
        Self { inbox, store, reader }
    }

    /// A lane of a stream that is empty, in epoch 1.
    fn empty(dense_ids: bool) -> Self {
        let mut lane = Self::new(dense_ids, true);
        assert_eq!(lane.open(1, None, (1, None), true), Ok(false));
        lane
    }

    /// A lane that has come to the head of a stream with ids up to `head`.
    fn caught_up(dense_ids: bool, head: u64) -> Self {
        let mut lane = Self::new(dense_ids, true);
        assert_eq!(lane.open(1, None, (1, Some(head)), true), Ok(false));
        assert_eq!(lane.take(head, &Bytes::new()).0, "empty");
        lane
    }

    fn open(
        &mut self,
        epoch: u64,
        after: Option<(u64, u64)>,
        head: (u64, Option<u64>),
        unbroken: bool,
    ) -> Result<bool, ErrorKind> {
        let after = after.map(|(epoch, id)| (Epoch(epoch), PayloadId(id)));
        let head = (Epoch(head.0), head.1.map(PayloadId));
        let opened = self.inbox.opened(&mut self.store, NOW, Epoch(epoch), after, head, unbroken);
        self.store.release_waiting(&mut Vec::new());
        opened.map_err(|error| error.kind())
    }

    fn take(&mut self, id: u64, bytes: &Bytes) -> Outcome {
        let mut taken = self.inbox.payload(&mut self.store, NOW, PayloadId(id), bytes.clone());
        if let Taken::Frame { appended, .. } = &mut taken {
            self.store.notify(appended, &mut Vec::new());
        }
        self.store.release_waiting(&mut Vec::new());
        let (name, hole) = match taken {
            Taken::Frame { hole, .. } => ("frame", hole),
            Taken::Blank { blank, hole } => match blank {
                Blank::Empty => ("empty", hole),
                Blank::Copy => ("copy", hole),
                Blank::Foreign(_) => ("foreign", hole),
                Blank::Layout(_) => ("layout", hole),
                Blank::Unreadable(_) => ("unreadable", hole),
            },
            Taken::Refused => ("refused", false),
        };
        let got = self.read();
        assert!(hole || !got.iter().any(|item| item.starts_with("lost")), "{name}: {got:?}");
        (name, got)
    }

    /// A subscriber of `d`, which holds nothing, who comes with a cursor.
    fn resume(&mut self, entry: &CursorEntry) -> ReaderKey {
        let reader = self.store.add_reader(Arc::new(Signal::default()));
        self.store.join(reader, ["d"].into_iter());
        self.store.begin(reader, Asked::Cursor(Some(entry)), Duration::ZERO, &mut Vec::new());
        reader
    }

    fn read(&mut self) -> Vec<String> {
        let mut got = Vec::new();
        while let Some(item) = self.store.read_item(self.reader) {
            got.push(match item {
                Received::Message(message) => String::from_utf8(message.payload().to_vec()).unwrap(),
                Received::Gap(gap) => match gap.frames() {
                    Some(frames) => format!("{} {frames}", gap.reason()),
                    None => gap.reason().to_string(),
                },
            });
        }
        got
    }
}

/// A frame of one message, which says `node.number`.
fn frame(node: u128, number: u64, after: u64) -> Bytes {
    frame_of(LAYOUT.app, LAYOUT.stream_count.get(), node, number, after)
}

fn frame_of(app: u64, stream_count: u16, node: u128, number: u64, after: u64) -> Bytes {
    let mut messages = Vec::new();
    encode_message(&mut messages, "c", format!("{node}.{number}").as_bytes(), &[]);
    let head = FrameHead { app, stream_count, node: NodeId(node), number, after, sent_at_micros: 0 };
    seal(&head, 1, &messages)
}

fn frame_with(change: impl Fn(&mut Vec<u8>)) -> Bytes {
    let mut bytes = frame(9, 1, 0).to_vec();
    change(&mut bytes);
    bytes.into()
}

/// Puts the right checksum behind a change of the body.
fn resealed(change: impl Fn(&mut Vec<u8>)) -> Bytes {
    frame_with(|bytes| {
        change(bytes);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[2..4]), &bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    })
}

fn outcome(name: &'static str, got: &[&str]) -> Outcome {
    (name, got.iter().map(ToString::to_string).collect())
}

#[test]
fn every_kind_of_unusable_payload_is_told_as_what_it_is() {
    let unreadable = [
        frame_with(|bytes| bytes[2] = 200),
        frame_with(|bytes| bytes[3] = 1),
        frame_with(|bytes| bytes[4] ^= 1),
        frame_with(|bytes| bytes.truncate(2)),
        frame_with(|bytes| bytes.truncate(6)),
        resealed(|bytes| bytes.truncate(12)),
        resealed(|bytes| bytes.push(0)),
        frame(9, 1, 0).slice(..20),
    ];
    for dense_ids in [true, false] {
        for (index, bytes) in unreadable.iter().enumerate() {
            let mut lane = Lane::empty(dense_ids);
            assert_eq!(lane.take(0, bytes), outcome("unreadable", &["lost 1"]), "number {index}");
            assert_eq!(lane.take(1, &frame(1, 1, 0)), outcome("frame", &["1.1"]));
        }
        let mut lane = Lane::empty(dense_ids);
        let foreign = [Bytes::from_static(b"not ours"), frame_of(78, 4, 9, 1, 0), Bytes::from_static(b"S")];
        for (id, bytes) in (0..).zip(foreign) {
            assert_eq!(lane.take(id, &bytes), outcome("foreign", &[]));
        }
        assert_eq!(lane.take(3, &frame_of(77, 5, 9, 1, 0)), outcome("layout", &["lost 1"]));
        assert_eq!(lane.take(4, &Bytes::new()), outcome("empty", &[]));
    }
}

#[test]
fn copies_are_dropped_by_id_and_by_number() {
    let mut lane = Lane::empty(true);
    assert_eq!(lane.take(0, &frame(1, 1, 0)), outcome("frame", &["1.1"]));
    assert_eq!(lane.take(1, &frame(1, 2, 1)), outcome("frame", &["1.2"]));
    assert_eq!(lane.take(0, &frame(1, 1, 0)), outcome("copy", &[]));
    assert_eq!(lane.take(1, &frame(2, 1, 0)), outcome("copy", &[]), "an id names one payload for ever");
    assert_eq!(lane.take(2, &frame(1, 2, 1)), outcome("copy", &[]));
    assert_eq!(lane.take(3, &frame(1, 1, 0)), outcome("copy", &[]));
    assert_eq!(lane.take(4, &frame(1, 3, 2)), outcome("frame", &["1.3"]), "copies take places");
}

#[test]
fn missing_ids_are_a_hole_where_ids_are_dense() {
    let mut lane = Lane::empty(true);
    assert_eq!(lane.take(2, &frame(1, 1, 0)), outcome("frame", &["lost 2", "1.1"]));
    assert_eq!(lane.take(4, &frame(2, 1, 0)), outcome("frame", &["lost 1", "2.1"]));
    assert_eq!(lane.take(6, &Bytes::new()), outcome("empty", &["lost 1"]));
    let mut lane = Lane::empty(false);
    assert_eq!(lane.take(2, &frame(1, 1, 0)), outcome("frame", &["1.1"]));
    assert_eq!(lane.take(9, &frame(1, 2, 1)), outcome("frame", &["1.2"]));
}

#[test]
fn missing_numbers_are_a_hole() {
    for dense_ids in [true, false] {
        let mut lane = Lane::empty(dense_ids);
        lane.take(0, &frame(1, 1, 0));
        assert_eq!(lane.take(1, &frame(1, 5, 4)), outcome("frame", &["lost 3", "1.5"]));
        assert_eq!(lane.take(2, &frame(1, 8, 5)), outcome("frame", &["1.8"]), "6 and 7 were given up");
    }
}

#[test]
fn a_hole_in_ids_explains_missing_numbers() {
    let mut lane = Lane::empty(true);
    lane.take(0, &frame(1, 1, 0));
    lane.take(1, &frame(2, 1, 0));
    assert_eq!(lane.take(4, &frame(1, 3, 2)), outcome("frame", &["lost 2", "1.3"]));
    assert_eq!(lane.take(5, &frame(2, 3, 2)), outcome("frame", &["2.3"]), "it was one of the two");
    assert_eq!(lane.take(6, &frame(2, 5, 4)), outcome("frame", &["lost 1", "2.5"]));
    // An unreadable frame is a hole in ids as well.
    assert_eq!(lane.take(7, &frame_with(|bytes| bytes[4] ^= 1)).1, ["lost 1"]);
    assert_eq!(lane.take(8, &frame(1, 5, 4)), outcome("frame", &["1.5"]));
}

#[test]
fn a_hole_of_an_earlier_epoch_explains_nothing() {
    let mut lane = Lane::empty(true);
    lane.take(0, &frame(1, 1, 0));
    lane.take(2, &frame(2, 1, 0));
    lane.open(2, Some((1, 2)), (2, None), true).unwrap();
    assert_eq!(lane.take(0, &frame(1, 3, 2)), outcome("frame", &["lost 1", "1.3"]));
}

#[test]
fn an_unknown_node_is_taken_as_it_is_until_nothing_can_have_come_before() {
    let mut lane = Lane::caught_up(true, 7);
    assert_eq!(lane.take(8, &frame(1, 40, 39)), outcome("frame", &["1.40"]), "it sent before this node came");
    let mut lane = Lane::empty(true);
    assert_eq!(lane.take(0, &frame(1, 4, 3)), outcome("frame", &["lost 3", "1.4"]), "the stream was empty");
}

#[test]
fn an_unknown_node_after_a_fork_counts_from_zero() {
    let mut lane = Lane::caught_up(true, 7);
    lane.open(2, Some((1, 7)), (2, None), true).unwrap();
    assert_eq!(lane.take(0, &frame(1, 4, 3)), outcome("frame", &["1.4"]), "the epoch continues everything");
    lane.open(3, Some((1, 7)), (3, None), true).unwrap();
    assert_eq!(lane.take(0, &frame(2, 4, 3)), outcome("frame", &["lost 3", "2.4"]), "the fork may have them");
}

#[test]
fn an_unknown_node_after_a_broken_link_is_told_with_the_link() {
    for dense_ids in [true, false] {
        let mut lane = Lane::empty(dense_ids);
        lane.take(0, &Bytes::new());
        assert_eq!(lane.open(1, None, (1, Some(9)), false), Ok(true));
        assert_eq!(lane.read(), ["lost"]);
        assert_eq!(lane.take(9, &frame(1, 4, 3)), outcome("frame", &["1.4"]));
    }
}

#[test]
fn a_node_that_was_forgotten_is_unknown() {
    let mut lane = Lane::empty(true);
    for node in 1..=4 {
        lane.take(node as u64 - 1, &frame(node, 1, 0));
    }
    assert_eq!(lane.take(4, &frame(2, 1, 0)), outcome("copy", &[]), "three are remembered");
    assert_eq!(lane.take(5, &frame(1, 3, 2)), outcome("frame", &["1.3"]));
}

#[test]
fn a_broken_link_is_told_once_and_ids_begin_anew() {
    let mut lane = Lane::empty(true);
    lane.take(0, &frame(1, 1, 0));
    assert_eq!(lane.open(1, None, (1, Some(0)), true), Ok(false));
    assert!(lane.read().is_empty());
    assert_eq!(lane.open(1, None, (1, Some(5)), false), Ok(true));
    assert_eq!(lane.read(), ["lost"]);
    assert_eq!(lane.take(5, &frame(2, 1, 0)), outcome("frame", &["2.1"]));
    assert_eq!(lane.take(7, &frame(2, 2, 1)), outcome("frame", &["lost 1", "2.2"]));
    let mut first = Lane::new(true, true);
    assert_eq!(first.open(1, None, (1, None), false), Ok(false), "nobody had a link to break");
}

#[test]
fn a_broken_link_reaches_up_to_the_payload_behind_it() {
    // The head of the first `Opened` lies inside of what was lost, as does a cursor of another node.
    let mut lane = Lane::new(false, true);
    assert_eq!(lane.open(1, None, (1, Some(4)), true), Ok(false));
    let waits = [at(4, Position::WHOLE), at(6, Position::WHOLE)].map(|entry| lane.resume(&entry));
    assert_eq!(lane.open(1, None, (1, Some(9)), false), Ok(true));
    lane.inbox.payload(&mut lane.store, NOW, PayloadId(13), frame(1, 3, 2));
    lane.store.release_waiting(&mut Vec::new());
    assert_eq!(lane.read(), ["lost", "1.3"]);
    assert!(waits.into_iter().all(|reader| matches!(lane.store.read_item(reader), Some(Received::Gap(_)))));
    // Where it breaks into a new epoch, also in that.
    let waits =
        lane.resume(&CursorEntry::At { position: Position::behind(Epoch(2), PayloadId(4)), stem: None });
    assert_eq!(lane.open(2, Some((1, 13)), (2, Some(5)), false), Ok(true));
    assert_eq!(lane.read(), ["lost"]);
    assert_eq!(lane.take(7, &frame(2, 1, 0)), outcome("frame", &["2.1"]));
    assert!(matches!(lane.store.read_item(waits), Some(Received::Gap(_))));
}

#[test]
fn a_broken_link_without_replay_skips_to_the_head() {
    for dense_ids in [true, false] {
        let mut lane = Lane::new(dense_ids, false);
        lane.open(1, None, (1, None), true).unwrap();
        lane.take(0, &frame(1, 1, 0));
        assert_eq!(lane.open(1, None, (1, Some(5)), false), Ok(true));
        assert_eq!(lane.read(), ["lost"]);
        let cursor = lane.store.cursor_entry(lane.reader);
        lane.take(6, &frame(2, 1, 0));
        for (entry, told) in [(cursor, 0), (at(5, Position::WHOLE), 0), (at(4, Position::WHOLE), 1)] {
            let reader = lane.resume(&entry);
            let gaps = std::iter::from_fn(|| lane.store.read_item(reader)).count();
            assert_eq!(gaps, told, "{entry:?}: of a node that was not cut off it has missed nothing");
        }
    }
}

#[test]
fn a_hole_behind_the_head_that_a_broken_link_skipped_to_is_told() {
    let mut lane = Lane::new(true, false);
    lane.open(1, None, (1, None), true).unwrap();
    lane.take(0, &frame(1, 1, 0));
    assert_eq!(lane.open(1, None, (1, Some(5)), false), Ok(true));
    assert_eq!(lane.read(), ["lost"]);
    assert_eq!(lane.take(7, &frame(2, 1, 0)), outcome("frame", &["lost 1", "2.1"]));
    assert_eq!(lane.open(2, Some((1, 9)), (2, Some(3)), false), Ok(true));
    assert_eq!(lane.read(), ["lost"]);
    assert_eq!(lane.take(4, &frame(3, 5, 4)), outcome("frame", &["3.5"]));
    assert_eq!(lane.open(3, Some((2, 6)), (3, None), true), Ok(true));
    assert_eq!(lane.read(), ["lost 2"]);
}

fn at(id: u64, index: u32) -> CursorEntry {
    CursorEntry::At { position: Position { epoch: Epoch(1), id: PayloadId(id), index }, stem: None }
}

#[test]
fn an_epoch_that_continues_everything_loses_nothing() {
    let mut lane = Lane::empty(true);
    lane.take(0, &frame(1, 1, 0));
    assert_eq!(lane.open(2, Some((1, 0)), (2, None), true), Ok(false));
    assert_eq!(lane.take(0, &frame(1, 2, 1)), outcome("frame", &["1.2"]));
    assert_eq!(lane.take(0, &frame(1, 3, 2)), outcome("copy", &[]));
    assert_eq!(lane.take(2, &frame(1, 3, 2)), outcome("frame", &["lost 1", "1.3"]));
}

#[test]
fn an_epoch_that_continues_more_than_came_is_a_loss() {
    for (dense_ids, told) in [(true, "lost 3"), (false, "lost")] {
        let mut lane = Lane::empty(dense_ids);
        lane.take(0, &frame(1, 1, 0));
        assert_eq!(lane.open(2, Some((1, 3)), (2, None), true), Ok(true));
        assert_eq!(lane.read(), [told]);
        assert_eq!(lane.open(5, Some((4, 7)), (5, None), true), Ok(true));
        assert_eq!(lane.read(), ["lost"], "whole epochs went by");
    }
    let mut lane = Lane::empty(true);
    assert_eq!(lane.open(2, Some((1, 3)), (2, None), true), Ok(true));
    assert_eq!(lane.read(), ["lost 4"]);
}

#[test]
fn an_epoch_that_continues_less_forgets_and_copies_of_it_are_dropped() {
    let mut lane = Lane::empty(true);
    lane.take(0, &frame(1, 1, 0));
    lane.take(1, &frame(1, 2, 1));
    assert_eq!(lane.open(2, None, (2, None), true), Ok(false));
    assert_eq!(lane.take(0, &frame(1, 1, 0)), outcome("copy", &[]));
    assert_eq!(lane.take(1, &frame(1, 2, 1)), outcome("copy", &[]));
    assert_eq!(lane.take(2, &frame(1, 3, 2)), outcome("frame", &["1.3"]));
}

#[test]
fn a_broken_link_into_a_new_epoch_is_one_loss_of_unknown_extent() {
    let mut lane = Lane::empty(true);
    lane.take(0, &frame(1, 1, 0));
    assert_eq!(lane.open(2, Some((1, 3)), (2, None), false), Ok(true));
    assert_eq!(lane.read(), ["lost"]);
}

#[test]
fn payloads_behind_an_older_epoch_are_refused_until_the_right_one_is_back() {
    let mut lane = Lane::empty(true);
    lane.open(3, None, (3, None), true).unwrap();
    lane.take(0, &frame(1, 1, 0));
    assert_eq!(lane.open(2, None, (2, Some(8)), true), Err(ErrorKind::Config));
    assert_eq!(lane.take(1, &frame(1, 2, 1)), outcome("refused", &[]));
    assert_eq!(lane.open(3, None, (3, Some(0)), true), Ok(false));
    assert_eq!(lane.take(1, &frame(1, 2, 1)), outcome("frame", &["1.2"]));
    assert_eq!(Lane::new(true, true).take(0, &frame(1, 1, 0)), outcome("refused", &[]), "no epoch at all");
}

#[test]
fn a_backlog_may_begin_anywhere_but_not_behind_the_head() {
    for (first, told) in [(0, &["1.1"][..0]), (5, &[]), (9, &[]), (10, &["1.1"]), (12, &["lost 2", "1.1"])] {
        let mut lane = Lane::new(true, true);
        lane.open(1, None, (1, Some(9)), true).unwrap();
        assert_eq!(lane.take(first, &frame(1, 1, 0)), outcome("frame", told), "{first}");
    }
}

#[test]
fn a_backlog_may_begin_in_a_later_epoch_than_it_seemed() {
    let mut lane = Lane::new(true, true);
    lane.open(1, None, (3, Some(4)), true).unwrap();
    assert_eq!(lane.open(2, Some((1, 8)), (3, Some(4)), true), Ok(false));
    assert_eq!(lane.take(6, &frame(1, 7, 6)), outcome("frame", &[]));
    assert_eq!(lane.open(3, Some((2, 6)), (3, Some(4)), true), Ok(false));
    assert_eq!(lane.take(5, &frame(1, 8, 7)), outcome("frame", &["1.8"]));
}

#[test]
fn without_replay_everything_counts_from_the_head() {
    let mut lane = Lane::new(true, false);
    lane.open(1, None, (1, Some(9)), true).unwrap();
    assert_eq!(lane.take(9, &frame(1, 1, 0)), outcome("copy", &[]));
    assert_eq!(lane.take(11, &frame(1, 7, 6)), outcome("frame", &["lost 1", "1.7"]));
}
