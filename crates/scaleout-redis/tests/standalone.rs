//! The conformance suite on one real Redis server.

#[path = "support/log.rs"]
mod log;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/standalone.rs"]
mod standalone;
mod support;

use scaleout_testkit::{conformance_tests, servers::RedisServer};

use self::standalone::Standalone;

conformance_tests!(Standalone::start(RedisServer::builder(), |config| config).await);
