//! What `/health` of a node says of its bus.

use scaleout::{Health, StreamState};
use serde_json::{Value, json};

/// `{"ready":…,"node":"…","streams":[{"stream":0,"state":"up"},…]}`.
pub(crate) fn told(health: &Health, ready: bool) -> Value {
    let streams: Vec<_> =
        health.streams.iter().enumerate().map(|(stream, state)| told_of(stream, state)).collect();
    json!({ "ready": ready, "node": health.node.to_string(), "streams": streams })
}

fn told_of(stream: usize, state: &StreamState) -> Value {
    match state {
        StreamState::Connecting => json!({ "stream": stream, "state": "connecting" }),
        StreamState::Up => json!({ "stream": stream, "state": "up" }),
        StreamState::Degraded { error, attempts, .. } => {
            json!({ "stream": stream, "state": "degraded", "error": error.to_string(), "attempts": attempts })
        }
        StreamState::Closed => json!({ "stream": stream, "state": "closed" }),
    }
}
