//! AMQP in a WebSocket, for networks that let only HTTPS out.
//!
//! Source: "AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide" in the documentation of Azure, and the
//! specification "AMQP WebSocket Binding" of OASIS: frames of AMQP travel in binary messages, cut anywhere.

use std::{
    fmt, io,
    net::Ipv6Addr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use scaleout_core::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error as WebSocketError, Message,
        client::IntoClientRequest,
        error::{ProtocolError, SubProtocolError},
        handshake::client::Response,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use crate::{config::ServiceBusConfig, error::Failure};

/// What Service Bus calls AMQP in a WebSocket.
const SUBPROTOCOL: &str = "AMQPWSB10";

/// Where Service Bus has it.
const PATH: &str = "/$servicebus/websocket";

/// Of a message that comes. Frames of AMQP have at most 64 KiB here, so that one holds several of them.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Makes a WebSocket of `stream`, which is encrypted already where it has to be.
pub(super) async fn open<S>(stream: S, config: &ServiceBusConfig) -> Result<Binary<S>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let scheme = if config.tls() { "wss" } else { "ws" };
    let host = match config.host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => config.host.clone(),
    };
    let url = format!("{scheme}://{host}:{}{PATH}", config.data_port());
    let mut request = url.into_client_request().map_err(|_| {
        let problem = "servicebus settings: host is no name that a URL can have";
        Failure::Settings(Error::new(ErrorKind::Config, problem))
    })?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let (socket, _) = client_async_with_config(request, stream, Some(limits)).await.map_err(refused)?;
    Ok(Binary { socket, unread: Bytes::new() })
}

/// The binary messages of a WebSocket as a stream of bytes.
pub(super) struct Binary<S> {
    socket: WebSocketStream<S>,
    /// Of a message that was read in part.
    unread: Bytes,
}

impl<S> fmt::Debug for Binary<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binary").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Binary<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Pings are answered, and a close is completed, by what is underneath.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    let problem = "a text message in a WebSocket for AMQP";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
                }
                Some(Err(error)) => match io_error(error) {
                    Some(error) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                },
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Binary<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(broken)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(context)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(io_error(error).map_or(Ok(()), Err)),
        }
    }
}

/// Why there is no WebSocket.
fn refused(error: WebSocketError) -> Failure {
    let foreign = |why: String| Failure::Foreign(format!("it opens no WebSocket for AMQP: {why}"));
    match error {
        WebSocketError::Io(error) => Failure::Io(error),
        WebSocketError::Http(answer) => of_status(&answer),
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => Failure::Closed,
        WebSocketError::Protocol(ProtocolError::HandshakeIncomplete) => Failure::Closed,
        WebSocketError::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => match error {
            SubProtocolError::NoSubProtocol => foreign("it did not choose a subprotocol".into()),
            error => foreign(error.to_string()),
        },
        error => foreign(error.to_string()),
    }
}

/// What an answer means that is no WebSocket.
fn of_status(answer: &Response) -> Failure {
    let status = answer.status();
    let said = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let detail: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    match status.as_u16() {
        401 => Failure::Unauthorized(detail),
        429 | 503 => Failure::Busy { wait: None, detail },
        code if status.is_server_error() => Failure::Http { status: code, sub_code: None, detail },
        // A proxy that lets nothing through says 403 as well.
        code => Failure::Foreign(format!("it opens no WebSocket for AMQP (status {code}) {detail}")),
    }
}

/// `None` is the end in good order.
fn io_error(error: WebSocketError) -> Option<io::Error> {
    match error {
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => None,
        error => Some(broken(error)),
    }
}

fn broken(error: WebSocketError) -> io::Error {
    match error {
        WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => {
            io::ErrorKind::NotConnected.into()
        }
        WebSocketError::Io(error) => error,
        WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::ConnectionReset.into()
        }
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
