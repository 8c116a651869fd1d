//! Service Bus over AMQP 1.0, through `fe2o3-amqp`, whose interfaces stay inside this module.
//!
//! All links of a node share one connection, each in a session of its own. A link that fails retires the connection:
//! the links that live stay on it, the next ones go over a new one. A connection that does not answer is cut, with all
//! that is on it.

mod failures;
mod links;

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    link::CreditMode,
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::{ReceiverSettleMode, SenderSettleMode},
        messaging::{Source, Target},
        primitives::Timestamp,
    },
};
use fe2o3_amqp_cbs::{client::CbsClient, token::CbsToken};
use futures_util::future::BoxFuture;
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

use self::{
    failures::{of_attach, of_begin, of_management, of_open, of_receiver_attach, of_sender_attach},
    links::{AmqpInlet, AmqpOutlet},
};
#[cfg(feature = "websocket")]
use super::websocket;
use super::{Inlet, Outlet, Wire, cut::Cuttable};
#[cfg(feature = "websocket")]
use crate::config::Protocol;
use crate::{
    config::{NodeTls, Reception, ServiceBusConfig},
    error::Failure,
    token::Tokens,
};

/// Frames of the size that SDKs use; the service takes up to 256 KiB on Standard.
const MAX_FRAME_BYTES: u32 = 65_536;

/// Sessions of one connection; the service takes up to 4,999.
const MAX_CHANNEL: u16 = 4_998;

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
    pub(crate) fn new(
        config: Arc<ServiceBusConfig>,
        tokens: Arc<Tokens>,
        tls: &NodeTls<'_>,
    ) -> Result<Self, Error> {
        let tls = if config.tls() { Some(tls.get()?) } else { None };
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
            self.give_up();
        }
    }

    /// It does not answer any more: all that is on it ends.
    fn give_up(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.cut.cancel();
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
