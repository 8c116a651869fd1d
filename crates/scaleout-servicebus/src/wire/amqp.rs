//! Service Bus over AMQP 1.0, through `fe2o3-amqp`, whose interfaces stay inside this module.
//!
//! All links of a node share one connection, each in a session of its own. A link that fails retires the connection:
//! the links that live stay on it, the next ones go over a new one. A connection that does not answer is cut, with all
//! that is on it.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::{ConnectionHandle, ConnectionStopReason, OpenError},
    link::{
        CreditMode, DispositionError, IllegalLinkStateError, LinkStateError, MessageSizeExceeded,
        ReceiverAttachError, RecvError, SendError, SenderAttachError, SessionStopReason,
        delivery::DeliveryInfo,
    },
    sasl_profile::SaslProfile,
    session::{BeginError, SessionHandle},
    transport::Error as TransportError,
    types::{
        definitions::{self, ErrorCondition, ReceiverSettleMode, SenderSettleMode},
        messaging::{
            Body, Data, Message, MessageId, Outcome, Properties, Source, Target, annotations::OwnedKey,
        },
        primitives::{Binary, Symbol, Timestamp, Value},
    },
};
use fe2o3_amqp_cbs::{client::CbsClient, token::CbsToken};
use fe2o3_amqp_management::error::{AttachError, Error as ManagementError};
use futures_util::{FutureExt, future::BoxFuture};
use rustls::{ClientConfig, pki_types::ServerName};
use scaleout_core::{Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

#[cfg(feature = "websocket")]
use super::websocket;
use super::{Answer, Delivery, FOREIGN_BODY, Inlet, Outgoing, Outlet, Wire, cut::Cuttable};
#[cfg(feature = "websocket")]
use crate::config::Protocol;
use crate::{
    config::{Reception, ServiceBusConfig},
    error::Failure,
    token::Tokens,
};

/// Frames of the size that SDKs use; the service takes up to 256 KiB on Standard.
const MAX_FRAME_BYTES: u32 = 65_536;

/// Sessions of one connection; the service takes up to 4,999.
const MAX_CHANNEL: u16 = 4_998;

/// The service's place of a message in its topic.
const ENQUEUED_SEQUENCE_NUMBER: &str = "x-opt-enqueue-sequence-number";

/// Connections to a namespace.
#[derive(Debug)]
pub(crate) struct Amqp {
    config: Arc<ServiceBusConfig>,
    tokens: Arc<Tokens>,
    /// `None` for the emulator, which has none.
    tls: Option<Arc<ClientConfig>>,
    /// For all links, but those of `receptions`. Held while a connection is made.
    current: Current,
    /// For links whose messages are lost with their connection: a send that is not answered must not end it.
    receptions: Current,
    /// Makes names of links.
    links: AtomicU64,
}

/// The connection for new links, if there is one.
type Current = tokio::sync::Mutex<Option<Arc<Link>>>;

/// One connection.
#[derive(Debug)]
struct Link {
    /// Held to begin a session.
    handle: tokio::sync::Mutex<ConnectionHandle<()>>,
    claims: tokio::sync::Mutex<Claims>,
    /// There are more claims to renew.
    claimed: Arc<Notify>,
    /// How long a request may take.
    limit: Duration,
    /// A link of it failed: new ones go elsewhere.
    retired: AtomicBool,
    cut: CancellationToken,
    /// Cuts what is left of it when the last link is gone.
    _guard: DropGuard,
}

/// What was put on a connection so that it may be used.
#[derive(Debug)]
struct Claims {
    client: CbsClient,
    /// Of the links of the client.
    session: SessionHandle<()>,
    audiences: Vec<String>,
    /// When the first of the tokens has to be renewed.
    renew_at: Option<SystemTime>,
}

impl Amqp {
    /// It connects to nothing.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where TLS cannot be set up.
    pub(crate) fn new(config: Arc<ServiceBusConfig>, tokens: Arc<Tokens>) -> Result<Self, Error> {
        let tls = if config.tls() { Some(config.client_tls()?) } else { None };
        let (current, receptions) = (Current::default(), Current::default());
        Ok(Self { config, tokens, tls, current, receptions, links: AtomicU64::new(0) })
    }

    /// A connection for a new link.
    async fn link(&self, current: &Current) -> Result<Arc<Link>, Failure> {
        let mut current = current.lock().await;
        if let Some(link) = current.as_ref().filter(|link| link.is_usable()) {
            return Ok(Arc::clone(link));
        }
        *current = None;
        let link = within(self.config.connect_timeout, self.connect()).await?;
        *current = Some(Arc::clone(&link));
        Ok(link)
    }

    async fn connect(&self) -> Result<Arc<Link>, Failure> {
        let config = &self.config;
        let socket = TcpStream::connect((config.host.as_str(), config.data_port())).await?;
        set_up(&socket)?;
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(config.host.clone()).map_err(|_| {
                    let problem = "servicebus settings: host is no name that a certificate can have";
                    Failure::Settings(Error::new(ErrorKind::Config, problem))
                })?;
                self.wrap(TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?).await
            }
            None => self.wrap(socket).await,
        }
    }

    /// Opens a connection over `stream`, in a WebSocket where that is configured.
    async fn wrap<S>(&self, stream: S) -> Result<Arc<Link>, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        #[cfg(feature = "websocket")]
        if self.config.protocol == Protocol::WebSocket {
            return self.open(websocket::open(stream, &self.config).await?).await;
        }
        self.open(stream).await
    }

    async fn open<S>(&self, stream: S) -> Result<Arc<Link>, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let cut = CancellationToken::new();
        let guard = cut.clone().drop_guard();
        let idle = u32::try_from(self.config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
        let mut handle = Connection::builder()
            .container_id(format!("scaleout-{}", uuid::Uuid::new_v4().simple()))
            .hostname(self.config.host.as_str())
            .max_frame_size(MAX_FRAME_BYTES)
            .channel_max(MAX_CHANNEL)
            .idle_time_out(idle)
            .sasl_profile(SaslProfile::Anonymous)
            .open_with_stream(Cuttable::new(stream, cut.clone()))
            .await
            .map_err(of_open)?;
        let mut session = Session::begin(&mut handle).await.map_err(of_begin)?;
        let client = CbsClient::attach(&mut session).await.map_err(of_attach)?;
        let claims = Claims { client, session, audiences: Vec::new(), renew_at: None };
        let link = Arc::new(Link {
            handle: tokio::sync::Mutex::new(handle),
            claims: tokio::sync::Mutex::new(claims),
            claimed: Arc::default(),
            limit: self.config.operation_timeout,
            retired: AtomicBool::new(false),
            cut,
            _guard: guard,
        });
        tokio::spawn(renew(Arc::downgrade(&link), link.cut.clone(), Arc::clone(&self.tokens)));
        tracing::debug!(app = %self.config.app, "an AMQP connection is open");
        Ok(link)
    }

    /// Begins a session of a connection that may use `address`; a failure retires the connection.
    async fn session(
        &self,
        current: &Current,
        address: &str,
    ) -> Result<(Arc<Link>, SessionHandle<()>), Failure> {
        let link = self.link(current).await?;
        let audience = self.audience(address);
        let limit = self.config.operation_timeout;
        // Links that are opened at the same time wait for each other: what is limited is each request, not the queue.
        let begun = async {
            link.claim(&self.tokens, audience).await?;
            let mut handle = link.handle.lock().await;
            within(limit, async { Session::begin(&mut handle).await.map_err(of_begin) }).await
        }
        .await;
        match begun {
            Ok(session) => Ok((link, session)),
            Err(failure) => {
                link.fail(&failure);
                Err(failure)
            }
        }
    }

    /// What a token is put for.
    fn audience(&self, address: &str) -> String {
        format!("amqps://{}/{address}", self.config.host)
    }

    fn name(&self, address: &str) -> String {
        format!("{address}-{}", self.links.fetch_add(1, Ordering::Relaxed))
    }
}

