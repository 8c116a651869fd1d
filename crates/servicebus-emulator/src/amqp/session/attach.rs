//! How links come to be.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    codec::{Encoder, Value},
    message::Fields,
    namespace::{Address, Mode, Refusal, path_of},
    sas::Right,
};

use super::{
    super::{
        link::{Consumer, Inbound, Kind, Link, Node, Outbound, Publisher, Replies},
        performative::{ATTACH, Attach, COORDINATOR, Error, described_list},
        wait::LinkKey,
    },
    Context, HANDLE_MAX, Session,
};

/// `snd-settle-mode`: the sender settles when it sends.
const SETTLED: u8 = 1;

/// The name of filters in sources by which a receiver asks for a session.
const SESSION_FILTER: &str = "com.microsoft:session-filter";

impl Session {
    /// Attaches a link; one that is refused is attached to nothing and detached at once, as Service Bus does.
    ///
    /// An error ends the session.
    pub(in super::super) fn attach(&mut self, attach: &Attach, cx: &mut Context<'_>) -> Result<(), Error> {
        let handle = attach.handle;
        if handle > HANDLE_MAX {
            return Err(Error::new("amqp:connection:framing-error", "the handle is higher than handle-max"));
        }
        if self.links.get(&handle).is_some_and(|link| !matches!(link.kind, Kind::Detached)) {
            return Err(Error::new("amqp:session:handle-in-use", "there is a link of this handle already"));
        }
        match self.open(attach, cx) {
            Ok(link) => {
                let max_message_bytes = link.kind.inbound().map(Inbound::max_message_bytes);
                write_attach(self.channel, attach, Some(max_message_bytes), cx);
                let receives = link.kind.inbound().is_some();
                self.links.insert(handle, link);
                cx.faults.counters().attached();
                if receives {
                    self.write_flow(Some(handle), cx.wire);
                }
            }
            Err(error) => {
                tracing::debug!(name = attach.name, condition = error.condition, "refused a link");
                write_attach(self.channel, attach, None, cx);
                cx.wire.detach(self.channel, handle, true, Some(&error));
                let address = String::new();
                self.links.insert(handle, Link { kind: Kind::Detached, address, last_used: cx.now });
            }
        }
        Ok(())
    }

    fn open(&self, attach: &Attach, cx: &mut Context<'_>) -> Result<Link, Error> {
        let terminus = if attach.is_receiver { &attach.source } else { &attach.target };
        let Some((code, mut fields)) = described_list(terminus.clone()) else {
            return Err(Error::new("amqp:invalid-field", "the link names no entity"));
        };
        if code == Some(COORDINATOR) {
            return Err(Refusal::NotSupported("A transaction".to_owned()).into());
        }
        let address = fields.text()?.unwrap_or_default();
        let path = path_of(&address).to_owned();
        let key = LinkKey { channel: self.channel, handle: attach.handle };
        let kind = match (node(&path), attach.is_receiver) {
            (Some(node), is_receiver) => {
                if let Node::Management(entity) = &node
                    && !cx.claims.allow_any(cx.namespace, entity)
                {
                    return Err(unauthorized("Manage, Send or Listen", &path));
                }
                if is_receiver {
                    let reply_to = described_list(attach.target.clone())
                        .and_then(|(_, mut fields)| fields.text().ok().flatten());
                    Kind::Replies(Replies {
                        node,
                        reply_to,
                        outbound: Outbound::default(),
                        queue: VecDeque::new(),
                    })
                } else {
                    let limit = cx.namespace.settings().max_message_bytes;
                    Kind::Requests(node, inbound(attach, limit))
                }
            }
            (None, true) => consumer(&path, &mut fields, attach, cx)?,
            (None, false) => publisher(&path, key, attach, cx)?,
        };
        Ok(Link { kind, address: path, last_used: cx.now })
    }
}

