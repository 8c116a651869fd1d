//! A client, and the statements of the provider without the provider.

use std::{fs, path::Path, time::Duration};

use sqlserver_testserver::TestServer;
use tiberius::{AuthMethod, Client, Command, Config, EncryptionLevel, IntoSql, Row};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use uuid::Uuid;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Connection = Client<Compat<TcpStream>>;

/// Results of a request: rows by result.
pub(crate) type Results = Vec<Vec<Row>>;

/// How a client gets in, without TLS.
pub(crate) fn config(server: &TestServer) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1");
    config.port(server.port());
    config.database(server.database());
    config.authentication(AuthMethod::sql_server(server.user(), server.password()));
    config.encryption(EncryptionLevel::NotSupported);
    config.handshake_timeout(Some(PATIENCE));
    config.command_timeout(Some(PATIENCE));
    config
}

pub(crate) async fn connect_with(config: Config) -> tiberius::Result<Connection> {
    let tcp = TcpStream::connect(config.get_addr()).await.expect("it listens");
    tcp.set_nodelay(true).expect("a socket");
    Client::connect(config, tcp.compat_write()).await
}

pub(crate) async fn connect(server: &TestServer) -> Connection {
    connect_with(config(server)).await.expect("a login")
}

/// Waits until something holds that other tasks bring about.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes about");
}

/// A batch of statements.
pub(crate) async fn batch(client: &mut Connection, text: &str) -> tiberius::Result<Results> {
    client.simple_query(text).await?.into_results().await
}

/// A call of a procedure.
pub(crate) async fn call(client: &mut Connection, command: Command<'_>) -> tiberius::Result<Results> {
    Ok(command.exec(client).await?.into_command_result().await?.into_iter().collect())
}

/// The number of the server's error.
pub(crate) fn number<T: std::fmt::Debug>(outcome: tiberius::Result<T>) -> u32 {
    match outcome {
        Err(tiberius::error::Error::Server(error)) => error.code(),
        other => panic!("an error of the server was expected, not {other:?}"),
    }
}

/// Binds `parameters` to a procedure of a schema.
macro_rules! command {
    ($schema:expr, $name:expr $(, $parameter:literal: $value:expr)* $(,)?) => {{
        #[allow(unused_mut, reason = "some procedures have no parameters")]
        let mut command = tiberius::Command::new(format!("[{}].[{}]", $schema, $name));
        $(command.bind_param($parameter, $value);)*
        command
    }};
}
pub(crate) use command;

/// What a node is called.
pub(crate) fn node(number: u8) -> Vec<u8> {
    vec![number; 16]
}

/// A frame; the client binds its payload as the provider does.
pub(crate) fn publish<'a>(
    schema: &str,
    epoch: i64,
    number: i64,
    payload: impl IntoSql<'a> + 'a,
) -> Command<'a> {
    command!(schema, "publish_0", "@epoch": epoch, "@node": node(1), "@number": number, "@after": number - 1,
        "@payload": payload)
}

/// The epoch of a schema, asked by its procedure.
pub(crate) async fn epoch(client: &mut Connection, schema: &str) -> i64 {
    let results = call(client, command!(schema, "positions")).await.expect("it is installed");
    results[0][0].get(4).expect("an epoch")
}

/// A listener that is registered.
pub(crate) async fn register(client: &mut Connection, schema: &str) -> Uuid {
    let listener = Uuid::new_v4();
    let results = call(client, registering(schema, listener)).await.expect("it is installed");
    assert_eq!(results[0][0].get(0), Some(true), "it is paired");
    listener
}

pub(crate) fn registering(schema: &str, listener: Uuid) -> Command<'static> {
    command!(schema, "register", "@listener": listener, "@label": "a test", "@lifetime_seconds": 600_i32)
}

