//! How those who wait learn that there is something: [`Signal`].

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts changes. Nobody who looks before they wait misses one.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    version: AtomicU64,
    notify: Notify,
}

impl Signal {
    /// What [`changed_since`](Self::changed_since) starts from.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Something changed.
    pub(crate) fn raise(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Waits until the version is another than `seen`.
    pub(crate) async fn changed_since(&self, seen: u64) {
        loop {
            // Made before the comparison: it hears whatever is raised from here on.
            let notified = self.notify.notified();
            if self.version() != seen {
                return;
            }
            notified.await;
        }
    }
}
