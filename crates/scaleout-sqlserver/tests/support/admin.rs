//! A connection of whoever looks after the server.

use std::time::Duration;

use scaleout_sqlserver::{Authentication, Encryption, SqlServerConfig};
use tiberius::{AuthMethod, Client, Command, Config, EncryptionLevel, Row};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

/// One connection, as the user of the settings.
pub(crate) struct Admin(Client<Compat<TcpStream>>);

impl Admin {
    pub(crate) async fn connect(config: &SqlServerConfig) -> Self {
        let mut client = Config::new();
        client.host(&config.host);
        client.port(config.port.unwrap_or(1433));
        client.database(&config.database);
        client.trust_cert();
        if config.encryption == Encryption::NotSupported {
            client.encryption(EncryptionLevel::NotSupported);
        }
        client.command_timeout(Some(Duration::from_secs(120)));
        let Authentication::SqlLogin { user, password } = &config.authentication else {
            panic!("tests log in with a user and a password");
        };
        client.authentication(AuthMethod::sql_server(user, password.expose()));
        let socket = TcpStream::connect(client.get_addr()).await.expect("a server");
        socket.set_nodelay(true).expect("an open socket");
        Self(Client::connect(client, socket.compat_write()).await.expect("a login"))
    }

    /// Runs one batch.
    pub(crate) async fn run(&mut self, batch: &str) -> Vec<Vec<Row>> {
        let results = match self.0.simple_query(batch).await {
            Ok(stream) => stream.into_results().await,
            Err(error) => Err(error),
        };
        results.unwrap_or_else(|error| panic!("{error}, at:\n{batch}"))
    }

    /// Calls a procedure.
    pub(crate) async fn call(&mut self, command: Command<'_>) {
        let called = async { command.exec(&mut self.0).await?.into_command_result().await };
        called.await.expect("a procedure that is there");
    }

    /// Runs the batches of a script.
    pub(crate) async fn run_script(&mut self, script: &str) {
        for batch in batches(script) {
            self.run(&batch).await;
        }
    }
}

/// What stands between the lines `GO`.
pub(crate) fn batches(script: &str) -> Vec<String> {
    let mut batches = vec![String::new()];
    for line in script.lines() {
        if line.trim() == "GO" {
            batches.push(String::new());
        } else if let Some(batch) = batches.last_mut() {
            batch.push_str(line);
            batch.push('\n');
        }
    }
    batches.retain(|batch| batch.lines().any(|line| !line.trim().is_empty() && !line.starts_with("--")));
    batches
}
