use bytes::Bytes;
use proptest::prelude::*;
use socketioxide_core::{Sid, Uid, Value, adapter::BroadcastFlags, packet::PacketData};

use super::{
    answer::{self, Ack},
    *,
};

fn decode(bytes: Vec<u8>) -> Result<(String, Operation), DecodeError> {
    let mut reader = Reader::new(bytes.into());
    let kind = read_kind(&mut reader)?;
    let path = Str::copy_from_slice(reader.text()?);
    Ok((path.to_string(), read_operation(kind, reader, &path)?))
}

fn encode(path: &str, operation: &Operation) -> Vec<u8> {
    match operation {
        Operation::Broadcast { options, packet } => broadcast(path, options, packet),
        Operation::BroadcastWithAck { options, timeout, packet } => {
            broadcast_with_ack(path, options, *timeout, packet)
        }
        Operation::Disconnect { options } => select(Kind::Disconnect, path, options),
        Operation::Rooms { options } => select(Kind::Rooms, path, options),
        Operation::Join { options, rooms } => membership(Kind::Join, path, options, rooms),
        Operation::Leave { options, rooms } => membership(Kind::Leave, path, options, rooms),
        Operation::Fetch { options } => select(Kind::Fetch, path, options),
    }
}

fn options_to(rooms: &[&str]) -> BroadcastOptions {
    let mut options = BroadcastOptions::default();
    options.add_flag(BroadcastFlags::Broadcast);
    options.rooms.extend(rooms.iter().map(|room| Room::Owned((*room).to_owned())));
    options
}

fn event(text: &'static str) -> Packet {
    Packet::event("/", Value::Str(text.into(), None))
}

