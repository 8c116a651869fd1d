//! What the HTTP side of every node has: a page, and a stop that lets requests end.

use std::{future::IntoFuture, io, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Json, Response},
    serve::ListenerExt,
};
use scaleout::Health;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use crate::health;

/// What clients and open requests get to end by themselves when the node stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(3);
/// What the bus gets to send what still waits.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Serves until `stop` resolves, or until somebody else sets `stopping`; which is set in the end in any case.
///
/// Requests that do not end then are left behind after [`STOP_GRACE`].
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: &watch::Sender<bool>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // Messages are small and single; waiting to fill a packet would only delay them.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "nodelay not set");
        }
    });
    let stopper = stopping.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        stop.await;
        stopper.send_replace(true);
    });
    let overdue = async {
        stopped(&mut stopping.subscribe()).await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    let served = tokio::select! {
        served = serving.into_future() => served,
        () = overdue => Ok(()),
    };
    stopping.send_replace(true);
    served
}

/// Resolves once the node stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which is a stop as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A page that is one file: nothing that slips into it can load or send anything elsewhere, but for what `connect`
/// allows, as `connect-src` of a Content-Security-Policy.
pub(crate) fn page(html: &'static str, connect: &str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
         connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(html)).into_response()
}

/// The state of a node's bus, which is not ready any more while it stops.
pub(crate) fn health(health: &Health, stopping: bool) -> (StatusCode, Json<Value>) {
    let ready = health.ready && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health::told(health, ready)))
}
