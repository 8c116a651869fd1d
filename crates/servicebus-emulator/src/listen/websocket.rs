//! AMQP inside of WebSocket: the bytes of binary messages, one after the other.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

/// Where Service Bus has it.
const PATH: &str = "/$servicebus/websocket";

/// The name of AMQP among the protocols inside of WebSocket.
const PROTOCOL: &str = "AMQPWSB10";

/// The longest message that is taken, and what may wait to be written.
const MAX_MESSAGE: usize = 1024 * 1024;

/// The longest message that is sent.
const MAX_SENT: usize = 64 * 1024;

/// Shakes hands.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<WebSocket<S>> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_MESSAGE);
    let stream = accept_hdr_async_with_config(stream, check, Some(config)).await.map_err(io::Error::other)?;
    Ok(WebSocket { stream, unread: Bytes::new() })
}

#[expect(clippy::result_large_err, reason = "the type of the library")]
fn check(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status: StatusCode| {
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = status;
        Err(refusal)
    };
    if !request.uri().path().trim_end_matches('/').eq_ignore_ascii_case(PATH) {
        return refuse(StatusCode::NOT_FOUND);
    }
    let mut protocols = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(','));
    if !protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case(PROTOCOL)) {
        return refuse(StatusCode::BAD_REQUEST);
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

/// A stream of bytes in the messages of a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// Of the last message.
    unread: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(Pin::new(&mut this.stream).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.unread = bytes,
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::Error::other("AMQP is not text"))),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => (),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let count = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..count]);
        this.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut self.get_mut().stream);
        // Ready when all that was written before is with the system: no more than one message waits here.
        ready!(stream.as_mut().poll_ready(cx)).map_err(broken)?;
        let part = &buf[..buf.len().min(MAX_SENT)];
        stream.start_send(Message::Binary(Bytes::copy_from_slice(part))).map_err(broken)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx).map_err(broken)
    }
}

fn broken(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            io::ErrorKind::BrokenPipe.into()
        }
        error => io::Error::other(error),
    }
}
