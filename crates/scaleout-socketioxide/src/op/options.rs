//! Which sockets an operation is for.
//!
//! | Field | |
//! | --- | --- |
//! | flags u8 | as socketioxide has them, whole: local 1, broadcast 2, volatile 4 |
//! | ids u8 | 1: a socket id follows, 2: a server id follows |
//! | socket id, server id | text |
//! | rooms, except | count (number), then each as text |

use std::str::FromStr;

use scaleout_cluster::codec::{DecodeError, Reader, Writer};
use socketioxide_core::{
    Sid, Uid,
    adapter::{BroadcastFlags, BroadcastOptions, Room},
};

use super::{bytes_len, number_len};

const HAS_SOCKET: u8 = 1;
const HAS_SERVER: u8 = 2;

const FLAGS: [BroadcastFlags; 3] =
    [BroadcastFlags::Local, BroadcastFlags::Broadcast, BroadcastFlags::Volatile];

/// Characters of a [`Sid`] and of a [`Uid`].
const ID_BYTES: usize = 16;

#[inline]
pub(super) fn len(options: &BroadcastOptions) -> usize {
    let ids = usize::from(options.sid.is_some()) + usize::from(options.server_id.is_some());
    2 + ids * bytes_len(ID_BYTES) + rooms_len(&options.rooms) + rooms_len(&options.except)
}

#[inline]
pub(super) fn write(writer: &mut Writer, options: &BroadcastOptions) {
    writer.byte(options.flags());
    let socket = if options.sid.is_some() { HAS_SOCKET } else { 0 };
    let server = if options.server_id.is_some() { HAS_SERVER } else { 0 };
    writer.byte(socket | server);
    if let Some(sid) = options.sid {
        writer.text(sid.as_str());
    }
    if let Some(uid) = options.server_id {
        writer.text(uid.as_str());
    }
    write_rooms(writer, &options.rooms);
    write_rooms(writer, &options.except);
}

#[inline]
pub(super) fn read(reader: &mut Reader) -> Result<BroadcastOptions, DecodeError> {
    let mut options = with_flags(reader.byte()?)?;
    let ids = reader.byte()?;
    if ids & !(HAS_SOCKET | HAS_SERVER) != 0 {
        return Err(DecodeError::Unknown { field: "ids", value: ids });
    }
    if ids & HAS_SOCKET != 0 {
        options.sid = Some(read_sid(reader)?);
    }
    if ids & HAS_SERVER != 0 {
        options.server_id = Some(read_uid(reader)?);
    }
    for _ in 0..reader.number()? {
        options.rooms.push(read_room(reader)?);
    }
    for _ in 0..reader.number()? {
        options.except.push(read_room(reader)?);
    }
    Ok(options)
}

#[inline]
pub(super) fn rooms_len(rooms: &[Room]) -> usize {
    number_len(rooms.len() as u64) + rooms.iter().map(|room| bytes_len(room.len())).sum::<usize>()
}

#[inline]
pub(super) fn write_rooms(writer: &mut Writer, rooms: &[Room]) {
    writer.number(rooms.len() as u64);
    for room in rooms {
        writer.text(room);
    }
}

/// Allocates as it reads: the count is only what somebody claims.
pub(super) fn read_rooms(reader: &mut Reader) -> Result<Vec<Room>, DecodeError> {
    (0..reader.number()?).map(|_| read_room(reader)).collect()
}

#[inline]
pub(super) fn read_room(reader: &mut Reader) -> Result<Room, DecodeError> {
    Ok(Room::Owned(reader.text()?.to_owned()))
}

#[inline]
pub(super) fn read_sid(reader: &mut Reader) -> Result<Sid, DecodeError> {
    Sid::from_str(reader.text()?).map_err(|_| DecodeError::Unknown { field: "socket id", value: 0 })
}

#[inline]
pub(super) fn read_uid(reader: &mut Reader) -> Result<Uid, DecodeError> {
    Uid::from_str(reader.text()?).map_err(|_| DecodeError::Unknown { field: "server id", value: 0 })
}

/// Options with these flags and nothing else.
#[inline]
fn with_flags(flags: u8) -> Result<BroadcastOptions, DecodeError> {
    let mut options = BroadcastOptions::default();
    for flag in FLAGS {
        if flags & flag as u8 != 0 {
            options.add_flag(flag);
        }
    }
    if options.flags() == flags {
        return Ok(options);
    }
    // Flags that this release of socketioxide has no name for are set by deserializing alone.
    let json = format!(r#"{{"flags":{flags},"rooms":[],"except":[],"sid":null,"server_id":null}}"#);
    serde_json::from_str(&json).map_err(|_| DecodeError::Unknown { field: "flags", value: flags })
}
