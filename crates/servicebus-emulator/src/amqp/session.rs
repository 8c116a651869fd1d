//! Sessions: windows, links, and what is not settled.

mod attach;
mod receive;
mod send;

use std::collections::{BTreeMap, HashMap};

use bytes::BytesMut;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    faults::Faults,
    message::Message,
    namespace::{Mode, Namespace, Settlement},
    sas::Right,
};

use super::{
    cbs::Claims,
    link::{CREDIT, Inbound, Kind, Link, Node, Outbound, Window},
    performative::{BEGIN, Begin, Detach, Error, Flow},
    wait::{LinkKey, Waits},
    wire::Wire,
};

/// Frames that a peer may send before it hears of us again.
const INCOMING_WINDOW: u32 = 5000;

/// The highest handle; Service Bus has the same.
pub(super) const HANDLE_MAX: u32 = 255;

/// What the methods of a session work on.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) faults: &'a Faults,
    pub(super) claims: &'a Claims,
    pub(super) wire: &'a mut Wire,
    pub(super) waits: &'a mut Waits,
    pub(super) now: Instant,
    /// The connection is to be cut when what is on the wire is written.
    pub(super) cut: &'a mut bool,
}

/// A question to a node, which the connection answers.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) node: Node,
    pub(super) message: Message,
}

#[derive(Debug)]
pub(super) struct Session {
    channel: u16,
    window: Window,
    next_incoming_id: u32,
    incoming_window: u32,
    links: BTreeMap<u32, Link>,
    /// What was delivered with a lock, by the number of the delivery.
    unsettled: HashMap<u32, Unsettled>,
    /// Deliveries of the peer that were accepted, and it has not been told: the first and the last of a row.
    accepted: Option<(u32, u32)>,
    /// Something may be sent.
    ready: bool,
    /// The link that was last to send.
    last_sent: u32,
    /// Where the front of messages is written.
    front: BytesMut,
}

/// A delivery that waits for its outcome.
#[derive(Debug, Clone, Copy)]
struct Unsettled {
    lock: Uuid,
    handle: u32,
}

impl Session {
    /// Answers a `begin` that came on a channel: ours gets the same number.
    pub(super) fn begin(channel: u16, begin: &Begin, wire: &mut Wire) -> Self {
        wire.performative(channel, BEGIN, |fields| {
            fields.value(&crate::codec::Value::Ushort(channel));
            fields.uint(0);
            fields.uint(INCOMING_WINDOW);
            fields.uint(INCOMING_WINDOW);
            fields.uint(HANDLE_MAX.min(begin.handle_max));
        });
        Self {
            channel,
            window: Window { next_outgoing_id: 0, remote: begin.incoming_window, next_delivery_id: 0 },
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: INCOMING_WINDOW,
            links: BTreeMap::new(),
            unsettled: HashMap::new(),
            accepted: None,
            ready: false,
            last_sent: 0,
            front: BytesMut::new(),
        }
    }

    /// Links that are attached.
    pub(super) fn has_links(&self) -> bool {
        self.links.values().any(|link| !matches!(link.kind, Kind::Detached))
    }

    /// An error ends the session.
    pub(super) fn flow(&mut self, flow: &Flow, cx: &mut Context<'_>) -> Result<(), Error> {
        self.window.set_remote(flow.next_incoming_id.unwrap_or(0), flow.incoming_window);
        self.ready = true;
        let Some(handle) = flow.handle else {
            if flow.echo {
                self.write_flow(None, cx.wire);
            }
            return Ok(());
        };
        let link = self.links.get_mut(&handle).ok_or_else(unattached)?;
        if let Some(outbound) = link.kind.outbound_mut() {
            link.last_used = cx.now;
            if let Some(credit) = flow.link_credit {
                outbound.set_credit(flow.delivery_count.unwrap_or(0), credit, flow.drain);
                if credit == 0 {
                    link.kind.give_back(cx.namespace);
                }
            }
        }
        if flow.echo && !matches!(link.kind, Kind::Detached) {
            self.write_flow(Some(handle), cx.wire);
        }
        Ok(())
    }

