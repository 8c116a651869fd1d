//! A server that executes T-SQL, named by the environment variable `SCALEOUT_TEST_SQLSERVER`.
//!
//! Its value is a URL or an ADO.NET string with a database in which the user may create and drop schemas; each test has a schema of
//! its own and drops it.

use std::{net::ToSocketAddrs as _, num::NonZeroU16};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Epoch, PayloadId, StreamIndex};
use scaleout_sqlserver::{Encryption, SqlServerConfig};
use scaleout_testkit::{
    fixture::{FORGOTTEN, Fault, Held, RETAINED},
    servers::{Fate, TcpProxy, sqlserver_settings},
};

use crate::{
    admin::{Admin, batches},
    nodes::{Nodes, Server},
    support::for_tests,
};

/// The server, and the proxy before it.
pub(crate) struct Real {
    direct: SqlServerConfig,
    proxy: TcpProxy,
    table_count: NonZeroU16,
}

/// The settings for the server that the environment names; `None`, said aloud, where it names none.
///
/// # Panics
/// Where it names none, and `SCALEOUT_TEST_REQUIRE` demands one.
pub(crate) fn settings(test: &str) -> Option<SqlServerConfig> {
    let text = sqlserver_settings(test, "app")?;
    Some(text.parse().expect("settings of a SQL Server"))
}

impl Real {
    /// Nodes in a fresh schema.
    pub(crate) async fn nodes(direct: SqlServerConfig, table_count: u16) -> Nodes<Self> {
        let table_count = NonZeroU16::new(table_count).expect("at least one");
        let address = (direct.host.as_str(), direct.port.unwrap_or(1433)).to_socket_addrs();
        let address = address.expect("a host").next().expect("an address");
        let proxy = TcpProxy::start(address).await.expect("a free port");
        let schema = format!("t_{:016x}", fastrand::u64(..));
        let real = Self { direct, proxy, table_count };
        real.install(&schema).await;
        Nodes { schema, server: real }
    }

    /// Installs, and has every frame written down, so that a failover can be acted.
    async fn install(&self, schema: &str) {
        let mut admin = Admin::connect(&self.direct).await;
        admin.run_script(&self.config("app", schema).script().install()).await;
        admin
            .run(&format!(
                "CREATE TABLE dbo.history_{schema} (stream smallint NOT NULL, node binary(16) NOT NULL, number bigint NOT NULL, seq bigint NOT NULL);"
            ))
            .await;
        admin
            .run(&format!(
                "CREATE TRIGGER [{schema}].remember ON [{schema}].senders AFTER INSERT, UPDATE AS\n\
                 BEGIN\n\
                     SET NOCOUNT ON;\n\
                     INSERT INTO dbo.history_{schema} (stream, node, number, seq)\n\
                     SELECT i.stream, i.node, i.last_number, s.last_seq FROM inserted AS i JOIN [{schema}].streams AS s ON s.stream = i.stream;\n\
                 END;"
            ))
            .await;
    }

    async fn run(&self, batch: &str) {
        Admin::connect(&self.direct).await.run(batch).await;
    }

    fn each_stream(&self, statements: impl Fn(u16) -> String) -> String {
        (0..self.table_count.get()).map(statements).collect()
    }

    /// The database is one that another copy has taken over for.
    fn elsewhere(schema: &str) -> String {
        format!("UPDATE [{schema}].layout SET store = N'another copy';\n")
    }

    fn forget(schema: &str, stream: u16) -> String {
        let s = format!("[{schema}]");
        format!(
            "SET @cut = NULL;\n\
             SELECT @cut = MIN(t.seq) FROM (SELECT TOP ({FORGOTTEN}) m.seq FROM {s}.messages_{stream} AS m JOIN {s}.streams AS r ON r.epoch = m.epoch AND r.stream = {stream} WHERE m.id > 0 ORDER BY m.seq DESC) AS t;\n\
             IF @cut IS NOT NULL\n\
             BEGIN\n\
                 DELETE FROM {s}.messages_{stream} WHERE seq >= @cut;\n\
                 UPDATE {s}.streams SET last_seq = @cut - 1 WHERE stream = {stream};\n\
                 DELETE FROM dbo.history_{schema} WHERE stream = {stream} AND seq >= @cut;\n\
                 DELETE FROM {s}.senders WHERE stream = {stream};\n\
                 INSERT INTO {s}.senders (stream, node, last_number, seen_at) SELECT {stream}, node, MAX(number), SYSUTCDATETIME() FROM dbo.history_{schema} WHERE stream = {stream} GROUP BY node;\n\
                 DELETE FROM dbo.history_{schema} WHERE stream = {stream} AND seq >= @cut;\n\
             END;\n"
        )
    }

