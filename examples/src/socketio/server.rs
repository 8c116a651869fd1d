//! One node: its HTTP routes and its namespaces, and how it stops.

use std::{io, sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use scaleout::{Bus, Error};
use scaleout_socketioxide::{AdapterConfig, Confirm, ScaleoutAdapter, ScaleoutCtr};
use serde_json::Value;
use socketioxide::{SocketIo, handler::ConnectHandler as _};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    http::{self, CLOSE_DEADLINE, STOP_GRACE},
    socketio::{
        Delivery, MAX_MESSAGE_BYTES,
        admin::{self, Admin},
        rooms,
    },
};

/// Packets that wait for a client to read them, after which the next is dropped. The default, 128, is less than a few
/// lively rooms say at once.
const MAX_UNREAD_PACKETS: usize = 2_048;

/// What a node is told beside its bus.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When the sockets of the node itself get what is emitted there.
    pub delivery: Delivery,
    /// How long it waits for the answers of other nodes.
    pub request_timeout: Duration,
    /// How long it waits for the store to confirm what is emitted.
    pub confirm_within: Duration,
    /// What opens `/admin`; `None`: nothing does.
    pub admin_token: Option<String>,
}

/// What all HTTP requests of a node share.
#[derive(Debug)]
struct Node {
    bus: Bus,
    ctr: ScaleoutCtr,
    /// Becomes true once.
    stopping: watch::Sender<bool>,
}

/// Serves a node until `stop` resolves; then disconnects its clients, who reconnect elsewhere, and closes its bus.
///
/// # Errors
/// When the listener fails. The bus is closed all the same.
pub async fn serve(
    listener: TcpListener,
    bus: Bus,
    settings: Settings,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let ctr = adapters(&bus, &settings).map_err(io::Error::other)?;
    let (layer, io) = SocketIo::builder()
        .max_payload(MAX_MESSAGE_BYTES.into())
        .ws_max_message_size(MAX_MESSAGE_BYTES as usize)
        .max_buffer_size(MAX_UNREAD_PACKETS)
        .with_state(Admin { token: settings.admin_token, ctr: ctr.clone() })
        .with_adapter::<ScaleoutAdapter<_>>(ctr.clone())
        .build_layer();
    io.ns("/", rooms::connected.with(rooms::check)).await;
    io.ns("/admin", admin::connected.with(admin::check)).await;

    let _counting = admin::count_sockets(&ctr, io.clone());

    let stopping = watch::Sender::new(false);
    let node = Arc::new(Node { bus: bus.clone(), ctr: ctr.clone(), stopping: stopping.clone() });
    let router = Router::new().route("/health", get(health)).with_state(node).layer(layer);
    let serving = http::serve(listener, router, &stopping, stop);
    let disconnecting = async {
        http::stopped(&mut stopping.subscribe()).await;
        if timeout(STOP_GRACE, io.close()).await.is_err() {
            tracing::warn!(node = %bus.node(), "clients did not take their leave");
        }
    };
    let (served, ()) = tokio::join!(serving, disconnecting);
    ctr.close(CLOSE_DEADLINE).await;
    let report = bus.close(CLOSE_DEADLINE).await;
    tracing::info!(node = %bus.node(), unsent = report.unsent, unconfirmed = report.unconfirmed, "node closed");
    served
}

/// What makes the adapters of the namespaces reach the sockets of all nodes.
fn adapters(bus: &Bus, settings: &Settings) -> Result<ScaleoutCtr, Error> {
    let config = AdapterConfig::default()
        .with_delivery(settings.delivery.into())
        .with_confirm(Confirm::Stored { within: settings.confirm_within })
        .with_request_timeout(settings.request_timeout);
    ScaleoutCtr::with_config(bus, config)
}

async fn health(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    let (status, Json(mut told)) = http::health(&node.bus.health(), *node.stopping.borrow());
    told["members"] = node.ctr.cluster().members().len().into();
    (status, Json(told))
}
