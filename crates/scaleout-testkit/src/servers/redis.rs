//! Redis.

mod builder;
mod cluster;
mod control;
mod fake;
mod log;
mod sentinels;
mod server;
mod slots;

use std::{
    process::{Command, Stdio},
    sync::OnceLock,
};

pub use self::{
    builder::RedisServerBuilder,
    cluster::{RedisCluster, RedisClusterBuilder, SlotMove},
    fake::FakeRedis,
    sentinels::{RedisSentinels, RedisSentinelsBuilder},
    server::RedisServer,
};
use super::skip::skip;

/// The program; Sentinel is the same one.
const PROGRAM: &str = "redis-server";

/// Whether this machine can start Redis; if not, says aloud that `test` is skipped.
///
/// # Panics
/// Where it cannot, and the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `redis` (comma-separated).
#[must_use]
pub fn redis_is_there(test: &str) -> bool {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    let is_there = *IS_THERE.get_or_init(|| {
        let mut command = Command::new(PROGRAM);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if !is_there {
        skip(test, "redis", &format!("there is no {PROGRAM}; `cargo xtask test` installs it"));
    }
    is_there
}

/// Leaves a test where this machine cannot start Redis, by [`redis_is_there`](crate::servers::redis_is_there).
#[macro_export]
macro_rules! needs_redis {
    () => {
        if !$crate::servers::redis_is_there(::std::thread::current().name().unwrap_or("a test")) {
            return;
        }
    };
}
