//! Any bytes are an AMQP value or an error, and what they say can be said again.
#![no_main]
// What the emulator needs besides.
#![allow(dead_code)]

// The files themselves, so that they are built without the servers of the emulator: an instrumented build of those takes
// many minutes.
#[path = "../../crates/servicebus-emulator/src/codec/decode.rs"]
mod decode;
#[path = "../../crates/servicebus-emulator/src/codec/encode.rs"]
mod encode;
#[path = "../../crates/servicebus-emulator/src/codec/malformed.rs"]
mod malformed;
#[path = "../../crates/servicebus-emulator/src/codec/value.rs"]
mod value;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

use self::{
    decode::Decoder,
    encode::Encoder,
    malformed::Malformed,
    value::{Symbol, Value},
};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let mut skipped = Decoder::new(bytes.clone());
    let skips = skipped.skip();
    let _ = Decoder::new(bytes.clone()).map_entries();
    let mut decoder = Decoder::new(bytes);
    let Ok(value) = decoder.value() else { return };
    skips.expect("what can be read can be left out");
    assert_eq!(skipped.remaining(), decoder.remaining());
    let mut out = BytesMut::new();
    Encoder::new(&mut out).value(&value);
    let mut decoder = Decoder::new(out.freeze());
    assert_eq!(decoder.value().expect("what was encoded is a value"), value);
    assert!(decoder.is_empty());
});
