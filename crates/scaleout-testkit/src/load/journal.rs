//! What a run writes down while it goes on, for who judges it from outside.

use std::{fmt::Debug, time::Duration};

use scaleout_core::Cursor;

use crate::checker::{Arrival, Item, Outcome, Published};

/// Told of everything that a [`Load`](super::Load) records, before it has any effect on the run.
///
/// A run of several processes is judged from what each of them wrote; what one wrote before it was killed counts. Calls
/// come from many tasks; those of one publish, one client or one stream are in order.
pub trait Journal: Debug + Send + Sync {
    /// A message is about to be published; `id` is in its payload.
    fn published(&self, id: usize, publish: &Published);

    /// A publish ended.
    fn resolved(&self, id: usize, at: Duration, outcome: Outcome);

    /// Something happened to a client, which goes on from `cursor` if it loses its node now.
    fn happened(&self, client: usize, item: &Item, cursor: &Cursor);

    /// A reception of a node yielded something.
    fn arrived(&self, node: usize, arrival: &Arrival);
}

/// Tells nobody.
#[derive(Debug)]
pub(super) struct NoJournal;

impl Journal for NoJournal {
    fn published(&self, _: usize, _: &Published) {}
    fn resolved(&self, _: usize, _: Duration, _: Outcome) {}
    fn happened(&self, _: usize, _: &Item, _: &Cursor) {}
    fn arrived(&self, _: usize, _: &Arrival) {}
}
