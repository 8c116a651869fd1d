//! Packets (2.2.3) to messages: [`Assembler`], and back: [`write_packets`].

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Malformed;

/// Bytes of a packet's header.
const HEADER: usize = 8;

/// Where a client sends more in one message, its connection ends: a payload of 64 MiB and what is around it fit.
const MAX_MESSAGE: usize = 80 << 20;

const END_OF_MESSAGE: u8 = 0x01;

/// With [`END_OF_MESSAGE`]: the client has changed its mind, the message counts as never sent.
const IGNORE: u8 = 0x02;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PacketType {
    Batch = 0x01,
    Rpc = 0x03,
    Result = 0x04,
    Attention = 0x06,
    BulkLoad = 0x07,
    TransactionManager = 0x0E,
    Login = 0x10,
    PreLogin = 0x12,
}

impl PacketType {
    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        [
            Self::Batch,
            Self::Rpc,
            Self::Result,
            Self::Attention,
            Self::BulkLoad,
            Self::TransactionManager,
            Self::Login,
            Self::PreLogin,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
        .ok_or_else(|| Malformed::new(format!("a packet of type {byte:#04x}")))
    }
}

/// The packets of one request or answer, put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: PacketType,
    pub(crate) body: Bytes,
}

/// Puts messages together from whatever pieces arrive.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Bytes that have arrived and belong to no complete packet yet.
    pub(crate) arrived: BytesMut,
    /// The message so far.
    started: Option<(PacketType, BytesMut)>,
}

impl Assembler {
    /// The next complete message of what has arrived; `None` until more has.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Malformed> {
        while let Some(&[kind, status, high, low]) = self.arrived.first_chunk() {
            let kind = PacketType::from_byte(kind)?;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length < HEADER {
                return Err(Malformed::new("a packet that is shorter than its header"));
            }
            if self.arrived.len() < length {
                return Ok(None);
            }
            let mut packet = self.arrived.split_to(length);
            packet.advance(HEADER);
            let (started, mut body) = self.started.take().unwrap_or((kind, BytesMut::new()));
            if kind != started {
                return Err(Malformed::new(format!("a packet of {kind:?} inside a message of {started:?}")));
            }
            if body.len() + packet.len() > MAX_MESSAGE {
                return Err(Malformed::new(format!("a message of more than {MAX_MESSAGE} bytes")));
            }
            if body.is_empty() {
                body = packet;
            } else {
                body.extend_from_slice(&packet);
            }
            if status & END_OF_MESSAGE == 0 {
                self.started = Some((started, body));
            } else if status & IGNORE == 0 {
                return Ok(Some(Message { kind, body: body.freeze() }));
            }
        }
        Ok(None)
    }
}

/// A message in packets of at most `packet_size` bytes, header included.
pub(crate) fn write_packets(kind: PacketType, body: &[u8], packet_size: usize) -> Bytes {
    let room = packet_size.clamp(HEADER + 1, u16::MAX.into()) - HEADER;
    let count = body.len().div_ceil(room).max(1);
    let mut packets = BytesMut::with_capacity(body.len() + count * HEADER);
    for number in 0..count {
        let from = number * room;
        let piece = &body[from..body.len().min(from + room)];
        let length = u16::try_from(HEADER + piece.len()).expect("it was clamped");
        packets.put_u8(kind as u8);
        packets.put_u8(if number + 1 == count { END_OF_MESSAGE } else { 0 });
        packets.put_u16(length);
        packets.put_u16(0); // SPID, for people who look at the wire
        packets.put_u8(((number + 1) % 256) as u8);
        packets.put_u8(0); // window
        packets.put_slice(piece);
    }
    packets.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(bytes: &[u8]) -> Result<Option<Message>, Malformed> {
        Assembler { arrived: bytes.into(), started: None }.next()
    }

    #[test]
    fn a_message_survives_its_packets_however_they_arrive() {
        let body: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        let bytes = write_packets(PacketType::Rpc, &body, 512);
        assert_eq!(bytes.len(), body.len() + HEADER * body.len().div_ceil(504));
        for pieces in [1, 7, 8, 511, 100_000] {
            let mut assembler = Assembler::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(pieces) {
                assembler.arrived.extend_from_slice(piece);
                got.extend(assembler.next().unwrap());
            }
            assert_eq!(got, [Message { kind: PacketType::Rpc, body: body.clone().into() }]);
        }
    }

    #[test]
    fn an_empty_message_is_one_packet() {
        let bytes = write_packets(PacketType::Attention, &[], 4096);
        assert_eq!(bytes[..], [6, 1, 0, 8, 0, 0, 1, 0]);
        assert_eq!(
            assemble(&bytes).unwrap(),
            Some(Message { kind: PacketType::Attention, body: Bytes::new() })
        );
    }

    #[test]
    fn a_message_that_its_client_gave_up_is_none() {
        let mut bytes = vec![1, 0, 0, 9, 0, 0, 1, 0, 42];
        bytes.extend([1, 3, 0, 9, 0, 0, 2, 0, 42]);
        bytes.extend([6, 1, 0, 8, 0, 0, 3, 0]);
        assert_eq!(assemble(&bytes).unwrap().unwrap().kind, PacketType::Attention);
    }

    #[test]
    fn wrong_packets_are_refused() {
        assert!(assemble(&[99, 1, 0, 8]).is_err(), "unknown type");
        assert!(assemble(&[1, 1, 0, 7]).is_err(), "shorter than its header");
        assert!(assemble(&[1, 0, 0, 8, 0, 0, 1, 0, 3, 1, 0, 8, 0, 0, 2, 0]).is_err(), "mixed types");
    }

    #[test]
    fn a_message_without_end_is_cut_short() {
        let mut packet = vec![1, 0, 0xFF, 0xFF, 0, 0, 1, 0];
        packet.resize(0xFFFF, 0);
        let mut assembler = Assembler::default();
        let ended = (0..2 * MAX_MESSAGE / packet.len()).find_map(|_| {
            assembler.arrived.extend_from_slice(&packet);
            assembler.next().err()
        });
        assert!(ended.is_some());
    }
}
