//! The conformance suite over Sentinel.

#[path = "support/log.rs"]
mod log;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/probe.rs"]
mod probe;
#[path = "support/shared.rs"]
mod shared;
mod support;
#[path = "support/users.rs"]
mod users;

use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    needs_redis,
    servers::{RedisSentinels, RedisServer},
};

use self::shared::{ServerSet, run_suite};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conformance_suite_passes_over_sentinel() {
    needs_redis!();
    run_suite(RedisSentinels::builder().start().await.expect("Sentinels")).await;
}

impl ServerSet for RedisSentinels {
    fn config(&self, app: &str) -> RedisConfig {
        support::config_of(&self.url(), app)
    }

    fn servers(&self) -> &[RedisServer] {
        self.servers()
    }

    fn masters(&self) -> Vec<&RedisServer> {
        vec![&self.servers()[0]]
    }
}
