//! The stores that tests run over: fresh ones, each with as many nodes as a test wants.
//!
//! Also used by the tests of `scaleout-socketioxide`.

use std::{num::NonZeroU16, time::Duration};

use scaleout::{Bus, BusConfig, MemoryConfig, MemoryStore};
#[cfg(unix)]
use scaleout_testkit::servers::RedisServer;
use servicebus_emulator::{Emulator, Right};
use sqlserver_testserver::TestServer;

/// A store of its own for one test.
pub(crate) trait Store {
    /// Joins one more node.
    async fn bus_with(&self, config: BusConfig) -> Bus;

    /// The store goes away; what it has accepted stays.
    async fn stop(&self);

    /// The store is back.
    async fn start(&self);

    /// Joins one more node.
    async fn bus(&self) -> Bus {
        self.bus_with(BusConfig::default()).await
    }
}

/// As long as anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `future` as long as anything may take.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

pub(crate) struct Memory(pub(crate) MemoryStore);

impl Memory {
    pub(crate) fn start(streams: u16) -> Self {
        let streams = NonZeroU16::new(streams).expect("not 0");
        Self(MemoryStore::new(MemoryConfig::default().with_streams(streams)))
    }
}

impl Store for Memory {
    async fn bus_with(&self, config: BusConfig) -> Bus {
        Bus::builder(self.0.backplane()).config(config).connect().await.expect("memory is there")
    }

    async fn stop(&self) {
        self.0.outage(self.0.streams());
    }

    async fn start(&self) {
        self.0.restore(self.0.streams());
    }
}

#[cfg(unix)]
pub(crate) struct Redis(pub(crate) RedisServer);

#[cfg(unix)]
impl Redis {
    pub(crate) async fn start() -> Self {
        Self(RedisServer::builder().appendonly().start().await.expect("redis-server starts"))
    }
}

#[cfg(unix)]
impl Store for Redis {
    async fn bus_with(&self, config: BusConfig) -> Bus {
        connect(&format!("{}?app=cluster-test", self.0.url()), config).await
    }

    async fn stop(&self) {
        self.0.kill();
    }

    async fn start(&self) {
        self.0.start().await.expect("redis-server starts again");
    }
}

pub(crate) struct SqlServer(pub(crate) TestServer);

impl SqlServer {
    pub(crate) async fn start() -> Self {
        Self(TestServer::builder().broker(true).start().await.expect("a free port"))
    }
}

impl Store for SqlServer {
    async fn bus_with(&self, config: BusConfig) -> Bus {
        connect(&self.0.url("cluster-test"), config).await
    }

    async fn stop(&self) {
        self.0.stop().await;
    }

    async fn start(&self) {
        self.0.start().await.expect("its port is free");
    }
}

pub(crate) struct ServiceBus(pub(crate) Emulator);

impl ServiceBus {
    pub(crate) async fn start() -> Self {
        let emulator = Emulator::builder().key("RootManageSharedAccessKey", "a secret", &[Right::Manage]);
        Self(emulator.start().await.expect("free ports"))
    }
}

impl Store for ServiceBus {
    async fn bus_with(&self, config: BusConfig) -> Bus {
        connect(&format!("{};App=cluster-test", self.0.connection_string()), config).await
    }

    async fn stop(&self) {
        self.0.faults().refuse_connections(true);
        self.0.faults().kill_connections();
    }

    async fn start(&self) {
        self.0.faults().refuse_connections(false);
    }
}

async fn connect(url: &str, config: BusConfig) -> Bus {
    soon("a node connects", scaleout::connect_with(url, config)).await.expect("the store takes it")
}
