//! Any bytes are an AMQP value or message or an error, and what they say can be said again.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use servicebus_emulator::{
    Incoming,
    codec::{Decoder, Encoder},
    message::Message,
};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    value(&bytes);
    if let Ok(message) = Message::decode(bytes.clone()) {
        let again = Message::decode(message.encode()).expect("what was encoded is a message");
        assert_eq!(again, message);
    }
    if let Ok(incoming) = Incoming::decode(bytes.clone()) {
        assert!(incoming.len() <= bytes.len());
    }
    let _ = Incoming::decode_batch(bytes);
});

fn value(bytes: &Bytes) {
    let mut decoder = Decoder::new(bytes.clone());
    let decoded = decoder.value();
    let mut skipped = Decoder::new(bytes.clone());
    let skips = skipped.skip();
    let Ok(value) = decoded else { return };
    skips.expect("what can be read can be left out");
    assert_eq!(skipped.remaining(), decoder.remaining());
    let mut out = BytesMut::new();
    Encoder::new(&mut out).value(&value);
    let mut decoder = Decoder::new(out.freeze());
    assert_eq!(decoder.value().expect("what was encoded is a value"), value);
    assert!(decoder.is_empty());
}
