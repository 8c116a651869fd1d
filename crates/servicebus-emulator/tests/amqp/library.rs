//! `fe2o3-amqp` against the emulator: the library that the provider uses.

use std::fmt;

use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::{ReceiverSettleMode, SenderSettleMode},
        messaging::{Body, Data, Message, Outcome, Source, Target, annotations::OwnedKey},
        primitives::{Binary, Symbol, Value},
    },
};
use fe2o3_amqp_cbs::{client::CbsClient, token::CbsToken};
use servicebus_emulator::{Emulator, Mode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::support::{start, token, within};

const SUBSCRIPTION: &str = "orders/Subscriptions/all";

/// A connection with a claim for everything.
pub(crate) struct Client {
    connection: ConnectionHandle<()>,
    _cbs: CbsClient,
    _cbs_session: SessionHandle<()>,
    sessions: Vec<SessionHandle<()>>,
}

impl Client {
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", emulator.amqp_port())).await.expect("it listens");
        socket.set_nodelay(true).expect("a socket");
        Self::over(socket).await
    }

    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static,
    ) -> Self {
        within(async {
            let mut connection = Connection::builder()
                .container_id("test")
                .hostname("localhost")
                .sasl_profile(SaslProfile::Anonymous)
                .open_with_stream(stream)
                .await
                .expect("an open connection");
            let mut session = Session::begin(&mut connection).await.expect("a session");
            let mut cbs = CbsClient::attach(&mut session).await.expect("links to $cbs");
            let token = CbsToken::new(token(), "servicebus.windows.net:sastoken", None);
            cbs.put_token("amqp://localhost/", token).await.expect("a good token");
            Self { connection, _cbs: cbs, _cbs_session: session, sessions: Vec::new() }
        })
        .await
    }

    async fn session(&mut self) -> &mut SessionHandle<()> {
        let session = within(Session::begin(&mut self.connection)).await.expect("a session");
        self.sessions.push(session);
        self.sessions.last_mut().expect("it was pushed")
    }

    pub(crate) async fn sender(&mut self, topic: &str) -> Sender {
        let session = self.session().await;
        let sender = Sender::builder()
            .name(format!("to {topic}"))
            .source(Source::default())
            .target(Target::builder().address(topic).build())
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .attach(session);
        within(sender).await.expect("a link")
    }

    pub(crate) async fn receiver(&mut self, address: &str, mode: Mode) -> Receiver {
        let session = self.session().await;
        let (sends, receives) = match mode {
            Mode::PeekLock => (SenderSettleMode::Unsettled, ReceiverSettleMode::Second),
            Mode::ReceiveAndDelete => (SenderSettleMode::Settled, ReceiverSettleMode::First),
        };
        let receiver = Receiver::builder()
            .name(format!("from {address}"))
            .source(Source::builder().address(address).build())
            .target(Target::default())
            .sender_settle_mode(sends)
            .receiver_settle_mode(receives)
            .attach(session);
        within(receiver).await.expect("a link")
    }
}

pub(crate) fn message(bytes: &[u8]) -> Message<Data> {
    Message::builder().data(Binary::from(bytes)).build()
}

/// The bytes of the next message, and its number in the topic.
pub(crate) async fn next(receiver: &mut Receiver) -> (Vec<u8>, i64) {
    let delivery = within(receiver.recv::<Body<Value>>()).await.expect("a message");
    let annotations = delivery.message().message_annotations.as_ref().expect("annotations");
    let name = OwnedKey::from(Symbol::from("x-opt-enqueue-sequence-number"));
    let Some(Value::Long(number)) = annotations.get(&name).cloned() else { panic!("{annotations:?}") };
    let Body::Data(data) = delivery.body() else { panic!("data") };
    let bytes = data.iter().flat_map(|data| data.0.iter().copied()).collect();
    within(receiver.accept(&delivery)).await.expect("it settles");
    (bytes, number)
}

#[tokio::test]
async fn what_is_sent_is_received_in_both_modes() {
    let emulator = start().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    for mode in [Mode::PeekLock, Mode::ReceiveAndDelete] {
        let mut receiver = client.receiver(SUBSCRIPTION, mode).await;
        for text in ["one", "two", "three"] {
            let outcome = within(sender.send(message(text.as_bytes()))).await.expect("an outcome");
            assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        }
        let first = if mode == Mode::PeekLock { 1 } else { 4 };
        for (number, text) in (first..).zip(["one", "two", "three"]) {
            assert_eq!(next(&mut receiver).await, (text.as_bytes().to_vec(), number));
        }
        within(receiver.close()).await.expect("a link that closes");
        let counts = emulator.namespace().counts("orders", "all").expect("it is there");
        assert_eq!((counts.active, counts.locked), (0, 0));
    }
    within(sender.close()).await.expect("a link that closes");
    within(client.connection.close()).await.expect("a connection that closes");
}

#[tokio::test]
async fn long_messages_go_in_many_frames() {
    let emulator = start().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    let mut receiver = client.receiver(SUBSCRIPTION, Mode::PeekLock).await;
    for n in 0..5u8 {
        let bytes = vec![n; 200_000];
        within(sender.send(message(&bytes))).await.expect("an outcome");
        assert_eq!(next(&mut receiver).await, (bytes, i64::from(n) + 1));
    }
}

#[tokio::test]
async fn many_messages_may_be_under_way() {
    let emulator = start().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    let mut receiver = client.receiver(SUBSCRIPTION, Mode::ReceiveAndDelete).await;
    const COUNT: i64 = 3000;
    let sends = async {
        let mut outcomes = Vec::new();
        for n in 0..COUNT {
            outcomes.push(sender.send_batchable(message(&n.to_be_bytes())).await.expect("a link"));
        }
        for outcome in outcomes {
            assert!(matches!(outcome.await, Ok(Outcome::Accepted(_))));
        }
    };
    let receives = async {
        for n in 0..COUNT {
            assert_eq!(next(&mut receiver).await, (n.to_be_bytes().to_vec(), n + 1));
        }
    };
    within(async { tokio::join!(sends, receives) }).await;
}
