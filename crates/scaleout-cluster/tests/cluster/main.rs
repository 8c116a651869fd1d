//! What a cluster promises, over every store.

#![expect(clippy::unwrap_used, reason = "the scenarios are tests, which the tests of each store call")]

#[path = "../stores/mod.rs"]
mod stores;

mod ends;
mod members;
mod presence;
mod reports;
mod requests;

use std::time::Duration;

use scaleout_cluster::{Cluster, ClusterConfig};

use self::stores::{Store, soon};

/// Shorter than the defaults, and still far above what a busy machine takes to send a heartbeat.
fn config() -> ClusterConfig {
    ClusterConfig::default()
        .with_heartbeat_interval(Duration::from_millis(700))
        .with_lease(Duration::from_secs(5))
        .with_join_wait(Duration::from_millis(300))
}

async fn join(store: &impl Store) -> Cluster {
    let bus = store.bus().await;
    soon("a node joins", Cluster::join(&bus, config())).await.expect("the settings are good")
}

/// Joins that many nodes, and waits until all see all.
async fn together(store: &impl Store, count: usize) -> Vec<Cluster> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(join(store).await);
    }
    for node in &nodes {
        members(node, count).await;
    }
    nodes
}

/// Waits until `node` sees that many members.
async fn members(node: &Cluster, count: usize) {
    let mut watch = node.watch();
    while watch.members().len() != count {
        soon("a change of the members", watch.changed()).await.expect("the cluster is open");
    }
}

/// Its processes die: nothing is said, and nothing is received any more.
async fn die(node: Cluster) {
    node.bus().close(Duration::ZERO).await;
}

/// Each scenario over each store: those of memory in virtual time.
macro_rules! over_every_store {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            use crate::stores::Memory;
            $(
                #[tokio::test(start_paused = true)]
                async fn $scenario() {
                    super::$scenario(&Memory::start(1)).await;
                    super::$scenario(&Memory::start(5)).await;
                }
            )*
        }

        #[cfg(unix)]
        mod redis {
            use crate::stores::Redis;
            $(
                #[tokio::test]
                async fn $scenario() {
                    scaleout_testkit::needs_redis!();
                    super::$scenario(&Redis::start().await).await;
                }
            )*
        }

        mod sqlserver {
            use crate::stores::SqlServer;
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario(&SqlServer::start().await).await;
                }
            )*
        }

        mod servicebus {
            use crate::stores::ServiceBus;
            $(
                #[tokio::test]
                async fn $scenario() {
                    super::$scenario(&ServiceBus::start().await).await;
                }
            )*
        }
    };
}

use over_every_store;
