//! The conformance suite on one real Redis server.

#[path = "support/log.rs"]
mod log;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/standalone.rs"]
mod standalone;
mod support;

use scaleout_testkit::{conformance_tests, needs_redis, servers::RedisServer};

use self::standalone::Standalone;

conformance_tests!({
    needs_redis!();
    Standalone::start(RedisServer::builder(), |config| config).await
});