/// Bytes that no later release may write otherwise under the same version.
#[test]
fn golden_operations() {
    let mut aimed = BroadcastOptions::new("AAAAAAAAAAAAAAAA".parse().expect("an id"));
    aimed.server_id = Some("BBBBBBBBBBBBBBBB".parse().expect("an id"));
    aimed.except.push("é".into());
    let attachments = Some([Bytes::from_static(&[1, 2]), Bytes::new()].into());
    let binary = Packet::event("/", Value::Str("[]".into(), attachments));
    let golden: &[(Vec<u8>, &[u8])] = &[
        (
            broadcast("/", &options_to(&["a", "bc"]), &event(r#"["e"]"#)),
            b"\x01\x00\x01/\x02\x00\x02\x01a\x02bc\x00\x02\x00\x05[\"e\"]",
        ),
        (
            broadcast_with_ack("/chat", &aimed, Duration::from_millis(300), &binary),
            b"\x01\x01\x05/chat\x00\x03\x10AAAAAAAAAAAAAAAA\x10BBBBBBBBBBBBBBBB\x00\x01\x02\xC3\xA9\xAC\x02\
              \x05\x01\x02[]\x02\x02\x01\x02\x00",
        ),
        (select(Kind::Disconnect, "/", &options_to(&[])), b"\x01\x02\x01/\x02\x00\x00\x00"),
        (select(Kind::Rooms, "/", &options_to(&[])), b"\x01\x03\x01/\x02\x00\x00\x00"),
        (
            membership(Kind::Join, "/", &options_to(&[]), &["1".into()]),
            b"\x01\x04\x01/\x02\x00\x00\x00\x01\x011",
        ),
        (membership(Kind::Leave, "/", &options_to(&[]), &[]), b"\x01\x05\x01/\x02\x00\x00\x00\x00"),
        (select(Kind::Fetch, "/", &options_to(&[])), b"\x01\x06\x01/\x02\x00\x00\x00"),
        (server_event("tick", "[1]"), b"\x01\x07\x00\x04tick\x03[1]"),
    ];
    for (encoded, bytes) in golden {
        assert_eq!(encoded.as_slice(), *bytes, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn golden_packets() {
    let text = || Value::Str("x".into(), None);
    let bytes = || Value::Bytes(Bytes::from_static(&[0xFF]));
    let golden: &[(PacketData, &[u8])] = &[
        (PacketData::Connect(None), b"\x00"),
        (PacketData::Connect(Some(text())), b"\x08\x00\x01x"),
        (PacketData::Disconnect, b"\x01"),
        (PacketData::Event(bytes(), None), b"\x02\x02\x01\xFF"),
        (PacketData::Event(text(), Some(1)), b"\x0A\x02\x00\x01x"),
        (PacketData::EventAck(text(), -1), b"\x03\x01\x00\x01x"),
        (PacketData::ConnectError("no".into()), b"\x04\x02no"),
        (PacketData::BinaryEvent(text(), Some(64)), b"\x0D\x80\x01\x00\x01x"),
        (PacketData::BinaryAck(text(), 0), b"\x06\x00\x00\x01x"),
    ];
    for (packet, bytes) in golden {
        let mut writer = Writer::default();
        packet::write(&mut writer, packet);
        assert_eq!(writer.into_vec(), *bytes, "{packet:?}");
        assert_eq!(packet::read(&mut Reader::new(Bytes::from_static(bytes))).as_ref(), Ok(packet));
    }
}

#[test]
fn golden_answers() {
    let sid: Sid = "AAAAAAAAAAAAAAAA".parse().expect("an id");
    let uid: Uid = "BBBBBBBBBBBBBBBB".parse().expect("an id");
    let golden: &[(Vec<u8>, &[u8])] = &[
        (Ack::Count(300).encode(), b"\x00\xAC\x02"),
        (Ack::Of(sid, Ok(Value::Str("1".into(), None))).encode(), b"\x01\x10AAAAAAAAAAAAAAAA\x00\x011"),
        (Ack::Of(sid, Err("{}".into())).encode(), b"\x02\x10AAAAAAAAAAAAAAAA\x02{}"),
        (answer::rooms(&["a".into(), "b".into()]).concat(), b"\x01a\x01b"),
        (answer::sockets(uid, &[sid]).concat(), b"\x10BBBBBBBBBBBBBBBB\x10AAAAAAAAAAAAAAAA"),
    ];
    for (encoded, bytes) in golden {
        assert_eq!(encoded.as_slice(), *bytes);
    }
}

#[test]
fn a_later_version_and_a_later_kind_are_told_from_garbage() {
    let read = |bytes: &'static [u8]| read_kind(&mut Reader::new(Bytes::from_static(bytes)));
    assert_eq!(read(&[2, 0]), Err(DecodeError::Version(2)));
    assert_eq!(read(&[1, 8]), Err(DecodeError::Unknown { field: "kind", value: 8 }));
    assert_eq!(read(&[1]), Err(DecodeError::Short));
}

#[test]
fn flags_without_a_name_are_kept() {
    let mut bytes = select(Kind::Fetch, "/", &BroadcastOptions::default());
    let flags = bytes.len() - 4;
    bytes[flags] = 0b1010_0010;
    let (path, operation) = decode(bytes.clone()).expect("it is an operation");
    let Operation::Fetch { options } = &operation else { panic!("{operation:?}") };
    assert_eq!(options.flags(), 0b1010_0010);
    assert_eq!(encode(&path, &operation), bytes);
}

#[test]
fn attachments_and_bytes_are_slices_of_what_was_received() {
    let large = Bytes::from(vec![7; 100_000]);
    let attached = Value::Str("[]".into(), Some([large.clone()].into()));
    for value in [attached, Value::Bytes(large)] {
        let bytes = Bytes::from(broadcast("/", &options_to(&[]), &Packet::event("/", value)));
        let mut reader = Reader::new(bytes.clone());
        let kind = read_kind(&mut reader).expect("it has a kind");
        reader.text().expect("it has a namespace");
        let Ok(Operation::Broadcast { packet, .. }) = read_operation(kind, reader, &"/".into()) else {
            panic!("it is a broadcast")
        };
        let (PacketData::Event(value, _) | PacketData::BinaryEvent(value, _)) = packet.inner else {
            panic!("it is an event")
        };
        let slice = match &value {
            Value::Str(_, attachments) => attachments.as_ref().and_then(|all| all.front()),
            Value::Bytes(bytes) => Some(bytes),
        };
        assert!(bytes.as_ptr_range().contains(&slice.expect("it has bytes").as_ptr()));
    }
}

#[test]
fn long_answers_are_made_of_parts() {
    let sids: Vec<Sid> = (0..10_000).map(|_| Sid::new()).collect();
    let uid = Uid::new();
    let parts = answer::sockets(uid, &sids);
    assert!(parts.len() > 1 && parts.iter().all(|part| part.len() < answer::PART_BYTES + 32));
    let read = parts.into_iter().map(|part| answer::read_sockets(part.into()).expect("a part"));
    let mut all = Vec::new();
    for (server, sockets) in read {
        assert_eq!(server, uid);
        all.extend(sockets);
    }
    assert_eq!(all, sids);
    assert_eq!(answer::sockets(uid, &[]).len(), 1, "who has none says so");
}

prop_compose! {
    fn any_options()(
        flags: u8,
        rooms in prop::collection::vec(any::<String>(), 0..6),
        except in prop::collection::vec(any::<String>(), 0..6),
        sid: bool,
        server: bool,
    ) -> BroadcastOptions {
        let json = format!(r#"{{"flags":{flags},"rooms":[],"except":[],"sid":null,"server_id":null}}"#);
        let mut options: BroadcastOptions = serde_json::from_str(&json).expect("any flags are options");
        options.rooms.extend(rooms.into_iter().map(Room::Owned));
        options.except.extend(except.into_iter().map(Room::Owned));
        options.sid = sid.then(Sid::new);
        options.server_id = server.then(Uid::new);
        options
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let bytes = || any::<Vec<u8>>().prop_map(Bytes::from);
    prop_oneof![
        (any::<String>(), prop::option::of(prop::collection::vec(bytes(), 0..4)))
            .prop_map(|(text, attachments)| Value::Str(text.into(), attachments.map(Into::into))),
        bytes().prop_map(Value::Bytes),
    ]
}

fn any_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        prop::option::of(any_value()).prop_map(PacketData::Connect),
        Just(PacketData::Disconnect),
        (any_value(), any::<Option<i64>>()).prop_map(|(value, id)| PacketData::Event(value, id)),
        (any_value(), any::<i64>()).prop_map(|(value, id)| PacketData::EventAck(value, id)),
        any::<String>().prop_map(PacketData::ConnectError),
        (any_value(), any::<Option<i64>>()).prop_map(|(value, id)| PacketData::BinaryEvent(value, id)),
        (any_value(), any::<i64>()).prop_map(|(value, id)| PacketData::BinaryAck(value, id)),
    ]
    .prop_map(|inner| Packet { inner, ns: "/".into() })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let rooms = || prop::collection::vec(any::<String>().prop_map(Room::Owned), 0..6);
    prop_oneof![
        (any_options(), any_packet()).prop_map(|(options, packet)| Operation::Broadcast { options, packet }),
        (any_options(), any::<u64>().prop_map(Duration::from_millis), any_packet())
            .prop_map(|(options, timeout, packet)| Operation::BroadcastWithAck { options, timeout, packet }),
        any_options().prop_map(|options| Operation::Disconnect { options }),
        any_options().prop_map(|options| Operation::Rooms { options }),
        (any_options(), rooms()).prop_map(|(options, rooms)| Operation::Join { options, rooms }),
        (any_options(), rooms()).prop_map(|(options, rooms)| Operation::Leave { options, rooms }),
        any_options().prop_map(|options| Operation::Fetch { options }),
    ]
}

fn set_path(mut operation: Operation, path: &str) -> Operation {
    if let Operation::Broadcast { packet, .. } | Operation::BroadcastWithAck { packet, .. } = &mut operation {
        packet.ns = Str::copy_from_slice(path);
    }
    operation
}

proptest! {
    #[test]
    fn an_operation_is_read_as_it_was_written(path: String, operation in any_operation()) {
        let operation = set_path(operation, &path);
        let bytes = encode(&path, &operation);
        prop_assert_eq!(bytes.capacity(), bytes.len(), "one allocation, of the right size");
        prop_assert_eq!(decode(bytes), Ok((path, operation)));
    }

    #[test]
    fn a_server_event_is_read_as_it_was_written(event: String, json: String) {
        let mut reader = Reader::new(server_event(&event, &json).into());
        prop_assert_eq!(read_kind(&mut reader), Ok(Kind::ServerEvent));
        prop_assert_eq!(reader.text(), Ok(""));
        prop_assert_eq!(read_server_event(reader), Ok((event, json)));
    }

    #[test]
    fn an_ack_is_read_as_it_was_written(value in prop::result::maybe_ok(any_value(), any::<String>())) {
        let ack = Ack::Of(Sid::new(), value);
        let bytes = ack.encode();
        prop_assert_eq!(bytes.capacity(), bytes.len());
        prop_assert_eq!(Ack::decode(bytes.into()), Ok(ack));
    }

    #[test]
    fn rooms_are_read_as_they_were_written(rooms: Vec<String>) {
        let rooms: Vec<Room> = rooms.into_iter().map(Room::Owned).collect();
        let read = answer::rooms(&rooms).into_iter().map(|part| answer::read_rooms(part.into()));
        prop_assert_eq!(read.collect::<Result<Vec<_>, _>>().map(|parts| parts.concat()), Ok(rooms));
    }

    /// What can be read, however it was made, can be written again.
    #[test]
    fn any_bytes_are_an_operation_or_an_error(mut bytes: Vec<u8>, kind in 0..9_u8) {
        bytes.splice(0..0, [VERSION, kind]);
        let part = Bytes::from(bytes.clone());
        if let Ok((path, operation)) = decode(bytes) {
            let again = encode(&path, &operation);
            prop_assert_eq!(decode(again), Ok((path, operation)));
        }
        let _ = read_server_event(Reader::new(part.clone()));
        let _ = Ack::decode(part.clone());
        let _ = answer::read_rooms(part.clone());
        let _ = answer::read_sockets(part);
    }
}
