//! One node: its HTTP routes, and how it stops.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State, WebSocketUpgrade},
    http::StatusCode,
    response::Response,
    routing::get,
};
use scaleout::Bus;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    chat::{MAX_FRAME_BYTES, protocol, session},
    http::{self, CLOSE_DEADLINE, STOP_GRACE},
    nodes::{self, NodeAddress},
};

/// What a node is told beside its bus.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every node that clients may use, this one included. Empty: the page knows only its own host.
    pub nodes: Vec<NodeAddress>,
    /// How often a client is told its cursor, where that moved without a message. Defaults to 5 s.
    pub cursor_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: Vec::new(), cursor_interval: Duration::from_secs(5) }
    }
}

/// What all requests of a node share.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) bus: Bus,
    pub(super) settings: Settings,
    /// Becomes true once. Every session holds a receiver, so that `closed` waits for the last of them.
    stopping: watch::Sender<bool>,
}

/// Serves a node until `stop` resolves; then tells its clients to reconnect, and closes its bus.
///
/// # Errors
/// When the listener fails. The bus is closed all the same.
pub async fn serve(
    listener: TcpListener,
    bus: Bus,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = watch::Sender::new(false);
    let node = Arc::new(Node { bus: bus.clone(), settings, stopping: stopping.clone() });
    let served = http::serve(listener, router(node), &stopping, stop).await;
    if timeout(STOP_GRACE, stopping.closed()).await.is_err() {
        tracing::warn!(node = %bus.node(), clients = stopping.receiver_count(), "clients did not take their leave");
    }
    let report = bus.close(CLOSE_DEADLINE).await;
    tracing::info!(node = %bus.node(), unsent = report.unsent, unconfirmed = report.unconfirmed, "node closed");
    served
}

fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/ws", get(join))
        .route("/nodes", get(nodes))
        .route("/health", get(health))
        .with_state(node)
}

async fn page() -> Response {
    http::page(include_str!("page.html"), "'self' ws: wss:")
}

async fn join(
    State(node): State<Arc<Node>>,
    Query(query): Query<protocol::Query>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let stopping = node.stopping.subscribe();
    upgrade
        .max_frame_size(MAX_FRAME_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| session::run(socket, node, query, stopping))
}

async fn nodes(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(nodes::told(node.bus.node(), &node.settings.nodes))
}

async fn health(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    http::health(&node.bus.health(), *node.stopping.borrow())
}
