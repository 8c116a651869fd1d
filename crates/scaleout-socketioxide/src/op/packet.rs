//! The packet that an operation carries; its namespace is that of the operation.
//!
//! | Field | |
//! | --- | --- |
//! | type u8 | connect 0, disconnect 1, event 2, ack 3, connect error 4, binary event 5, binary ack 6; of a connect, + 8: a value follows; of an event, + 8: an ack id follows |
//! | ack id | number, zigzag |
//! | value | u8: 0 text, 1 text with attachments, 2 bytes; then the text or the bytes behind their length; then the count (number) of attachments and each behind its length |
//! | error | text, of a connect error in place of a value |

use std::collections::VecDeque;

use scaleout_cluster::codec::{DecodeError, Reader, Writer};
use socketioxide_core::{Str, Value, packet::PacketData};

use super::{bytes_len, number_len};

const MORE: u8 = 8;

const CONNECT: u8 = 0;
const CONNECT_WITH_VALUE: u8 = CONNECT | MORE;
const DISCONNECT: u8 = 1;
const EVENT: u8 = 2;
const EVENT_WITH_ID: u8 = EVENT | MORE;
const ACK: u8 = 3;
const CONNECT_ERROR: u8 = 4;
const BINARY_EVENT: u8 = 5;
const BINARY_EVENT_WITH_ID: u8 = BINARY_EVENT | MORE;
const BINARY_ACK: u8 = 6;

const TEXT: u8 = 0;
const TEXT_AND_ATTACHMENTS: u8 = 1;
const BYTES: u8 = 2;

#[inline]
pub(super) fn len(packet: &PacketData) -> usize {
    let rest = match packet {
        PacketData::Connect(None) | PacketData::Disconnect => 0,
        PacketData::Connect(Some(value)) => value_len(value),
        PacketData::Event(value, id) | PacketData::BinaryEvent(value, id) => {
            id.map_or(0, |id| number_len(zigzag(id))) + value_len(value)
        }
        PacketData::EventAck(value, id) | PacketData::BinaryAck(value, id) => {
            number_len(zigzag(*id)) + value_len(value)
        }
        PacketData::ConnectError(error) => bytes_len(error.len()),
    };
    1 + rest
}

#[inline]
pub(super) fn write(writer: &mut Writer, packet: &PacketData) {
    match packet {
        PacketData::Connect(None) => writer.byte(CONNECT),
        PacketData::Connect(Some(value)) => {
            writer.byte(CONNECT_WITH_VALUE);
            write_value(writer, value);
        }
        PacketData::Disconnect => writer.byte(DISCONNECT),
        PacketData::Event(value, None) => write_event(writer, EVENT, None, value),
        PacketData::Event(value, id) => write_event(writer, EVENT_WITH_ID, *id, value),
        PacketData::BinaryEvent(value, None) => write_event(writer, BINARY_EVENT, None, value),
        PacketData::BinaryEvent(value, id) => write_event(writer, BINARY_EVENT_WITH_ID, *id, value),
        PacketData::EventAck(value, id) => write_event(writer, ACK, Some(*id), value),
        PacketData::BinaryAck(value, id) => write_event(writer, BINARY_ACK, Some(*id), value),
        PacketData::ConnectError(error) => {
            writer.byte(CONNECT_ERROR);
            writer.text(error);
        }
    }
}

#[inline]
pub(super) fn read(reader: &mut Reader) -> Result<PacketData, DecodeError> {
    Ok(match reader.byte()? {
        CONNECT => PacketData::Connect(None),
        CONNECT_WITH_VALUE => PacketData::Connect(Some(read_value(reader)?)),
        DISCONNECT => PacketData::Disconnect,
        EVENT => PacketData::Event(read_value(reader)?, None),
        EVENT_WITH_ID => {
            let id = read_id(reader)?;
            PacketData::Event(read_value(reader)?, Some(id))
        }
        ACK => {
            let id = read_id(reader)?;
            PacketData::EventAck(read_value(reader)?, id)
        }
        CONNECT_ERROR => PacketData::ConnectError(reader.text()?.to_owned()),
        BINARY_EVENT => PacketData::BinaryEvent(read_value(reader)?, None),
        BINARY_EVENT_WITH_ID => {
            let id = read_id(reader)?;
            PacketData::BinaryEvent(read_value(reader)?, Some(id))
        }
        BINARY_ACK => {
            let id = read_id(reader)?;
            PacketData::BinaryAck(read_value(reader)?, id)
        }
        value => return Err(DecodeError::Unknown { field: "packet type", value }),
    })
}

#[inline]
pub(super) fn value_len(value: &Value) -> usize {
    let rest = match value {
        Value::Str(text, None) => bytes_len(text.len()),
        Value::Str(text, Some(attachments)) => {
            let attached: usize = attachments.iter().map(|attachment| bytes_len(attachment.len())).sum();
            bytes_len(text.len()) + number_len(attachments.len() as u64) + attached
        }
        Value::Bytes(bytes) => bytes_len(bytes.len()),
    };
    1 + rest
}

#[inline]
pub(super) fn write_value(writer: &mut Writer, value: &Value) {
    match value {
        Value::Str(text, None) => {
            writer.byte(TEXT);
            writer.text(text);
        }
        Value::Str(text, Some(attachments)) => {
            writer.byte(TEXT_AND_ATTACHMENTS);
            writer.text(text);
            writer.number(attachments.len() as u64);
            for attachment in attachments {
                writer.bytes(attachment);
            }
        }
        Value::Bytes(bytes) => {
            writer.byte(BYTES);
            writer.bytes(bytes);
        }
    }
}

#[inline]
pub(super) fn read_value(reader: &mut Reader) -> Result<Value, DecodeError> {
    Ok(match reader.byte()? {
        TEXT => Value::Str(read_text(reader)?, None),
        TEXT_AND_ATTACHMENTS => {
            let text = read_text(reader)?;
            let mut attachments = VecDeque::new();
            for _ in 0..reader.number()? {
                attachments.push_back(reader.bytes()?);
            }
            Value::Str(text, Some(attachments))
        }
        BYTES => Value::Bytes(reader.bytes()?),
        value => return Err(DecodeError::Unknown { field: "value", value }),
    })
}

/// A copy: no safe way leads from bytes that were checked to a [`Str`] that shares them.
#[inline]
fn read_text(reader: &mut Reader) -> Result<Str, DecodeError> {
    Ok(Str::copy_from_slice(reader.text()?))
}

#[inline]
fn write_event(writer: &mut Writer, kind: u8, id: Option<i64>, value: &Value) {
    writer.byte(kind);
    if let Some(id) = id {
        writer.number(zigzag(id));
    }
    write_value(writer, value);
}

#[inline]
fn read_id(reader: &mut Reader) -> Result<i64, DecodeError> {
    let number = reader.number()?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Small numbers for small ids of either sign.
#[inline]
fn zigzag(id: i64) -> u64 {
    ((id << 1) ^ (id >> 63)).cast_unsigned()
}
