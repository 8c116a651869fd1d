use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::*;
use crate::AppName;

const LAYOUT: Layout = Layout { app: 0xd227_fc9c_d693_25d8, stream_count: NonZeroU16::new(4).unwrap() };
const HEAD: FrameHead = FrameHead {
    app: LAYOUT.app,
    stream_count: 4,
    node: NodeId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
    number: 1,
    after: 0,
    sent_at_micros: 1_700_000_000_000_000,
};
const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A message as a publisher has it.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    channel: String,
    payload: Vec<u8>,
    extensions: Vec<(u8, Bytes)>,
}

impl Plain {
    fn new(channel: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { channel: channel.into(), payload: payload.into(), extensions: Vec::new() }
    }

    fn with(mut self, tag: u8, value: &'static [u8]) -> Self {
        self.extensions.push((tag, Bytes::from_static(value)));
        self
    }
}

fn frame(head: &FrameHead, messages: &[Plain]) -> Bytes {
    let mut encoded = Vec::new();
    for Plain { channel, payload, extensions } in messages {
        encode_message(&mut encoded, channel, payload, extensions);
    }
    seal(head, messages.len() as u32, &encoded)
}

/// A frame with a right checksum around any body.
fn frame_of_body(body: &[u8]) -> Vec<u8> {
    let mut bytes = [b"SO\x01\0\0\0\0\0", body].concat();
    repair(&mut bytes);
    bytes
}

fn repair(bytes: &mut [u8]) {
    let checksum = checksum(bytes).to_le_bytes();
    bytes[CHECKSUM].copy_from_slice(&checksum);
}

/// A frame with a right checksum and head, which claims `count` messages; `messages` is what stands for them.
fn frame_of_messages(count: u32, messages: &[u8]) -> Vec<u8> {
    let mut body = bincode::encode_to_vec(BodyHead::new(&HEAD, count), CONFIG).unwrap();
    body.extend_from_slice(messages);
    frame_of_body(&body)
}

fn error(bytes: &[u8]) -> FrameError {
    Frame::decode(bytes, &LAYOUT).unwrap_err()
}

fn layout_of(head: &FrameHead) -> Layout {
    Layout { app: head.app, stream_count: NonZeroU16::new(head.stream_count).unwrap() }
}

/// Decodes a good frame into what its publisher had.
fn decoded(bytes: &Bytes, layout: &Layout) -> (FrameHead, Vec<Plain>) {
    let frame = Frame::decode(bytes, layout).unwrap();
    let plain = |message: FrameMessage<'_>| Plain {
        channel: message.channel.into(),
        payload: bytes[message.payload.start as usize..message.payload.end as usize].into(),
        extensions: (0..=255)
            .filter_map(|tag| Some((tag, extension(bytes, message.extensions.clone(), tag)?)))
            .collect(),
    };
    (frame.head, frame.messages.into_iter().map(plain).collect())
}

mod golden {
    use super::*;

    fn check(hex: &str, head: FrameHead, messages: Vec<Plain>) {
        let digits: Vec<_> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let golden: Bytes = digits.chunks(2).map(byte).collect();
        assert_eq!(frame(&head, &messages), golden, "what is written has changed");
        let mut sorted = messages;
        sorted.iter_mut().for_each(|message| message.extensions.sort());
        assert_eq!(decoded(&golden, &layout_of(&head)), (head, sorted), "what is read has changed");
    }

    #[test]
    fn a_lone_message() {
        assert_eq!(LAYOUT.app, "chat".parse::<AppName>().unwrap().hash());
        check(include_str!("golden/v1-lone.hex"), HEAD, vec![Plain::new("room:42", "hello")]);
    }

    #[test]
    fn the_example_of_the_documentation_is_the_lone_message() {
        let page = include_str!("../../../../docs/wire-format.md");
        let (_, example) = page.split_once("<!-- v1-lone -->").unwrap();
        let rows = example.split("```").nth(1).unwrap().lines().skip(1);
        let digits: String = rows.flat_map(|row| row.split('|').next().unwrap().split_whitespace()).collect();
        let golden: String = include_str!("golden/v1-lone.hex").split_whitespace().collect();
        assert_eq!(digits, golden);
    }

