//! Any bytes are a frame or an error, and what a frame says can be said again.
#![no_main]

use std::num::NonZeroU16;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use scaleout_core::frame::{Frame, Layout, encode_message, encoded_message_len, extension, seal};

/// Small numbers, so that a body is easily of this app.
const LAYOUT: Layout = Layout { app: 0, stream_count: NonZeroU16::MIN };

fuzz_target!(|data: &[u8]| {
    check(&Bytes::copy_from_slice(data));
    // Nobody guesses a checksum: the same bytes as the body of a frame.
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&[1, 0]), data).to_le_bytes();
    check(&[b"SO\x01\0", &checksum, data].concat().into());
});

fn check(bytes: &Bytes) {
    let Ok(frame) = Frame::decode(bytes, &LAYOUT) else { return };
    let mut again = Vec::new();
    for message in &frame.messages {
        let payload = bytes.slice(message.payload.start as usize..message.payload.end as usize);
        let found = |tag| Some((tag, extension(bytes, message.extensions.clone(), tag)?));
        let extensions: Vec<_> = (0..=u8::MAX).filter_map(found).collect();
        let len = again.len() + encoded_message_len(message.channel.len(), payload.len(), &extensions);
        encode_message(&mut again, message.channel, &payload, &extensions);
        assert_eq!(again.len(), len);
    }
    let count = u32::try_from(frame.messages.len()).expect("counts are bounded");
    let again = seal(&frame.head, count, &again);
    let decoded = Frame::decode(&again, &LAYOUT).expect("what was encoded is a frame");
    assert_eq!(decoded.head, frame.head);
    assert_eq!(decoded.messages.len(), frame.messages.len());
    for (ours, theirs) in decoded.messages.iter().zip(&frame.messages) {
        assert_eq!(ours.channel, theirs.channel);
        let ours = again.slice(ours.payload.start as usize..ours.payload.end as usize);
        assert_eq!(ours, bytes.slice(theirs.payload.start as usize..theirs.payload.end as usize));
    }
}
