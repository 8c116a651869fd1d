//! One node: pages, and what their users are told.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;
use scaleout::{Bus, Cursor, Received, Subscription};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    http::{self, CLOSE_DEADLINE},
    nodes::{self, NodeAddress},
    notify::{User, job::Done},
};

/// How soon a browser comes back by itself.
const RETRY: Duration = Duration::from_secs(1);

/// What a node is told beside its bus.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Every node that pages may use, this one included. Empty: the page knows only its own host.
    pub nodes: Vec<NodeAddress>,
    /// How often a page is told its cursor, where that moved without a notification. Defaults to 5 s.
    pub cursor_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { nodes: Vec::new(), cursor_interval: Duration::from_secs(5) }
    }
}

/// What all requests of a node share.
#[derive(Debug)]
struct Node {
    bus: Bus,
    settings: Settings,
    /// Becomes true once.
    stopping: watch::Sender<bool>,
}

/// Serves a node until `stop` resolves; then ends the streams of its pages, which go on elsewhere, and closes its bus.
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
    let router = Router::new()
        .route("/", get(page))
        .route("/orders", get(page))
        .route("/events", get(events))
        .route("/nodes", get(known))
        .route("/health", get(health))
        .with_state(node);
    let served = http::serve(listener, router, &stopping, stop).await;
    bus.close(CLOSE_DEADLINE).await;
    tracing::info!(node = %bus.node(), "node closed");
    served
}

async fn page() -> Response {
    http::page(include_str!("page.html"), "'self' http: https:")
}

async fn known(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(nodes::told(node.bus.node(), &node.settings.nodes))
}

async fn health(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    http::health(&node.bus.health(), *node.stopping.borrow())
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    user: String,
    #[serde(default)]
    cursor: String,
}

/// Where a browser says what it has seen; it does so by itself when it comes back to the same address.
const LAST_EVENT_ID: &str = "last-event-id";

async fn events(
    State(node): State<Arc<Node>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, (StatusCode, String)> {
    let user: User = asked.user.parse().map_err(|problem| (StatusCode::BAD_REQUEST, problem))?;
    // The header is newer: the query stays what it was when a page was opened.
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("not text"));
    let session = Session::new(node, &user, header.unwrap_or(&asked.cursor));
    let events = stream::unfold(session, |mut session| async {
        session.next().await.map(|event| (Ok::<_, Infallible>(event), session))
    });
    // A page goes on at nodes that it does not come from. Nobody has to show here who he is; where he has to, the header
    // names the origins of the own nodes instead.
    let headers = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

/// One page of a user.
struct Session {
    node: Arc<Node>,
    subscription: Subscription,
    /// What is told at first, the last of it first.
    first: Vec<Event>,
    /// The cursor that the page was last sent.
    told: String,
    cursors: Interval,
    stopping: watch::Receiver<bool>,
}

impl Session {
    fn new(node: Arc<Node>, user: &User, cursor: &str) -> Self {
        let channels = [user.channel()];
        let (subscription, problem) = match cursor {
            "" => (node.bus.subscribe(channels), None),
            text => match text.parse::<Cursor>() {
                Ok(cursor) => (node.bus.resume(channels, &cursor), None),
                // What this page has seen is not known, so anything may be missing.
                Err(_) => (node.bus.subscribe(channels), Some("cursor not understood")),
            },
        };
        let told = subscription.cursor().to_string();
        let hello = json!({ "node": node.bus.node().to_string(), "user": user.to_string() });
        let mut first = vec![event("hello", &told, &hello).retry(RETRY)];
        if let Some(reason) = problem {
            first.insert(0, event("gap", &told, &json!({ "reason": reason, "missing": null })));
        }
        let mut cursors = interval(node.settings.cursor_interval);
        cursors.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = node.stopping.subscribe();
        Self { node, subscription, first, told, cursors, stopping }
    }

    /// What the page is told next; `None` when the node stops. Asked only when the page has taken what was before, so
    /// that a slow one delays nobody: the subscription is a place in the node's ring, no queue.
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.first.pop() {
            return Some(event);
        }
        loop {
            tokio::select! {
                received = self.subscription.recv() => {
                    if let Some(event) = self.tell(received?) {
                        return Some(event);
                    }
                }
                _ = self.cursors.tick() => {
                    // A page that is told nothing for long would else come back with a cursor that has left the ring.
                    let cursor = self.subscription.cursor().to_string();
                    if cursor != self.told {
                        self.told.clone_from(&cursor);
                        return Some(event("cursor", &cursor, &json!({})));
                    }
                }
                () = http::stopped(&mut self.stopping) => return None,
            }
        }
    }

    fn tell(&mut self, received: Received) -> Option<Event> {
        match received {
            Received::Message(message) => {
                let Some(Done { text, finished_ms }) = Done::decode(message.payload()) else {
                    tracing::debug!(node = %self.node.bus.node(), from = %message.node(), "a payload that is no job");
                    return None;
                };
                self.told = message.cursor().to_string();
                let from = message.node().to_string();
                let done = json!({ "text": text, "finished_ms": finished_ms, "node": from });
                Some(event("done", &self.told, &done))
            }
            Received::Gap(gap) => {
                self.told = gap.cursor().to_string();
                let told = json!({ "reason": gap.reason().to_string(), "missing": gap.frames() });
                Some(event("gap", &self.told, &told))
            }
        }
    }
}

fn event(kind: &str, cursor: &str, data: &Value) -> Event {
    Event::default().event(kind).id(cursor).data(data.to_string())
}