    #[test]
    fn many_messages() {
        let messages = vec![
            Plain::new("room:42", "hello"),
            Plain::new("größe", ""),
            Plain::new("room:42", (0..=255).collect::<Vec<u8>>()),
            Plain::new("x", [0]),
        ];
        let sent_at_micros = HEAD.sent_at_micros + 1;
        let head = FrameHead { stream_count: 300, number: 70_000, after: 69_998, sent_at_micros, ..HEAD };
        check(include_str!("golden/v1-many.hex"), head, messages);
    }

    #[test]
    fn extensions() {
        let messages = vec![
            Plain::new("room:42", "hello").with(TRACEPARENT, PARENT),
            Plain::new("room:42", "again")
                .with(200, b"of a later release")
                .with(TRACEPARENT, b"")
                .with(0, b"\xff"),
        ];
        check(include_str!("golden/v1-extensions.hex"), FrameHead { number: 2, after: 1, ..HEAD }, messages);
    }

    #[test]
    fn greatest_values() {
        let head = FrameHead {
            app: u64::MAX,
            stream_count: u16::MAX,
            node: NodeId(u128::MAX),
            number: u64::MAX,
            after: u64::MAX - 1,
            sent_at_micros: u64::MAX,
        };
        let message = Plain::new(&"c".repeat(MAX_CHANNEL_BYTES), "p".repeat(300)).with(255, &[b'e'; 251]);
        check(include_str!("golden/v1-max.hex"), head, vec![message]);
    }
}

#[test]
fn the_greatest_head_has_the_documented_size() {
    let head = FrameHead { app: u64::MAX, stream_count: u16::MAX, node: NodeId(u128::MAX), ..HEAD };
    let head = FrameHead { number: u64::MAX, after: u64::MAX - 1, sent_at_micros: u64::MAX, ..head };
    let mut body = [0; 100];
    let len = bincode::encode_into_slice(BodyHead::new(&head, u32::MAX), &mut body, CONFIG).unwrap();
    assert_eq!(PREAMBLE_BYTES + len, MAX_HEAD_BYTES);
}

#[test]
fn payloads_and_extensions_are_slices_of_the_received_bytes() {
    let bytes = frame(&HEAD, &[Plain::new("room:42", "hello").with(TRACEPARENT, PARENT)]);
    let offset = |slice: &[u8]| slice.as_ptr() as usize - bytes.as_ptr() as usize;
    let Frame { messages, .. } = Frame::decode(&bytes, &LAYOUT).unwrap();
    let FrameMessage { channel, payload, extensions } = &messages[0];
    let payload = bytes.slice(payload.start as usize..payload.end as usize);
    let parent = extension(&bytes, extensions.clone(), TRACEPARENT).unwrap();
    assert_eq!((*channel, &payload[..], &parent[..]), ("room:42", &b"hello"[..], PARENT));
    // Each length takes a byte, and so do the number of extensions and the tag.
    let parent_at = bytes.len() - PARENT.len();
    let payload_at = parent_at - 3 - payload.len();
    assert_eq!(offset(&parent), parent_at);
    assert_eq!(offset(&payload), payload_at);
    assert_eq!(offset(channel.as_bytes()), payload_at - 1 - channel.len());
}

#[test]
fn an_extension_that_is_not_there_is_none() {
    let bytes = frame(&HEAD, &[Plain::new("a", "b").with(7, b"seven"), Plain::new("a", "b")]);
    let frame = Frame::decode(&bytes, &LAYOUT).unwrap();
    let of = |message: usize, tag| extension(&bytes, frame.messages[message].extensions.clone(), tag);
    assert_eq!(of(0, 7).as_deref(), Some(&b"seven"[..]));
    assert_eq!((of(0, 8), of(1, 7)), (None, None));
    assert_eq!(extension(&bytes, 0..u32::MAX, 7), None);
    let backwards = Range { start: u32::MAX, end: 3 };
    assert_eq!(extension(&bytes, backwards, 7), None);
}

