//! A client that says exactly what a test wants, by the emulator's own codec.

use std::{collections::VecDeque, fmt};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use servicebus_emulator::{
    Emulator,
    codec::{Decoder, Encoder, Value},
    message::{Body, Message, Properties},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{token, within};

pub(crate) const OPEN: u64 = 0x10;
pub(crate) const BEGIN: u64 = 0x11;
pub(crate) const ATTACH: u64 = 0x12;
pub(crate) const FLOW: u64 = 0x13;
pub(crate) const TRANSFER: u64 = 0x14;
pub(crate) const DISPOSITION: u64 = 0x15;
pub(crate) const DETACH: u64 = 0x16;
pub(crate) const END: u64 = 0x17;
pub(crate) const CLOSE: u64 = 0x18;

pub(crate) const ACCEPTED: u64 = 0x24;
pub(crate) const REJECTED: u64 = 0x25;
pub(crate) const RELEASED: u64 = 0x26;
pub(crate) const MODIFIED: u64 = 0x27;

pub(crate) const AMQP_HEADER: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
pub(crate) const SASL_HEADER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Stream for T {}

/// A frame of the emulator.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) channel: u16,
    /// 0: it is empty.
    pub(crate) code: u64,
    fields: Vec<Value>,
    pub(crate) payload: Bytes,
}

impl Frame {
    pub(crate) fn field(&self, index: usize) -> &Value {
        self.fields.get(index).unwrap_or(&Value::Null)
    }

    pub(crate) fn number(&self, index: usize) -> u64 {
        self.field(index).as_u64().unwrap_or_else(|| panic!("no number at {index}: {self:?}"))
    }

    /// The condition of the error that is this field.
    pub(crate) fn condition(&self, index: usize) -> &str {
        condition(self.field(index))
    }
}

/// The condition of an error.
pub(crate) fn condition(error: &Value) -> &str {
    match error {
        Value::Described(described) => described.1.elements().first().and_then(Value::as_str).unwrap_or(""),
        _ => "",
    }
}

