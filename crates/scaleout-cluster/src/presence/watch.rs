//! Following what happens, with bounds.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::PresenceEvent;

/// Events that may wait in a watch. More than a busy second has; some megabytes at most.
const MAX_EVENTS: usize = 16_384;

/// Follows the changes of all groups.
pub struct PresenceWatch {
    queue: Arc<Queue>,
}

/// The events that wait for one watch.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<PresenceEvent>,
    closed: bool,
}

/// The queues of all watches.
#[derive(Default)]
pub(super) struct Queues(Vec<Weak<Queue>>);

impl PresenceWatch {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Waits for the next event. `None` once the cluster is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<PresenceEvent> {
        loop {
            let filled = self.queue.filled.notified();
            {
                let mut waiting = self.queue.waiting();
                if let Some(event) = waiting.events.pop_front() {
                    return Some(event);
                }
                if waiting.closed {
                    return None;
                }
                // After a burst.
                waiting.events.shrink_to(64);
            }
            filled.await;
        }
    }
}

impl fmt::Debug for PresenceWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.queue.waiting().events.len();
        f.debug_struct("PresenceWatch").field("waiting", &waiting).finish()
    }
}

impl Queue {
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.filled.notify_one();
    }

    fn push(&self, events: impl ExactSizeIterator<Item = PresenceEvent>) {
        let mut waiting = self.waiting();
        if waiting.events.len() + events.len() > MAX_EVENTS {
            // Whoever lists everything anew sees what these told of, too.
            waiting.events = VecDeque::from([PresenceEvent::Resync]);
        } else {
            waiting.events.extend(events);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    pub(super) fn add(&mut self, queue: &Arc<Queue>) {
        self.0.retain(|held| held.strong_count() > 0);
        self.0.push(Arc::downgrade(queue));
    }

    /// Tells all watches; answers whether there are any.
    pub(super) fn tell(&mut self, events: Vec<PresenceEvent>) -> bool {
        self.0.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.push(events.iter().cloned());
                true
            }
            None => false,
        });
        !self.0.is_empty()
    }

    pub(super) fn close(&mut self) {
        for queue in mem::take(&mut self.0).iter().filter_map(Weak::upgrade) {
            queue.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use scaleout_core::NodeId;

    use super::*;

    fn left(node: u128) -> PresenceEvent {
        PresenceEvent::NodeLeft { node: NodeId(node), entries: Arc::default() }
    }

    #[test]
    fn one_that_falls_behind_is_told_and_goes_on() {
        let (queue, mut queues) = (Arc::new(Queue::default()), Queues::default());
        queues.add(&queue);
        let mut watch = PresenceWatch::new(queue);
        for _ in 0..=MAX_EVENTS {
            assert!(queues.tell(vec![left(1)]));
        }
        queues.tell(vec![left(2), left(3)]);
        for expected in [PresenceEvent::Resync, left(2), left(3)] {
            assert_eq!(watch.recv().now_or_never(), Some(Some(expected)));
        }
        assert_eq!(watch.recv().now_or_never(), None);
        queues.tell(vec![left(4)]);
        queues.close();
        assert_eq!(watch.recv().now_or_never(), Some(Some(left(4))));
        assert_eq!(watch.recv().now_or_never(), Some(None));
    }

    #[test]
    fn one_that_was_dropped_is_forgotten() {
        let (queue, mut queues) = (Arc::new(Queue::default()), Queues::default());
        queues.add(&queue);
        drop(PresenceWatch::new(queue));
        assert!(!queues.tell(vec![left(1)]));
    }
}
