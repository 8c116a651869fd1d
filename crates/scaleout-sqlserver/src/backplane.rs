//! A node's connection to an app in SQL Server.

use std::{fmt, num::NonZeroU16, sync::Arc};

use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use scaleout_core::{
    Backplane, Capabilities, Error, ErrorKind, Event, FrameId, Retained, Start, StreamIndex,
};

use crate::{
    bell::Doorbell,
    config::SqlServerConfig,
    health::{self, SqlServerHealth},
    node::Node,
    upkeep,
};

/// A backplane over tables of SQL Server; a clone is the same connections.
///
/// It has a small pool of connections for sends, one that reads, with the doorbell one that waits, and now and then one
/// that drops old rows. The [crate's front page](crate) says what is stored and what is guaranteed.
#[derive(Clone)]
pub struct SqlServerBackplane {
    node: Arc<Node>,
}

impl SqlServerBackplane {
    /// Prepares a backplane; nothing is connected before it is used.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem of `config` in one line.
    pub fn new(config: SqlServerConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { node: Node::new(config) })
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &SqlServerConfig {
        &self.node.config
    }

    /// How this node learns of what others append.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.node.doorbell.borrow().clone()
    }

    /// Asks the server how the objects of this app are, and those of Service Broker in particular.
    ///
    /// # Errors
    /// As sends: the store cannot be reached, or refuses.
    ///
    /// # Cancel safety
    /// A dropped question ends its connection.
    pub async fn health(&self) -> Result<SqlServerHealth, Error> {
        self.node.unless_closed(health::health(&self.node)).await
    }

    /// The place of a stream.
    fn lane(&self, stream: StreamIndex) -> Option<usize> {
        (stream.index() < self.node.lanes.len()).then_some(stream.index())
    }

    async fn append(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let Some(lane) = self.lane(stream) else { return Err(self.no_such(stream)) };
        frame.check(payload.len(), self.node.config.max_payload_bytes)?;
        upkeep::begin(&self.node);
        self.node.unless_closed(self.node.send(lane, frame, payload)).await
    }

    fn no_such(&self, stream: StreamIndex) -> Error {
        let tables = self.node.config.table_count;
        Error::new(
            ErrorKind::Config,
            format!("there is no stream {stream}: the settings say {tables} message tables"),
        )
    }
}

impl fmt::Debug for SqlServerBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlServerBackplane").field("config", &self.node.config).finish_non_exhaustive()
    }
}

impl Backplane for SqlServerBackplane {
    fn stream_count(&self) -> NonZeroU16 {
        self.node.config.table_count
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_max_payload_bytes(self.node.config.max_payload_bytes)
            .with_replay(true)
            .with_dense_ids(true)
            .with_asks_held(true)
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.append(stream, frame, payload))
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let Some(lane) = self.lane(stream) else {
            let (told, node) = (Event::Faulted(self.no_such(stream)), Arc::clone(&self.node));
            // The stream of events ends only at close, so that a caller's mistake is told once and then waits for it.
            let closed = async move { node.unless_closed(std::future::pending::<Result<(), Error>>()).await };
            return stream::iter([told]).chain(stream::pending().take_until(closed)).boxed();
        };
        match self.node.receive(lane, start) {
            Some(events) => events.boxed(),
            None => stream::empty().boxed(),
        }
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        Box::pin(async move {
            let Some(lane) = self.lane(stream) else { return Err(self.no_such(stream)) };
            self.node.unless_closed(self.node.retained(lane)).await.map(Some)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            if !self.node.end() {
                return Ok(());
            }
            // The reader ends by itself, and takes the doorbell along.
            let released = self.node.listening.lock().await.clone();
            self.node.pool.close();
            released
        })
    }
}
