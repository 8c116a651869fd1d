//! The HTTP client that the client crate is given: to our endpoint, with our tokens, over connections that are kept.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core_legacy::{
    Body, BytesStream, Error as ClientError, HttpClient, Request as ClientRequest,
    Response as ClientResponse, StatusCode as ClientStatus,
    error::ErrorKind as ClientErrorKind,
    headers::{self, Headers},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use scaleout_core::Error;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::text;
use crate::{
    config::{NodeTls, ServiceBusConfig},
    error::Failure,
    management::{
        http::{Answer, Http, failed, read},
        status,
    },
    token::{TokenKind, Tokens},
};

/// Where the number of a message is told, and what else the service knows of it.
const BROKER_PROPERTIES: HeaderName = HeaderName::from_static("brokerproperties");

/// Of an answer with a message in it. The service takes at most 1 MiB by REST.
const MAX_ANSWER_BYTES: usize = 2 << 20;

/// Asks the namespace for what the client crate wants.
#[derive(Debug)]
pub(super) struct Exchange {
    http: Http,
    tokens: Arc<Tokens>,
    /// What tokens are for: the whole namespace.
    resource: String,
    /// How long a request may wait for a message.
    poll: Duration,
    /// Connections without a request; the one that was used last is used first.
    idle: Mutex<Vec<Kept>>,
}

/// A connection that is kept from one request to the next.
#[derive(Debug)]
struct Kept {
    sender: SendRequest<Full<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

/// What is wanted of the service, as far as it makes a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Send,
    Receive,
    Settle,
}

/// An answer with what is told in its head.
#[derive(Debug)]
struct Reply {
    answer: Answer,
    properties: Option<String>,
    location: Option<String>,
}