mod errors {
    use super::*;

    fn good() -> Vec<u8> {
        frame(&HEAD, &[Plain::new("room:42", "hello")]).into()
    }

    #[test]
    fn bytes_without_the_magic_are_foreign() {
        for bytes in [&b""[..], b"S", b"os\x01\0", b"{\"type\":\"hello\"}"] {
            assert_eq!(error(bytes), FrameError::NotAFrame);
        }
        assert!(FrameError::NotAFrame.is_foreign() && !FrameError::NotAFrame.is_layout());
    }

    #[test]
    fn versions_before_and_after_are_named() {
        for version in [0, 2, 255] {
            let mut bytes = good();
            bytes[VERSION] = version;
            assert_eq!(error(&bytes), FrameError::Version(version));
            assert_eq!(error(&bytes[..3]), FrameError::Version(version));
        }
    }

    #[test]
    fn a_flag_makes_a_frame_unreadable() {
        for flag in 0..8 {
            let mut bytes = good();
            bytes[FLAGS] = 1 << flag;
            repair(&mut bytes);
            assert_eq!(error(&bytes), FrameError::Flags(1 << flag));
        }
    }

    #[test]
    fn frames_of_4_gib_are_too_large() {
        assert_eq!(check_size(u32::MAX as usize), Ok(()));
        assert_eq!(check_size(1 << 32), Err(FrameError::TooLarge(1 << 32)));
    }

    #[test]
    fn a_changed_byte_is_a_wrong_checksum() {
        let mut bytes = good();
        *bytes.last_mut().unwrap() ^= 0x80;
        assert_eq!(error(&bytes), FrameError::Checksum);
    }

    #[test]
    fn frames_of_other_apps_are_foreign_whatever_their_streams() {
        let head = FrameHead { app: 1, stream_count: 9, ..HEAD };
        let error = error(&frame(&head, &[Plain::new("a", "b")]));
        assert_eq!(error, FrameError::ForeignApp);
        assert!(error.is_foreign() && !error.is_layout());
    }

