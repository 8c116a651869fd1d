//! Nodes on a server, whichever it is.

use std::{sync::Arc, time::Duration};

use scaleout_core::Backplane;
use scaleout_sqlserver::{SqlServerBackplane, SqlServerConfig};

/// Settings of tests, so that these do not wait for long.
pub(crate) fn for_tests(config: SqlServerConfig) -> SqlServerConfig {
    config
        .with_fatal_retry(Duration::from_secs(2))
        .with_max_backoff(Duration::from_secs(1))
        .with_max_poll(Duration::from_millis(250))
}

pub(crate) fn node(config: SqlServerConfig) -> Arc<dyn Backplane> {
    Arc::new(SqlServerBackplane::new(config).expect("settings that work"))
}