/// Installs everything, as a node does.
pub(crate) async fn install(client: &mut Connection, schema: &str, app: &str, tables: usize) {
    let script = Script { schema, app, tables };
    batch(client, &script.once("install/begin")).await.expect("the lock is free");
    for text in script.install().into_iter().chain(script.doorbell()) {
        batch(client, &text).await.unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    batch(client, &script.once("install/commit")).await.expect("a transaction");
}

/// The T-SQL of the provider, with its placeholders filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script<'a> {
    pub(crate) schema: &'a str,
    pub(crate) app: &'a str,
    pub(crate) tables: usize,
}

impl Script<'_> {
    pub(crate) fn install(&self) -> Vec<String> {
        let mut texts = vec![self.once("install/schema")];
        texts.extend(
            ["layout", "streams", "epochs", "senders", "listeners"]
                .map(|name| self.once(&format!("tables/{name}"))),
        );
        texts.extend(self.each("tables/messages"));
        texts.push(self.once("install/drop"));
        texts.push(self.once("procedures/store_identity"));
        for name in ["publish", "read_stream", "trim"] {
            texts.extend(self.each(&format!("procedures/{name}")));
        }
        let procedures = ["read", "positions", "held", "renew", "open_epoch"];
        texts.extend(procedures.map(|name| self.once(&format!("procedures/{name}"))));
        texts.push(self.once("install/rows"));
        texts
    }

    pub(crate) fn doorbell(&self) -> Vec<String> {
        let names = [
            "drop",
            "queues",
            "collect",
            "unregister",
            "register",
            "arm",
            "wait",
            "ring",
            "janitor",
            "doorbell_health",
        ];
        names.map(|name| self.once(&format!("doorbell/{name}"))).into()
    }

    /// A file as it is, for all streams.
    pub(crate) fn once(&self, name: &str) -> String {
        let mut text = String::new();
        let mut block: Option<String> = None;
        for line in read(name).lines() {
            match (line.trim(), &mut block) {
                ("-- $(each stream)", _) => block = Some(String::new()),
                ("-- $(end)", _) => {
                    let lines = block.take().expect("an end ends a block");
                    (0..self.tables)
                        .for_each(|stream| text += &lines.replace("$(stream)", &stream.to_string()));
                }
                (_, Some(block)) => *block += &format!("{line}\n"),
                (_, None) => text += &format!("{line}\n"),
            }
        }
        self.fill(text)
    }

    /// A file for each stream.
    fn each(&self, name: &str) -> Vec<String> {
        (0..self.tables)
            .map(|stream| self.fill(read(name).replace("$(stream)", &stream.to_string())))
            .collect()
    }

    fn fill(&self, text: String) -> String {
        let (schema, app) = (self.schema, self.app);
        [
            ("$(schema)", format!("[{schema}]")),
            ("$(schema_text)", schema.into()),
            ("$(schema_in_text)", format!("[{schema}]")),
            ("$(app_text)", app.into()),
            ("$(table_count)", self.tables.to_string()),
            ("$(schema_version)", "1".into()),
            ("$(compatible_from)", "1".into()),
            ("$(lock_wait_ms)", "60000".into()),
            ("$(ear_service)", format!("[scaleout/{schema}/ear]")),
            ("$(ear_service_text)", format!("scaleout/{schema}/ear")),
            ("$(ear_service_in_text)", format!("[scaleout/{schema}/ear]")),
            ("$(bell_service)", format!("[scaleout/{schema}/bell]")),
            ("$(bell_service_text)", format!("scaleout/{schema}/bell")),
            ("$(bell_service_in_text)", format!("[scaleout/{schema}/bell]")),
            ("$(owner)", "[owner]".into()),
            ("$(owner_text)", "owner".into()),
            ("$(owner_in_text)", "[owner]".into()),
            ("$(user)", "[node]".into()),
        ]
        .into_iter()
        .fold(text, |text, (placeholder, value)| text.replace(placeholder, &value))
    }
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scaleout-sqlserver/sql");
    fs::read_to_string(folder.join(format!("{name}.sql"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}