    /// The peer detaches a link, or answers that we did.
    pub(super) fn detach(&mut self, detach: &Detach, cx: &mut Context<'_>) {
        // Clients are known to detach what was refused twice; the second time there is nothing.
        let Some(mut link) = self.links.remove(&detach.handle) else { return };
        if !matches!(link.kind, Kind::Detached) {
            self.close_link(detach.handle, &mut link, cx);
            cx.wire.detach(self.channel, detach.handle, detach.closed, None);
        }
    }

    /// Detaches the links for which there is a reason.
    pub(super) fn detach_where(
        &mut self,
        cx: &mut Context<'_>,
        reason: impl Fn(&Link, &Context<'_>) -> Option<Error>,
    ) {
        let found: Vec<(u32, Error)> = self
            .links
            .iter()
            .filter(|(_, link)| !matches!(link.kind, Kind::Detached))
            .filter_map(|(handle, link)| Some((*handle, reason(link, cx)?)))
            .collect();
        for (handle, error) in found {
            self.detach_link(handle, &error, cx);
        }
    }

    /// What a link waited for may be there.
    pub(super) fn wake(&mut self, key: LinkKey, cx: &mut Context<'_>) {
        let Some(link) = self.links.get_mut(&key.handle) else { return };
        let ended = match &mut link.kind {
            Kind::Consumer(consumer) => {
                consumer.waiting = None;
                consumer.receiver.ended()
            }
            Kind::Publisher(publisher) => publisher.sender.ended(),
            _ => None,
        };
        self.ready = true;
        if let Some(refusal) = ended {
            self.detach_link(key.handle, &refusal.into(), cx);
        }
    }

    /// Does what time brings: links that are idle, whose claims are over, or whose entity is gone.
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        // The namespace may give again what it had to hold back.
        self.ready = true;
        let idle = cx.namespace.settings().link_idle;
        self.detach_where(cx, |link, cx| match &link.kind {
            Kind::Publisher(_) if cx.now.duration_since(link.last_used) >= idle => {
                Some(idle_timer("publisher", &link.address))
            }
            Kind::Consumer(consumer) => match consumer.receiver.ended() {
                Some(refusal) => Some(refusal.into()),
                None if consumer.outbound.credit > 0 => None,
                None if cx.now.duration_since(link.last_used) < idle => None,
                None => Some(idle_timer("consumer", &link.address)),
            },
            _ => None,
        });
        self.detach_unclaimed(cx);
    }

    /// Detaches links whose claims are over.
    pub(super) fn detach_unclaimed(&mut self, cx: &mut Context<'_>) {
        self.detach_where(cx, |link, cx| {
            let right = match link.kind {
                Kind::Publisher(_) => Right::Send,
                Kind::Consumer(_) => Right::Listen,
                _ => return None,
            };
            let description = "ExpiredToken: The token is expired. Detach origin: the emulator.";
            let allowed = cx.claims.allow(cx.namespace, right, &link.address);
            (!allowed).then(|| Error::new("amqp:unauthorized-access", description))
        });
    }

    /// Ends all links without a word.
    pub(super) fn close(&mut self, namespace: &Namespace, faults: &Faults) {
        for link in self.links.values_mut() {
            if !matches!(link.kind, Kind::Detached) {
                link.kind.give_back(namespace);
                faults.counters().detached();
            }
        }
        self.links.clear();
    }

    fn detach_link(&mut self, handle: u32, error: &Error, cx: &mut Context<'_>) {
        let Some(mut link) = self.links.remove(&handle) else { return };
        if !matches!(link.kind, Kind::Detached) {
            self.flush(cx.wire);
            self.close_link(handle, &mut link, cx);
            cx.wire.detach(self.channel, handle, true, Some(error));
            tracing::debug!(address = link.address, condition = error.condition, "detached a link");
        }
        link.kind = Kind::Detached;
        self.links.insert(handle, link);
    }