/// What describes a value.
pub(crate) fn code(value: &Value) -> u64 {
    match value {
        Value::Described(described) => described.0.as_u64().unwrap_or(0),
        _ => 0,
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    input: BytesMut,
    out: BytesMut,
    /// Frames that came while another was waited for.
    early: VecDeque<Frame>,
    next_delivery: u32,
}

impl Peer {
    /// Connects, and says nothing.
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        let socket =
            within(TcpStream::connect(("127.0.0.1", emulator.amqp_port()))).await.expect("it listens");
        socket.set_nodelay(true).expect("a socket");
        Self::over(socket)
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            input: BytesMut::new(),
            out: BytesMut::new(),
            early: VecDeque::new(),
            next_delivery: 0,
        }
    }

    /// An open connection with a session on channel 0 that has a claim for everything.
    pub(crate) async fn ready(emulator: &Emulator) -> Self {
        let mut peer = Self::connect(emulator).await;
        peer.log_in().await;
        peer
    }

    pub(crate) async fn log_in(&mut self) {
        self.open(vec![]).await;
        self.begin(0, 5000).await;
        assert_eq!(self.put_token("sb://localhost/", &token()).await, 202);
    }

    /// Opens without SASL; `fields` come after the container and the host name.
    pub(crate) async fn open(&mut self, fields: Vec<Value>) -> Frame {
        self.write(AMQP_HEADER).await;
        assert_eq!(self.read(8).await.as_ref(), AMQP_HEADER);
        self.say(0, OPEN, [vec!["test".into(), Value::Null], fields].concat()).await;
        self.expect(OPEN).await
    }

    /// Says a mechanism and its response; gives the code of the outcome.
    pub(crate) async fn sasl(&mut self, mechanism: &'static str, response: &[u8]) -> u64 {
        self.write(SASL_HEADER).await;
        assert_eq!(self.read(8).await.as_ref(), SASL_HEADER);
        self.expect(0x40).await;
        let response = Value::Binary(Bytes::copy_from_slice(response));
        self.queue(0, 0x41, vec![Value::symbol(mechanism), response], &[]);
        // The kind of a frame of SASL.
        self.out[5] = 1;
        self.flush().await;
        self.expect(0x44).await.number(0)
    }

    pub(crate) async fn begin(&mut self, channel: u16, incoming_window: u32) -> Frame {
        let fields = vec![Value::Null, Value::Uint(0), Value::Uint(incoming_window), Value::Uint(5000)];
        self.say(channel, BEGIN, fields).await;
        self.expect(BEGIN).await
    }

    /// Attaches links 250 and 251 to `$cbs` of the session of channel 0, puts a token, and detaches them. The status.
    pub(crate) async fn put_token(&mut self, audience: &str, token: &str) -> i64 {
        let request = Message {
            application_properties: vec![
                ("operation".into(), "put-token".into()),
                ("type".into(), "servicebus.windows.net:sastoken".into()),
                ("name".into(), Value::string(audience)),
            ],
            body: Body::Value(Value::string(token)),
            ..Message::default()
        };
        let reply = self.request("$cbs", request).await;
        reply.application_property("status-code").and_then(Value::as_i64).expect("a status")
    }

    /// Asks a node over links of its own.
    pub(crate) async fn request(&mut self, node: &str, mut message: Message) -> Message {
        message.properties = Properties {
            message_id: Some(Value::Ulong(7)),
            reply_to: Some("here".to_owned()),
            ..Properties::default()
        };
        self.attach_receiver(0, 251, node, "here", Mode::Mixed).await;
        let attached = self.attach_sender(0, 250, node).await;
        assert_eq!(attached.code, FLOW, "{attached:?}");
        self.credit(0, 251, 0, 10).await;
        self.send(0, 250, &message.encode(), true).await;
        let reply = self.expect(TRANSFER).await;
        let reply = Message::decode(reply.payload).expect("a message");
        assert_eq!(reply.properties.correlation_id, Some(Value::Ulong(7)));
        for handle in [250, 251] {
            self.detach(0, handle).await;
        }
        reply
    }

    /// Attaches as a sender; gives the flow that brings credit, or the detach.
    pub(crate) async fn attach_sender(&mut self, channel: u16, handle: u32, address: &str) -> Frame {
        self.attach_sender_settling(channel, handle, address, 0).await
    }

    pub(crate) async fn attach_sender_settling(
        &mut self,
        channel: u16,
        handle: u32,
        address: &str,
        rcv_settle_mode: u8,
    ) -> Frame {
        self.say(
            channel,
            ATTACH,
            vec![
                Value::string(format!("sender-{handle}")),
                Value::Uint(handle),
                Value::Bool(false),
                Value::Ubyte(0),
                Value::Ubyte(rcv_settle_mode),
                source("here"),
                target(address),
                Value::Null,
                Value::Null,
                Value::Uint(0),
            ],
        )
        .await;
        self.expect(ATTACH).await;
        self.expect_one_of(&[FLOW, DETACH]).await
    }

    /// Attaches link 0 as it is attached already.
    pub(crate) async fn attach_sender_again(&mut self, channel: u16) {
        let fields = vec!["again".into(), Value::Uint(0), Value::Bool(false), Value::Null, Value::Null];
        self.say(channel, ATTACH, [fields, vec![source("here"), target("orders")]].concat()).await;
    }

    /// Attaches as a receiver; gives the answer.
    pub(crate) async fn attach_receiver(
        &mut self,
        channel: u16,
        handle: u32,
        address: &str,
        to: &str,
        mode: Mode,
    ) -> Frame {
        let (sends, receives) = match mode {
            Mode::Mixed => (2, 0),
            Mode::PeekLock => (0, 1),
            Mode::ReceiveAndDelete => (1, 0),
        };
        self.say(
            channel,
            ATTACH,
            vec![
                Value::string(format!("receiver-{handle}")),
                Value::Uint(handle),
                Value::Bool(true),
                Value::Ubyte(sends),
                Value::Ubyte(receives),
                source(address),
                target(to),
            ],
        )
        .await;
        self.expect(ATTACH).await
    }

    pub(crate) async fn credit(&mut self, channel: u16, handle: u32, delivery_count: u32, credit: u32) {
        self.flow(channel, 0, 5000, Some((handle, delivery_count, credit, false))).await;
    }

    /// A flow of the session, and perhaps of a link: handle, delivery-count, credit and drain.
    pub(crate) async fn flow(
        &mut self,
        channel: u16,
        next_incoming_id: u32,
        window: u32,
        link: Option<(u32, u32, u32, bool)>,
    ) {
        let mut fields =
            vec![Value::Uint(next_incoming_id), Value::Uint(window), Value::Uint(0), Value::Uint(5000)];
        if let Some((handle, delivery_count, credit, drain)) = link {
            fields.extend([Value::Uint(handle), Value::Uint(delivery_count), Value::Uint(credit)]);
            fields.extend([Value::Null, Value::Bool(drain)]);
        }
        self.say(channel, FLOW, fields).await;
    }

    /// Sends a message in one frame; gives its delivery-id.
    pub(crate) async fn send(&mut self, channel: u16, handle: u32, message: &[u8], settled: bool) -> u32 {
        self.send_part(channel, handle, message, 0, settled, false).await
    }

    pub(crate) async fn send_part(
        &mut self,
        channel: u16,
        handle: u32,
        message: &[u8],
        format: u32,
        settled: bool,
        more: bool,
    ) -> u32 {
        let id = self.next_delivery;
        if !more {
            self.next_delivery += 1;
        }
        let fields = vec![
            Value::Uint(handle),
            Value::Uint(id),
            Value::Binary(Bytes::copy_from_slice(&id.to_be_bytes())),
            Value::Uint(format),
            Value::Bool(settled),
            Value::Bool(more),
        ];
        self.say_with(channel, TRANSFER, fields, message).await;
        id
    }

    /// Settles deliveries, or says how they end: `state` is one of the outcomes, without content.
    pub(crate) async fn dispose(
        &mut self,
        channel: u16,
        (first, last): (u32, u32),
        settled: bool,
        state: Value,
    ) {
        let fields =
            vec![Value::Bool(true), Value::Uint(first), Value::Uint(last), Value::Bool(settled), state];
        self.say(channel, DISPOSITION, fields).await;
    }

    pub(crate) async fn detach(&mut self, channel: u16, handle: u32) {
        self.say(channel, DETACH, vec![Value::Uint(handle), Value::Bool(true)]).await;
        self.expect(DETACH).await;
    }

    pub(crate) async fn say(&mut self, channel: u16, code: u64, fields: Vec<Value>) {
        self.say_with(channel, code, fields, &[]).await;
    }

    /// Writes a frame later, with the next one.
    pub(crate) fn queue(&mut self, channel: u16, code: u64, fields: Vec<Value>, payload: &[u8]) {
        let start = self.out.len();
        self.out.put_u32(0);
        self.out.put_u16(0x0200);
        self.out.put_u16(channel);
        Encoder::new(&mut self.out).value(&Value::described(code, Value::List(fields)));
        self.out.put_slice(payload);
        let length = u32::try_from(self.out.len() - start).expect("short").to_be_bytes();
        self.out[start..start + 4].copy_from_slice(&length);
    }

    pub(crate) async fn say_with(&mut self, channel: u16, code: u64, fields: Vec<Value>, payload: &[u8]) {
        self.queue(channel, code, fields, payload);
        self.flush().await;
    }

    pub(crate) async fn flush(&mut self) {
        let bytes = self.out.split();
        self.write(&bytes).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.expect("it can be written");
        within(self.stream.flush()).await.expect("it can be written");
    }

    pub(crate) async fn read(&mut self, len: usize) -> Bytes {
        assert!(self.fill(len).await, "the connection is over");
        self.input.split_to(len).freeze()
    }

    /// Whether so many bytes come before the end.
    async fn fill(&mut self, len: usize) -> bool {
        while self.input.len() < len {
            self.input.reserve(64 * 1024);
            match within(self.stream.read_buf(&mut self.input)).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => (),
            }
        }
        true
    }

    /// The next frame; none where the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.early.pop_front() {
            return Some(frame);
        }
        self.next_read().await
    }

    /// The next frame, however long it takes.
    pub(crate) async fn next_frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.next().await {
                return frame;
            }
        }
    }

    async fn next_read(&mut self) -> Option<Frame> {
        if !self.fill(8).await {
            return None;
        }
        let length = u32::from_be_bytes(self.input[..4].try_into().expect("four bytes")) as usize;
        if !self.fill(length).await {
            return None;
        }
        let mut frame = self.input.split_to(length).freeze();
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        frame.advance(8);
        if frame.is_empty() {
            return Some(Frame { channel, code: 0, fields: Vec::new(), payload: frame });
        }
        let mut decoder = Decoder::new(frame);
        let code = decoder.descriptor(&[]).expect("a performative").expect("a number");
        let Ok(Value::List(fields)) = decoder.value() else { panic!("a performative is a list") };
        Some(Frame { channel, code, fields, payload: decoder.rest() })
    }

    /// The next frame of this kind. Empty ones are passed over; others wait until they are asked for.
    pub(crate) async fn expect(&mut self, code: u64) -> Frame {
        self.expect_one_of(&[code]).await
    }

    pub(crate) async fn expect_one_of(&mut self, codes: &[u64]) -> Frame {
        if let Some(place) = self.early.iter().position(|frame| codes.contains(&frame.code)) {
            return self.early.remove(place).expect("it is there");
        }
        loop {
            let frame =
                self.next_read().await.unwrap_or_else(|| panic!("the connection is over before {codes:x?}"));
            if codes.contains(&frame.code) {
                return frame;
            }
            if frame.code != 0 {
                self.early.push_back(frame);
            }
        }
    }

    /// What came and was not asked for, up to the answer to something that is always answered.
    pub(crate) async fn rest(&mut self, channel: u16) -> Vec<Frame> {
        let echo = vec![
            Value::Null,
            Value::Uint(5000),
            Value::Uint(0),
            Value::Uint(5000),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
        ];
        self.say(channel, FLOW, echo).await;
        let mut frames: Vec<Frame> = self.early.drain(..).collect();
        loop {
            let frame = self.next_read().await.expect("an answer");
            if frame.code == FLOW && frame.channel == channel && frame.field(4).is_null() {
                return frames;
            }
            if frame.code != 0 {
                frames.push(frame);
            }
        }
    }

    /// Waits for the end of the connection.
    pub(crate) async fn end(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// How a receiver wants messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Mixed,
    PeekLock,
    ReceiveAndDelete,
}

/// An outcome without content.
pub(crate) fn outcome(code: u64) -> Value {
    Value::described(code, Value::List(vec![]))
}

/// A message of some bytes.
pub(crate) fn data(bytes: &[u8]) -> Bytes {
    Message { body: Body::Data(vec![Bytes::copy_from_slice(bytes)]), ..Message::default() }.encode()
}

/// The bytes of a message.
pub(crate) fn bytes_of(message: Bytes) -> Bytes {
    Message::decode(message).expect("a message").body.bytes().expect("some bytes")
}

fn source(address: &str) -> Value {
    Value::described(0x28, Value::List(vec![Value::string(address)]))
}

fn target(address: &str) -> Value {
    Value::described(0x29, Value::List(vec![Value::string(address)]))
}
