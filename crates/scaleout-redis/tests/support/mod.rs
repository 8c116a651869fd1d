//! Nodes on Redis servers that the tests start.

use std::{sync::Arc, time::Duration};

use scaleout_core::Backplane;
use scaleout_redis::{RedisBackplane, RedisConfig};

/// How soon a dead server is noticed in tests, so that these do not wait for long.
const LIVENESS: Duration = Duration::from_millis(600);

/// The settings of tests, for the servers of a URL.
pub(crate) fn config_of(url: &str, app: &str) -> RedisConfig {
    let config: RedisConfig = format!("{url}?app={app}").parse().expect("a URL");
    config.with_liveness(LIVENESS).with_fatal_retry(Duration::from_secs(2))
}

pub(crate) fn node(config: RedisConfig) -> Arc<dyn Backplane> {
    Arc::new(RedisBackplane::new(config).expect("settings that work"))
}
