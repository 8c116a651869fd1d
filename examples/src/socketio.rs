//! A chat by Socket.IO on many nodes, for the official client or any other.
//!
//! Its handlers are those of a server with one node; what one line gives, the adapter, makes them reach the sockets of all
//! nodes. Every event but `typing` is acknowledged, by what is written behind it or by `{"error":"…"}`.
//!
//! ```text
//! /            auth {user}
//! client → node    join     room                         {"rooms":["…"]}
//!                  leave    room                         {"rooms":["…"]}
//!                  say      {room, text, except?}        {"delivered":…}
//!                  typing   room
//!                  tell     {to, text}                   {"delivered":…}
//!                  file     {room, name, data}           {"delivered":…}     data is binary
//!                  who      room | null                  {"sockets":[{id, server},…]}
//!                  ask      {room, question, wait_ms}    {"answers":[{id, answer},…],"silent":[id,…]}
//!                  show     {room, wait_ms}              {"answers":[{id, answer},…],"silent":[id,…]}, answers are binary
//! node → client    welcome  {id, server, user}
//!                  message  {room, user, text}           to all in the room, the speaker included if in it
//!                  typing   {room, user}                 to the others in the room; may be lost
//!                  told     {from, user, text}
//!                  file     {room, user, name, data}
//!                  question {user, question}, show {user}    to the others in the room, for an answer
//!                  announced text
//!                  moved    {room, id}                   to all in the room
//!                  kicked   why
//!
//! /admin       auth {token}
//! client → node    nodes                                 {"nodes":[{node, sockets},…],"complete":…}
//!                  rooms                                 {"rooms":["…"]}
//!                  announce ["text",…]                   {"delivered":…}     to everybody
//!                  move     {id, from?, to}              {"moved":true}      the room is told once the socket is in it
//!                  kick     {id, why}                    {"kicked":true}
//! node → client    welcome  {id}
//!
//! "delivered":   "everywhere"     every node gets it
//!                "later"          it waits for the store; sockets of this node have it, unless delivery is ordered
//!                "here"           other nodes do not get it, for a reason in "why"
//!                "partly"         a client of this node does not read, and did not get it
//!
//! GET /health  200 or 503, {"ready":…,"node":"…","streams":[{"stream":0,"state":"up"},…],"members":n}
//! ```
//!
//! A client waits for `welcome` before it emits anything. Handlers of one socket run at the same time, each in a task of its own: who needs an order among his own events waits for
//! each to be acknowledged.

mod admin;
mod answer;
mod options;
mod protocol;
mod rooms;
mod server;

pub use crate::socketio::{
    options::{Delivery, Options},
    protocol::{MAX_MESSAGE_BYTES, MAX_NAME_CHARS, MAX_TEXT_BYTES, MAX_WAIT},
    server::{Settings, serve},
};