impl Wire for Amqp {
    fn outlet<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Box<dyn Outlet>, Failure>> {
        Box::pin(async move {
            let (link, mut session) = self.session(&self.current, topic).await?;
            let attached = within(self.config.operation_timeout, async {
                let sender = Sender::builder()
                    .name(self.name(topic))
                    .source(Source::default())
                    .target(Target::builder().address(topic).build())
                    .sender_settle_mode(SenderSettleMode::Unsettled)
                    .attach(&mut session)
                    .await;
                sender.map_err(of_sender_attach)
            })
            .await;
            match attached {
                Ok(sender) => Ok(Box::new(AmqpOutlet {
                    sender,
                    session,
                    link,
                    tokens: Arc::clone(&self.tokens),
                    audience: self.audience(topic),
                }) as Box<dyn Outlet>),
                Err(failure) => {
                    link.fail(&failure);
                    Err(failure)
                }
            }
        })
    }

    fn inlet<'a>(
        &'a self,
        topic: &'a str,
        subscription: &'a str,
        reception: Reception,
    ) -> BoxFuture<'a, Result<Box<dyn Inlet>, Failure>> {
        Box::pin(async move {
            let address = format!("{topic}/Subscriptions/{subscription}");
            // As Microsoft's clients do: a lock is settled by both sides, or the message is settled before it is sent.
            let (current, sends, receives) = match reception {
                Reception::PeekLock => {
                    (&self.current, SenderSettleMode::Unsettled, ReceiverSettleMode::Second)
                }
                Reception::ReceiveAndDelete => {
                    (&self.receptions, SenderSettleMode::Settled, ReceiverSettleMode::First)
                }
            };
            let (link, mut session) = self.session(current, &address).await?;
            let attached = within(self.config.operation_timeout, async {
                let receiver = Receiver::builder()
                    .name(self.name(&address))
                    .source(Source::builder().address(address.as_str()).build())
                    .target(Target::default())
                    .sender_settle_mode(sends)
                    .receiver_settle_mode(receives)
                    .credit_mode(CreditMode::Manual)
                    .attach(&mut session)
                    .await;
                receiver.map_err(of_receiver_attach)
            })
            .await;
            match attached {
                Ok(receiver) => Ok(Box::new(AmqpInlet {
                    receiver,
                    session,
                    link,
                    settles: reception == Reception::PeekLock,
                    credit: 0,
                    taken: Vec::new(),
                    unsettled: Vec::new(),
                    failed: None,
                }) as Box<dyn Inlet>),
                Err(failure) => {
                    link.fail(&failure);
                    Err(failure)
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for current in [&self.current, &self.receptions] {
                let Some(link) = current.lock().await.take() else { continue };
                let mut handle = link.handle.lock().await;
                // In good order if the service answers; else it is cut.
                let _ = timeout(self.config.operation_timeout / 4, handle.close()).await;
                link.cut.cancel();
            }
        })
    }
}

