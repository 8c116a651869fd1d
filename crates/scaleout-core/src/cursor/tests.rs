use proptest::{collection::vec, option, prelude::*};

use super::*;

const COUNT: NonZeroU16 = NonZeroU16::new(8).unwrap();
const MANY: NonZeroU16 = NonZeroU16::MAX;

fn at(epoch: u64, id: u64, index: u32) -> CursorEntry {
    CursorEntry::At { position: Position { epoch: Epoch(epoch), id: PayloadId(id), index }, stem: None }
}

fn forked(epoch: u64, id: u64, index: u32, stem: (u64, u64)) -> CursorEntry {
    let position = Position { epoch: Epoch(epoch), id: PayloadId(id), index };
    CursorEntry::At { position, stem: Some((Epoch(stem.0), PayloadId(stem.1))) }
}

fn cursor(count: NonZeroU16, entries: impl IntoIterator<Item = (u16, CursorEntry)>) -> Cursor {
    let mut cursor = Cursor::new(count);
    entries.into_iter().for_each(|(stream, entry)| cursor.set(StreamIndex(stream), entry));
    cursor
}

/// The text of any bytes, whether they are a cursor or not.
fn text_of(bytes: &[u8]) -> String {
    format!("1{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn refusal(text: &str) -> String {
    let error = text.parse::<Cursor>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidCursor);
    error.to_string()
}

#[test]
fn the_text_never_changes() {
    let epoch = 1_700_000_000_000;
    let golden = [
        (cursor(COUNT, []), "1CA"),
        (cursor(COUNT, [(0, at(epoch, 41, Position::WHOLE))]), GOLDEN_ONE),
        (
            cursor(
                COUNT,
                [
                    (0, at(epoch, 41, 0)),
                    (1, at(epoch + 5, 7, Position::TOLD)),
                    (2, CursorEntry::Unpositioned),
                    (3, CursorEntry::Unpositioned),
                    (6, forked(epoch - 5, 300, 12, (epoch - 900, 299))),
                    (7, CursorEntry::Unpositioned),
                ],
            ),
            GOLDEN_MANY,
        ),
    ];
    for (cursor, text) in golden {
        assert_eq!(cursor.to_string(), text);
        assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
    }
}

const GOLDEN_ONE: &str = "1CACA0JX_vDEpAA";
const GOLDEN_MANY: &str = "1CACA0JX_vDEpAgAKBwECAQkJrAIOhw6rAgIA";

#[test]
fn the_example_of_the_documentation_is_a_cursor() {
    let page = include_str!("../../../../docs/wire-format.md");
    assert!(page.contains(GOLDEN_ONE) && page.contains(GOLDEN_MANY));
}

#[test]
fn entries_are_kept_in_the_order_of_streams() {
    let mut cursor = cursor(COUNT, [(5, at(1, 2, 3)), (0, CursorEntry::Unpositioned)]);
    cursor.set(StreamIndex(5), at(1, 4, 0));
    assert_eq!(cursor.entry(StreamIndex(5)), Some(&at(1, 4, 0)));
    assert_eq!(cursor.entry(StreamIndex(1)), None);
    let entries: Vec<_> = cursor.entries().map(|(stream, entry)| (stream.0, *entry)).collect();
    assert_eq!(entries, [(0, CursorEntry::Unpositioned), (5, at(1, 4, 0))]);
}

#[test]
#[should_panic(expected = "stream 8 of 8")]
fn a_stream_beyond_the_count_is_a_mistake() {
    Cursor::new(COUNT).set(StreamIndex(8), CursorEntry::Unpositioned);
}

#[test]
fn greatest_values_keep_to_the_documented_bound() {
    // Differences of half the range are the longest.
    let worst = |stream: u16| {
        let epoch = if stream == 0 { 0 } else { 1 << 63 };
        forked(epoch, u64::MAX, u32::MAX - 2, (1 << 63, u64::MAX))
    };
    for streams in [1, 2, 100] {
        let cursor = cursor(MANY, (0..streams).map(|stream| (stream * 600, worst(stream))));
        let text = cursor.to_string();
        assert!(text.len() <= 64 + 64 * usize::from(streams), "{} for {streams}", text.len());
        assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
    }
}

