//! The scenarios on the server that stands in for SQL Server.
#![cfg(unix)]

#[macro_use]
mod scenarios;

use std::time::Duration;

use scaleout_core::{Backplane as _, Bus, BusBuilder};
use scaleout_sqlserver::{SqlServerBackplane, SqlServerConfig};
use sqlserver_testserver::TestServer;

use self::scenarios::world::Store;

scenarios!(super::open);

async fn open(_test: &str) -> Option<SqlServer> {
    Some(SqlServer(TestServer::builder().broker(true).start().await.expect("a free port")))
}

struct SqlServer(TestServer);

impl SqlServer {
    fn backplane(&self) -> SqlServerBackplane {
        let config: SqlServerConfig = self.0.url("socketio-test").parse().expect("its own URL");
        let config = config
            .with_fatal_retry(Duration::from_secs(2))
            .with_max_backoff(Duration::from_secs(1))
            .with_max_poll(Duration::from_millis(250));
        SqlServerBackplane::new(config).expect("settings that work")
    }
}

impl Store for SqlServer {
    fn bus(&self) -> BusBuilder {
        Bus::builder(self.backplane())
    }

    async fn set_away(&self, away: bool) {
        match away {
            true => self.0.stop().await,
            false => self.0.start().await.expect("its port is free"),
        }
    }

    fn max_message_bytes(&self) -> usize {
        self.backplane().capabilities().max_payload_bytes
    }
}
