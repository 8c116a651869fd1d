//! When the nodes were last heard of.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashbrown::HashMap;

use crate::NodeId;

/// How long a silent node is remembered.
const KEPT: Duration = Duration::from_secs(600);

/// When the last frame of each node came, in the time since the bus started.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<NodeId, Duration>>);

impl Heard {
    pub(super) fn note(&self, node: NodeId, now: Duration) {
        self.lock().insert(node, now);
    }

    pub(super) fn ago(&self, node: NodeId, now: Duration) -> Option<Duration> {
        let at = *self.lock().get(&node)?;
        Some(now.saturating_sub(at)).filter(|ago| *ago <= KEPT)
    }

    pub(super) fn forget(&self, now: Duration) {
        self.lock().retain(|_, at| now.saturating_sub(*at) <= KEPT);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_is_forgotten() {
        let (heard, node) = (Heard::default(), NodeId(1));
        assert_eq!(heard.ago(node, Duration::ZERO), None);
        heard.note(node, Duration::from_secs(5));
        assert_eq!(heard.ago(node, Duration::from_secs(7)), Some(Duration::from_secs(2)));
        assert_eq!(heard.ago(node, Duration::from_secs(606)), None);
        heard.forget(Duration::from_secs(606));
        assert!(heard.lock().is_empty());
    }
}
