//! Management, REST and control over HTTP.

mod answer;
mod atom;
mod control;
mod describe;
mod duration;
mod rest;
mod xml;

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Incoming as Body,
    header::{AUTHORIZATION, DATE, HOST},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use self::answer::Answer;
use crate::{
    context::Context,
    faults::{Connection, Event, Faults},
    namespace::Refusal,
    sas::Right,
    signal::Signal,
};

/// How long a TLS handshake, or the next request of a connection, may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a request with messages may be longer than they are, in bytes.
const MESSAGE_OVERHEAD: usize = 64 * 1024;

/// Serves HTTP, under TLS where there is an acceptor, until it is dropped; its connections go with it.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, context: Context) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(accept(stream, tls.clone(), context.clone()));
                }
                Err(error) => {
                    warn!(%error, "cannot accept");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(stream: TcpStream, tls: Option<TlsAcceptor>, context: Context) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection is gone already");
        return;
    }
    let secure = tls.is_some();
    match tls {
        None => converse(stream, secure, context).await,
        Some(tls) => match timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, secure, context).await,
            Ok(Err(error)) => debug!(%error, "no TLS"),
            Err(_) => debug!("no TLS in time"),
        },
    }
}

async fn converse<S>(stream: S, secure: bool, context: Context)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let client = Arc::new(Client::default());
    let service = service_fn(|request: Request<Body>| {
        let (client, context) = (Arc::clone(&client), context.clone());
        async move { respond(request, secure, &client, &context).await }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        outcome = serving => if let Err(error) = outcome {
            debug!(%error, "a connection ended");
        },
        () = client.killed() => debug!("a connection was killed"),
    }
}

/// A connection as its faults see it: from the first request on that does not control the emulator. Who only does that is no
/// connection that could be killed, frozen or refused; else faults could not be ended.
#[derive(Debug, Default)]
struct Client {
    connection: OnceLock<Connection>,
    signal: Signal,
}

impl Client {
    /// `None`: it is refused.
    fn connection(&self, faults: &Faults) -> Option<&Connection> {
        if self.connection.get().is_none() {
            // One request at a time: nobody else sets it.
            let _ = self.connection.set(faults.connect_http()?);
            self.signal.raise();
        }
        self.connection.get()
    }

    async fn killed(&self) {
        loop {
            let version = self.signal.version();
            match self.connection.get() {
                // What is about links means nothing here.
                Some(connection) => {
                    if connection.event().await == Event::Kill {
                        return;
                    }
                }
                None => self.signal.changed_since(version).await,
            }
        }
    }
}

/// Why a connection ends without an answer.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut")
    }
}

impl Error for Cut {}

async fn respond(
    request: Request<Body>,
    secure: bool,
    client: &Client,
    context: &Context,
) -> Result<Response<Full<Bytes>>, Cut> {
    let call = match Call::read(request, secure, context.namespace.settings().max_message_bytes).await {
        Ok(call) => call,
        Err(why) => return Ok(why.into()),
    };
    if call.is("$emulator") {
        return Ok(control::answer(&call, context).await.into());
    }
    let Some(connection) = client.connection(&context.faults) else { return Err(Cut) };
    connection.thawed().await;
    let answer = match rest::Operation::of(&call) {
        Some(operation) => rest::answer(operation, &call, context).await?,
        None => atom::answer(&call, context),
    };
    sleep(context.faults.answer_delay()).await;
    connection.thawed().await;
    let date = httpdate::fmt_http_date(context.namespace.clock());
    Ok(answer.with_header(DATE.as_str(), &date).into())
}

/// A request that has arrived completely.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The parts of the path, decoded.
    pub(crate) path: Vec<String>,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Scheme, host and port as the client knows them.
    pub(crate) origin: String,
}

impl Call {
    async fn read(request: Request<Body>, secure: bool, max_message_bytes: usize) -> Result<Self, Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let query = head.uri.query().unwrap_or_default().split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            Some((decode(key), decode(value)))
        });
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let origin = format!("{}://{host}", if secure { "https" } else { "http" });
        let limit = max_message_bytes.saturating_add(MESSAGE_OVERHEAD);
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                // However long it is: it was not read to its end.
                let refusal = Refusal::TooLarge { actual: limit + 1, limit: max_message_bytes };
                return Err(Answer::refused(&refusal));
            }
            Err(_) => return Err(Answer::refused(&Refusal::Invalid("The body is broken.".to_owned()))),
        };
        Ok(Self { method: head.method, path, query: query.collect(), headers: head.headers, body, origin })
    }

    /// Whether the path begins with this, in whatever case.
    pub(crate) fn is(&self, first: &str) -> bool {
        self.path.first().is_some_and(|part| part.eq_ignore_ascii_case(first))
    }

    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the token that came with it gives `right` on `path`.
    pub(crate) fn authorize(&self, context: &Context, right: Right, path: &str) -> Result<(), Refusal> {
        let missing =
            || Refusal::Unauthorized("MissingToken: The authorization header was not found.".to_owned());
        let token = self.header(AUTHORIZATION.as_str()).ok_or_else(missing)?;
        if context.namespace.authorize(token, path)?.allows(right, path) {
            return Ok(());
        }
        Err(Refusal::Unauthorized(format!(
            "Unauthorized access. '{right:?}' claim(s) are required to perform this operation."
        )))
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
