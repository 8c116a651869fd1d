//! A node's connection to an app in Redis.

use std::{fmt, num::NonZeroU16, sync::Arc};

use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use scaleout_core::{
    Backplane, Capabilities, Error, ErrorKind, Event, FrameId, Retained, Start, StreamIndex,
};

use crate::{config::RedisConfig, group::Group};

/// A backplane over Redis Streams; a clone is the same connections.
///
/// It has two connections for each group of streams (one group outside of Redis Cluster): one for commands, one for
/// blocking reads. The [crate's front page](crate) says what is stored and what is guaranteed.
#[derive(Clone)]
pub struct RedisBackplane {
    config: Arc<RedisConfig>,
    groups: Arc<[Arc<Group>]>,
}

impl RedisBackplane {
    /// Prepares a backplane; nothing is connected before it is used.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem of `config` in one line.
    pub fn new(config: RedisConfig) -> Result<Self, Error> {
        config.check()?;
        let config = Arc::new(config);
        let groups =
            (0..config.group_count().get()).map(|index| Arc::new(Group::new(Arc::clone(&config), index)));
        Ok(Self { groups: groups.collect(), config })
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// The group of a stream, and its place there.
    fn group(&self, stream: StreamIndex) -> Option<(&Arc<Group>, usize)> {
        let groups = self.groups.len();
        let group = self.groups.get(stream.index() % groups)?;
        let place = stream.index() / groups;
        (place < group.lanes.len()).then_some((group, place))
    }

    async fn append(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let Some((group, place)) = self.group(stream) else { return Err(self.no_such(stream)) };
        frame.check(payload.len(), self.config.max_payload_bytes)?;
        group.unless_closed(group.send(place, frame, payload)).await
    }

    fn no_such(&self, stream: StreamIndex) -> Error {
        let streams = self.config.streams;
        Error::new(
            ErrorKind::Config,
            format!("there is no stream {stream}: the settings say {streams} streams"),
        )
    }
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Backplane for RedisBackplane {
    fn stream_count(&self) -> NonZeroU16 {
        self.config.streams
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_max_payload_bytes(self.config.max_payload_bytes)
            .with_replay(true)
            .with_dense_ids(true)
            .with_asks_held(true)
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.append(stream, frame, payload))
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let Some((group, place)) = self.group(stream) else {
            let (told, group) = (Event::Faulted(self.no_such(stream)), Arc::clone(&self.groups[0]));
            // The stream of events ends only at close, so that a caller's mistake is told once and then waits for it.
            let closed =
                async move { group.unless_closed(std::future::pending::<Result<(), Error>>()).await };
            return stream::iter([told]).chain(stream::pending().take_until(closed)).boxed();
        };
        match group.receive(place, start) {
            Some(events) => events.boxed(),
            None => stream::empty().boxed(),
        }
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        Box::pin(async move {
            let Some((group, place)) = self.group(stream) else { return Err(self.no_such(stream)) };
            group.unless_closed(group.retained(place)).await.map(Some)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            for group in self.groups.iter() {
                group.close().await;
            }
            Ok(())
        })
    }
}