    fn close_link(&mut self, handle: u32, link: &mut Link, cx: &Context<'_>) {
        link.kind.give_back(cx.namespace);
        self.unsettled.retain(|_, unsettled| unsettled.handle != handle);
        cx.faults.counters().detached();
    }

    /// Tells the peer where we are: on the session, or on a link.
    fn write_flow(&mut self, handle: Option<u32>, wire: &mut Wire) {
        self.incoming_window = INCOMING_WINDOW;
        let mut flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: INCOMING_WINDOW,
            next_outgoing_id: self.window.next_outgoing_id,
            outgoing_window: INCOMING_WINDOW,
            ..Flow::default()
        };
        if let Some(handle) = handle
            && let Some(link) = self.links.get(&handle)
        {
            flow.handle = Some(handle);
            if let Some(Inbound { delivery_count, credit, .. }) = link.kind.inbound() {
                (flow.delivery_count, flow.link_credit) = (Some(*delivery_count), Some(*credit));
            }
            if let Some(Outbound { delivery_count, credit, drain, .. }) = link.kind.outbound() {
                (flow.delivery_count, flow.link_credit) = (Some(*delivery_count), Some(*credit));
                (flow.available, flow.drain) = (Some(0), *drain);
            }
        }
        flow.write(&mut wire.out, self.channel);
    }
}

impl Kind {
    /// Whether the link is of a topic or a subscription, and not of a node that answers.
    pub(super) fn is_of_entity(&self) -> bool {
        matches!(self, Self::Publisher(_) | Self::Consumer(_))
    }

    pub(super) fn inbound(&self) -> Option<&Inbound> {
        match self {
            Self::Publisher(publisher) => Some(&publisher.inbound),
            Self::Requests(_, inbound) => Some(inbound),
            Self::Consumer(_) | Self::Replies(_) | Self::Detached => None,
        }
    }

    fn inbound_mut(&mut self) -> Option<&mut Inbound> {
        match self {
            Self::Publisher(publisher) => Some(&mut publisher.inbound),
            Self::Requests(_, inbound) => Some(inbound),
            Self::Consumer(_) | Self::Replies(_) | Self::Detached => None,
        }
    }

    fn outbound(&self) -> Option<&Outbound> {
        match self {
            Self::Consumer(consumer) => Some(&consumer.outbound),
            Self::Replies(replies) => Some(&replies.outbound),
            Self::Publisher(_) | Self::Requests(..) | Self::Detached => None,
        }
    }

    fn outbound_mut(&mut self) -> Option<&mut Outbound> {
        match self {
            Self::Consumer(consumer) => Some(&mut consumer.outbound),
            Self::Replies(replies) => Some(&mut replies.outbound),
            Self::Publisher(_) | Self::Requests(..) | Self::Detached => None,
        }
    }

    /// Gives messages back that were taken and are not on the wire: nobody saw them, so that it does not count. Those that
    /// are not locked are kept for the next credit.
    fn give_back(&mut self, namespace: &Namespace) {
        let Self::Consumer(consumer) = self else { return };
        if consumer.mode == Mode::PeekLock {
            for delivery in consumer.taken.drain(..) {
                // Where the lock is over meanwhile, it is back already.
                let _ = namespace.settle(delivery.lock_token, Settlement::Release);
            }
        }
    }
}

fn unattached() -> Error {
    Error::new("amqp:session:unattached-handle", "there is no link of this handle")
}

fn idle_timer(what: &str, address: &str) -> Error {
    let description = format!(
        "The link '{address}' is force detached. Code: {what}. Details: AmqpMessage{what}.IdleTimerExpired."
    );
    Error::new("amqp:link:detach-forced", description)
}

const _: () = assert!(CREDIT < INCOMING_WINDOW, "a link's credit fits the window of its session");
