//! Messages as AMQP writes them (part 3.2 of the standard): sections, one after the other.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::{
    codec::{Decoder, Encoder, Malformed, Value},
    namespace::{Entries, Incoming},
};

pub(crate) const HEADER: u64 = 0x70;
pub(crate) const DELIVERY_ANNOTATIONS: u64 = 0x71;
pub(crate) const MESSAGE_ANNOTATIONS: u64 = 0x72;
pub(crate) const PROPERTIES: u64 = 0x73;
pub(crate) const APPLICATION_PROPERTIES: u64 = 0x74;
pub(crate) const DATA: u64 = 0x75;
pub(crate) const SEQUENCE: u64 = 0x76;
pub(crate) const VALUE: u64 = 0x77;
pub(crate) const FOOTER: u64 = 0x78;

/// The sections by their other names.
const NAMES: &[(&str, u64)] = &[
    ("amqp:header:list", HEADER),
    ("amqp:delivery-annotations:map", DELIVERY_ANNOTATIONS),
    ("amqp:message-annotations:map", MESSAGE_ANNOTATIONS),
    ("amqp:properties:list", PROPERTIES),
    ("amqp:application-properties:map", APPLICATION_PROPERTIES),
    ("amqp:data:binary", DATA),
    ("amqp:amqp-sequence:list", SEQUENCE),
    ("amqp:amqp-value:*", VALUE),
    ("amqp:footer:map", FOOTER),
];

/// A whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds for which it lives.
    pub ttl: Option<u32>,
    /// How often it was delivered in vain.
    pub delivery_count: u32,
    /// For the next receiver alone.
    pub delivery_annotations: Vec<(Value, Value)>,
    /// Of those who carry it.
    pub annotations: Vec<(Value, Value)>,
    /// What the standard names.
    pub properties: Properties,
    /// What the application names.
    pub application_properties: Vec<(Value, Value)>,
    /// What it says.
    pub body: Body,
}

/// The section `properties`: what the standard names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// A string, number, UUID or some bytes.
    pub message_id: Option<Value>,
    /// Who sends.
    pub user_id: Option<Bytes>,
    /// Where it goes.
    pub to: Option<String>,
    /// What it is about; Service Bus calls this the label.
    pub subject: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// What it answers; of the same types as an id.
    pub correlation_id: Option<Value>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// How the body is packed.
    pub content_encoding: Option<String>,
    /// When it is no longer of use, in milliseconds since 1970.
    pub absolute_expiry_time: Option<i64>,
    /// When it was made, in milliseconds since 1970.
    pub creation_time: Option<i64>,
    /// The session to which it belongs.
    pub group_id: Option<String>,
    /// Its place in there.
    pub group_sequence: Option<u32>,
    /// The session to which answers belong.
    pub reply_to_group_id: Option<String>,
}

/// What a message says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// Nothing, which the standard does not allow and clients send all the same.
    #[default]
    Empty,
    /// Bytes, in one or more sections.
    Data(Vec<Bytes>),
    /// Lists, in one or more sections.
    Sequence(Vec<Value>),
    /// One value.
    Value(Value),
}

impl Message {
    /// Reads all sections.
    ///
    /// # Errors
    ///
    /// The bytes are not sections in their order.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut message = Self::default();
        let mut sections = Sections::new(bytes);
        while let Some(section) = sections.next_section()? {
            let value = sections.decoder.value()?;
            match (section, value) {
                (HEADER, Value::List(fields)) => {
                    let mut fields = Fields::new(fields);
                    fields.skip(2);
                    message.ttl = fields.uint()?;
                    fields.skip(1);
                    message.delivery_count = fields.uint()?.unwrap_or(0);
                }
                (DELIVERY_ANNOTATIONS, Value::Map(entries)) => message.delivery_annotations = entries,
                (MESSAGE_ANNOTATIONS, Value::Map(entries)) => message.annotations = entries,
                (PROPERTIES, Value::List(fields)) => message.properties = Properties::read(fields)?,
                (APPLICATION_PROPERTIES, Value::Map(entries)) => message.application_properties = entries,
                (DATA, Value::Binary(data)) => match &mut message.body {
                    Body::Data(parts) => parts.push(data),
                    body => *body = Body::Data(vec![data]),
                },
                (SEQUENCE, list @ Value::List(_)) => match &mut message.body {
                    Body::Sequence(parts) => parts.push(list),
                    body => *body = Body::Sequence(vec![list]),
                },
                (VALUE, value) => message.body = Body::Value(value),
                (FOOTER, Value::Map(_)) => (),
                _ => return Err(Malformed("a section of a message is of another type")),
            }
        }
        Ok(message)
    }

    /// Writes all sections that say something.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        if self.ttl.is_some() || self.delivery_count != 0 {
            write_header(&mut out, self.ttl, self.delivery_count);
        }
        write_map(&mut out, DELIVERY_ANNOTATIONS, &self.delivery_annotations);
        write_map(&mut out, MESSAGE_ANNOTATIONS, &self.annotations);
        self.encode_bare_to(&mut out);
        out.freeze()
    }

    /// Writes what the sender alone decides on: properties, application properties and body.
    pub fn encode_bare(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode_bare_to(&mut out);
        out.freeze()
    }

    fn encode_bare_to(&self, out: &mut BytesMut) {
        if self.properties != Properties::default() {
            self.properties.write(out);
        }
        write_map(out, APPLICATION_PROPERTIES, &self.application_properties);
        let mut encoder = Encoder::new(out);
        match &self.body {
            Body::Empty => (),
            Body::Data(parts) => {
                for part in parts {
                    encoder.descriptor(DATA);
                    encoder.binary(part);
                }
            }
            Body::Sequence(parts) => {
                for part in parts {
                    encoder.descriptor(SEQUENCE);
                    encoder.value(part);
                }
            }
            Body::Value(value) => {
                encoder.descriptor(VALUE);
                encoder.value(value);
            }
        }
    }

    /// An application property.
    pub fn application_property(&self, name: &str) -> Option<&Value> {
        self.application_properties.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }
}

