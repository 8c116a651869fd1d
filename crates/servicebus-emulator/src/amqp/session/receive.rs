//! What the peer sends.

use bytes::Bytes;

use crate::{
    faults::SendFate,
    message::Message,
    namespace::{Incoming, Refusal},
};

use super::{
    super::{
        link::{Arrived, Kind, Publisher},
        performative::{ACCEPTED, Error, REJECTED, Transfer},
        wire::Wire,
    },
    Context, INCOMING_WINDOW, Request, Session, unattached,
};

/// The message format of a batch, each of whose sections of data is a message.
const BATCH: u32 = 0x8001_3700;

/// The message annotation by which a sender asks that a message be published later.
const SCHEDULED: &str = "x-opt-scheduled-enqueue-time";

/// What became of a message of the peer.
enum Outcome {
    Accepted,
    /// The peer will never know.
    Lost,
    Rejected(Error),
    /// It is not only the message: the link goes.
    Detached(Error),
}

impl Session {
    /// Takes a frame of a message; gives what a node is asked.
    ///
    /// An error ends the session.
    pub(in super::super) fn transfer(
        &mut self,
        transfer: &Transfer,
        payload: &Bytes,
        cx: &mut Context<'_>,
    ) -> Result<Option<Request>, Error> {
        let Some(window) = self.incoming_window.checked_sub(1) else {
            return Err(Error::new("amqp:session:window-violation", "the window of the session is full"));
        };
        self.incoming_window = window;
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let handle = transfer.handle;
        let link = self.links.get_mut(&handle).ok_or_else(unattached)?;
        link.last_used = cx.now;
        if matches!(link.kind, Kind::Detached) {
            return Ok(None);
        }
        let Some(inbound) = link.kind.inbound_mut() else {
            return Err(Error::new("amqp:not-allowed", "the link goes in the other direction"));
        };
        let request = match inbound.take(transfer, payload) {
            Ok(None) => None,
            Ok(Some(arrived)) => self.arrived(handle, arrived, cx),
            Err(error) => {
                self.detach_link(handle, &error, cx);
                return Ok(None);
            }
        };
        let low = self
            .links
            .get_mut(&handle)
            .and_then(|link| link.kind.inbound_mut())
            .is_some_and(|inbound| inbound.replenish());
        if low {
            self.flush(cx.wire);
            self.write_flow(Some(handle), cx.wire);
        } else if self.incoming_window < INCOMING_WINDOW / 2 {
            self.write_flow(None, cx.wire);
        }
        Ok(request)
    }

    /// Tells the peer what was accepted since it was last told.
    pub(in super::super) fn flush(&mut self, wire: &mut Wire) {
        if let Some(accepted) = self.accepted.take() {
            wire.disposition(self.channel, true, accepted, true, (ACCEPTED, None));
        }
    }

    fn arrived(&mut self, handle: u32, arrived: Arrived, cx: &mut Context<'_>) -> Option<Request> {
        let link = self.links.get_mut(&handle)?;
        let (delivery_id, settled) = (arrived.delivery_id, arrived.settled);
        let mut request = None;
        let outcome = match &link.kind {
            Kind::Publisher(publisher) => publish(publisher, arrived, cx),
            Kind::Requests(node, _) => match Message::decode(arrived.bytes) {
                Ok(message) => {
                    request = Some(Request { node: node.clone(), message });
                    Outcome::Accepted
                }
                Err(malformed) => Outcome::Rejected(malformed.into()),
            },
            _ => return None,
        };
        match outcome {
            Outcome::Detached(error) => self.detach_link(handle, &error, cx),
            // Nobody waits for the outcome, and yet somebody should know.
            Outcome::Rejected(error) if settled => self.detach_link(handle, &error, cx),
            _ if settled => (),
            Outcome::Lost => (),
            // Settled, even where the peer's mode is to settle second: the service does so, and Microsoft's SDKs, which
            // ask for that mode, wait for it.
            Outcome::Accepted => self.accept(delivery_id, cx.wire),
            Outcome::Rejected(error) => {
                self.flush(cx.wire);
                let outcome = (REJECTED, Some(&error));
                cx.wire.disposition(self.channel, true, (delivery_id, delivery_id), true, outcome);
            }
        }
        request
    }

    fn accept(&mut self, delivery_id: u32, wire: &mut Wire) {
        match &mut self.accepted {
            Some((_, last)) if last.wrapping_add(1) == delivery_id => *last = delivery_id,
            _ => {
                self.flush(wire);
                self.accepted = Some((delivery_id, delivery_id));
            }
        }
    }
}

fn publish(publisher: &Publisher, arrived: Arrived, cx: &Context<'_>) -> Outcome {
    let messages = match arrived.format {
        BATCH => Incoming::decode_batch(arrived.bytes),
        _ => Incoming::decode(arrived.bytes).map(|message| vec![message]),
    };
    let messages = match messages {
        Ok(messages) => messages,
        Err(malformed) => return Outcome::Rejected(malformed.into()),
    };
    if messages.iter().any(|message| message.annotations.contains(SCHEDULED)) {
        return Outcome::Rejected(Refusal::NotSupported("A scheduled message".to_owned()).into());
    }
    cx.faults.counters().sent(messages.len());
    let fate = cx.faults.next_send();
    let published = match fate {
        SendFate::Busy => Err(Refusal::ServerBusy),
        SendFate::Normal | SendFate::LoseOutcome => publisher.sender.publish(messages),
        SendFate::Lose => return Outcome::Lost,
        SendFate::Hold => {
            cx.faults.hold(publisher.sender.topic(), messages);
            return Outcome::Lost;
        }
    };
    match published {
        Ok(()) if fate == SendFate::LoseOutcome => Outcome::Lost,
        Ok(()) => Outcome::Accepted,
        Err(refusal @ Refusal::TooLarge { .. }) => Outcome::Detached(refusal.into()),
        Err(refusal) => Outcome::Rejected(refusal.into()),
    }
}
