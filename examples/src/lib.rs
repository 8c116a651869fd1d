//! What the examples share, so that tests can run it in their own process: the nodes of the [`chat`].

pub mod chat;
