//! What waits to be written to a connection: [`Wire`].

use bytes::BytesMut;

use crate::codec::Encoder;

use super::{
    frame::{AMQP, MIN_MAX_FRAME, write_frame, write_performative},
    performative::{DETACH, DISPOSITION, END, Error, TRANSFER},
};

/// With so much waiting, nothing more is read, and no message is taken from a subscription.
///
/// A peer that does not read thus holds this much memory, and the messages of one more batch.
pub(super) const HIGH_WATER: usize = 256 * 1024;

/// Bytes of a frame of a transfer around its part of the message, at most.
const TRANSFER_HEAD: usize = 64;

/// Bytes on their way to the peer.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) out: BytesMut,
    /// The longest frame that the peer takes.
    pub(super) max_frame: usize,
    /// Bytes that wait elsewhere already.
    pub(super) held_back: usize,
}

/// The head of a transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransferHead {
    pub(super) channel: u16,
    pub(super) handle: u32,
    pub(super) delivery_id: u32,
    pub(super) tag: [u8; 16],
    pub(super) settled: bool,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self { out: BytesMut::new(), max_frame: MIN_MAX_FRAME as usize, held_back: 0 }
    }

    /// Whether the peer has to read before it gets more.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() + self.held_back >= HIGH_WATER
    }

    /// A frame of one performative.
    pub(super) fn performative(&mut self, channel: u16, code: u64, write: impl FnOnce(&mut Encoder<'_>)) {
        write_performative(&mut self.out, AMQP, channel, code, write);
    }

    /// A frame that says nothing but that we are alive.
    pub(super) fn heartbeat(&mut self) {
        write_frame(&mut self.out, AMQP, 0, |_| ());
    }

    pub(super) fn detach(&mut self, channel: u16, handle: u32, closed: bool, error: Option<&Error>) {
        self.performative(channel, DETACH, |fields| {
            fields.uint(handle);
            fields.bool(closed);
            if let Some(error) = error {
                error.write(fields);
            }
        });
    }

    pub(super) fn end(&mut self, channel: u16, error: Option<&Error>) {
        self.performative(channel, END, |fields| {
            if let Some(error) = error {
                error.write(fields);
            }
        });
    }

    /// What became of deliveries: `state` is a descriptor, with the error where it is a rejection.
    pub(super) fn disposition(
        &mut self,
        channel: u16,
        as_receiver: bool,
        (first, last): (u32, u32),
        settled: bool,
        (state, error): (u64, Option<&Error>),
    ) {
        self.performative(channel, DISPOSITION, |fields| {
            fields.bool(as_receiver);
            fields.uint(first);
            fields.uint(last);
            fields.bool(settled);
            fields.descriptor(state);
            fields.list(|fields| {
                if let Some(error) = error {
                    error.write(fields);
                }
            });
        });
    }

    /// How much of a message a frame holds.
    pub(super) fn part_len(&self) -> usize {
        self.max_frame - TRANSFER_HEAD
    }

    /// A frame with a part of a message, which is `front` and `back`.
    pub(super) fn transfer(
        &mut self,
        head: TransferHead,
        first: bool,
        more: bool,
        front: &[u8],
        back: &[u8],
    ) {
        write_frame(&mut self.out, AMQP, head.channel, |out| {
            let mut encoder = Encoder::new(out);
            encoder.descriptor(TRANSFER);
            encoder.list(|fields| {
                fields.uint(head.handle);
                if first {
                    fields.uint(head.delivery_id);
                    fields.binary(&head.tag);
                    fields.uint(0);
                    fields.bool(head.settled);
                } else {
                    fields.null();
                    fields.null();
                    fields.null();
                    fields.null();
                }
                fields.bool(more);
            });
            out.extend_from_slice(front);
            out.extend_from_slice(back);
        });
    }
}
