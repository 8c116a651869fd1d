//! Links: [`Inbound`], on which the peer sends, and [`Outbound`], on which it receives.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use crate::namespace::{Delivery, Mode, Receiver, Sender};

use super::{
    performative::{Error, Transfer},
    wire::{TransferHead, Wire},
};

/// Messages that a sender may have under way.
pub(super) const CREDIT: u32 = 1000;

/// Answers that wait for a peer to take them. A peer that asks on without taking them loses its link.
const MAX_REPLIES: usize = 256;

/// A link of a session.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) kind: Kind,
    /// What it is attached to, as a path.
    pub(super) address: String,
    /// When something was last sent on it, or asked for.
    pub(super) last_used: Instant,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// The peer publishes to the topic of the address.
    Publisher(Publisher),
    /// The peer receives from the subscription of the address.
    Consumer(Box<Consumer>),
    /// The peer asks a node: `$cbs`, or the `$management` of an entity.
    Requests(Node, Inbound),
    /// The peer gets answers of a node.
    Replies(Replies),
    /// We have detached it; the peer has yet to.
    Detached,
}

/// What answers requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Cbs,
    /// Of the entity of this path.
    Management(String),
}

/// A peer that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) inbound: Inbound,
    pub(super) sender: Arc<Sender>,
    /// Somebody waits for the topic to go. Dropped, it stops.
    pub(super) _waiting: oneshot::Sender<()>,
}

/// What comes in on a link.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Messages that the peer may still send.
    pub(super) credit: u32,
    /// Messages that it has sent.
    pub(super) delivery_count: u32,
    max_message_bytes: usize,
    partial: Option<Partial>,
}

/// A message of which more is to come.
#[derive(Debug)]
struct Partial {
    delivery_id: u32,
    format: u32,
    settled: bool,
    bytes: BytesMut,
}

/// A message that has come in whole.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) delivery_id: u32,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) bytes: Bytes,
}

impl Inbound {
    pub(super) fn new(delivery_count: u32, max_message_bytes: usize) -> Self {
        Self { credit: CREDIT, delivery_count, max_message_bytes, partial: None }
    }

    /// The longest message that it takes.
    pub(super) fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }

    /// Takes a frame of a message; gives the message with its last frame.
    ///
    /// An error detaches the link.
    pub(super) fn take(&mut self, transfer: &Transfer, payload: &[u8]) -> Result<Option<Arrived>, Error> {
        let mut partial = match self.partial.take() {
            Some(partial) => {
                if transfer.delivery_id.is_some_and(|id| id != partial.delivery_id) {
                    let description = "a message begins before the one before it is over";
                    return Err(Error::new("amqp:not-allowed", description));
                }
                partial
            }
            None => self.begin(transfer)?,
        };
        partial.settled |= transfer.settled.unwrap_or(false);
        if transfer.aborted {
            return Ok(None);
        }
        let actual = partial.bytes.len() + payload.len();
        if actual > self.max_message_bytes {
            return Err(too_large(actual, self.max_message_bytes));
        }
        partial.bytes.extend_from_slice(payload);
        if transfer.more {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { delivery_id, format, settled, bytes } = partial;
        Ok(Some(Arrived { delivery_id, format, settled, bytes: bytes.freeze() }))
    }

    fn begin(&mut self, transfer: &Transfer) -> Result<Partial, Error> {
        let Some(delivery_id) = transfer.delivery_id else {
            return Err(Error::new(
                "amqp:invalid-field",
                "the first transfer of a delivery has no delivery-id",
            ));
        };
        let Some(credit) = self.credit.checked_sub(1) else {
            return Err(Error::new("amqp:link:transfer-limit-exceeded", "the link has no credit"));
        };
        self.credit = credit;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        Ok(Partial {
            delivery_id,
            format: transfer.message_format.unwrap_or(0),
            settled: false,
            bytes: BytesMut::new(),
        })
    }

    /// Renews the credit when half of it is used up, and says whether the peer must hear of it.
    pub(super) fn replenish(&mut self) -> bool {
        let low = self.credit < CREDIT / 2;
        if low {
            self.credit = CREDIT;
        }
        low
    }
}

/// The error for a message of so many bytes.
pub(super) fn too_large(actual: usize, limit: usize) -> Error {
    let description = format!(
        "The received message (size: {actual} bytes) exceeds the limit ({limit} bytes) currently allowed on the link."
    );
    Error::new("amqp:link:message-size-exceeded", description)
}

