//! Mutants in front of all nodes of a fixture.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, StreamIndex};

use crate::{
    fixture::{Fault, Fixture, Held, Need},
    mutants::{Mutant, node::MutantNode},
};

/// A fixture whose nodes are those of another one, with a mutant in front of each.
#[derive(Debug)]
pub struct MutantFixture<F> {
    inner: F,
    mutant: Option<Mutant>,
    nodes: AtomicUsize,
}

impl<F: Fixture> MutantFixture<F> {
    /// Puts `mutant` in front of the nodes of `inner`; with `None` the nodes behave as they are.
    pub fn new(inner: F, mutant: Option<Mutant>) -> Self {
        Self { inner, mutant, nodes: AtomicUsize::new(0) }
    }

    fn mutate(&self, node: Arc<dyn Backplane>) -> Arc<dyn Backplane> {
        let index = self.nodes.fetch_add(1, Ordering::Relaxed);
        Arc::new(MutantNode::new(node, self.mutant, index))
    }
}

impl<F: Fixture> Fixture for MutantFixture<F> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn expects(&self, need: Need) -> bool {
        self.inner.expects(need)
    }

    fn patience(&self) -> Duration {
        self.inner.patience()
    }

    fn node(&self) -> Arc<dyn Backplane> {
        self.mutate(self.inner.node())
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        match self.mutant {
            Some(Mutant::MeetsOtherApps) => self.inner.node(),
            _ => self.mutate(self.inner.node_of_another_app()),
        }
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        match self.mutant {
            // Odd nodes of that mutant say that they have one stream more, and none of them is refused.
            Some(Mutant::AcceptsOtherCounts) => {
                Some(Arc::new(MutantNode::new(self.inner.node(), Some(Mutant::CountsPerNode), 1)))
            }
            _ => Some(self.mutate(self.inner.mismatched_node()?)),
        }
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        self.inner.inject(fault)
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        self.inner.registrations()
    }

    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        let log = self.inner.log(stream);
        if self.mutant != Some(Mutant::AppendsToOlderEpochs) {
            return log;
        }
        // What a store holds cannot be changed from outside; its fixture can show it as another one would hold it.
        Box::pin(async {
            let mut log = log.await?;
            let oldest = log.first()?.epoch;
            log.last_mut()?.epoch = oldest;
            Some(log)
        })
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        self.inner.clean_up()
    }
}
