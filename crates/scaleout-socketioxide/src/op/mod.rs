//! The operation: what a node sends to the others, version 1.
//!
//! ```text
//! version u8 | kind u8 | namespace text | fields of the kind
//! ```
//!
//! | Kind | | Fields |
//! | --- | --- | --- |
//! | 0 | broadcast | options, packet |
//! | 1 | broadcast with ack | options, milliseconds that an ack may take (number), packet |
//! | 2 | disconnect | options |
//! | 3 | rooms | options |
//! | 4 | join | options, rooms |
//! | 5 | leave | options, rooms |
//! | 6 | fetch | options |
//! | 7 | server event | event text, JSON text; the namespace is empty |
//!
//! Fields are those of [`scaleout_cluster::codec`]. Rooms are their count (number), then each as text. [`options`],
//! [`packet`] and [`answer`] have the rest.
//!
//! The namespace comes first, so that a node without it looks at nothing else. Payloads travel as they are: text is
//! checked and copied once where it is read, binary ones are slices of what was received.

pub(crate) mod answer;
pub(crate) mod options;
pub(crate) mod packet;

use std::time::Duration;

use scaleout_cluster::codec::{DecodeError, Reader, Writer};
use socketioxide_core::{
    Str,
    adapter::{BroadcastOptions, Room},
    packet::Packet,
};

/// The version that this release writes, and the newest that it reads.
pub(crate) const VERSION: u8 = 1;

/// What an operation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Broadcast = 0,
    BroadcastWithAck = 1,
    Disconnect = 2,
    Rooms = 3,
    Join = 4,
    Leave = 5,
    Fetch = 6,
    ServerEvent = 7,
}

impl Kind {
    fn read(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            0 => Self::Broadcast,
            1 => Self::BroadcastWithAck,
            2 => Self::Disconnect,
            3 => Self::Rooms,
            4 => Self::Join,
            5 => Self::Leave,
            6 => Self::Fetch,
            7 => Self::ServerEvent,
            value => return Err(DecodeError::Unknown { field: "kind", value }),
        })
    }
}

/// The fields of an operation on a namespace.
#[derive(Debug, PartialEq)]
pub(crate) enum Operation {
    Broadcast { options: BroadcastOptions, packet: Packet },
    BroadcastWithAck { options: BroadcastOptions, timeout: Duration, packet: Packet },
    Disconnect { options: BroadcastOptions },
    Rooms { options: BroadcastOptions },
    Join { options: BroadcastOptions, rooms: Vec<Room> },
    Leave { options: BroadcastOptions, rooms: Vec<Room> },
    Fetch { options: BroadcastOptions },
}

impl Operation {
    pub(crate) fn options(&self) -> &BroadcastOptions {
        match self {
            Self::Broadcast { options, .. }
            | Self::BroadcastWithAck { options, .. }
            | Self::Disconnect { options }
            | Self::Rooms { options }
            | Self::Join { options, .. }
            | Self::Leave { options, .. }
            | Self::Fetch { options } => options,
        }
    }
}

/// Reads version and kind; the namespace comes next.
#[inline]
pub(crate) fn read_kind(reader: &mut Reader) -> Result<Kind, DecodeError> {
    match reader.byte()? {
        VERSION => Kind::read(reader.byte()?),
        version => Err(DecodeError::Version(version)),
    }
}

/// Reads the fields behind the namespace, which is `path` and becomes that of the packet.
#[inline]
pub(crate) fn read_operation(kind: Kind, mut reader: Reader, path: &Str) -> Result<Operation, DecodeError> {
    let reader = &mut reader;
    let operation = match kind {
        Kind::Broadcast => Operation::Broadcast {
            options: options::read(reader)?,
            packet: Packet { inner: packet::read(reader)?, ns: path.clone() },
        },
        Kind::BroadcastWithAck => Operation::BroadcastWithAck {
            options: options::read(reader)?,
            timeout: Duration::from_millis(reader.number()?),
            packet: Packet { inner: packet::read(reader)?, ns: path.clone() },
        },
        Kind::Disconnect => Operation::Disconnect { options: options::read(reader)? },
        Kind::Rooms => Operation::Rooms { options: options::read(reader)? },
        Kind::Join => {
            Operation::Join { options: options::read(reader)?, rooms: options::read_rooms(reader)? }
        }
        Kind::Leave => {
            Operation::Leave { options: options::read(reader)?, rooms: options::read_rooms(reader)? }
        }
        Kind::Fetch => Operation::Fetch { options: options::read(reader)? },
        Kind::ServerEvent => {
            return Err(DecodeError::Unknown { field: "kind in a namespace", value: kind as u8 });
        }
    };
    reader.end()?;
    Ok(operation)
}

/// A broadcast.
pub(crate) fn broadcast(path: &str, options: &BroadcastOptions, packet: &Packet) -> Vec<u8> {
    let len = options::len(options) + packet::len(&packet.inner);
    let mut writer = start(Kind::Broadcast, path, len);
    options::write(&mut writer, options);
    packet::write(&mut writer, &packet.inner);
    writer.into_vec()
}

/// A broadcast whose receivers answer within `timeout`.
pub(crate) fn broadcast_with_ack(
    path: &str,
    options: &BroadcastOptions,
    timeout: Duration,
    packet: &Packet,
) -> Vec<u8> {
    let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let len = options::len(options) + number_len(timeout) + packet::len(&packet.inner);
    let mut writer = start(Kind::BroadcastWithAck, path, len);
    options::write(&mut writer, options);
    writer.number(timeout);
    packet::write(&mut writer, &packet.inner);
    writer.into_vec()
}

/// An operation that has options and nothing else: disconnect, rooms, fetch.
pub(crate) fn select(kind: Kind, path: &str, options: &BroadcastOptions) -> Vec<u8> {
    let mut writer = start(kind, path, options::len(options));
    options::write(&mut writer, options);
    writer.into_vec()
}

/// An operation on rooms: join, leave.
pub(crate) fn membership(kind: Kind, path: &str, options: &BroadcastOptions, rooms: &[Room]) -> Vec<u8> {
    let mut writer = start(kind, path, options::len(options) + options::rooms_len(rooms));
    options::write(&mut writer, options);
    options::write_rooms(&mut writer, rooms);
    writer.into_vec()
}

/// An event for the other servers themselves.
pub(crate) fn server_event(event: &str, json: &str) -> Vec<u8> {
    let mut writer = start(Kind::ServerEvent, "", bytes_len(event.len()) + bytes_len(json.len()));
    writer.text(event);
    writer.text(json);
    writer.into_vec()
}

/// Reads the fields of a server event behind its empty namespace: its name, and its data, which is JSON.
pub(crate) fn read_server_event(mut reader: Reader) -> Result<(String, String), DecodeError> {
    let event = reader.text()?.to_owned();
    let json = reader.text()?.to_owned();
    reader.end()?;
    Ok((event, json))
}

fn start(kind: Kind, path: &str, len: usize) -> Writer {
    let mut writer = Writer::with_capacity(2 + bytes_len(path.len()) + len);
    writer.byte(VERSION);
    writer.byte(kind as u8);
    writer.text(path);
    writer
}

/// Bytes of a number.
#[inline]
fn number_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes of `len` bytes behind their length.
#[inline]
fn bytes_len(len: usize) -> usize {
    number_len(len as u64) + len
}

#[cfg(test)]
mod tests;
