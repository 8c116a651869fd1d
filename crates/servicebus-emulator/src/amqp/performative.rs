//! What frames say (part 2.7 of the standard).

use bytes::{Bytes, BytesMut};

use crate::{
    codec::{Decoder, Encoder, Malformed, Value},
    message::Fields,
    namespace::Refusal,
};

use super::frame::{AMQP, write_performative};

pub(super) const OPEN: u64 = 0x10;
pub(super) const BEGIN: u64 = 0x11;
pub(super) const ATTACH: u64 = 0x12;
pub(super) const FLOW: u64 = 0x13;
pub(super) const TRANSFER: u64 = 0x14;
pub(super) const DISPOSITION: u64 = 0x15;
pub(super) const DETACH: u64 = 0x16;
pub(super) const END: u64 = 0x17;
pub(super) const CLOSE: u64 = 0x18;
pub(super) const ERROR: u64 = 0x1d;

pub(super) const RECEIVED: u64 = 0x23;
pub(super) const ACCEPTED: u64 = 0x24;
pub(super) const REJECTED: u64 = 0x25;
pub(super) const RELEASED: u64 = 0x26;
pub(super) const MODIFIED: u64 = 0x27;
pub(super) const COORDINATOR: u64 = 0x30;

/// All of them by their other names.
const NAMES: &[(&str, u64)] = &[
    ("amqp:open:list", OPEN),
    ("amqp:begin:list", BEGIN),
    ("amqp:attach:list", ATTACH),
    ("amqp:flow:list", FLOW),
    ("amqp:transfer:list", TRANSFER),
    ("amqp:disposition:list", DISPOSITION),
    ("amqp:detach:list", DETACH),
    ("amqp:end:list", END),
    ("amqp:close:list", CLOSE),
    ("amqp:error:list", ERROR),
    ("amqp:received:list", RECEIVED),
    ("amqp:accepted:list", ACCEPTED),
    ("amqp:rejected:list", REJECTED),
    ("amqp:released:list", RELEASED),
    ("amqp:modified:list", MODIFIED),
    ("amqp:coordinator:list", COORDINATOR),
];

/// What a frame of the peer says.
#[derive(Debug)]
pub(super) enum Performative {
    Open(Open),
    Begin(Begin),
    Attach(Box<Attach>),
    Flow(Flow),
    /// With what follows it in the frame: a message, or a part of one.
    Transfer(Transfer, Bytes),
    Disposition(Disposition),
    Detach(Detach),
    End,
    Close,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) container: String,
    pub(super) max_frame: u32,
    pub(super) channel_max: u16,
    /// Milliseconds without a frame after which the peer gives up.
    pub(super) idle_time_out: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Begin {
    pub(super) next_outgoing_id: u32,
    pub(super) incoming_window: u32,
    pub(super) handle_max: u32,
}

#[derive(Debug)]
pub(super) struct Attach {
    pub(super) name: String,
    pub(super) handle: u32,
    /// The peer receives.
    pub(super) is_receiver: bool,
    pub(super) snd_settle_mode: u8,
    pub(super) rcv_settle_mode: u8,
    pub(super) source: Value,
    pub(super) target: Value,
    pub(super) initial_delivery_count: u32,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) next_incoming_id: Option<u32>,
    pub(super) incoming_window: u32,
    pub(super) next_outgoing_id: u32,
    pub(super) outgoing_window: u32,
    pub(super) handle: Option<u32>,
    pub(super) delivery_count: Option<u32>,
    pub(super) link_credit: Option<u32>,
    pub(super) available: Option<u32>,
    pub(super) drain: bool,
    pub(super) echo: bool,
}

#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) handle: u32,
    pub(super) delivery_id: Option<u32>,
    pub(super) message_format: Option<u32>,
    pub(super) settled: Option<bool>,
    pub(super) more: bool,
    pub(super) aborted: bool,
}

#[derive(Debug)]
pub(super) struct Disposition {
    /// The peer speaks as the receiver of the deliveries.
    pub(super) of_receiver: bool,
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) settled: bool,
    pub(super) state: Option<State>,
}

#[derive(Debug)]
pub(super) struct Detach {
    pub(super) handle: u32,
    pub(super) closed: bool,
}

