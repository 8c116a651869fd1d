//! What the tests share.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use servicebus_emulator::{Emulator, SubscriptionProperties, TopicProperties, shared_access_token};
use tokio::time::timeout;

/// How long a test waits for something that is to happen: other builds may have the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const POLICY: &str = "RootManageSharedAccessKey";
pub(crate) const KEY: &str = "SAS_KEY_VALUE";

/// An emulator with the topic `orders` and its subscription `all`.
pub(crate) async fn start() -> Emulator {
    let emulator = Emulator::builder().start().await.expect("free ports");
    make_orders(&emulator);
    emulator
}

pub(crate) fn make_orders(emulator: &Emulator) {
    let namespace = emulator.namespace();
    namespace.create_topic("orders", TopicProperties::default()).expect("there is none");
    namespace.create_subscription("orders", "all", SubscriptionProperties::default()).expect("there is none");
}

/// A token for everything that is good for an hour.
pub(crate) fn token() -> String {
    let expires = SystemTime::now() + Duration::from_secs(3600);
    shared_access_token("sb://localhost/", POLICY, KEY, expires)
}

/// Waits for what is to happen.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens in time")
}
