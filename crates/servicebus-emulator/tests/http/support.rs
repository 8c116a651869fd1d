//! A client that says what it is told.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, client::conn::http1, header::AUTHORIZATION};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use servicebus_emulator::{Emulator, Endpoint, Right, shared_access_token};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    spawn,
    task::yield_now,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

/// How long an answer may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const KEY: &str = "c2VjcmV0";

/// One that listens for HTTP and HTTPS, with a key for each right.
pub(crate) async fn emulator() -> Emulator {
    Emulator::builder()
        .key("root", KEY, &[Right::Manage])
        .key("send", KEY, &[Right::Send])
        .key("listen", KEY, &[Right::Listen])
        .start()
        .await
        .expect("free ports")
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// What is between the first tags of this name.
    pub(crate) fn element(&self, name: &str) -> &str {
        let (_, rest) = self.text().split_once(&format!("<{name}>")).unwrap_or_default();
        rest.split_once(&format!("</{name}>")).map_or("", |(text, _)| text)
    }
}

/// A request that is being put together.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    emulator: &'a Emulator,
    endpoint: Endpoint,
    method: Method,
    path: String,
    token: Option<String>,
    headers: Vec<(String, String)>,
    body: Bytes,
}

pub(crate) fn ask<'a>(emulator: &'a Emulator, method: &str, path: &str) -> Ask<'a> {
    Ask {
        emulator,
        endpoint: Endpoint::Http,
        method: method.parse().expect("a method"),
        path: path.to_owned(),
        token: Some(token("root", KEY)),
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

/// For everything, for an hour.
pub(crate) fn token(policy: &str, key: &str) -> String {
    shared_access_token("sb://127.0.0.1/", policy, key, SystemTime::now() + Duration::from_secs(3600))
}

impl Ask<'_> {
    pub(crate) fn over(self, endpoint: Endpoint) -> Self {
        Self { endpoint, ..self }
    }

    pub(crate) fn token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    pub(crate) fn policy(self, policy: &str) -> Self {
        self.token(Some(token(policy, KEY)))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Gives the answer, on a connection of its own.
    pub(crate) async fn send(self) -> Reply {
        self.try_send().await.expect("an answer")
    }

    /// As `send`; an error where the connection ended without an answer.
    pub(crate) async fn try_send(self) -> Result<Reply, hyper::Error> {
        let address = self.emulator.address(self.endpoint).expect("it listens");
        let stream = TcpStream::connect(address).await.expect("it accepts");
        if self.endpoint == Endpoint::Https {
            let mut roots = RootCertStore::empty();
            let ca =
                CertificateDer::from_pem_slice(self.emulator.ca_pem().as_bytes()).expect("a certificate");
            roots.add(ca).expect("an authority");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
            return self.exchange(stream).await;
        }
        self.exchange(stream).await
    }

    async fn exchange<S>(self, stream: S) -> Result<Reply, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = spawn(connection);
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("/{}", self.path.trim_start_matches('/')))
            .header("host", "127.0.0.1:5300");
        if let Some(token) = self.token {
            request = request.header(AUTHORIZATION, token);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).expect("a request");
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        let reply = timeout(PATIENCE, exchange).await.expect("an answer in time");
        connection.abort();
        reply
    }
}

pub(crate) fn topic(inner: &str) -> String {
    description("TopicDescription", inner)
}

pub(crate) fn subscription(inner: &str) -> String {
    description("SubscriptionDescription", inner)
}

fn description(kind: &str, inner: &str) -> String {
    format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\"><{kind} \
         xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">{inner}</{kind}></content></entry>"
    )
}

/// Waits until something is so.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come to be");
        yield_now().await;
    }
}

/// A topic and a subscription with what is in it.
pub(crate) async fn with_subscription(emulator: &Emulator, name: &str, inner: &str) {
    assert_eq!(ask(emulator, "PUT", name).body(topic("")).send().await.status, 201);
    let path = format!("{name}/subscriptions/s");
    assert_eq!(ask(emulator, "PUT", &path).body(subscription(inner)).send().await.status, 201);
}
