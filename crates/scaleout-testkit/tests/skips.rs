//! A case that its fixture cannot serve is skipped, or fails where the fixture should be able to.

use std::{env, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt, ready};
use scaleout_core::{Backplane, Bus, BusBuilder, Capabilities, MemoryConfig, StreamIndex};
use scaleout_testkit::{
    conformance::{Case, cases, run},
    fixture::{Fault, Fixture, Held, MemoryFixture, Need},
};

#[tokio::test(start_paused = true)]
async fn what_nobody_expects_is_skipped() {
    let fixture = Poor { expects_replay: false, expects_everything_else: false };
    run(case("rule_07_the_backlog_is_the_last_payloads"), &fixture).await;
    if env::var_os("SCALEOUT_TEST_REQUIRE").is_some() {
        eprintln!("SKIPPED: the rest of this test, since SCALEOUT_TEST_REQUIRE is set");
        return;
    }
    run(case("rule_08_a_flush_begins_a_new_epoch"), &fixture).await;
    run(case("rule_11_a_node_that_differs_is_refused"), &fixture).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "for want of a store that replays, which is expected here")]
async fn an_expected_capability_that_is_missing_fails() {
    let fixture = Poor { expects_replay: true, expects_everything_else: false };
    run(case("rule_07_the_backlog_is_the_last_payloads"), &fixture).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "for want of the fault Flush, which is expected here")]
async fn an_expected_fault_that_cannot_be_made_fails() {
    let fixture = Poor { expects_replay: false, expects_everything_else: true };
    run(case("rule_08_a_flush_begins_a_new_epoch"), &fixture).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "for want of a store that holds the stream count, which is expected here")]
async fn an_expected_node_that_is_missing_fails() {
    let fixture = Poor { expects_replay: false, expects_everything_else: true };
    run(case("rule_11_a_node_that_differs_is_refused"), &fixture).await;
}

#[test]
fn every_rule_has_cases() {
    let ruled = |rule| cases().into_iter().any(|case| case.rule() == Some(rule));
    assert_eq!((1..=15).filter(|rule| !ruled(*rule)).collect::<Vec<u8>>(), []);
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).expect("a case of that name")
}

/// A store that can do as little as possible, whatever is expected of it.
struct Poor {
    expects_replay: bool,
    expects_everything_else: bool,
}

impl Fixture for Poor {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_replay(self.expects_replay)
    }

    fn expects(&self, _: Need) -> bool {
        self.expects_everything_else
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn node(&self) -> Arc<dyn Backplane> {
        let capabilities = MemoryConfig::default().capabilities.with_replay(false);
        MemoryFixture::with_capabilities(capabilities).node()
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        self.node()
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        None
    }

    fn inject(&self, _: Fault) -> BoxFuture<'_, bool> {
        ready(false).boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        ready(None).boxed()
    }

    fn log(&self, _: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        ready(None).boxed()
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
