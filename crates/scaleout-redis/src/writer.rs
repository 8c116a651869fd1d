//! The connection that a group's commands go over, and its replacement when it fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use scaleout_core::{Backoff, Error, provider::Head};
use tokio::time::{Instant, timeout_at};

use crate::{
    config::RedisConfig,
    epochs::open,
    group::{Group, closed, lock},
    link::{Link, Replaced},
};

/// A connection for commands, and where the streams stood when it was told last.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) link: Link,
    /// Counts the connections of a group, so that what was learnt over one is not taken for true over another.
    pub(crate) number: u64,
    heads: Mutex<Vec<Head>>,
    /// When the streams were looked at last, which renews the expiry of their keys.
    looked: Mutex<Instant>,
    /// An answer did not come: what was sent may still land, so that the next connection has to end this one first.
    broken: AtomicBool,
}

/// The place of a group's writer.
#[derive(Debug)]
pub(crate) struct WriterSlot {
    writer: Option<Arc<Writer>>,
    count: u64,
    replaced: Option<Replaced>,
    backoff: Backoff,
    /// The last attempt failed, and the next one is due then.
    failed: Option<(Instant, Error)>,
}

/// So that an error that somebody mended is not told for long.
const FATAL_PAUSE: Duration = Duration::from_millis(100);

impl WriterSlot {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        let backoff = Backoff::new(config.min_backoff, config.max_backoff, fastrand::u64(..));
        Self { writer: None, count: 0, replaced: None, backoff, failed: None }
    }

    pub(crate) fn drop_link(&mut self) {
        self.writer = None;
    }
}

impl Writer {
    /// The epoch that the stream with this place in the group is in.
    pub(crate) fn epoch(&self, lane: usize) -> u64 {
        lock(&self.heads).get(lane).map_or(0, |head| head.last.epoch)
    }

    /// The greatest epoch of the group.
    pub(crate) fn greatest_epoch(&self) -> u64 {
        lock(&self.heads).iter().map(|head| head.last.epoch).max().unwrap_or(0)
    }

    /// Whether the expiry of the keys has to be renewed.
    pub(crate) fn is_due(&self, group: &Group) -> bool {
        lock(&self.looked).elapsed() > group.config.key_expiry / 8
    }

    /// Gives the connection up.
    pub(crate) fn fail(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

impl Group {
    /// The writer, connected if it was not.
    ///
    /// # Cancel safety
    /// A dropped attempt is made again by the next who asks.
    pub(crate) async fn writer(&self) -> Result<Arc<Writer>, Error> {
        let mut slot = self.writer.lock().await;
        if let Some(writer) = &slot.writer {
            if !writer.broken.load(Ordering::Acquire) {
                return Ok(Arc::clone(writer));
            }
            slot.replaced = writer.link.replaced();
            slot.writer = None;
        }
        if let Some((due, error)) = &slot.failed
            && Instant::now() < *due
        {
            return Err(error.clone());
        }
        if self.is_closed() {
            return Err(closed());
        }
        match self.connect_writer(&slot).await {
            Ok(writer) => {
                let writer = Arc::new(writer);
                slot.count += 1;
                slot.replaced = None;
                slot.failed = None;
                slot.backoff.reset();
                slot.writer = Some(Arc::clone(&writer));
                self.reachable.notify_waiters();
                Ok(writer)
            }
            Err(error) => {
                let delay = if error.is_fatal() { FATAL_PAUSE } else { slot.backoff.next_delay() };
                slot.failed = Some((Instant::now() + delay, error.clone()));
                Err(error)
            }
        }
    }

    /// Ends the pauses before attempts to connect: the server is there.
    pub(crate) fn reached(&self) {
        // Whoever holds the lock is connecting.
        if let Ok(mut slot) = self.writer.try_lock() {
            slot.failed = None;
            slot.backoff.reset();
        }
        self.reachable.notify_waiters();
    }

    async fn connect_writer(&self, slot: &WriterSlot) -> Result<Writer, Error> {
        let target = self.places.target(&self.config, &self.keys.meta()).await?;
        let link = Link::connect(&self.config, &target, &self.name(), slot.replaced.as_ref()).await?;
        let heads = open(self, &link).await?;
        let broken = AtomicBool::new(false);
        let looked = Mutex::new(Instant::now());
        Ok(Writer { link, number: slot.count + 1, heads: Mutex::new(heads), looked, broken })
    }

    /// The writer, as soon as there is one, within the time in which a dead server is noticed.
    pub(crate) async fn writer_in_time(&self) -> Result<Arc<Writer>, Error> {
        let deadline = Instant::now() + self.config.liveness;
        loop {
            match self.writer().await {
                Err(error) if error.is_transient() => {
                    let due = self.writer.lock().await.failed.as_ref().map(|(due, _)| *due);
                    // Never sooner than the clock ticks, so that waiting is not spinning.
                    let due = due.unwrap_or(deadline).max(Instant::now() + Duration::from_millis(1));
                    if due >= deadline {
                        return Err(error);
                    }
                    // Either way it is tried again.
                    let _ = timeout_at(due, self.reachable.notified()).await;
                }
                result => return result,
            }
        }
    }

    /// Looks at each stream again, over a connection that stays.
    pub(crate) async fn reopen(&self, writer: &Writer) -> Result<Vec<Head>, Error> {
        let heads = open(self, &writer.link).await;
        match heads {
            Ok(heads) => {
                lock(&writer.heads).clone_from(&heads);
                *lock(&writer.looked) = Instant::now();
                Ok(heads)
            }
            Err(error) => {
                writer.fail();
                Err(error)
            }
        }
    }
}
