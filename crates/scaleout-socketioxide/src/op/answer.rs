//! What a node answers to an operation, in parts.
//!
//! | To | Parts |
//! | --- | --- |
//! | broadcast with ack | first u8 0 and how many acks to expect (number); then for each ack u8 1, the socket id as text and the value as in a packet, or u8 2, the socket id and the error as JSON text |
//! | rooms | rooms, each as text, to the end |
//! | fetch | the server id as text, then the ids of its sockets, each as text, to the end |
//! | server event | JSON text, to the end |
//!
//! A node that has nothing to say has no part.

use bytes::Bytes;
use scaleout_cluster::codec::{DecodeError, Reader, Writer};
use socketioxide_core::{
    Sid, Uid, Value,
    adapter::{RemoteSocketData, Room},
};

use super::{bytes_len, options, packet};

/// Bytes of a part after which the next one is begun: small beside the largest message of any store.
pub(crate) const PART_BYTES: usize = 32 * 1024;

const COUNT: u8 = 0;
const ACK: u8 = 1;
const ERROR: u8 = 2;

/// A part of the answer to a broadcast with ack.
#[derive(Debug, PartialEq)]
pub(crate) enum Ack {
    Count(u64),
    Of(Sid, AckResult),
}

/// What a socket answered; an error is the JSON of the one that socketioxide has.
pub(crate) type AckResult = Result<Value, String>;

impl Ack {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.len());
        match self {
            Self::Count(count) => {
                writer.byte(COUNT);
                writer.number(*count);
            }
            Self::Of(sid, Ok(value)) => {
                writer.byte(ACK);
                writer.text(sid.as_str());
                packet::write_value(&mut writer, value);
            }
            Self::Of(sid, Err(json)) => {
                writer.byte(ERROR);
                writer.text(sid.as_str());
                writer.text(json);
            }
        }
        writer.into_vec()
    }

    pub(crate) fn decode(part: Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(part);
        let ack = match reader.byte()? {
            COUNT => Self::Count(reader.number()?),
            ACK => Self::Of(options::read_sid(reader)?, Ok(packet::read_value(reader)?)),
            ERROR => Self::Of(options::read_sid(reader)?, Err(reader.text()?.to_owned())),
            value => return Err(DecodeError::Unknown { field: "ack", value }),
        };
        reader.end()?;
        Ok(ack)
    }

    fn len(&self) -> usize {
        let rest = match self {
            Self::Count(count) => super::number_len(*count),
            Self::Of(sid, Ok(value)) => bytes_len(sid.as_str().len()) + packet::value_len(value),
            Self::Of(sid, Err(json)) => bytes_len(sid.as_str().len()) + bytes_len(json.len()),
        };
        1 + rest
    }
}

/// The parts that `rooms` make.
pub(crate) fn rooms<'a>(rooms: impl IntoIterator<Item = &'a Room>) -> Vec<Vec<u8>> {
    parts(Writer::default, rooms.into_iter().map(AsRef::as_ref))
}

pub(crate) fn read_rooms(part: Bytes) -> Result<Vec<Room>, DecodeError> {
    let mut reader = Reader::new(part);
    let mut rooms = Vec::new();
    while reader.remaining() > 0 {
        rooms.push(options::read_room(&mut reader)?);
    }
    Ok(rooms)
}

/// The parts that `found` makes; servers without a socket among them have none.
pub(crate) fn sockets_by_server(found: Vec<RemoteSocketData>) -> Vec<Vec<u8>> {
    let mut servers: Vec<(Uid, Vec<Sid>)> = Vec::new();
    for socket in found {
        match servers.iter_mut().find(|(server, _)| *server == socket.server_id) {
            Some((_, sids)) => sids.push(socket.id),
            None => servers.push((socket.server_id, vec![socket.id])),
        }
    }
    servers.into_iter().flat_map(|(server, sids)| sockets(server, &sids)).collect()
}

/// The parts that the sockets of `server` make.
pub(crate) fn sockets(server: Uid, sockets: &[Sid]) -> Vec<Vec<u8>> {
    let start = || {
        let mut writer = Writer::default();
        writer.text(server.as_str());
        writer
    };
    parts(start, sockets.iter().map(Sid::as_str))
}

pub(crate) fn read_sockets(part: Bytes) -> Result<(Uid, Vec<Sid>), DecodeError> {
    let mut reader = Reader::new(part);
    let server = options::read_uid(&mut reader)?;
    let mut sockets = Vec::with_capacity(reader.remaining() / bytes_len(server.as_str().len()));
    while reader.remaining() > 0 {
        sockets.push(options::read_sid(&mut reader)?);
    }
    Ok((server, sockets))
}

/// At least one part, each begun by `start` and full but for the last one.
fn parts<'a>(start: impl Fn() -> Writer, texts: impl Iterator<Item = &'a str>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut writer = start();
    for text in texts {
        if writer.len() >= PART_BYTES {
            parts.push(std::mem::replace(&mut writer, start()).into_vec());
        }
        writer.text(text);
    }
    parts.push(writer.into_vec());
    parts
}