fn consumer(path: &str, source: &mut Fields, attach: &Attach, cx: &Context<'_>) -> Result<Kind, Error> {
    // Before anything is said about what there is.
    if !cx.claims.allow(cx.namespace, Right::Listen, path) {
        return Err(unauthorized("Listen", path));
    }
    let (topic, subscription, queue) = match Address::parse(path) {
        Some(Address::Subscription { topic, subscription, queue }) => (topic, subscription, queue),
        Some(Address::Topic(topic)) if cx.namespace.topic(&topic).is_some() => {
            let description = "Messages of a topic are received from its subscriptions.";
            return Err(Error::new("amqp:not-allowed", description));
        }
        _ => return Err(Refusal::NotFound { entity: path.to_owned() }.into()),
    };
    // Durable, expiry policy, timeout, dynamic, dynamic node properties, distribution mode; then the filters.
    source.skip(6);
    if let Value::Map(filters) = source.value()
        && let Some((name, _)) = filters.first()
    {
        let what = match name.as_str() {
            Some(SESSION_FILTER) => "A session",
            _ => "A filter of a link",
        };
        return Err(Refusal::NotSupported(what.to_owned()).into());
    }
    let mode = if attach.snd_settle_mode == SETTLED { Mode::ReceiveAndDelete } else { Mode::PeekLock };
    let receiver = Arc::new(cx.namespace.open_receiver(&topic, &subscription, queue, mode)?);
    Ok(Kind::Consumer(Box::new(Consumer {
        outbound: Outbound::default(),
        mode,
        receiver,
        taken: VecDeque::new(),
        last_len: 0,
        waiting: None,
    })))
}

fn publisher(path: &str, key: LinkKey, attach: &Attach, cx: &mut Context<'_>) -> Result<Kind, Error> {
    if !cx.claims.allow(cx.namespace, Right::Send, path) {
        return Err(unauthorized("Send", path));
    }
    let topic = match Address::parse(path) {
        Some(Address::Topic(topic)) => topic,
        Some(Address::Subscription { .. }) => {
            return Err(Error::new("amqp:not-allowed", "Messages are sent to topics, not to subscriptions."));
        }
        None => return Err(Refusal::NotFound { entity: path.to_owned() }.into()),
    };
    let sender = Arc::new(cx.namespace.open_sender(&topic)?);
    let inbound = inbound(attach, sender.max_message_bytes());
    let _waiting = cx.waits.for_end(key, &sender);
    Ok(Kind::Publisher(Publisher { inbound, sender, _waiting }))
}

fn inbound(attach: &Attach, max_message_bytes: usize) -> Inbound {
    Inbound::new(attach.initial_delivery_count, max_message_bytes)
}

/// `$cbs`, or `{entity}/$management`.
fn node(path: &str) -> Option<Node> {
    if path.eq_ignore_ascii_case("$cbs") {
        return Some(Node::Cbs);
    }
    let (entity, last) = path.rsplit_once('/').unwrap_or(("", path));
    last.eq_ignore_ascii_case("$management").then(|| Node::Management(entity.to_owned()))
}

/// Our side of a link; `None` where it is refused.
fn write_attach(channel: u16, attach: &Attach, accepted: Option<Option<usize>>, cx: &mut Context<'_>) {
    let value = |fields: &mut Encoder<'_>, value: &Value| match accepted {
        Some(_) => fields.value(value),
        None => fields.null(),
    };
    let max_message_bytes = accepted.flatten().unwrap_or(cx.namespace.settings().max_message_bytes);
    cx.wire.performative(channel, ATTACH, |fields| {
        fields.string(&attach.name);
        fields.uint(attach.handle);
        fields.bool(!attach.is_receiver);
        fields.value(&Value::Ubyte(attach.snd_settle_mode));
        fields.value(&Value::Ubyte(attach.rcv_settle_mode));
        value(fields, &attach.source);
        value(fields, &attach.target);
        fields.null();
        fields.null();
        if attach.is_receiver {
            fields.uint(0);
        } else {
            fields.null();
        }
        fields.ulong(max_message_bytes as u64);
    });
}

fn unauthorized(claims: &str, path: &str) -> Error {
    let description = format!(
        "Unauthorized access. '{claims}' claim(s) are required to perform this operation. Resource: '{path}'."
    );
    Error::new("amqp:unauthorized-access", description)
}
