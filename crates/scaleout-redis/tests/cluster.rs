//! The conformance suite on a Redis Cluster, whose masters share the streams.

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
    servers::{RedisCluster, RedisServer},
};

use self::shared::{ServerSet, run_suite};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conformance_suite_passes_on_a_cluster() {
    needs_redis!();
    run_suite(RedisCluster::builder().start().await.expect("a cluster")).await;
}

impl ServerSet for RedisCluster {
    fn config(&self, app: &str) -> RedisConfig {
        support::config_of(&self.url(), app)
    }

    fn servers(&self) -> &[RedisServer] {
        self.servers()
    }

    fn masters(&self) -> Vec<&RedisServer> {
        self.servers().iter().collect()
    }
}