    /// As if somebody had dropped the schema, and a node had made it again.
    fn flush(&self, schema: &str) -> String {
        let script = self.config("app", schema).script().install();
        let rows = batches(&script)
            .into_iter()
            .find(|batch| batch.contains(&format!("INSERT INTO [{schema}].layout ")));
        let rows = rows.expect("a batch that fills the tables");
        let empty = self.each_stream(|stream| format!("DELETE FROM [{schema}].messages_{stream};\n"));
        let tables = ["streams", "epochs", "senders", "listeners", "layout"];
        let empty: String =
            tables.iter().fold(empty, |empty, table| format!("{empty}DELETE FROM [{schema}].{table};\n"));
        format!("BEGIN TRANSACTION;\n{empty}DELETE FROM dbo.history_{schema};\n{rows}\nCOMMIT TRANSACTION;\n")
    }
}

impl Server for Real {
    fn config(&self, app: &str, schema: &str) -> SqlServerConfig {
        let mut config =
            for_tests(self.direct.clone()).with_schema(schema).with_table_count(self.table_count);
        config.app = app.parse().expect("a name");
        config.host = "127.0.0.1".into();
        config.port = Some(self.proxy.port());
        // So that the proxy sees frames. Certificates have a test of their own.
        config
            .with_encryption(Encryption::NotSupported)
            .with_connect_timeout(std::time::Duration::from_secs(30))
            .with_command_timeout(std::time::Duration::from_secs(20))
    }

    fn can(&self, fault: Fault) -> bool {
        // Its logins are not ours to change.
        !matches!(fault, Fault::Refuse | Fault::Accept | Fault::Aging)
    }

    fn has_broker(&self) -> bool {
        false
    }

    fn inject<'a>(&'a self, schema: &'a str, fault: Fault) -> BoxFuture<'a, ()> {
        async move {
            match fault {
                Fault::Outage => {
                    self.proxy.refuse().await;
                    self.proxy.cut_all();
                }
                Fault::Restored => self.proxy.accept().await.expect("its port is free"),
                Fault::CutLinks => self.proxy.cut_all(),
                Fault::Flush => self.run(&self.flush(schema)).await,
                Fault::Failover => {
                    let forget = self.each_stream(|stream| Self::forget(schema, stream));
                    let store = Self::elsewhere(schema);
                    self.run(&format!(
                        "DECLARE @cut bigint;\nBEGIN TRANSACTION;\nUPDATE [{schema}].streams SET last_seq = last_seq;\n{forget}{store}COMMIT TRANSACTION;"
                    ))
                    .await;
                    self.proxy.cut_all();
                }
                Fault::Restart => {
                    self.run(&Self::elsewhere(schema)).await;
                    self.proxy.cut_all();
                }
                Fault::LoseAnswer => self.proxy.next_frame(Fate::LoseAnswer),
                Fault::LoseSend => self.proxy.next_frame(Fate::LoseSend),
                Fault::DelaySend => self.proxy.next_frame(Fate::Delay),
                Fault::Arrival => {
                    self.proxy.release().await;
                }
                Fault::Trim => {
                    let trim = self.each_stream(|stream| {
                        format!("EXEC [{schema}].trim_{stream} {RETAINED}, 1000000, 1000000000, 500, 1000;\n")
                    });
                    self.run(&trim).await;
                }
                _ => unreachable!("a fault that it can be put through"),
            }
        }
        .boxed()
    }

    fn registrations<'a>(&'a self, _: &'a str) -> BoxFuture<'a, usize> {
        async { 0 }.boxed()
    }

    fn log<'a>(&'a self, schema: &'a str, stream: StreamIndex) -> BoxFuture<'a, Vec<Held>> {
        async move {
            let query = format!("SELECT epoch, id, payload FROM [{schema}].messages_{stream} ORDER BY seq;");
            let rows = Admin::connect(&self.direct).await.run(&query).await;
            let held = |row: tiberius::Row| Held {
                epoch: Epoch(row.get::<i64, _>(0).expect("an epoch").unsigned_abs()),
                id: PayloadId(row.get::<i64, _>(1).expect("an id").unsigned_abs()),
                bytes: row.get::<&[u8], _>(2).expect("a payload").to_vec().into(),
            };
            rows.into_iter().flatten().map(held).collect()
        }
        .boxed()
    }

    fn clean_up<'a>(&'a self, schemas: [&'a str; 2]) -> BoxFuture<'a, ()> {
        async move {
            self.proxy.refuse().await;
            self.proxy.cut_all();
            let mut admin = Admin::connect(&self.direct).await;
            admin.run(&format!("DROP TABLE dbo.history_{};", schemas[0])).await;
            for schema in schemas {
                admin.run_script(&self.config("app", schema).script().uninstall()).await;
            }
        }
        .boxed()
    }
}
