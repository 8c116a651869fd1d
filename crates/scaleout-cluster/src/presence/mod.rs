//! Who is in which group, on all nodes.

mod directory;
mod entry;
mod message;
mod outbox;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scaleout_core::NodeId;

pub use self::entry::{Entry, PresenceError, PresenceEvent};
use self::state::State;

/// The members of groups on all nodes; a cheap clone.
#[derive(Debug, Clone)]
pub struct Presence {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// All that is known. Held for one step, never across an await.
    state: Mutex<State>,
}

impl Presence {
    pub(crate) fn new(node: NodeId, max_entries: usize) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(State::new(node, max_entries)) }) }
    }

    /// A sign of life: `node`, in its life `incarnation`, has published its changes up to `version`.
    ///
    /// For living members only. What the node cast before it sent this has been handed to the handlers.
    pub(crate) fn beat(&self, node: NodeId, incarnation: u64, version: u64) {
        self.state().beat(node, incarnation, version);
    }

    /// `node` left or expired.
    pub(crate) fn gone(&self, node: NodeId) {
        self.state().gone(node);
    }

    /// What this node's heartbeats carry.
    pub(crate) fn version(&self) -> u64 {
        self.state().version()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