    #[test]
    fn another_stream_count_names_both() {
        for theirs in [0, 3, 5, u16::MAX] {
            let error = error(&frame(&FrameHead { stream_count: theirs, ..HEAD }, &[Plain::new("a", "b")]));
            assert_eq!(error, FrameError::StreamCount { theirs, ours: 4 });
            assert!(error.is_layout() && !error.is_foreign());
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_never_read() {
        let good = good();
        for len in 0..good.len() {
            let expected = match len {
                0..2 => FrameError::NotAFrame,
                2..8 => FrameError::Truncated,
                _ => FrameError::Checksum,
            };
            assert_eq!(error(&good[..len]), expected, "{len} bytes");
            if len >= PREAMBLE_BYTES {
                // The same, sealed like that. The rest of a body may be too short for its claimed messages.
                let error = error(&frame_of_body(&good[8..len]));
                assert!(
                    matches!(error, FrameError::Truncated | FrameError::Count { .. }),
                    "{len} bytes: {error}"
                );
            }
        }
    }

    #[test]
    fn lengths_beyond_the_frame_are_truncation() {
        for len in [
            &[9][..],
            &[251, 0xff, 0xff],
            &[252, 0, 0, 0, 0x80],
            &[253, 0, 0, 0, 0, 0, 0, 0, 1],
            &[253, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert_eq!(error(&frame_of_messages(1, &[len, b"abcdef"].concat())), FrameError::Truncated);
            assert_eq!(
                error(&frame_of_messages(1, &[b"\x01a", len, b"abcdef"].concat())),
                FrameError::Truncated
            );
            let in_extension = [b"\x01a\x01b\x01\x07", len, b"abcdef"].concat();
            assert_eq!(error(&frame_of_messages(1, &in_extension)), FrameError::Truncated);
        }
    }

    #[test]
    fn bytes_behind_the_last_message_are_refused() {
        let mut bytes = good();
        bytes.push(0);
        repair(&mut bytes);
        assert_eq!(error(&bytes), FrameError::TrailingBytes);
    }

    #[test]
    fn absurd_counts_are_refused_before_anything_is_allocated() {
        let claimed = u32::MAX;
        assert_eq!(
            error(&frame_of_messages(claimed, b"abcdefgh")),
            FrameError::Count { claimed: claimed.into(), most: 2 }
        );
        let two_million = vec![0; 8 << 20];
        let most = MAX_FRAME_MESSAGES.into();
        assert_eq!(
            error(&frame_of_messages(MAX_FRAME_MESSAGES + 1, &two_million)),
            FrameError::Count { claimed: most + 1, most }
        );
        let extensions = [&b"\x01a\x01b"[..], &[253], &[255; 8], b"abcdef"].concat();
        assert_eq!(
            error(&frame_of_messages(1, &extensions)),
            FrameError::Count { claimed: u64::MAX, most: 3 }
        );
    }

    #[test]
    fn a_count_of_messages_beyond_32_bits_is_malformed() {
        let mut body = bincode::encode_to_vec(BodyHead::new(&HEAD, 0), CONFIG).unwrap();
        body.pop();
        body.extend_from_slice(&[253, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(error(&frame_of_body(&body)), FrameError::Malformed("an integer is wider than its field"));
    }

    #[test]
    fn a_frame_without_messages_is_refused() {
        assert_eq!(error(&frame_of_messages(0, b"")), FrameError::Empty);
        assert_eq!(error(&frame_of_messages(0, b"abc")), FrameError::Empty);
    }

    #[test]
    fn channels_have_1_to_1024_bytes() {
        let message = |channel: &[u8]| {
            frame_of_messages(1, &bincode::encode_to_vec((channel, &b"x"[..], 0_u8), CONFIG).unwrap())
        };
        assert_eq!(error(&message(b"")), FrameError::Channel(0));
        assert_eq!(error(&message(&[b'c'; 1025])), FrameError::Channel(1025));
        assert!(Frame::decode(&message(&[b'c'; 1024]), &LAYOUT).is_ok());
        assert_eq!(error(&message(b"\xff\xfe")), FrameError::Malformed("a channel is not UTF-8"));
    }

    #[test]
    fn numbers_begin_at_1_and_grow() {
        for (number, after) in [(0, 0), (1, 1), (5, 6), (u64::MAX, u64::MAX)] {
            let head = BodyHead { number, after, ..BodyHead::new(&HEAD, 1) };
            let body = bincode::encode_to_vec((head, "a", &b"b"[..], 0_u8), CONFIG).unwrap();
            assert!(matches!(error(&frame_of_body(&body)), FrameError::Malformed(_)), "{number} {after}");
        }
    }

    #[test]
    fn each_says_what_is_wrong_in_one_line() {
        let errors = [
            FrameError::NotAFrame,
            FrameError::Version(2),
            FrameError::Flags(1),
            FrameError::TooLarge(1 << 32),
            FrameError::Checksum,
            FrameError::ForeignApp,
            FrameError::StreamCount { theirs: 5, ours: 4 },
            FrameError::Truncated,
            FrameError::TrailingBytes,
            FrameError::Count { claimed: 9, most: 2 },
            FrameError::Empty,
            FrameError::Channel(1025),
            FrameError::Malformed("why"),
        ];
        let mut lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(lines.iter().all(|line| !line.contains('\n') && line.contains("frame")), "{lines:?}");
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), errors.len());
        assert_eq!(errors.map(FrameError::is_foreign).iter().filter(|foreign| **foreign).count(), 2);
    }
}

/// The body as bincode derives it from plain types: the format, said once more.
#[derive(Encode)]
struct Reference<'a> {
    app: u64,
    stream_count: u16,
    node: u128,
    number: u64,
    after: u64,
    sent_at_micros: u64,
    messages: Vec<ReferenceMessage<'a>>,
}

type ReferenceMessage<'a> = (&'a str, &'a [u8], Vec<(u8, &'a [u8])>);

