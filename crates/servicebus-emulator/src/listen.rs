//! Listeners of AMQP: plain, under TLS, and inside of WebSocket.

mod websocket;

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{amqp, context::Context, faults::Connection};

/// How long to wait where the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a peer may take for the handshakes of TLS and of WebSocket, each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves AMQP, under TLS where there is an acceptor, until it is dropped; its connections go with it.
pub(crate) async fn amqp(listener: TcpListener, tls: Option<TlsAcceptor>, context: Context) {
    accept(listener, tls, context, false).await;
}

/// As [`amqp`], inside of WebSocket.
pub(crate) async fn websocket(listener: TcpListener, tls: Option<TlsAcceptor>, context: Context) {
    accept(listener, tls, context, true).await;
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, context: Context, in_websocket: bool) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let Some(orders) = context.faults.connect() else { continue };
                    connections.spawn(connection(socket, tls.clone(), in_websocket, context.clone(), orders));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => log_end(ended),
        }
    }
}

async fn connection(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    in_websocket: bool,
    context: Context,
    orders: Connection,
) -> io::Result<()> {
    // Else the system waits with what is short for more to say, 40 ms with some peers.
    socket.set_nodelay(true)?;
    match tls {
        Some(tls) => {
            let stream = timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await??;
            speak(stream, in_websocket, context, orders).await
        }
        None => speak(socket, in_websocket, context, orders).await,
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    in_websocket: bool,
    Context { namespace, faults }: Context,
    orders: Connection,
) -> io::Result<()> {
    if in_websocket {
        let stream = timeout(HANDSHAKE_TIMEOUT, websocket::accept(stream)).await??;
        amqp::serve(stream, namespace, faults, orders).await
    } else {
        amqp::serve(stream, namespace, faults, orders).await
    }
}

fn log_end(ended: Result<io::Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke"),
        Err(error) => tracing::error!(%error, "a connection failed"),
    }
}
