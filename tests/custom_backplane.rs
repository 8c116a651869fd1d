//! The backplane of the example keeps the contract: it passes the conformance suite.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, StreamIndex};
use scaleout_testkit::{
    conformance_tests,
    fixture::{Fault, Fixture, Held, Need},
};

use crate::custom_backplane::VecBackplane;

#[path = "../examples/custom_backplane.rs"]
#[expect(dead_code, reason = "its main is for those who run the example")]
mod custom_backplane;

conformance_tests!(VecFixture(VecBackplane::new()), start_paused = true);

/// A log that knows no faults: cases that need one are skipped, as the capabilities allow.
struct VecFixture(VecBackplane);

impl Fixture for VecFixture {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn expects(&self, _: Need) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn node(&self) -> Arc<dyn Backplane> {
        Arc::new(self.0.connection())
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        Arc::new(VecBackplane::new())
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        None
    }

    fn inject(&self, _: Fault) -> BoxFuture<'_, bool> {
        async { false }.boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        async { None }.boxed()
    }

    fn log(&self, _: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        async { None }.boxed()
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
