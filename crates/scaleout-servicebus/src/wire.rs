//! The seam to Service Bus: messages out, messages in, whatever protocol carries them.

mod amqp;
mod cut;
#[cfg(feature = "rest")]
mod rest;
#[cfg(feature = "websocket")]
mod websocket;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use scaleout_core::Error;

use crate::{
    config::{NodeTls, Reception, ServiceBusConfig},
    error::Failure,
    token::Tokens,
};

/// The way to the namespace that `config` says. It connects to nothing.
///
/// # Errors
/// [`Config`](scaleout_core::ErrorKind::Config) where TLS cannot be set up.
pub(crate) fn new(
    config: &Arc<ServiceBusConfig>,
    tokens: Arc<Tokens>,
    tls: &NodeTls<'_>,
) -> Result<Box<dyn Wire>, Error> {
    #[cfg(feature = "rest")]
    if config.protocol == crate::config::Protocol::Rest {
        return Ok(Box::new(rest::Rest::new(config, tokens, tls)?));
    }
    Ok(Box::new(amqp::Amqp::new(Arc::clone(config), tokens, tls)?))
}

/// A way to the namespace, shared by all links of a node.
pub(crate) trait Wire: fmt::Debug + Send + Sync {
    /// Opens a link that sends to `topic`.
    fn outlet<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Box<dyn Outlet>, Failure>>;

    /// Opens a link that receives what `subscription` of `topic` gets.
    fn inlet<'a>(
        &'a self,
        topic: &'a str,
        subscription: &'a str,
        reception: Reception,
    ) -> BoxFuture<'a, Result<Box<dyn Inlet>, Failure>>;

    /// Ends all links.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A link that sends to one topic.
pub(crate) trait Outlet: fmt::Debug + Send {
    /// The largest message it takes, in bytes, with all properties; `None` where nothing says so.
    fn max_message_bytes(&self) -> Option<u64>;

    /// Whether it leads to the topic that it was opened to for as long as it lives. Else that topic may be deleted, and
    /// another one of its name be there instead, without anybody being told.
    fn is_bound(&self) -> bool;

    /// Sends one message, and waits for what the service answers.
    ///
    /// After an error the link is of no use any more, and the message may be in the topic.
    fn send(&mut self, message: Outgoing) -> BoxFuture<'_, Result<Answer, Failure>>;

    /// Asks the service for something that changes nothing, so that it is known whether it answers, and still accepts the
    /// credentials.
    ///
    /// After an error the link is of no use any more.
    fn prove(&mut self) -> BoxFuture<'_, Result<(), Failure>>;

    /// Ends when the service has ended the link. Cancel safe.
    fn ended(&mut self) -> BoxFuture<'_, ()>;

    /// Whether the service has ended the link, as far as is known here.
    fn has_ended(&mut self) -> bool;

    /// Ends the link in good order, as far as that takes no longer than `patience`.
    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()>;

    /// Gives up the link, and the connection under it: it does not answer any more.
    fn abandon(self: Box<Self>);
}

/// A link that receives from one subscription.
pub(crate) trait Inlet: fmt::Debug + Send {
    /// The next messages, at least one, at most about `room`. They are settled, or come again over another link.
    ///
    /// After an error the link is of no use any more. Cancel safe: what was received then comes with the next call.
    fn receive(&mut self, room: u32) -> BoxFuture<'_, Result<Vec<Delivery>, Failure>>;

    /// Ends the link in good order, as far as that takes no longer than `patience`.
    fn close(self: Box<Self>, patience: Duration) -> BoxFuture<'static, ()>;
}

/// What the service answers to a message.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It has it.
    Accepted,
    /// It did not take it, for this reason.
    Refused(Failure),
}

/// A message on its way to a topic.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// By which the topic detects duplicates.
    pub(crate) message_id: String,
    pub(crate) payload: Bytes,
}

/// A message as it came from a subscription.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The enqueued sequence number: its place in the topic, the same on all subscriptions.
    pub(crate) id: u64,
    pub(crate) message_id: Option<String>,
    pub(crate) payload: Bytes,
}

/// Stands for the payload of a message that has a body of another kind than ours: no frame either.
pub(crate) const FOREIGN_BODY: &[u8] = b"not a frame";
