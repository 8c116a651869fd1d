//! Any bytes are an operation of Socket.IO, an answer to one, or an error, and what they say can be said again.
#![no_main]
#![allow(dead_code, reason = "not all of these files is of use here")]

// The files themselves: what nodes say to each other is nobody else's interface.
#[path = "../../crates/scaleout-socketioxide/src/op/mod.rs"]
mod op;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use scaleout_cluster::codec::{DecodeError, Reader};
use socketioxide_core::Str;

use self::op::{
    Kind, Operation,
    answer::{self, Ack},
};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    check(bytes.clone());
    // Nearly all of what is not an operation fails at its first byte.
    check([&[op::VERSION], data].concat().into());
    if let Ok(ack) = Ack::decode(bytes.clone()) {
        assert_eq!(Ack::decode(ack.encode().into()), Ok(ack));
    }
    if let Ok(rooms) = answer::read_rooms(bytes.clone()) {
        let again: Vec<_> =
            answer::rooms(&rooms).into_iter().map(|part| answer::read_rooms(part.into())).collect();
        assert_eq!(again.into_iter().collect::<Result<Vec<_>, _>>().map(|parts| parts.concat()), Ok(rooms));
    }
    if let Ok((server, sockets)) = answer::read_sockets(bytes) {
        let parts = answer::sockets(server, &sockets).into_iter();
        let again: Result<Vec<_>, _> = parts.map(|part| answer::read_sockets(part.into())).collect();
        let again = again.expect("what was written can be read");
        assert!(again.iter().all(|(of, _)| *of == server));
        assert_eq!(again.into_iter().flat_map(|(_, sockets)| sockets).collect::<Vec<_>>(), sockets);
    }
});

fn check(bytes: Bytes) {
    let mut reader = Reader::new(bytes);
    if let Ok(Kind::ServerEvent) = op::read_kind(&mut reader.clone()) {
        let _ = op::read_kind(&mut reader);
        if let Ok((event, json)) = reader.text().map(str::len).and_then(|_| op::read_server_event(reader)) {
            let mut again = Reader::new(op::server_event(&event, &json).into());
            assert_eq!(op::read_kind(&mut again), Ok(Kind::ServerEvent));
            assert_eq!(again.text(), Ok(""));
            assert_eq!(op::read_server_event(again), Ok((event, json)));
        }
    } else if let Ok((path, operation)) = decode(reader) {
        let again = Bytes::from(encode(&path, &operation));
        assert_eq!(decode(Reader::new(again)), Ok((path, operation)));
    }
}

fn decode(mut reader: Reader) -> Result<(String, Operation), DecodeError> {
    let kind = op::read_kind(&mut reader)?;
    let path = Str::copy_from_slice(reader.text()?);
    Ok((path.to_string(), op::read_operation(kind, reader, &path)?))
}

fn encode(path: &str, operation: &Operation) -> Vec<u8> {
    match operation {
        Operation::Broadcast { options, packet } => op::broadcast(path, options, packet),
        Operation::BroadcastWithAck { options, timeout, packet } => {
            op::broadcast_with_ack(path, options, *timeout, packet)
        }
        Operation::Disconnect { options } => op::select(Kind::Disconnect, path, options),
        Operation::Rooms { options } => op::select(Kind::Rooms, path, options),
        Operation::Join { options, rooms } => op::membership(Kind::Join, path, options, rooms),
        Operation::Leave { options, rooms } => op::membership(Kind::Leave, path, options, rooms),
        Operation::Fetch { options } => op::select(Kind::Fetch, path, options),
    }
}