impl Link {
    fn is_usable(&self) -> bool {
        // Whoever has the handle begins a session, and finds out whether it is closed.
        let is_closed = || self.handle.try_lock().is_ok_and(|handle| handle.is_closed());
        !self.retired.load(Ordering::Relaxed) && !self.cut.is_cancelled() && !is_closed()
    }

    /// Puts a token on the connection that allows the use of `audience`.
    async fn claim(&self, tokens: &Tokens, audience: String) -> Result<(), Failure> {
        let mut claims = self.claims.lock().await;
        within(self.limit, claims.put(tokens, &audience)).await?;
        if !claims.audiences.contains(&audience) {
            claims.audiences.push(audience);
        }
        drop(claims);
        self.claimed.notify_one();
        Ok(())
    }

    /// Puts newer tokens in the place of those that expire soon.
    async fn renew(&self, tokens: &Tokens) -> Result<(), Failure> {
        let mut claims = self.claims.lock().await;
        claims.renew_at = None;
        for audience in claims.audiences.clone() {
            within(self.limit, claims.put(tokens, &audience)).await?;
        }
        Ok(())
    }

    /// Takes note of a link that failed: the next ones go over a new connection.
    fn fail(&self, failure: &Failure) {
        self.retired.store(true, Ordering::Relaxed);
        if matches!(failure, Failure::TimedOut { .. }) {
            self.cut.cancel();
        }
    }
}

