//! Notifications: a worker finishes jobs and tells their users, on whatever node they are.
//!
//! The worker only publishes, on the channel `user:<id>`. A node has a subscription per open page, and streams it as
//! server-sent events whose `id` is the cursor: who comes back with the last one, to any node, gets what was missed.
//!
//! ```text
//! GET /            a page; /orders is another one, with the same notifications
//! GET /events      ?user=U[&cursor=C], or the cursor as the header Last-Event-ID; text/event-stream
//! GET /nodes       {"node":"…","nodes":[{"address":"127.0.0.1:8091","node":"…"|null},…]}
//! GET /health      200 or 503, {"ready":…,"node":"…","streams":[{"stream":0,"state":"up"},…]}
//!
//! id: CURSOR
//! event: hello     {"node":"…","user":"…"}
//! event: done      {"text":"…","finished_ms":n,"node":"…"}     milliseconds since 1970; the node that published
//! event: gap       {"reason":"…","missing":n|null}             frames of the stream, an upper bound
//! event: cursor    {}                                          where it moved without a notification
//! ```
//!
//! Whoever asks is believed to be the user: an application takes that from its session instead.

mod job;
mod options;
mod web;
mod worker;

pub use crate::notify::{
    job::{Job, MAX_TEXT_BYTES, MAX_USER_CHARS, User},
    options::{Options, Part},
    web::{Settings, serve},
    worker::{from_stdin, made_up, work},
};
