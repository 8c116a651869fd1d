//! What the examples share, so that tests can run it in their own process: the nodes of the [`chat`], and of the chat by
//! [Socket.IO](socketio).

pub mod chat;
mod health;
mod http;
pub mod nodes;
pub mod process;
pub mod socketio;
pub mod store;