mod large {
    use super::*;

    fn check(cursor: &Cursor) -> usize {
        let text = cursor.to_string();
        assert!(text.len() <= Cursor::MAX_TEXT_BYTES, "{} bytes", text.len());
        let parsed: Cursor = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
        let streams = |cursor: &Cursor| cursor.entries().map(|(stream, _)| stream).collect::<Vec<_>>();
        assert_eq!(streams(&parsed), streams(cursor), "no stream comes or goes");
        let kept = parsed.entries().zip(cursor.entries()).take_while(|(printed, had)| printed == had).count();
        let mut rest = parsed.entries().skip(kept);
        assert!(rest.all(|(_, entry)| *entry == CursorEntry::Unpositioned));
        kept
    }

    #[test]
    fn a_cursor_of_all_streams_keeps_as_many_positions_as_fit() {
        let entry = |stream: u16| at(1_700_000_000_000, 1 << 40, u32::from(stream));
        let kept = check(&cursor(MANY, (0..u16::MAX).map(|stream| (stream, entry(stream)))));
        assert!((2_000..3_000).contains(&kept), "{kept}");
    }

    #[test]
    fn streams_that_are_not_followed_stay_so() {
        let entry = |stream: u16| at(1_700_000_000_000, 1 << 40, u32::from(stream));
        let kept = check(&cursor(MANY, (0..u16::MAX).step_by(2).map(|stream| (stream, entry(stream)))));
        assert!(kept > 1_000, "{kept}");
        // One stream in four takes a run each, or two bits.
        let kept =
            check(&cursor(MANY, (0..u16::MAX).step_by(4).map(|stream| (stream, CursorEntry::Unpositioned))));
        assert_eq!(kept, 16_384);
    }

    #[test]
    fn unpositioned_streams_cost_next_to_nothing() {
        let cursor = cursor(MANY, (0..u16::MAX).map(|stream| (stream, CursorEntry::Unpositioned)));
        assert_eq!(check(&cursor), usize::from(u16::MAX));
        assert!(cursor.to_string().len() < 16);
    }

    #[test]
    fn positions_behind_many_unpositioned_streams_may_not_fit() {
        let entries = (0..40_000).step_by(2).map(|stream| (stream, CursorEntry::Unpositioned));
        check(&cursor(MANY, entries.chain([(65_000, at(1, 2, 3))])));
    }
}

mod refused {
    use super::*;

    #[test]
    fn texts_of_other_kinds() {
        for text in ["", "0", "2CA", "cursor", " 1CA", "é"] {
            assert!(refusal(text).contains("version"), "{text}");
        }
        for text in ["1C", "1CA=", "1CA ", "1C+", "1C/AA", "1CB", "1é"] {
            assert!(refusal(text).contains("base64url"), "{text}");
        }
        assert!(refusal(&"1".repeat(Cursor::MAX_TEXT_BYTES + 1)).contains("32 KiB"));
    }

