//! A node's connection to an app in Service Bus.

use std::{fmt, num::NonZeroU16, sync::Arc};

use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use scaleout_core::{
    Backplane, Capabilities, Error, ErrorKind, Event, FrameId, Start, StreamIndex,
    provider::{Events, Outbox},
};
use tokio::sync::Notify;

use crate::{
    config::ServiceBusConfig,
    node::{Node, Owner},
    reader,
};

/// A backplane over topics of Azure Service Bus; a clone is the same connections.
///
/// It sends to each topic over a link of its own, and receives from a subscription of its own on each. The [crate's
/// front page](crate) says what is stored and what is guaranteed.
#[derive(Clone)]
pub struct ServiceBusBackplane {
    owner: Arc<Owner>,
}

impl ServiceBusBackplane {
    /// Prepares a backplane; nothing is connected before it is used.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem of `config` in one line.
    pub fn new(config: ServiceBusConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { owner: Arc::new(Owner(Node::new(config)?)) })
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &ServiceBusConfig {
        &self.node().config
    }

    /// The name of the subscriptions that this node has on the topics it receives.
    #[must_use]
    pub fn subscription(&self) -> &str {
        self.node().entities.subscription()
    }

    /// Deletes the topics of the app, whatever their number, with all subscriptions and messages; gives how many there were.
    ///
    /// For the end of an app, or before its `topic_count` changes. Nodes that still run create them again.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) with `create_entities = false`, [`Unauthorized`](ErrorKind::Unauthorized) without the
    /// right Manage, and others as of sends.
    ///
    /// # Cancel safety
    /// Some may have been deleted.
    pub async fn delete_topics(&self) -> Result<usize, Error> {
        self.node().unless_closed(self.node().entities.delete_topics()).await
    }

    fn node(&self) -> &Arc<Node> {
        &self.owner.0
    }

    async fn append(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        if !self.node().has(stream) {
            return Err(self.no_such(stream));
        }
        frame.check(payload.len(), self.node().config.max_payload_bytes)?;
        if self.node().is_closed() {
            return Err(crate::node::closed());
        }
        self.node().unless_closed(self.node().sends(stream).frame(frame, payload)).await
    }

    fn no_such(&self, stream: StreamIndex) -> Error {
        let topics = self.node().config.topic_count;
        Error::new(
            ErrorKind::Config,
            format!("there is no stream {stream}: the settings say {topics} topics"),
        )
    }
}

impl fmt::Debug for ServiceBusBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBusBackplane").field("config", &self.node().config).finish_non_exhaustive()
    }
}

impl Backplane for ServiceBusBackplane {
    fn stream_count(&self) -> NonZeroU16 {
        self.node().config.topic_count
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_max_payload_bytes(self.node().config.max_payload_bytes)
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.append(stream, frame, payload))
    }

    fn receive(&self, stream: StreamIndex, _start: Start) -> BoxStream<'static, Event> {
        let node = self.node();
        if node.is_closed() {
            return stream::empty().boxed();
        }
        if !node.has(stream) {
            let (told, node) = (Event::Faulted(self.no_such(stream)), Arc::clone(node));
            // The stream of events ends only at close, so that a caller's mistake is told once and then waits for it.
            let closed = async move { node.closing().await };
            return stream::iter([told]).chain(stream::pending().take_until(closed)).boxed();
        }
        let changed = Arc::<Notify>::default();
        let outbox = Outbox::new(Arc::clone(&changed));
        let events = Events::new(Arc::clone(&outbox));
        node.tasks.spawn(reader::run(Arc::clone(&self.owner), stream, outbox, changed));
        events.boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.node().close())
    }
}
