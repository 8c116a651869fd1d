//! Payloads and answers as the texts that cross the client crate, which knows nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;

use crate::{error::Failure, wire::Delivery};

/// A payload on its way to the HTTP client.
pub(super) fn of_payload(payload: &[u8]) -> String {
    STANDARD.encode(payload)
}

/// The payload again, in the HTTP client.
pub(super) fn to_payload(text: &[u8]) -> Result<Bytes, Failure> {
    let payload = STANDARD.decode(text);
    payload.map(Bytes::from).map_err(|_| Failure::Foreign("the client crate changed a payload".into()))
}

/// A message on its way from the HTTP client: a line with its properties as they came, and its body.
pub(super) fn of_message(properties: &str, body: &[u8]) -> String {
    // A header has no line breaks.
    format!("{properties}\n{}", STANDARD.encode(body))
}

/// The message again; none is an empty text.
pub(super) fn to_delivery(text: &str) -> Result<Option<Delivery>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let (properties, body) = text.split_once('\n').unwrap_or((text, ""));
    let properties: BrokerProperties = serde_json::from_str(properties)
        .map_err(|error| Failure::Foreign(format!("BrokerProperties of a message that are none: {error}")))?;
    let id = properties
        .enqueued_sequence_number
        .ok_or_else(|| Failure::Foreign("a message without an enqueued sequence number".into()))?;
    Ok(Some(Delivery { id, message_id: properties.message_id, payload: to_payload(body.as_bytes())? }))
}

/// What is needed of the header of that name. The crate's own reading of it ends at 2^31.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BrokerProperties {
    enqueued_sequence_number: Option<u64>,
    message_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(properties: &str, body: &[u8]) -> Result<Option<Delivery>, Failure> {
        to_delivery(&of_message(properties, body))
    }

    #[test]
    fn bytes_cross_as_they_are() {
        let bytes: Vec<u8> = (0..=255).collect();
        let there = of_payload(&bytes);
        assert_eq!(to_payload(there.as_bytes()).expect("what was written"), bytes);
        let properties = r#"{"EnqueuedSequenceNumber":1,"MessageId":"m"}"#;
        let delivery = delivery(properties, &bytes).expect("a message").expect("one");
        assert_eq!((delivery.id, delivery.message_id.as_deref()), (1, Some("m")));
        assert_eq!(delivery.payload, bytes);
    }

    #[test]
    fn ids_are_as_large_as_they_get() {
        for id in [1, i32::MAX as u64 + 1, i64::MAX as u64] {
            let properties =
                format!(r#"{{"DeliveryCount":1,"EnqueuedSequenceNumber":{id},"State":"Active"}}"#);
            let delivery = delivery(&properties, b"").expect("a message").expect("one");
            assert_eq!((delivery.id, delivery.message_id, delivery.payload), (id, None, Bytes::new()));
        }
    }

    #[test]
    fn no_message_is_none_and_what_is_no_message_is_an_error() {
        assert!(to_delivery("").expect("nothing").is_none());
        for properties in [
            "",
            "{}",
            "[]",
            "garbage",
            r#"{"EnqueuedSequenceNumber":-1}"#,
            r#"{"EnqueuedSequenceNumber":"1"}"#,
            r#"{"EnqueuedSequenceNumber":1,"MessageId":2}"#,
        ] {
            assert!(matches!(delivery(properties, b"x"), Err(Failure::Foreign(_))), "{properties}");
        }
        assert!(matches!(to_delivery("{\"EnqueuedSequenceNumber\":1}\n?"), Err(Failure::Foreign(_))));
    }
}