impl Claims {
    async fn put(&mut self, tokens: &Tokens, audience: &str) -> Result<(), Failure> {
        match self.try_put(tokens, audience).await {
            Err(failure) if failure.is_unauthorized() && tokens.forget(audience) => {
                self.try_put(tokens, audience).await
            }
            put => put,
        }
    }

    async fn try_put(&mut self, tokens: &Tokens, audience: &str) -> Result<(), Failure> {
        let token = tokens.token(audience).await?;
        let expires_at = token.expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires_at = Timestamp::from(i64::try_from(expires_at.as_millis()).unwrap_or(i64::MAX));
        let put = CbsToken::new(token.text.expose(), token.kind.as_str(), expires_at);
        tokio::select! {
            biased;
            put = self.client.put_token(audience, put) => put.map_err(of_management)?,
            // As with other sends.
            _ = self.session.on_end() => return Err(Failure::Closed),
        }
        let renew_at = token.renew_at;
        self.renew_at = Some(self.renew_at.map_or(renew_at, |earlier| earlier.min(renew_at)));
        Ok(())
    }
}

/// Renews the tokens of a connection before they expire, for as long as it lives.
async fn renew(link: Weak<Link>, cut: CancellationToken, tokens: Arc<Tokens>) {
    /// The clock by which tokens expire may be set while it is waited.
    const LOOK: Duration = Duration::from_secs(10);
    loop {
        // The connection ends when nobody else has it any more: `cut` tells.
        let Some(link) = link.upgrade() else { return };
        let claimed = Arc::clone(&link.claimed);
        let due = link.claims.lock().await.renew_at;
        let due_in = due.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        if due_in.is_none_or(|due_in| !due_in.is_zero()) {
            drop(link);
            tokio::select! {
                () = cut.cancelled() => return,
                () = claimed.notified() => {}
                () = sleep(due_in.map_or(LOOK, |due_in| due_in.min(LOOK))) => {}
            }
            continue;
        }
        if let Err(failure) = link.renew(&tokens).await {
            // The service ends the links when their tokens expire; whoever has one then hears why no other is to be had.
            tracing::warn!(?failure, "the tokens of an AMQP connection could not be renewed");
            link.fail(&failure);
            return;
        }
    }
}

/// A sender, the session it has for itself, and the connection under it.
#[derive(Debug)]
struct AmqpOutlet {
    sender: Sender,
    session: SessionHandle<()>,
    link: Arc<Link>,
    tokens: Arc<Tokens>,
    audience: String,
}

impl Outlet for AmqpOutlet {
    fn max_message_bytes(&self) -> Option<u64> {
        // 0 stands for "no limit".
        self.sender.max_message_size().filter(|bytes| *bytes > 0)
    }

    fn is_bound(&self) -> bool {
        true
    }

