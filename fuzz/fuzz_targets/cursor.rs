//! Any text is a cursor or an error, and a cursor has one text.
#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use scaleout_core::Cursor;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
    }
    check(&format!("1{}", URL_SAFE_NO_PAD.encode(data)));
});

fn check(text: &str) {
    let Ok(cursor) = text.parse::<Cursor>() else { return };
    assert_eq!(cursor.to_string(), text);
    let streams: Vec<_> = cursor.entries().map(|(stream, _)| stream).collect();
    assert!(streams.is_sorted_by(|left, right| left < right), "sorted, each once");
    assert!(streams.iter().all(|stream| stream.0 < cursor.stream_count().get()));
}