/// How far a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Not decided.
    Received,
    Accepted,
    /// With the information of the error, where Service Bus' clients put the reason of a dead letter.
    Rejected {
        condition: String,
        description: String,
        info: Value,
    },
    Released,
    Modified {
        delivery_failed: bool,
        undeliverable_here: bool,
    },
    /// Of transactions, or of nothing that is known.
    Other,
}

/// An error of AMQP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) condition: &'static str,
    pub(super) description: String,
}

impl Error {
    pub(super) fn new(condition: &'static str, description: impl Into<String>) -> Self {
        Self { condition, description: description.into() }
    }

    pub(super) fn write(&self, encoder: &mut Encoder<'_>) {
        encoder.descriptor(ERROR);
        encoder.list(|fields| {
            fields.symbol(self.condition);
            fields.string(&self.description);
            // Microsoft's SDK for Python never learns of an outcome whose error has no third field.
            fields.map(|_| ());
        });
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::new("amqp:decode-error", malformed.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.condition(), refusal.description())
    }
}

impl Performative {
    /// Reads the body of a frame.
    pub(super) fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(body);
        let code = decoder.descriptor(NAMES)?.ok_or(UNKNOWN)?;
        let Value::List(fields) = decoder.value()? else {
            return Err(Malformed("a performative is a list"));
        };
        let mut fields = Fields::new(fields);
        let performative = match code {
            OPEN => Self::Open(Open::read(&mut fields)?),
            BEGIN => Self::Begin(Begin::read(&mut fields)?),
            ATTACH => Self::Attach(Box::new(Attach::read(&mut fields)?)),
            FLOW => Self::Flow(Flow::read(&mut fields)?),
            TRANSFER => return Ok(Self::Transfer(Transfer::read(&mut fields)?, decoder.rest())),
            DISPOSITION => Self::Disposition(Disposition::read(&mut fields)?),
            DETACH => Self::Detach(Detach::read(&mut fields)?),
            END => Self::End,
            CLOSE => Self::Close,
            _ => return Err(UNKNOWN),
        };
        Ok(performative)
    }
}

impl Open {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        let container = fields.text()?.ok_or(MISSING)?;
        fields.skip(1);
        Ok(Self {
            container,
            max_frame: fields.uint()?.unwrap_or(u32::MAX),
            channel_max: fields.ushort()?.unwrap_or(u16::MAX),
            idle_time_out: fields.uint()?.filter(|&time| time > 0),
        })
    }
}

impl Begin {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        fields.skip(1);
        let next_outgoing_id = fields.uint()?.ok_or(MISSING)?;
        let incoming_window = fields.uint()?.ok_or(MISSING)?;
        fields.skip(1);
        Ok(Self { next_outgoing_id, incoming_window, handle_max: fields.uint()?.unwrap_or(u32::MAX) })
    }
}

impl Attach {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        let name = fields.text()?.ok_or(MISSING)?;
        let handle = fields.uint()?.ok_or(MISSING)?;
        let is_receiver = fields.bool()?.ok_or(MISSING)?;
        let snd_settle_mode = fields.ubyte()?.unwrap_or(2);
        let rcv_settle_mode = fields.ubyte()?.unwrap_or(0);
        let (source, target) = (fields.value(), fields.value());
        fields.skip(2);
        Ok(Self {
            name,
            handle,
            is_receiver,
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            // The standard wants it of senders; some of Service Bus' clients leave it out.
            initial_delivery_count: fields.uint()?.unwrap_or(0),
        })
    }
}

impl Flow {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        Ok(Self {
            next_incoming_id: fields.uint()?,
            incoming_window: fields.uint()?.ok_or(MISSING)?,
            next_outgoing_id: fields.uint()?.ok_or(MISSING)?,
            outgoing_window: fields.uint()?.ok_or(MISSING)?,
            handle: fields.uint()?,
            delivery_count: fields.uint()?,
            link_credit: fields.uint()?,
            available: fields.uint()?,
            drain: fields.bool()?.unwrap_or(false),
            echo: fields.bool()?.unwrap_or(false),
        })
    }

    pub(super) fn write(&self, out: &mut BytesMut, channel: u16) {
        let optional = |fields: &mut Encoder<'_>, field: Option<u32>| match field {
            Some(number) => fields.uint(number),
            None => fields.null(),
        };
        write_performative(out, AMQP, channel, FLOW, |fields| {
            optional(fields, self.next_incoming_id);
            fields.uint(self.incoming_window);
            fields.uint(self.next_outgoing_id);
            fields.uint(self.outgoing_window);
            if self.handle.is_some() {
                optional(fields, self.handle);
                optional(fields, self.delivery_count);
                optional(fields, self.link_credit);
                optional(fields, self.available);
                fields.bool(self.drain);
                fields.bool(self.echo);
            }
        });
    }
}