    fn send(&mut self, message: Outgoing) -> BoxFuture<'_, Result<Answer, Failure>> {
        Box::pin(async move {
            let properties = Properties::builder().message_id(MessageId::String(message.message_id)).build();
            let body = Data(Binary::from(Vec::from(message.payload)));
            let message = Message::builder().properties(properties).data(body).build();
            let sent = tokio::select! {
                biased;
                sent = self.sender.send(message) => sent,
                // The client leaves a send without an answer alone when all that is under it has ended.
                _ = self.session.on_end() => Err(SendError::LinkStateError(LinkStateError::IllegalState)),
            };
            match sent {
                Ok(outcome) => Ok(answer(outcome)),
                // The client looks before it sends.
                Err(SendError::MessageSizeExceeded(size)) => Ok(Answer::Refused(too_large(&size))),
                Err(error) => {
                    let failure = of_send(error);
                    self.link.fail(&failure);
                    Err(failure)
                }
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async {
            // It goes over the same connection, behind all that the service has said of the link.
            let claimed = self.link.claim(&self.tokens, self.audience.clone()).await;
            if let Err(failure) = &claimed {
                self.link.fail(failure);
            }
            claimed
        })
    }

    fn ended(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sender.on_detach().await;
        })
    }

    fn has_ended(&mut self) -> bool {
        self.session.is_ended() || self.link.cut.is_cancelled() || self.ended().now_or_never().is_some()
    }

    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()> {
        let Self { sender, mut session, link, .. } = *self;
        Box::pin(async move {
            let _ = timeout(patience, async {
                let _ = sender.close().await;
                let _ = session.end().await;
            })
            .await;
            drop(link);
        })
    }

    fn abandon(self: Box<Self>) {
        self.link.retired.store(true, Ordering::Relaxed);
        self.link.cut.cancel();
    }
}

/// A receiver, the session it has for itself, and the connection under it.
#[derive(Debug)]
struct AmqpInlet {
    receiver: Receiver,
    session: SessionHandle<()>,
    link: Arc<Link>,
    /// Whether messages wait to be settled.
    settles: bool,
    /// Messages that the service may still send.
    credit: u32,
    /// Received, and not handed out yet.
    taken: Vec<Delivery>,
    /// Received, and perhaps not settled yet.
    unsettled: Vec<DeliveryInfo>,
    /// What ended the link behind them.
    failed: Option<Failure>,
}

/// What the client receives.
type Received = Result<fe2o3_amqp::link::delivery::Delivery<Body<Value>>, RecvError>;

impl AmqpInlet {
    async fn next(&mut self, room: u32) -> Result<Vec<Delivery>, Failure> {
        loop {
            if self.taken.is_empty() {
                // What was received before an error is handed out first.
                if let Some(failure) = self.failed.take() {
                    return Err(failure);
                }
                self.fill(room).await?;
            }
            if !self.unsettled.is_empty() {
                let settled = self.receiver.accept_all(self.unsettled.iter().cloned()).await;
                // Those come again, and are passed over then.
                self.failed = settled.map_err(of_disposition).err().or(self.failed.take());
                self.unsettled.clear();
            }
            if !self.taken.is_empty() {
                return Ok(std::mem::take(&mut self.taken));
            }
        }
    }

    /// Waits for a message, and takes all that are there.
    async fn fill(&mut self, room: u32) -> Result<(), Failure> {
        if self.credit <= room / 2 {
            self.receiver.set_credit(room).await.map_err(of_illegal_state)?;
            self.credit = room;
        }
        let mut received = Some(self.receiver.recv::<Body<Value>>().await);
        while let Some(delivery) = received {
            if let Err(failure) = self.take(delivery) {
                self.failed = Some(failure);
                break;
            }
            received = self.receiver.recv::<Body<Value>>().now_or_never();
        }
        Ok(())
    }

