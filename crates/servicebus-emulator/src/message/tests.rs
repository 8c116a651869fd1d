use proptest::prelude::*;

use super::*;

fn whole() -> Message {
    Message {
        ttl: Some(1000),
        delivery_count: 2,
        delivery_annotations: vec![(Value::symbol("x-opt-lock-token"), Value::Ulong(1))],
        annotations: vec![(Value::symbol("x-opt-partition-key"), "key".into())],
        properties: Properties {
            message_id: Some("id".into()),
            to: Some("to".to_owned()),
            content_type: Some("text/plain".to_owned()),
            creation_time: Some(5),
            reply_to_group_id: Some("group".to_owned()),
            ..Properties::default()
        },
        application_properties: vec![("k".into(), Value::Bool(true))],
        body: Body::Data(vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")]),
    }
}

#[test]
fn messages_are_read_as_they_were_written() {
    let mut message = whole();
    for body in [
        Body::Empty,
        Body::Sequence(vec![Value::List(vec![Value::Null])]),
        Body::Value("text".into()),
        message.body.clone(),
    ] {
        message.body = body;
        assert_eq!(Message::decode(message.encode()).unwrap(), message);
    }
}

#[test]
fn a_namespace_takes_what_the_sender_decides_on_as_it_is() {
    let message = whole();
    let mut bytes = BytesMut::from(message.encode().as_ref());
    // A footer, which goes no further.
    write_map(&mut bytes, FOOTER, &[("f".into(), Value::Null)]);
    let incoming = Incoming::decode(bytes.freeze()).unwrap();
    assert_eq!(incoming.bare, message.encode_bare());
    assert_eq!(incoming.message_id.as_deref(), Some("id"));
    assert_eq!(incoming.ttl, Some(Duration::from_secs(1)));
    assert_eq!(incoming.annotations.count, 2);
    let mut annotations = Decoder::new(incoming.annotations.encoded);
    assert_eq!(annotations.value().unwrap(), Value::symbol("x-opt-partition-key"));
    assert_eq!(annotations.value().unwrap(), "key".into());
    assert!(annotations.is_empty());
}

#[test]
fn sections_have_an_order_and_a_type() {
    let data = [0x00, 0x53, 0x75, 0xa0, 0x01, 0xff];
    let value = [0x00, 0x53, 0x77, 0x40];
    let properties = [0x00, 0x53, 0x73, 0x45];
    let header = [0x00, 0x53, 0x70, 0x45];
    for (good, bytes) in [
        (true, [header.as_slice(), &properties, &data, &data].concat()),
        (true, [properties.as_slice(), &value].concat()),
        (false, [properties.as_slice(), &header].concat()),
        (false, [header.as_slice(), &header].concat()),
        (false, [value.as_slice(), &value].concat()),
        (false, [data.as_slice(), &value].concat()),
        (false, vec![0x00, 0x53, 0x75, 0x40]),
        (false, vec![0x00, 0x53, 0x79, 0x40]),
        (false, vec![0x40]),
    ] {
        assert_eq!(Message::decode(bytes.clone().into()).is_ok(), good, "{bytes:x?}");
        // What is in a body is not looked at on the way in.
        assert!(Incoming::decode(bytes.clone().into()).is_ok() || !good, "{bytes:x?}");
    }
}

#[test]
fn the_messages_of_a_batch_are_its_data() {
    let one = whole();
    let batch = Message { body: Body::Data(vec![one.encode(), one.encode()]), ..Message::default() };
    let messages = Incoming::decode_batch(batch.encode()).unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1].bare, one.encode_bare());
    let batch = Message { body: Body::Value("one".into()), ..Message::default() };
    assert!(Incoming::decode_batch(batch.encode()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut sections = vec![0x00, 0x53, 0x72, 0xc1];
        sections.extend_from_slice(&bytes);
        for bytes in [bytes, sections] {
            let bytes = Bytes::from(bytes);
            let _ = Incoming::decode(bytes.clone());
            let _ = Incoming::decode_batch(bytes.clone());
            if let Ok(message) = Message::decode(bytes) {
                prop_assert_eq!(Message::decode(message.encode()).unwrap(), message);
            }
        }
    }
}
