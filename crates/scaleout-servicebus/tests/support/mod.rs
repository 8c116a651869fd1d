//! Nodes on a namespace, whichever it is.

use std::{sync::Arc, time::Duration};

use scaleout_core::Backplane;
use scaleout_servicebus::{ServiceBusBackplane, ServiceBusConfig};

/// Settings of tests, so that these do not wait for long.
pub(crate) fn for_tests(config: ServiceBusConfig) -> ServiceBusConfig {
    config
        .with_fatal_retry(Duration::from_secs(2))
        .with_max_backoff(Duration::from_secs(1))
        .with_operation_timeout(Duration::from_secs(3))
        .with_start_jitter(Duration::ZERO)
}

#[allow(dead_code, reason = "not all tests that share this make nodes in this way")]
pub(crate) fn node(config: ServiceBusConfig) -> Arc<dyn Backplane> {
    Arc::new(ServiceBusBackplane::new(config).expect("settings that work"))
}