    fn take(&mut self, received: Received) -> Result<(), Failure> {
        let delivery = match received {
            Ok(delivery) => delivery,
            Err(RecvError::MessageDecode(error)) => {
                // None of ours; left as it is it would come again and again.
                tracing::warn!(error = %error.source, "a message cannot be read, and is passed over");
                self.credit = self.credit.saturating_sub(1);
                self.unsettled.extend(self.settles.then_some(error.info));
                return Ok(());
            }
            Err(error) => return Err(of_receive(error)),
        };
        self.credit = self.credit.saturating_sub(1);
        if self.settles {
            self.unsettled.push(DeliveryInfo::from(&delivery));
        }
        let message = delivery.into_message();
        let id = message
            .message_annotations
            .as_ref()
            .and_then(|annotations| annotations.0.get(&OwnedKey::from(ENQUEUED_SEQUENCE_NUMBER)))
            .and_then(|number| match number {
                Value::Long(number) => u64::try_from(*number).ok(),
                _ => None,
            })
            .ok_or_else(|| Failure::Foreign("a message without an enqueued sequence number".into()))?;
        let message_id = message.properties.and_then(|properties| properties.message_id);
        self.taken.push(Delivery {
            id,
            message_id: message_id.and_then(|id| match id {
                MessageId::String(id) => Some(id),
                _ => None,
            }),
            payload: payload(message.body),
        });
        Ok(())
    }
}

impl Inlet for AmqpInlet {
    fn receive(&mut self, room: u32) -> BoxFuture<'_, Result<Vec<Delivery>, Failure>> {
        Box::pin(async move {
            let received = self.next(room).await;
            if let Err(failure) = &received {
                self.link.fail(failure);
            }
            received
        })
    }

    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()> {
        let Self { receiver, mut session, link, .. } = *self;
        Box::pin(async move {
            let _ = timeout(patience, async {
                let _ = receiver.close().await;
                let _ = session.end().await;
            })
            .await;
            drop(link);
        })
    }
}

/// The bytes of a message: those of its data section, where it has one.
fn payload(body: Body<Value>) -> Bytes {
    match body {
        Body::Data(sections) => {
            let mut sections = sections.into_iter().map(|Data(bytes)| bytes.into_vec());
            let first = sections.next().unwrap_or_default();
            // More than one is none of ours, and no frame ends in another section.
            Bytes::from(sections.fold(first, |mut all, next| {
                all.extend(next);
                all
            }))
        }
        Body::Empty => Bytes::new(),
        Body::Value(_) | Body::Sequence(_) => Bytes::from_static(FOREIGN_BODY),
    }
}

fn set_up(socket: &TcpStream) -> io::Result<()> {
    // Small frames wait for nothing: without it a send stalls for 40 ms now and then.
    socket.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
    socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(limit, work).await.unwrap_or(Err(Failure::TimedOut { after: limit }))
}

fn answer(outcome: Outcome) -> Answer {
    Answer::Refused(match outcome {
        Outcome::Accepted(_) => return Answer::Accepted,
        Outcome::Rejected(rejected) => match rejected.error {
            Some(error) => of_amqp(&error),
            None => refused("rejected", "the service rejected a message without saying why"),
        },
        Outcome::Released(_) | Outcome::Modified(_) => refused("released", "the service gave a message back"),
    })
}

fn refused(condition: &str, description: &str) -> Failure {
    Failure::Amqp { condition: condition.into(), description: description.into() }
}

/// What the service says, in its own words.
fn of_amqp(error: &definitions::Error) -> Failure {
    let condition = match &error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
    };
    let condition = condition.0;
    Failure::Amqp { condition, description: error.description.clone().unwrap_or_default() }
}

fn of_open(error: OpenError) -> Failure {
    match error {
        OpenError::Io(error) => Failure::Io(error),
        OpenError::RemoteClosedWithError(error) => of_amqp(&error),
        OpenError::TransportError(TransportError::Io(error)) => Failure::Io(error),
        OpenError::RemoteClosed
        | OpenError::IllegalState
        | OpenError::TransportError(TransportError::IdleTimeoutElapsed) => Failure::Closed,
        error => Failure::Foreign(format!("an AMQP connection cannot be opened: {error}")),
    }
}

