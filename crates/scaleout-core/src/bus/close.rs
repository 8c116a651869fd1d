//! How a bus ends.

use std::{
    sync::{PoisonError, atomic::Ordering},
    task::Waker,
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{Inner, Owner};

/// What [`Bus::close`](super::Bus::close) could not bring to the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Messages that surely are not in the store.
    pub unsent: usize,
    /// Messages that were tried, and may be there.
    pub unconfirmed: usize,
}

/// What a backplane gets to release its registrations when the deadline is over already.
const RELEASE_TIME: Duration = Duration::from_secs(1);

pub(super) async fn close(owner: &Owner, deadline: Duration) -> CloseReport {
    let inner = &owner.inner;
    let until = Instant::now() + deadline;
    if inner.closing.swap(true, Ordering::AcqRel) {
        let mut states = inner.states.subscribe();
        let closed = states.wait_for(|_| inner.is_closed());
        let _ = timeout_at(until, closed).await;
        return CloseReport::default();
    }
    for lane in &inner.streams {
        lane.queue.with(|queue| queue.stop_accepting());
        lane.wake_sender.notify_one();
    }
    // Nothing is left to send, or no time.
    let _ = timeout_at(until, inner.drained()).await;
    owner.tasks.iter().for_each(AbortHandle::abort);
    let report = inner.abandon();
    let release = until.saturating_duration_since(Instant::now()).max(RELEASE_TIME);
    match timeout(release, inner.backplane.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the backplane did not release everything"),
        Err(_) => tracing::warn!("the backplane did not close in time"),
    }
    report
}

impl Inner {
    async fn drained(&self) {
        loop {
            let drained = self.drain.notified();
            if self.streams.iter().all(|lane| lane.queue.with(|queue| queue.is_drained())) {
                return;
            }
            drained.await;
        }
    }

    /// Resolves every publish, ends every subscription, and says so.
    pub(super) fn abandon(&self) -> CloseReport {
        let mut report = CloseReport::default();
        for lane in &self.streams {
            let abandoned = lane.queue.with(|queue| queue.abandon());
            report.unsent += abandoned.unsent;
            report.unconfirmed += abandoned.unconfirmed;
        }
        let mut wakes: Vec<Waker> = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
            std::mem::take(&mut *idle)
        };
        for stream in self.stream_indices() {
            self.lane(stream).ring().end_readers(&mut wakes);
            self.update(stream, |status| status.close());
        }
        wakes.into_iter().for_each(Waker::wake);
        self.metrics.export(self);
        report
    }
}
