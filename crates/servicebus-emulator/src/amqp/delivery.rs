//! Messages of the namespace on their way to a link.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};

use crate::{
    codec::{Encoder, Value},
    message::{DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, Message, write_header},
    namespace::{DeadLetter, Delivery, MessageState},
};

/// Appends what comes before what the sender sent: header and annotations.
pub(super) fn write_front(out: &mut BytesMut, delivery: &Delivery) {
    write_header(out, delivery.ttl.map(milliseconds), delivery.delivery_count);
    let mut encoder = Encoder::new(out);
    if delivery.locked_until.is_some() {
        encoder.descriptor(DELIVERY_ANNOTATIONS);
        encoder.map(|map| {
            map.symbol("x-opt-lock-token");
            map.uuid(delivery.lock_token.as_bytes());
        });
    }
    encoder.descriptor(MESSAGE_ANNOTATIONS);
    encoder.map(|map| {
        map.encoded(&delivery.message.annotations.encoded, delivery.message.annotations.count);
        map.symbol("x-opt-enqueued-time");
        map.timestamp(timestamp(delivery.enqueued_at));
        map.symbol("x-opt-sequence-number");
        map.long(delivery.sequence_number);
        map.symbol("x-opt-enqueue-sequence-number");
        map.long(delivery.enqueued_sequence_number);
        map.symbol("x-opt-message-state");
        map.int(match delivery.state {
            MessageState::Active => 0,
            MessageState::Deferred => 1,
        });
        if let Some(until) = delivery.locked_until {
            map.symbol("x-opt-locked-until");
            map.timestamp(timestamp(until));
        }
    });
}

/// What the sender sent; of a dead letter, with the reason among its application properties.
pub(super) fn bare(delivery: &Delivery) -> Cow<'_, [u8]> {
    let bare = &delivery.message.bare;
    match &delivery.dead_letter {
        Some(why) => match with_reason(bare.clone(), why) {
            Some(bare) => Cow::Owned(bare.to_vec()),
            None => Cow::Borrowed(bare),
        },
        None => Cow::Borrowed(bare),
    }
}

/// The whole message, as answers on `$management` links hold it.
pub(super) fn whole(delivery: &Delivery) -> Bytes {
    let mut out = BytesMut::new();
    write_front(&mut out, delivery);
    out.extend_from_slice(&bare(delivery));
    out.freeze()
}

/// Milliseconds since 1970.
pub(super) fn timestamp(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn with_reason(bare: Bytes, why: &DeadLetter) -> Option<Bytes> {
    // What was checked no further than sections go when it was sent may not be readable.
    let mut message = Message::decode(bare).ok()?;
    let properties = &mut message.application_properties;
    for (key, text) in [("DeadLetterReason", &why.reason), ("DeadLetterErrorDescription", &why.description)] {
        if let Some(text) = text {
            properties.retain(|(name, _)| name.as_str() != Some(key));
            properties.push((key.into(), Value::String(text.clone())));
        }
    }
    Some(message.encode_bare())
}

fn milliseconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)
}
