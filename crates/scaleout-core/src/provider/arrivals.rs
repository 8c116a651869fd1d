//! Receptions on their way to the reader, and the end of all of them.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use super::{Events, Outbox};
use crate::{Error, Start};

/// New receptions, until the reader takes them.
///
/// The reader is a task that runs while there are receptions: [`receive`](Self::receive) says when it has to be started,
/// [`rest`](Self::rest) that it ends.
#[derive(Debug)]
pub struct Arrivals {
    inner: Mutex<Inner>,
    /// Told when there is a new reception, room in one that was slow, one less, or the end.
    changed: Arc<Notify>,
}

/// A reception that the reader has not seen yet.
#[derive(Debug)]
pub struct Arrival {
    /// Which of the reader's streams, by its place there.
    pub lane: usize,
    /// Where it begins.
    pub start: Start,
    /// Where its events go.
    pub outbox: Arc<Outbox>,
}

#[derive(Debug, Default)]
struct Inner {
    new: Vec<Arrival>,
    is_reading: bool,
    /// Of all receptions, so that a close ends them.
    outboxes: Vec<Weak<Outbox>>,
    ended: bool,
}

impl Arrivals {
    /// None yet; `changed` tells the reader.
    #[must_use]
    pub fn new(changed: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), changed }
    }

    /// Begins a reception: its events, and whether the reader has to be started; `None` after [`end`](Self::end).
    #[must_use]
    pub fn receive(&self, lane: usize, start: Start) -> Option<(Events, bool)> {
        let outbox = Outbox::new(Arc::clone(&self.changed));
        let mut inner = self.lock();
        if inner.ended {
            return None;
        }
        inner.new.push(Arrival { lane, start, outbox: Arc::clone(&outbox) });
        inner.outboxes.retain(|outbox| outbox.strong_count() > 0);
        inner.outboxes.push(Arc::downgrade(&outbox));
        let starts = !std::mem::replace(&mut inner.is_reading, true);
        drop(inner);
        self.changed.notify_one();
        Some((Events::new(outbox), starts))
    }

    /// What has arrived since.
    #[must_use]
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.lock().new)
    }

    /// Whether nobody has taken what arrived.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.lock().new.is_empty()
    }

    /// Whether the reader may end, since it has no reception left and none has arrived; if so, the next one starts another.
    #[must_use]
    pub fn rest(&self) -> bool {
        let mut inner = self.lock();
        let rests = inner.ended || inner.new.is_empty();
        inner.is_reading &= !rests;
        rests
    }

    /// Whether they have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Ends every reception, and refuses new ones.
    pub fn end(&self) {
        let outboxes = {
            let mut inner = self.lock();
            inner.ended = true;
            inner.new.clear();
            std::mem::take(&mut inner.outboxes)
        };
        for outbox in outboxes.into_iter().filter_map(|outbox| outbox.upgrade()) {
            outbox.end();
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves plain values whole, so poisoning tells nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a backplane is closed, for all that is under way on it.
#[derive(Debug, Default)]
pub struct Closing {
    closed: AtomicBool,
    told: Notify,
}

impl Closing {
    /// Closes; `false` if it was closed before.
    pub fn close(&self) -> bool {
        let is_first = !self.closed.swap(true, Ordering::AcqRel);
        self.told.notify_waiters();
        is_first
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends as soon as it is closed. Cancel safe.
    pub async fn wait(&self) {
        let told = self.told.notified();
        // Made before the look, so that no close is missed in between.
        if !self.is_closed() {
            told.await;
        }
    }

    /// What `work` comes to, or the error that `closed` makes as soon as the backplane is closed.
    ///
    /// # Errors
    /// Those of `work`, and that one.
    ///
    /// # Cancel safety
    /// That of `work`, which is dropped at the close.
    pub async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
        closed: impl FnOnce() -> Error,
    ) -> Result<T, Error> {
        if self.is_closed() {
            return Err(closed());
        }
        tokio::select! {
            biased;
            result = work => result,
            () = self.wait() => Err(closed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::ErrorKind;

    fn closed() -> Error {
        Error::from(ErrorKind::Closed)
    }

    #[test]
    fn the_first_reception_starts_the_reader_and_so_does_the_first_after_it_rested() {
        let arrivals = Arrivals::new(Arc::default());
        let (_events, starts) = arrivals.receive(0, Start::Latest).expect("not ended");
        assert!(starts);
        assert!(!arrivals.receive(1, Start::Latest).expect("not ended").1);
        assert!(!arrivals.rest(), "two have arrived");
        assert_eq!(arrivals.take().len(), 2);
        assert!(arrivals.rest());
        assert!(arrivals.receive(0, Start::Latest).expect("not ended").1);
    }

    #[tokio::test]
    async fn the_end_ends_all_and_refuses_new_ones() {
        let arrivals = Arrivals::new(Arc::default());
        let (mut events, _) = arrivals.receive(0, Start::Latest).expect("not ended");
        let taken = arrivals.take();
        arrivals.end();
        assert!(events.next().await.is_none());
        assert!(arrivals.receive(0, Start::Latest).is_none());
        assert!(arrivals.rest() && arrivals.has_ended());
        drop(taken);
    }

    #[test]
    fn a_close_ends_what_is_under_way() {
        let closing = Closing::default();
        let mut work = Box::pin(closing.unless_closed(std::future::pending::<Result<(), Error>>(), closed));
        assert!((&mut work).now_or_never().is_none());
        assert!(closing.close());
        assert_eq!(work.now_or_never().expect("it ends").expect_err("closed").kind(), ErrorKind::Closed);
        let late = closing.unless_closed(async { Ok(()) }, closed).now_or_never().expect("it ends");
        assert_eq!(late.expect_err("closed").kind(), ErrorKind::Closed);
        assert!(!closing.close());
    }
}