impl Transfer {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        let handle = fields.uint()?.ok_or(MISSING)?;
        let delivery_id = fields.uint()?;
        fields.skip(1);
        let message_format = fields.uint()?;
        let settled = fields.bool()?;
        let more = fields.bool()?.unwrap_or(false);
        fields.skip(3);
        let aborted = fields.bool()?.unwrap_or(false);
        Ok(Self { handle, delivery_id, message_format, settled, more, aborted })
    }
}

impl Disposition {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        let of_receiver = fields.bool()?.ok_or(MISSING)?;
        let first = fields.uint()?.ok_or(MISSING)?;
        let last = fields.uint()?.unwrap_or(first);
        let settled = fields.bool()?.unwrap_or(false);
        let state = match fields.value() {
            Value::Null => None,
            state => Some(State::read(state)?),
        };
        Ok(Self { of_receiver, first, last, settled, state })
    }
}

impl Detach {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        let handle = fields.uint()?.ok_or(MISSING)?;
        Ok(Self { handle, closed: fields.bool()?.unwrap_or(false) })
    }
}

impl State {
    fn read(state: Value) -> Result<Self, Malformed> {
        let (code, mut fields) =
            described_list(state).ok_or(Malformed("the state of a delivery is a list"))?;
        Ok(match code {
            Some(RECEIVED) => Self::Received,
            Some(ACCEPTED) => Self::Accepted,
            Some(REJECTED) => {
                let (condition, description, info) = match described_list(fields.value()) {
                    Some((_, mut error)) => (error.text()?, error.text()?, error.value()),
                    None => (None, None, Value::Null),
                };
                let (condition, description) =
                    (condition.unwrap_or_default(), description.unwrap_or_default());
                Self::Rejected { condition, description, info }
            }
            Some(RELEASED) => Self::Released,
            Some(MODIFIED) => Self::Modified {
                delivery_failed: fields.bool()?.unwrap_or(false),
                undeliverable_here: fields.bool()?.unwrap_or(false),
            },
            _ => Self::Other,
        })
    }

    /// The descriptor of the outcome; accepted where it is none that could be repeated.
    pub(super) fn code(&self) -> u64 {
        match self {
            Self::Rejected { .. } => REJECTED,
            Self::Released => RELEASED,
            Self::Modified { .. } => MODIFIED,
            Self::Received | Self::Accepted | Self::Other => ACCEPTED,
        }
    }
}

/// The number that describes a list, and its fields.
pub(super) fn described_list(value: Value) -> Option<(Option<u64>, Fields)> {
    let Value::Described(described) = value else { return None };
    let (descriptor, Value::List(fields)) = *described else { return None };
    let code = match descriptor {
        Value::Ulong(code) => Some(code),
        Value::Symbol(name) => NAMES.iter().find(|(known, _)| *known == name.as_str()).map(|(_, code)| *code),
        _ => None,
    };
    Some((code, Fields::new(fields)))
}

const MISSING: Malformed = Malformed("a field that must be there is missing");
const UNKNOWN: Malformed = Malformed("a performative that there is not");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_read_as_they_were_written() {
        let flow = Flow {
            next_incoming_id: Some(1),
            incoming_window: 5000,
            handle: Some(3),
            link_credit: Some(77),
            drain: true,
            ..Flow::default()
        };
        let mut out = BytesMut::new();
        flow.write(&mut out, 9);
        let body = out.freeze().slice(8..);
        let Ok(Performative::Flow(read)) = Performative::decode(body) else { panic!("a flow") };
        assert_eq!((read.next_incoming_id, read.handle, read.link_credit), (Some(1), Some(3), Some(77)));
        assert!(read.drain && !read.echo);
    }

    #[test]
    fn what_is_no_performative_is_refused() {
        for body in
            [b"".as_slice(), b"\x00", b"\x00\x53\x10\x40", b"\x00\x53\x10\x45", b"\x00\x53\x99\x45", b"\x45"]
        {
            assert!(Performative::decode(Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
    }
}
