//! The stores that tests can start, for the scenarios.

use scaleout_testkit::servers::RedisServer;
use servicebus_emulator::Emulator;
use sqlserver_testserver::TestServer;

use crate::scenarios::Store;

impl Store for RedisServer {
    fn backplane(&self) -> String {
        format!("{}?app=chat-test", self.url())
    }

    async fn stop(&self) {
        self.kill();
    }

    async fn start(&self) {
        self.start().await.expect("redis-server starts again");
    }
}

impl Store for TestServer {
    fn backplane(&self) -> String {
        self.url("chat-test")
    }

    async fn stop(&self) {
        self.stop().await;
    }

    async fn start(&self) {
        self.start().await.expect("its port is free");
    }
}

/// In plain text.
impl Store for Emulator {
    fn backplane(&self) -> String {
        format!("{};App=chat-test", self.connection_string())
    }

    /// Out of reach: what a namespace holds is never gone.
    async fn stop(&self) {
        self.faults().refuse_connections(true);
        self.faults().kill_connections();
    }

    async fn start(&self) {
        self.faults().refuse_connections(false);
    }

    /// A subscription gets what is sent once it is there.
    fn remembers(&self) -> bool {
        false
    }
}

/// A server that keeps what it confirmed.
///
/// # Panics
/// Where it does not start.
pub async fn redis() -> RedisServer {
    RedisServer::builder().appendonly().start().await.expect("redis-server starts")
}
