//! What the examples share, so that tests can run it in their own process: the nodes of the [`chat`], of the chat by
//! [Socket.IO](socketio), and of [notifications](notify).

pub mod chat;
mod health;
mod http;
pub mod nodes;
pub mod notify;
pub mod process;
pub mod socketio;
pub mod store;