fn heads() -> impl Strategy<Value = FrameHead> {
    let number = prop_oneof![1..1000_u64, 1..=u64::MAX];
    (any::<u64>(), 1..=u16::MAX, any::<u128>(), number, any::<Index>(), any::<u64>()).prop_map(
        |(app, stream_count, node, number, after, sent_at_micros)| {
            let after = after.index(number.min(1 << 31) as usize) as u64;
            FrameHead { app, stream_count, node: NodeId(node), number, after, sent_at_micros }
        },
    )
}

fn messages() -> impl Strategy<Value = Vec<Plain>> {
    let payload = prop_oneof![9 => vec(any::<u8>(), 0..40), 1 => (any::<u8>(), 240..70_000_usize).prop_map(|(byte, len)| vec![byte; len])];
    let value = option::of(vec(any::<u8>(), 0..300));
    // Ascending tags, so that a list of extensions equals what is found tag by tag.
    let extensions = [value.clone(), value.clone(), value].prop_map(|values| {
        let tagged = [1, 7, 255].into_iter().zip(values);
        tagged.filter_map(|(tag, value)| Some((tag, Bytes::from(value?)))).collect()
    });
    let message = ("\\PC{1,80}", payload, extensions);
    vec(message.prop_map(|(channel, payload, extensions)| Plain { channel, payload, extensions }), 1..12)
}

proptest! {
    #[test]
    fn what_was_sealed_is_decoded(head in heads(), messages in messages()) {
        let bytes = frame(&head, &messages);
        prop_assert_eq!(decoded(&bytes, &layout_of(&head)), (head, messages));
    }

    #[test]
    fn the_bytes_are_those_of_bincode(head in heads(), messages in messages()) {
        let FrameHead { app, stream_count, node, number, after, sent_at_micros } = head;
        let plain = messages.iter().map(|message| {
            let extensions = message.extensions.iter().map(|(tag, value)| (*tag, value.as_ref())).collect();
            (message.channel.as_str(), message.payload.as_slice(), extensions)
        });
        let messages_of = plain.collect();
        let reference =
            Reference { app, stream_count, node: node.0, number, after, sent_at_micros, messages: messages_of };
        let body = bincode::encode_to_vec(reference, config::standard()).unwrap();
        prop_assert_eq!(frame(&head, &messages), frame_of_body(&body));
    }

    #[test]
    fn the_length_of_a_message_is_known_before(messages in messages()) {
        for Plain { channel, payload, extensions } in &messages {
            let mut out = Vec::new();
            encode_message(&mut out, channel, payload, extensions);
            prop_assert_eq!(out.len(), encoded_message_len(channel.len(), payload.len(), extensions));
        }
    }

    #[test]
    fn a_flipped_bit_is_never_read_as_something_else(messages in messages(), bit in any::<Index>()) {
        let mut bytes = Vec::from(frame(&HEAD, &messages));
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Frame::decode(&bytes, &LAYOUT).is_err());
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let bytes = if magic { [b"SO\x01\0", bytes.as_slice()].concat() } else { bytes };
        let _ = Frame::decode(&bytes, &LAYOUT);
    }

    #[test]
    fn any_sealed_bytes_are_a_frame_or_an_error(count in 0..4_u32, noise in vec(0..6_u8, 0..60)) {
        // Small numbers, since most others are lengths beyond the frame.
        let bytes = Bytes::from(frame_of_messages(count, &noise));
        if let Ok(frame) = Frame::decode(&bytes, &LAYOUT) {
            prop_assert_eq!(frame.messages.len(), count as usize);
            for message in frame.messages {
                prop_assert!(bytes.get(message.payload.start as usize..message.payload.end as usize).is_some());
                let _ = extension(&bytes, message.extensions, 1);
            }
        }
    }

    #[test]
    fn changed_frames_are_a_frame_or_an_error(messages in messages(), at in any::<Index>(), byte in any::<u8>()) {
        let mut bytes = Vec::from(frame(&HEAD, &messages));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        repair(&mut bytes);
        let _ = Frame::decode(&bytes, &LAYOUT);
    }
}