impl Exchange {
    /// It connects to nothing.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where the settings have no URL, or TLS cannot be set up.
    pub(super) fn new(
        config: &ServiceBusConfig,
        tokens: Arc<Tokens>,
        tls: &NodeTls<'_>,
        poll: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            http: Http::of(config, tls)?,
            resource: config.resource_uri(""),
            tokens,
            poll,
            idle: Mutex::default(),
        })
    }

    /// Proves that there is somebody to ask, and a token to show: all that can be found out without a message.
    pub(super) async fn reach(&self) -> Result<(), Failure> {
        self.tokens.token(&self.resource).await?;
        let kept = self.connect().await?;
        self.keep(kept);
        Ok(())
    }

    /// Gives up the connections without a request.
    pub(super) fn close_idle(&self) {
        self.idle().clear();
    }

    async fn carry(&self, request: &ClientRequest) -> Result<Reply, Failure> {
        let method = Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|_| Failure::Foreign("the client crate made no request".into()))?;
        let path = request.url().path();
        let wanted = Wanted::of(&method, path);
        let body = match (wanted, request.body()) {
            (Wanted::Send, Body::Bytes(text)) => text::to_payload(text)?,
            _ => Bytes::new(),
        };
        let target = match (request.url().query(), wanted) {
            (Some(query), _) => format!("{path}?{query}"),
            // The crate does not say it of messages that are deleted at once.
            (None, Wanted::Receive) => format!("{path}?timeout={}", self.poll.as_secs()),
            (None, _) => path.to_owned(),
        };
        let limit = match wanted {
            Wanted::Receive => self.poll + self.http.answer_timeout,
            Wanted::Send | Wanted::Settle => self.http.answer_timeout,
        };
        let mut reply = self.ask(&method, &target, request.headers(), body.clone(), limit).await?;
        if reply.answer.status == StatusCode::UNAUTHORIZED && self.tokens.forget(&self.resource) {
            reply = self.ask(&method, &target, request.headers(), body.clone(), limit).await?;
        }
        if reply.answer.status.is_success() {
            return Ok(reply);
        }
        let entity = path.split("/messages").next().unwrap_or_default().trim_start_matches('/');
        Err(match status::refusal(&reply.answer, entity) {
            // Other refusals of that status are about quotas, which can be waited for.
            Failure::Http { status: 403 | 413, detail, .. }
                if wanted == Wanted::Send && is_about_size(&reply.answer, &detail) =>
            {
                let condition = "amqp:link:message-size-exceeded".into();
                Failure::Amqp { condition, description: detail }
            }
            failure => failure,
        })
    }

    async fn ask(
        &self,
        method: &Method,
        target: &str,
        headers: &Headers,
        body: Bytes,
        limit: Duration,
    ) -> Result<Reply, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, self.http.url.authority())
            .header(AUTHORIZATION, self.authorization().await?)
            .header(USER_AGENT, concat!("scaleout-servicebus/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers.iter() {
            // Who asks, and for how many bytes, is said by us.
            let is_ours = [AUTHORIZATION.as_str(), CONTENT_LENGTH.as_str()].contains(&name.as_str());
            if !is_ours {
                request = request.header(name.as_str(), value.as_str());
            }
        }
        let mut request = request
            .body(Full::from(body))
            .map_err(|_| Failure::Foreign("the names of the entities make no request".into()))?;
        loop {
            let kept = self.idle().pop();
            let was_kept = kept.is_some();
            let mut kept = match kept {
                Some(kept) => kept,
                None => self.connect().await?,
            };
            let asked = timeout(limit, async {
                if let Err(error) = kept.sender.ready().await {
                    return Err((Some(request), error));
                }
                kept.sender.try_send_request(request).await.map_err(|mut error| {
                    let unsent = error.take_message();
                    (unsent, error.into_error())
                })
            });
            match asked.await {
                Ok(Ok(response)) => {
                    let header =
                        |name: &HeaderName| response.headers().get(name)?.to_str().ok().map(str::to_owned);
                    let (properties, location) = (header(&BROKER_PROPERTIES), header(&LOCATION));
                    let answer = timeout(self.http.answer_timeout, read(response, MAX_ANSWER_BYTES));
                    let answer =
                        answer.await.map_err(|_| Failure::TimedOut { after: self.http.answer_timeout })??;
                    self.keep(kept);
                    return Ok(Reply { answer, properties, location });
                }
                // One that was closed in the meantime.
                Ok(Err((Some(unsent), _))) if was_kept => request = unsent,
                Ok(Err((_, error))) => return Err(failed(error)),
                Err(_) => {
                    // What is wrong with this one is wrong with the others.
                    self.close_idle();
                    return Err(Failure::TimedOut { after: limit });
                }
            }
        }
    }

    async fn connect(&self) -> Result<Kept, Failure> {
        let limit = self.http.connect_timeout;
        let connected = timeout(limit, async {
            let stream = self.http.connect().await?;
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)
        });
        let (sender, connection) = connected.await.unwrap_or(Err(Failure::TimedOut { after: limit }))?;
        let task = tokio::spawn(async {
            // A request hears why it ended.
            let _ = connection.await;
        });
        Ok(Kept { sender, _task: AbortOnDropHandle::new(task) })
    }

    async fn authorization(&self) -> Result<HeaderValue, Failure> {
        let token = self.tokens.token(&self.resource).await?;
        let mut value = match token.kind {
            TokenKind::Sas => HeaderValue::from_str(token.text.expose()),
            TokenKind::Jwt => HeaderValue::from_str(&format!("Bearer {}", token.text.expose())),
        }
        .map_err(|_| Failure::Unauthorized("the token holds a character that no header takes".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn keep(&self, kept: Kept) {
        let mut idle = self.idle();
        idle.retain(|kept| !kept.sender.is_closed());
        if !kept.sender.is_closed() {
            idle.push(kept);
        }
    }

    /// A panic elsewhere leaves whole connections.
    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Exchange {
    async fn execute_request(&self, request: &ClientRequest) -> azure_core_legacy::Result<ClientResponse> {
        let reply = self
            .carry(request)
            .await
            .map_err(|failure| ClientError::new(ClientErrorKind::Other, Refused(failure)))?;
        let mut told = Headers::new();
        if let Some(location) = reply.location {
            told.insert(headers::LOCATION, location);
        }
        let body = match reply.answer.status {
            StatusCode::NO_CONTENT => String::new(),
            _ => text::of_message(&reply.properties.unwrap_or_default(), &reply.answer.body),
        };
        Ok(ClientResponse::new(ClientStatus::Ok, told, Box::pin(BytesStream::new(body))))
    }
}

impl Wanted {
    fn of(method: &Method, path: &str) -> Self {
        match *method {
            Method::POST if path.ends_with("/messages") => Self::Send,
            _ if path.ends_with("/messages/head") => Self::Receive,
            _ => Self::Settle,
        }
    }
}

/// A failure on its way through the client crate.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Failure);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Refused {}

/// Whether a message was refused since it is too large.
fn is_about_size(answer: &Answer, detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    answer.status == StatusCode::PAYLOAD_TOO_LARGE || detail.contains("message") && detail.contains("size")
}
