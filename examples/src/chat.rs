//! A chat on many nodes: rooms over WebSockets, one page, a client that loses its node goes on at another.
//!
//! A node keeps nothing of a room but the subscriptions of those who are in it. Who said what travels in the
//! payload; order, other nodes and what a returning client missed are the bus's work.
//!
//! ```text
//! GET /            the page
//! GET /ws          ?room=R&user=U[&cursor=C], a WebSocket
//! GET /nodes       {"node":"…","nodes":[{"address":"127.0.0.1:8081","node":"…"|null},…]}
//! GET /health      200 or 503, {"ready":…,"node":"…","streams":[{"stream":0,"state":"up"},…]}
//!
//! client → node    {"text":"…"}
//! node → client    {"type":"hello","node":"…","store":"up","cursor":"…"}
//!                  {"type":"message","user":"…","text":"…","node":"…","cursor":"…"}
//!                  {"type":"gap","reason":"…","missing":n|null,"cursor":"…"}    frames of the stream, an upper bound
//!                  {"type":"cursor","cursor":"…"}                               where it moved without a message
//!                  {"type":"store","state":"degraded"}                          where that changed: connecting, up, degraded
//!                  {"type":"error","message":"…"}
//! ```
//!
//! A client that keeps the last cursor it was sent loses nothing when it hands it to another node.

mod options;
mod protocol;
mod server;
mod session;

pub use crate::chat::{
    options::Options,
    protocol::{MAX_FRAME_BYTES, MAX_ROOM_CHARS, MAX_TEXT_BYTES, MAX_USER_CHARS},
    server::{Settings, serve},
};
