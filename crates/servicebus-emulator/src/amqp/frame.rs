//! Frames (part 2.3 of the standard): length, where the body begins, kind, channel, body.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{Encoder, Malformed};

/// Bytes before the body.
pub(super) const HEADER: usize = 8;

/// The longest frame that every peer takes.
pub(super) const MIN_MAX_FRAME: u32 = 512;

/// The kind of frames of AMQP.
pub(super) const AMQP: u8 = 0;
/// The kind of frames of SASL.
pub(super) const SASL: u8 = 1;

/// A frame of the peer.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) channel: u16,
    /// Empty: it says only that the peer is alive.
    pub(super) body: Bytes,
}

impl Frame {
    /// Takes a frame from the front of what has come, if a whole one is there.
    pub(super) fn take(buffer: &mut BytesMut, max_len: usize) -> Result<Option<Self>, Malformed> {
        let Some(&[a, b, c, d, offset, kind, high, low]) = buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let start = usize::from(offset) * 4;
        if len > max_len {
            return Err(Malformed("a frame is longer than was agreed"));
        }
        if start < HEADER || start > len {
            return Err(Malformed("the body of a frame begins outside of it"));
        }
        if buffer.len() < len {
            return Ok(None);
        }
        let mut frame = buffer.split_to(len).freeze();
        let body = frame.split_off(start);
        Ok(Some(Self { kind, channel: u16::from_be_bytes([high, low]), body }))
    }
}

/// Appends a frame whose body `write` appends.
pub(super) fn write_frame(out: &mut BytesMut, kind: u8, channel: u16, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(&[2, kind]);
    out.put_u16(channel);
    write(out);
    let len = u32::try_from(out.len() - start).expect("frames are cut to the length that the peer takes");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends a frame of one performative.
pub(super) fn write_performative(
    out: &mut BytesMut,
    kind: u8,
    channel: u16,
    code: u64,
    write: impl FnOnce(&mut Encoder<'_>),
) {
    write_frame(out, kind, channel, |out| {
        let mut encoder = Encoder::new(out);
        encoder.descriptor(code);
        encoder.list(write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole() {
        let mut out = BytesMut::new();
        write_frame(&mut out, AMQP, 7, |out| out.put_slice(b"body"));
        write_frame(&mut out, AMQP, 0, |_| ());
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in out {
            buffer.put_u8(byte);
            frames.extend(Frame::take(&mut buffer, 512).unwrap());
        }
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].channel, frames[0].body.as_ref()), (7, b"body".as_slice()));
        assert!(frames[1].body.is_empty());
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for bytes in [
            [0, 0, 0, 7, 2, 0, 0, 0],
            [0, 0, 0, 8, 1, 0, 0, 0],
            [0, 0, 0, 8, 3, 0, 0, 0],
            [1, 0, 0, 0, 2, 0, 0, 0],
        ] {
            assert!(Frame::take(&mut bytes.as_slice().into(), 65_536).is_err(), "{bytes:?}");
        }
    }
}