impl Properties {
    fn read(fields: Vec<Value>) -> Result<Self, Malformed> {
        let mut fields = Fields::new(fields);
        Ok(Self {
            message_id: fields.id()?,
            user_id: fields.binary()?,
            to: fields.text()?,
            subject: fields.text()?,
            reply_to: fields.text()?,
            correlation_id: fields.id()?,
            content_type: fields.text()?,
            content_encoding: fields.text()?,
            absolute_expiry_time: fields.timestamp()?,
            creation_time: fields.timestamp()?,
            group_id: fields.text()?,
            group_sequence: fields.uint()?,
            reply_to_group_id: fields.text()?,
        })
    }

    fn write(&self, out: &mut BytesMut) {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
        let symbol = |text: &Option<String>| text.clone().map_or(Value::Null, Value::symbol);
        let time = |time: Option<i64>| time.map_or(Value::Null, Value::Timestamp);
        let mut fields = vec![
            self.message_id.clone().unwrap_or(Value::Null),
            self.user_id.clone().map_or(Value::Null, Value::Binary),
            text(&self.to),
            text(&self.subject),
            text(&self.reply_to),
            self.correlation_id.clone().unwrap_or(Value::Null),
            symbol(&self.content_type),
            symbol(&self.content_encoding),
            time(self.absolute_expiry_time),
            time(self.creation_time),
            text(&self.group_id),
            self.group_sequence.map_or(Value::Null, Value::Uint),
            text(&self.reply_to_group_id),
        ];
        while fields.last().is_some_and(Value::is_null) {
            fields.pop();
        }
        let mut encoder = Encoder::new(out);
        encoder.descriptor(PROPERTIES);
        encoder.value(&Value::List(fields));
    }
}

impl Body {
    /// Its bytes, where it has some.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Empty => Some(Bytes::new()),
            Self::Data(parts) => Some(match parts.as_slice() {
                [part] => part.clone(),
                parts => parts.concat().into(),
            }),
            Self::Value(Value::Binary(bytes)) => Some(bytes.clone()),
            Self::Value(Value::String(text)) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Self::Sequence(_) | Self::Value(_) => None,
        }
    }
}

impl Incoming {
    /// Takes a message as it was sent. Only what a namespace looks at is read.
    ///
    /// # Errors
    ///
    /// The bytes are not the sections of a message in their order.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut incoming = Self::default();
        let mut bare = None;
        let mut end = bytes.len();
        let mut sections = Sections::new(bytes.clone());
        loop {
            let start = bytes.len() - sections.decoder.remaining();
            let Some(section) = sections.next_section()? else { break };
            match section {
                FOOTER => end = start,
                PROPERTIES.. => bare = bare.or(Some(start)),
                _ => (),
            }
            match section {
                HEADER => {
                    let Value::List(fields) = sections.decoder.value()? else {
                        return Err(Malformed("a header is a list"));
                    };
                    let mut fields = Fields::new(fields);
                    fields.skip(2);
                    incoming.ttl = fields.uint()?.map(|ttl| Duration::from_millis(ttl.into()));
                }
                MESSAGE_ANNOTATIONS => {
                    let (encoded, count) = sections.decoder.map_entries()?;
                    incoming.annotations = Entries { encoded: Bytes::copy_from_slice(&encoded), count };
                }
                PROPERTIES => {
                    let Value::List(fields) = sections.decoder.value()? else {
                        return Err(Malformed("properties are a list"));
                    };
                    let id = Properties::read(fields)?.message_id;
                    incoming.message_id = id.as_ref().and_then(id_text);
                }
                _ => sections.decoder.skip()?,
            }
        }
        if let Some(start) = bare {
            // A copy, so that a message that stays long does not keep what came with it.
            incoming.bare = Bytes::copy_from_slice(&bytes[start..end]);
        }
        Ok(incoming)
    }

    /// Takes the messages of a batch (message format 0x80013700): each is the content of a section of data.
    ///
    /// # Errors
    ///
    /// The bytes are not such a batch.
    pub fn decode_batch(bytes: Bytes) -> Result<Vec<Self>, Malformed> {
        let mut messages = Vec::new();
        let mut sections = Sections::new(bytes);
        while let Some(section) = sections.next_section()? {
            match section {
                DATA => match sections.decoder.value()? {
                    Value::Binary(message) => messages.push(Self::decode(message)?),
                    _ => return Err(Malformed("data are binary")),
                },
                SEQUENCE | VALUE => return Err(Malformed("the messages of a batch are data")),
                _ => sections.decoder.skip()?,
            }
        }
        Ok(messages)
    }
}

