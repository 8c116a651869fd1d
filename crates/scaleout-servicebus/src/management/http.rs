//! One request, on a connection of its own: nodes ask so seldom that a kept one would be closed in the meantime.

use std::{
    error::Error as StdError,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{DATE, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use scaleout_core::{Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    config::{ManagementUrl, NodeTls, ServiceBusConfig},
    error::Failure,
};

/// Makes connections to one place.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) url: ManagementUrl,
    /// `Some` for `https`.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// For the connection to be made.
    pub(crate) connect_timeout: Duration,
    /// For the whole answer, once there is a connection.
    pub(crate) answer_timeout: Duration,
}

/// The whole of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// What the other side's clock showed, in whole seconds.
    pub(crate) date: Option<SystemTime>,
    pub(crate) body: Bytes,
}

impl Http {
    /// To where the settings say. It connects to nothing.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where the settings have no URL, or TLS cannot be set up.
    pub(crate) fn of(config: &ServiceBusConfig, tls: &NodeTls<'_>) -> Result<Self, Error> {
        let Some(url) = config.management_url() else {
            config.check()?;
            return Err(ErrorKind::Config.into());
        };
        Ok(Self {
            tls: if url.tls { Some(tls.get()?) } else { None },
            url,
            connect_timeout: config.connect_timeout,
            answer_timeout: config.operation_timeout,
        })
    }

    /// Asks once. Redirects are an answer like any other.
    ///
    /// # Cancel safety
    /// The connection is dropped; the request may have been carried out.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let stream = timeout(self.connect_timeout, self.connect())
            .await
            .map_err(|_| Failure::TimedOut { after: self.connect_timeout })??;
        timeout(self.answer_timeout, exchange(stream, request))
            .await
            .map_err(|_| Failure::TimedOut { after: self.answer_timeout })?
    }

    /// A connection, encrypted where the URL says so.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?))
    }
}

/// A plain or an encrypted connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        read(response, MAX_ANSWER_BYTES).await
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // It ends when the answer is complete, or before that by an error that the request gets as well.
        _ = &mut connection => answer.await,
    }
}

/// The whole of an answer, if its body has at most `limit` bytes.
pub(crate) async fn read(response: Response<Incoming>, limit: usize) -> Result<Answer, Failure> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(seconds);
    let date =
        response.headers().get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let body = Limited::new(response.into_body(), limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Failure::Foreign(format!("the answer is longer than {} MiB", limit >> 20))
        } else {
            Failure::Io(io_error(&*error))
        }
    })?;
    Ok(Answer { status, retry_after, date, body: body.to_bytes() })
}

/// The seconds of `Retry-After`; a date, which Service Bus does not send, is none.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

pub(crate) fn failed(error: hyper::Error) -> Failure {
    if error.is_parse() || error.is_parse_status() {
        return Failure::Foreign(format!("no answer of HTTP ({error})"));
    }
    Failure::Io(io_error(&error))
}

/// The cause as an error of I/O, of the kind of the innermost one.
fn io_error(error: &(dyn StdError + 'static)) -> io::Error {
    let mut kind = io::ErrorKind::Other;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            kind = error.kind();
        }
        cause = error.source();
    }
    io::Error::new(kind, error.to_string())
}

/// A page of 100 topics is about 300 KiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
