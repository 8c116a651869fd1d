//! Presence without I/O: own changes, deltas, pages and signs of life in; deltas to publish, nodes to ask and events out.
//!
//! Every node is the only authority on its own entries. It numbers the deltas it publishes, and says the number of the
//! latest one, its *version*, with every sign of life. Whoever lacks one asks that node for all its entries, page by page;
//! deltas that come meanwhile win over what pages say, since a page may be older and a later delta tells every difference.

use scaleout_core::NodeId;

#[derive(Debug)]
pub(super) struct State {
    me: NodeId,
    max_entries: usize,
}

impl State {
    pub(super) fn new(me: NodeId, max_entries: usize) -> Self {
        Self { me, max_entries }
    }

    pub(super) fn beat(&mut self, node: NodeId, _incarnation: u64, _version: u64) {
        debug_assert!(node != self.me || self.max_entries > 0);
    }

    pub(super) fn gone(&mut self, _node: NodeId) {}

    pub(super) fn version(&self) -> u64 {
        0
    }
}
