//! A test server that belongs to one test, and does in memory what our procedures do.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Epoch, PayloadId, StreamIndex};
use scaleout_sqlserver::{Notifications, SqlServerConfig};
use scaleout_testkit::fixture::{FORGOTTEN, Fault, Held, RETAINED};
use sqlserver_testserver::{Fate, TestServer};

use crate::{
    admin::Admin,
    nodes::{Nodes, Server},
    support::for_tests,
};

/// The server, and how its nodes use it.
pub(crate) struct Double {
    server: TestServer,
    table_count: NonZeroU16,
    notifications: Notifications,
}

const SCHEMA: &str = "scaleout";

/// How long what a dropped node had under way may go on.
const DYING: Duration = Duration::from_secs(10);

/// More than any lease.
const AGES: Duration = Duration::from_secs(24 * 3600);

impl Double {
    /// Nodes that are woken by Service Broker.
    pub(crate) async fn with_broker(table_count: u16) -> Nodes<Self> {
        Self::nodes(table_count, Notifications::Auto).await
    }

    /// Nodes that poll.
    pub(crate) async fn polled(table_count: u16) -> Nodes<Self> {
        Self::nodes(table_count, Notifications::PollOnly).await
    }

    async fn nodes(table_count: u16, notifications: Notifications) -> Nodes<Self> {
        let server = TestServer::builder().broker(true).start().await.expect("a free port");
        let table_count = NonZeroU16::new(table_count).expect("at least one");
        Nodes { schema: SCHEMA.into(), server: Self { server, table_count, notifications } }
    }
}

impl Server for Double {
    fn config(&self, app: &str, schema: &str) -> SqlServerConfig {
        let config: SqlServerConfig = self.server.url(app).parse().expect("its own URL");
        for_tests(config)
            .with_schema(schema)
            .with_table_count(self.table_count)
            .with_notifications(self.notifications)
    }

    fn can(&self, _: Fault) -> bool {
        true
    }

    fn has_broker(&self) -> bool {
        self.notifications == Notifications::Auto
    }

    fn inject<'a>(&'a self, schema: &'a str, fault: Fault) -> BoxFuture<'a, ()> {
        async move {
            let server = &self.server;
            match fault {
                Fault::Outage => server.stop().await,
                Fault::Restored => server.start().await.expect("its port is free"),
                Fault::CutLinks => server.cut_all(),
                Fault::Flush => server.flush(schema),
                Fault::Failover => server.fail_over(FORGOTTEN),
                // Another copy of the database, which forgot nothing.
                Fault::Restart => server.fail_over(0),
                Fault::LoseAnswer => server.next_publish(Fate::LoseAnswer),
                Fault::LoseSend => server.next_publish(Fate::LoseSend),
                Fault::DelaySend => server.next_publish(Fate::Delay),
                Fault::Arrival => {
                    server.release().await;
                }
                Fault::Trim => server.trim(RETAINED),
                Fault::Refuse => {
                    server.refuse_logins(true);
                    server.cut_all();
                }
                Fault::Accept => server.refuse_logins(false),
                Fault::Aging => {
                    // A node that was dropped just now may still be registering.
                    let deadline = Instant::now() + DYING;
                    let mut admin = Admin::connect(&self.config("app", schema)).await;
                    while Instant::now() < deadline {
                        server.age(AGES);
                        // What any other node does now and then.
                        let mut janitor = tiberius::Command::new(format!("[{schema}].[janitor]"));
                        janitor.bind_param("@lease_seconds", 300_i32);
                        admin.call(janitor).await;
                        if server.listeners() == 0 && server.connections() == 1 {
                            break;
                        }
                    }
                }
                _ => unreachable!("a fault that it can be put through"),
            }
        }
        .boxed()
    }

    fn registrations<'a>(&'a self, _: &'a str) -> BoxFuture<'a, usize> {
        async { self.server.listeners() }.boxed()
    }

    fn log<'a>(&'a self, schema: &'a str, stream: StreamIndex) -> BoxFuture<'a, Vec<Held>> {
        async move {
            let held = |row: sqlserver_testserver::LoggedMessage| Held {
                epoch: Epoch(row.epoch),
                id: PayloadId(row.id),
                bytes: row.payload,
            };
            self.server.log(schema, stream.index()).into_iter().map(held).collect()
        }
        .boxed()
    }

    fn clean_up<'a>(&'a self, _: [&'a str; 2]) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }
}