/// The text by which messages with this id are told apart.
pub(crate) fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text.clone()),
        Value::Ulong(number) => Some(number.to_string()),
        Value::Uuid(uuid) => Some(uuid.to_string()),
        Value::Binary(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        _ => None,
    }
}

/// Walks over the sections of a message, and checks their order.
#[derive(Debug)]
pub(crate) struct Sections {
    pub(crate) decoder: Decoder,
    last: u64,
}

impl Sections {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { decoder: Decoder::new(bytes), last: 0 }
    }

    /// The kind of the next section, whose content is to be taken from the decoder; nothing at the end.
    pub(crate) fn next_section(&mut self) -> Result<Option<u64>, Malformed> {
        if self.decoder.is_empty() {
            return Ok(None);
        }
        let section = self.decoder.descriptor(NAMES)?.ok_or(Malformed("a section that there is not"))?;
        if !(HEADER..=FOOTER).contains(&section) {
            return Err(Malformed("a section that there is not"));
        }
        let repeats = section == self.last && matches!(section, DATA | SEQUENCE);
        let second_body = (DATA..=VALUE).contains(&section) && (DATA..=VALUE).contains(&self.last);
        if !repeats && (section <= self.last || second_body) {
            return Err(Malformed("the sections of a message are out of order"));
        }
        self.last = section;
        Ok(Some(section))
    }
}

/// Writes a header of what a queue knows.
pub(crate) fn write_header(out: &mut BytesMut, ttl: Option<u32>, delivery_count: u32) {
    let mut encoder = Encoder::new(out);
    encoder.descriptor(HEADER);
    encoder.list(|fields| {
        fields.null();
        fields.null();
        match ttl {
            Some(ttl) => fields.uint(ttl),
            None => fields.null(),
        }
        fields.null();
        fields.uint(delivery_count);
    });
}

fn write_map(out: &mut BytesMut, section: u64, entries: &[(Value, Value)]) {
    if !entries.is_empty() {
        let mut encoder = Encoder::new(out);
        encoder.descriptor(section);
        encoder.map(|map| map.entries(entries));
    }
}

/// The fields of a list, in their order; those that are missing at its end are null.
#[derive(Debug)]
pub(crate) struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    pub(crate) fn new(fields: Vec<Value>) -> Self {
        Self(fields.into_iter())
    }

    pub(crate) fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.value();
        }
    }

    pub(crate) fn value(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Null)
    }

    pub(crate) fn bool(&mut self) -> Result<Option<bool>, Malformed> {
        self.typed(|value| match value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn ubyte(&mut self) -> Result<Option<u8>, Malformed> {
        self.typed(|value| match value {
            Value::Ubyte(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn ushort(&mut self) -> Result<Option<u16>, Malformed> {
        self.typed(|value| match value {
            Value::Ushort(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn uint(&mut self) -> Result<Option<u32>, Malformed> {
        self.typed(|value| match value {
            Value::Uint(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn timestamp(&mut self) -> Result<Option<i64>, Malformed> {
        self.typed(|value| match value {
            Value::Timestamp(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn binary(&mut self) -> Result<Option<Bytes>, Malformed> {
        self.typed(|value| match value {
            Value::Binary(value) => Some(value),
            _ => None,
        })
    }

    /// A string or a symbol: clients mix them up.
    pub(crate) fn text(&mut self) -> Result<Option<String>, Malformed> {
        self.typed(|value| match value {
            Value::String(value) => Some(value),
            Value::Symbol(value) => Some(value.0.into_owned()),
            _ => None,
        })
    }

    fn id(&mut self) -> Result<Option<Value>, Malformed> {
        self.typed(|value| id_text(&value).is_some().then_some(value))
    }

    fn typed<T>(&mut self, read: impl FnOnce(Value) -> Option<T>) -> Result<Option<T>, Malformed> {
        match self.value() {
            Value::Null => Ok(None),
            value => read(value).map(Some).ok_or(Malformed("a field is of another type")),
        }
    }
}

#[cfg(test)]
mod tests;
