//! One node: its HTTP routes, and how it stops.

use std::{future::IntoFuture, io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State, WebSocketUpgrade},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use scaleout::{Bus, NodeId};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    chat::{MAX_FRAME_BYTES, protocol, session},
    health,
};

/// What clients and open requests get to end by themselves when the node stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// What the bus gets to send what still waits.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The page needs no more than this, so nothing that slips into it can load or send anything elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
     img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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

/// Where clients find a node.
#[derive(Debug, Clone)]
pub struct NodeAddress {
    /// `host:port`.
    pub address: String,
    /// Its id, where that is known: a node of this process.
    pub node: Option<NodeId>,
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
    let listener = listener.tap_io(|connection| {
        // A chat's messages are small and single; waiting to fill a packet would only delay them.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "nodelay not set");
        }
    });
    let stopper = stopping.clone();
    let serving = axum::serve(listener, router(node)).with_graceful_shutdown(async move {
        stop.await;
        stopper.send_replace(true);
    });
    let served = {
        let mut stopped = stopping.subscribe();
        tokio::select! {
            served = serving.into_future() => served,
            () = overdue(&mut stopped) => Ok(()),
        }
    };
    stopping.send_replace(true);
    if timeout(STOP_GRACE, stopping.closed()).await.is_err() {
        tracing::warn!(node = %bus.node(), clients = stopping.receiver_count(), "clients did not take their leave");
    }
    let report = bus.close(CLOSE_DEADLINE).await;
    tracing::info!(node = %bus.node(), unsent = report.unsent, unconfirmed = report.unconfirmed, "node closed");
    served
}

/// Resolves when requests are still open a while after the stop.
async fn overdue(stopped: &mut watch::Receiver<bool>) {
    // The sender lives in `serve`, so this only ends by the value.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    tokio::time::sleep(STOP_GRACE).await;
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
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(include_str!("page.html"))).into_response()
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
    let known = |known: &NodeAddress| json!({ "address": known.address, "node": known.node.as_ref().map(NodeId::to_string) });
    let nodes: Vec<_> = node.settings.nodes.iter().map(known).collect();
    Json(json!({ "node": node.bus.node().to_string(), "nodes": nodes }))
}

async fn health(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    let health = node.bus.health();
    let ready = health.ready && !*node.stopping.borrow();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health::told(&health, ready)))
}
