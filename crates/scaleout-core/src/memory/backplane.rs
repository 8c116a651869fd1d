//! A node's connection to a memory store.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use tokio::sync::Notify;

use super::{faults::Answer, reception::Reception};
use crate::{
    Backplane, Capabilities, Epoch, Error, ErrorKind, Event, FrameId, MemoryStore, NodeId, Retained, Start,
    StreamIndex,
};

/// A node's connection to a [`MemoryStore`]; a clone is the same connection.
///
/// Nodes that shall see each other are connections of one store: [`MemoryStore::backplane`]. `default()` is the only
/// node of a store of its own. Waiting needs a Tokio runtime with time.
#[derive(Clone)]
pub struct MemoryBackplane {
    connection: Arc<Connection>,
}

/// What the clones of a backplane and its receptions share.
pub(super) struct Connection {
    pub(super) store: MemoryStore,
    /// 0, 1, … in the order of connecting; it seeds the jitter.
    pub(super) number: u64,
    /// Registered receptions; `None` once closed.
    receptions: Mutex<Option<usize>>,
    closing: Notify,
    /// Per stream and node the epoch of the last send that was answered `Ok`, for stores that cannot be asked.
    confirmed: Mutex<BTreeMap<StreamIndex, BTreeMap<NodeId, Epoch>>>,
}

impl MemoryBackplane {
    pub(super) fn new(store: MemoryStore, number: u64) -> Self {
        let connection = Connection {
            store,
            number,
            receptions: Mutex::new(Some(0)),
            closing: Notify::new(),
            confirmed: Mutex::new(BTreeMap::new()),
        };
        Self { connection: Arc::new(connection) }
    }

    /// The store it is connected to.
    #[must_use]
    pub fn store(&self) -> &MemoryStore {
        &self.connection.store
    }

    async fn append(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let sent = self.connection.unless_closed(self.connection.send(stream, frame, payload)).await;
        sent.unwrap_or_else(|| Err(Error::new(ErrorKind::Closed, "the memory backplane is closed")))
    }
}

impl Default for MemoryBackplane {
    fn default() -> Self {
        MemoryStore::default().backplane()
    }
}

impl fmt::Debug for MemoryBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackplane").field("connection", &self.connection).finish()
    }
}

impl Backplane for MemoryBackplane {
    fn stream_count(&self) -> NonZeroU16 {
        self.store().stream_count()
    }

    fn capabilities(&self) -> Capabilities {
        self.store().config().capabilities
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.append(stream, frame, payload))
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let connection = Arc::clone(&self.connection);
        if !connection.store.has(stream) {
            // The stream of events ends only at close, so that a caller's mistake is told once and then waits for it.
            let told = stream::iter([Event::Faulted(no_such(stream))]);
            return told.chain(stream::pending().take_until(connection.closed())).boxed();
        }
        match Reception::open(connection, stream, start) {
            Some(reception) => stream::unfold(reception, async |mut reception| {
                let event = reception.next().await?;
                Some((event, reception))
            })
            .boxed(),
            None => stream::empty().boxed(),
        }
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        Box::pin(std::future::ready(match self.connection.store.has(stream) {
            true => Ok(Some(self.connection.store.retained(stream))),
            false => Err(no_such(stream)),
        }))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.connection.close();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Connection {
    async fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        // One node's sends can always be ready; without this they would starve the other tasks of their thread.
        tokio::task::coop::consume_budget().await;
        if !self.store.has(stream) {
            return Err(no_such(stream));
        }
        let capabilities = self.store.config().capabilities;
        frame.check(payload.len(), capabilities.max_payload_bytes)?;
        let lane = self.store.lane(stream);
        let delay = lane.lock().faults.send_delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        loop {
            let changed = lane.changed();
            if !lane.lock().faults.sends_blocked {
                break;
            }
            changed.await;
        }
        let answer = {
            let mut confirmed = lock(&self.confirmed);
            let confirmed = confirmed.entry(stream).or_default();
            lane.update(|state| state.send(frame, payload, capabilities.asks_held, confirmed))
        };
        match answer {
            Answer::Told(result) => result,
            Answer::Silence => std::future::pending().await,
        }
    }

    /// Counts a reception; `false` if the connection is closed.
    pub(super) fn register(&self) -> bool {
        let mut receptions = lock(&self.receptions);
        let Some(count) = receptions.as_mut() else { return false };
        *count += 1;
        self.store.receptions().fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Undoes [`register`](Self::register), unless `close` has.
    pub(super) fn deregister(&self) {
        if let Some(count) = lock(&self.receptions).as_mut() {
            *count -= 1;
            self.store.receptions().fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// What `work` comes to, or `None` as soon as the connection is closed.
    pub(super) async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let closing = self.closing.notified();
        if lock(&self.receptions).is_none() {
            return None;
        }
        tokio::select! {
            biased;
            result = work => Some(result),
            () = closing => None,
        }
    }

    async fn closed(self: Arc<Self>) {
        self.unless_closed(std::future::pending::<()>()).await;
    }

    fn close(&self) {
        let released = lock(&self.receptions).take();
        self.store.receptions().fetch_sub(released.unwrap_or(0), Ordering::AcqRel);
        self.closing.notify_waiters();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn no_such(stream: StreamIndex) -> Error {
    Error::new(ErrorKind::Config, format!("the memory store has no stream {stream}"))
}

/// A panic elsewhere leaves plain values whole, so poisoning tells nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