fn of_begin(error: BeginError) -> Failure {
    match error {
        BeginError::RemoteEndedWithError(error) => of_amqp(&error),
        BeginError::ConnectionStopped(reason) => of_connection_stop(&reason),
        _ => Failure::Closed,
    }
}

fn of_connection_stop(reason: &ConnectionStopReason) -> Failure {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) => of_amqp(error),
        _ => Failure::Closed,
    }
}

fn of_session_stop(reason: &SessionStopReason) -> Failure {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => of_amqp(error),
        SessionStopReason::ConnectionStopped(reason) => of_connection_stop(reason),
        _ => Failure::Closed,
    }
}

fn of_sender_attach(error: SenderAttachError) -> Failure {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => of_amqp(&error),
        SenderAttachError::SessionStopped(reason) => of_session_stop(&reason),
        // It ended while it was attached, which the client tells in many ways.
        SenderAttachError::SessionNotMapped
        | SenderAttachError::IllegalState
        | SenderAttachError::NonAttachFrameReceived
        | SenderAttachError::ExpectImmediateDetach
        | SenderAttachError::IncomingTargetIsNone => Failure::Closed,
        error => Failure::Foreign(format!("a link to send cannot be attached: {error}")),
    }
}

fn of_receiver_attach(error: ReceiverAttachError) -> Failure {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => of_amqp(&error),
        ReceiverAttachError::SessionStopped(reason) => of_session_stop(&reason),
        ReceiverAttachError::SessionNotMapped
        | ReceiverAttachError::IllegalState
        | ReceiverAttachError::NonAttachFrameReceived
        | ReceiverAttachError::ExpectImmediateDetach
        | ReceiverAttachError::IncomingSourceIsNone => Failure::Closed,
        error => Failure::Foreign(format!("a link to receive cannot be attached: {error}")),
    }
}

fn of_attach(error: AttachError) -> Failure {
    match error {
        AttachError::Sender(error) => of_sender_attach(error),
        AttachError::Receiver(error) => of_receiver_attach(error),
    }
}

fn of_link(error: LinkStateError) -> Failure {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            of_amqp(&error)
        }
        LinkStateError::SessionStopped(reason) => of_session_stop(&reason),
        _ => Failure::Closed,
    }
}

fn of_send(error: SendError) -> Failure {
    match error {
        SendError::LinkStateError(error) => of_link(error),
        SendError::Detached(error) => of_link(error.into()),
        error => Failure::Foreign(format!("a message cannot be sent: {error}")),
    }
}

fn of_receive(error: RecvError) -> Failure {
    match error {
        RecvError::LinkStateError(error) => of_link(error),
        error => Failure::Foreign(format!("what comes on a link is no message: {error}")),
    }
}

fn of_illegal_state(error: IllegalLinkStateError) -> Failure {
    of_link(error.into())
}

fn of_disposition(error: DispositionError) -> Failure {
    match error {
        DispositionError::SessionStopped(reason) => of_session_stop(&reason),
        _ => Failure::Closed,
    }
}

/// Of a put-token request, whose answer has a status as one by HTTP has.
fn of_management(error: ManagementError) -> Failure {
    match error {
        ManagementError::Status(status) => {
            let said = status.description.unwrap_or_default();
            match status.code.0.get() {
                401 | 403 => Failure::Unauthorized(said),
                404 => Failure::NotFound(said),
                code => Failure::Http { status: code, sub_code: None, detail: said },
            }
        }
        ManagementError::Send(error) => of_send(error),
        ManagementError::Recv(error) => of_receive(error),
        ManagementError::Disposition(error) => of_disposition(error),
        error => Failure::Foreign(format!("a token was not answered as it should be: {error}")),
    }
}

fn too_large(size: &MessageSizeExceeded) -> Failure {
    let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    Failure::TooLarge { actual: bytes(size.size), limit: bytes(size.max_size) }
}
