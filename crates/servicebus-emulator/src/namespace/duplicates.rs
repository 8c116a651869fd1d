//! Which messages were there before: [`Duplicates`].

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

/// The `MessageId`s of a topic's window.
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    known: HashSet<Arc<str>>,
    /// In the order in which they came.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl Duplicates {
    /// Whether `id` was there within the window; from now on it was. Seen again, it does not stay longer.
    pub(crate) fn is_repeated(&mut self, id: &str, window: Duration, now: Instant) -> bool {
        while let Some((at, _)) = self.order.front()
            && now.duration_since(*at) >= window
        {
            if let Some((_, old)) = self.order.pop_front() {
                self.known.remove(&old);
            }
        }
        if self.known.contains(id) {
            return true;
        }
        let id: Arc<str> = id.into();
        self.known.insert(Arc::clone(&id));
        self.order.push_back((now, id));
        false
    }
}