    #[test]
    fn bytes_that_are_no_cursor() {
        let cases: [(&[u8], &str); 18] = [
            (&[], "ends too early"),
            (&[0], "stream count"),
            (&[0x80, 0x80, 4], "stream count"),
            (&[0x88], "ends too early"),
            (&[8, 0], "ends too early"),
            (&[8, 0, 1], "ends too early"),
            (&[8, 0, 1, 1], "ends too early"),
            (&[8, 1, 1, 1, 1], "ends too early"),
            (&[8, 1, 1, 1, 1, 1], "ends too early"),
            (&[8, 2], "ends too early"),
            (&[8, 8 << 2, 1, 1, 1], "beyond its stream count"),
            (&[8, 2, 8], "beyond its stream count"),
            (&[8, 3, 0, 1], "beyond its stream count"),
            (&[8, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "beyond its stream count"),
            (&[8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 1, 1], "64 bits"),
            (&[8, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1], "64 bits"),
            (&[8, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x10], "32 bits"),
            (&[8, 0, 1, 1, 1, 5], "ends too early"),
        ];
        for (bytes, why) in cases {
            let refusal = refusal(&text_of(bytes));
            assert!(refusal.contains(why), "{bytes:?}: {refusal}");
        }
    }

    #[test]
    fn second_ways_to_write_the_same() {
        let cases: [&[u8]; 7] = [
            &[0x88, 0],                       // a long varint
            &[8, 0, 1, 1, 0x81, 0],           // another
            &[8, 2, 0, 2, 0],                 // one run as two
            &[8, 3],                          // bits without any
            &[8, 3, 0b11],                    // bits where a run is as short
            &[8, 3, 0b101, 0],                // bits with a byte too many
            &[24, 3, 0b1010_1010, 0b10_1010], // bits that do not begin with a stream
        ];
        for bytes in cases {
            assert!(refusal(&text_of(bytes)).contains("one way"), "{bytes:?}");
        }
        assert!(text_of(&[24, 3, 0b0101_0101, 0b1_0101]).parse::<Cursor>().is_ok(), "bits are fine as such");
    }
}

fn entries(position: impl Strategy<Value = CursorEntry>) -> impl Strategy<Value = Cursor> {
    let entry = prop_oneof![3 => position, 1 => Just(CursorEntry::Unpositioned)];
    let gap = prop_oneof![4 => Just(0_u16), 1 => 0..300_u16];
    (vec((gap, entry), 0..60), 0..50_u16).prop_map(|(items, more)| {
        let mut next = 0;
        let place = |(gap, entry): (u16, CursorEntry)| {
            let stream = next + gap;
            next = stream + 1;
            (stream, entry)
        };
        let placed: Vec<_> = items.into_iter().map(place).collect();
        cursor(NonZeroU16::MIN.saturating_add(next + more), placed)
    })
}

fn any_position() -> impl Strategy<Value = CursorEntry> {
    let number = || prop_oneof![0..10_u64, any::<u64>(), Just(u64::MAX)];
    let index = prop_oneof![0..10_u32, any::<u32>(), Just(Position::WHOLE), Just(Position::TOLD)];
    let stem = option::of((number(), number()));
    (number(), number(), index, stem).prop_map(|(epoch, id, index, stem)| match stem {
        None => at(epoch, id, index),
        Some(stem) => forked(epoch, id, index, stem),
    })
}

/// Positions as stores give them, of which the documented bound holds.
fn usual_position(stem: bool) -> impl Strategy<Value = CursorEntry> {
    let index = prop_oneof![0..1_u32 << 14, Just(Position::WHOLE), Just(Position::TOLD)];
    let epoch = || 1_763_000_000_000..1_763_000_000_000_u64 + (1 << 20);
    let id = || 0..1_u64 << 48;
    (epoch(), id(), index, (epoch(), id())).prop_map(move |(epoch, id, index, of_stem)| {
        if stem { forked(epoch, id, index, of_stem) } else { at(epoch, id, index) }
    })
}

proptest! {
    #[test]
    fn what_was_printed_is_parsed(cursor in entries(any_position())) {
        let text = cursor.to_string();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{}", text);
        prop_assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
    }

    #[test]
    fn usual_cursors_are_short(cursor in entries(usual_position(false)), with_stem in entries(usual_position(true))) {
        prop_assert!(cursor.to_string().len() <= 64 + 24 * cursor.entries().len());
        prop_assert!(with_stem.to_string().len() <= 64 + 36 * with_stem.entries().len());
    }

    #[test]
    fn any_text_is_a_cursor_or_an_error(text in "\\PC{0,60}", base64 in "1[A-Za-z0-9_-]{0,60}") {
        for text in [text, base64] {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_cursor_or_an_error(count in 1..40_u8, items in vec(0..16_u8, 0..30)) {
        // Small numbers, so that many are cursors.
        let text = text_of(&[&[count], items.as_slice()].concat());
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
            let streams: Vec<_> = cursor.entries().map(|(stream, _)| stream).collect();
            prop_assert!(streams.is_sorted_by(|left, right| left < right));
            prop_assert!(streams.iter().all(|stream| stream.0 < cursor.stream_count().get()));
        }
    }

    #[test]
    fn changed_cursors_are_a_cursor_or_an_error(cursor in entries(any_position()), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = cursor.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let text = text_of(&bytes);
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }
}