/// What goes out on a link.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Messages that may still be sent.
    pub(super) credit: u32,
    /// Messages that were sent.
    pub(super) delivery_count: u32,
    /// Credit that cannot be used now is to be given back.
    pub(super) drain: bool,
    /// A message of which a part is on the wire.
    sending: Option<Sending>,
}

/// A message of which more is to go.
#[derive(Debug)]
struct Sending {
    head: TransferHead,
    message: Bytes,
    sent: usize,
}

/// What a session may send: frames until its window is full.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) next_outgoing_id: u32,
    /// Frames that the peer still takes.
    pub(super) remote: u32,
    pub(super) next_delivery_id: u32,
}

impl Window {
    /// The peer says how many frames it takes after the one that it expects next.
    pub(super) fn set_remote(&mut self, next_incoming_id: u32, incoming_window: u32) {
        let unseen = self.next_outgoing_id.wrapping_sub(next_incoming_id);
        self.remote = incoming_window.saturating_sub(unseen);
    }

    fn use_frame(&mut self) {
        self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
        self.remote -= 1;
    }
}

impl Outbound {
    pub(super) fn set_credit(&mut self, delivery_count: u32, credit: u32, drain: bool) {
        // The peer may not have seen the last messages when it said so.
        let unseen = self.delivery_count.wrapping_sub(delivery_count);
        self.credit = credit.saturating_sub(unseen);
        self.drain = drain;
    }

    /// Whether a message is under way.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Uses up the credit that is left, as a drain wants it.
    pub(super) fn give_credit_back(&mut self) {
        self.delivery_count = self.delivery_count.wrapping_add(self.credit);
        self.credit = 0;
    }

    /// Starts to send a message, for which there must be credit and a frame in the window.
    pub(super) fn send(
        &mut self,
        head: TransferHead,
        front: &[u8],
        back: &[u8],
        window: &mut Window,
        wire: &mut Wire,
    ) {
        self.credit -= 1;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        window.next_delivery_id = window.next_delivery_id.wrapping_add(1);
        if front.len() + back.len() <= wire.part_len() {
            wire.transfer(head, true, false, front, back);
            window.use_frame();
        } else {
            self.sending = Some(Sending { head, message: [front, back].concat().into(), sent: 0 });
            self.go_on(window, wire);
        }
    }

    /// Sends more of a message that is under way. Says whether it is all sent.
    pub(super) fn go_on(&mut self, window: &mut Window, wire: &mut Wire) -> bool {
        let Some(sending) = &mut self.sending else { return true };
        while window.remote > 0 && !wire.is_full() {
            let end = sending.message.len().min(sending.sent + wire.part_len());
            let more = end < sending.message.len();
            let part = &sending.message[sending.sent..end];
            wire.transfer(sending.head, sending.sent == 0, more, part, &[]);
            window.use_frame();
            sending.sent = end;
            if !more {
                self.sending = None;
                return true;
            }
        }
        false
    }
}

/// A peer that receives from a subscription.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) outbound: Outbound,
    pub(super) mode: Mode,
    pub(super) receiver: Arc<Receiver>,
    /// Taken from the subscription, and too much for the window.
    pub(super) taken: VecDeque<Delivery>,
    /// Bytes of the message that was sent last.
    pub(super) last_len: usize,
    /// Somebody waits for the subscription to have something. Dropped, it stops.
    pub(super) waiting: Option<oneshot::Sender<()>>,
}

/// A peer that gets answers.
#[derive(Debug)]
pub(super) struct Replies {
    pub(super) node: Node,
    /// Where requests say they want their answers.
    pub(super) reply_to: Option<String>,
    pub(super) outbound: Outbound,
    pub(super) queue: VecDeque<Bytes>,
}

impl Replies {
    /// Whether there was room for it.
    pub(super) fn push(&mut self, reply: Bytes) -> bool {
        let has_room = self.queue.len() < MAX_REPLIES;
        if has_room {
            self.queue.push_back(reply);
        }
        has_room
    }
}

/// A lock token as clients know it: the tag of the delivery, in the byte order of .NET's `Guid`.
pub(super) fn tag_of(lock: Uuid) -> [u8; 16] {
    lock.to_bytes_le()
}
