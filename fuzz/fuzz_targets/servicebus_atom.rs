//! Any bytes are XML of Service Bus or an error, and so are the durations and times in it.
#![no_main]

// The files themselves, so that they are built without the clients of the provider: an instrumented build of those takes
// many minutes.
#[path = "../../crates/scaleout-servicebus/src/management/time.rs"]
mod time;
#[path = "../../crates/scaleout-servicebus/src/management/xml.rs"]
mod xml;

use libfuzzer_sys::fuzz_target;

use self::xml::Element;

fuzz_target!(|data: &[u8]| {
    if let Ok(root) = Element::parse(data) {
        check(&root);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        // What was written is read as it was.
        let _ = time::micros_since_1970(text);
        if let Some(duration) = time::duration(text) {
            let hundreds = duration.subsec_nanos() / 100 * 100;
            let written = std::time::Duration::new(duration.as_secs(), hundreds);
            assert_eq!(time::duration(&time::iso8601(duration)), Some(written));
        }
    }
});

/// The text of every element is read again as it was written, but for line ends, which are normalised.
fn check(element: &Element) {
    let again =
        Element::parse(format!("<a>{}</a>", xml::escape(&element.text)).as_bytes()).expect("it is XML");
    if !element.text.contains('\r') {
        assert_eq!(again.text, element.text);
    }
    for child in &element.children {
        assert!(element.child(&child.name).is_some() && element.value(&child.name).is_some());
        check(child);
    }
}
