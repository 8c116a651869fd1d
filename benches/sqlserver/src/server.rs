//! The server that the environment names, and the schemas that runs leave there.

use std::{
    env,
    num::NonZeroU16,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail, ensure};
use scaleout_sqlserver::{Authentication, Encryption, SqlServerConfig};
use tiberius::{AuthMethod, Client, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};

use crate::case::PATIENCE;

/// Names the server.
const VARIABLE: &str = "SCALEOUT_TEST_SQLSERVER";

/// The settings of the server that the environment names.
pub fn settings() -> anyhow::Result<SqlServerConfig> {
    let text = env::var(VARIABLE).with_context(|| {
        format!("{VARIABLE} must hold the URL or the ADO.NET string of a server, with a database for the schemas of the runs")
    })?;
    let separator = match (text.contains("://"), text.contains('?')) {
        (true, true) => "&",
        (true, false) => "?",
        (false, _) => ";",
    };
    let config: SqlServerConfig = format!("{text}{separator}app=bench").parse()?;
    ensure!(
        matches!(config.authentication, Authentication::SqlLogin { .. }),
        "{VARIABLE} must name a user with a password"
    );
    ensure!(
        config.instance.is_none() || config.port.is_some(),
        "{VARIABLE} must name the port of the instance"
    );
    Ok(config)
}

/// Those settings, for one schema.
pub fn settings_of(schema: &str, tables: u16) -> anyhow::Result<SqlServerConfig> {
    let tables = NonZeroU16::new(tables).context("no tables")?;
    let config = settings()?.with_schema(schema).with_table_count(tables);
    Ok(config.with_connect_timeout(PATIENCE).with_command_timeout(PATIENCE))
}

/// The schemas of this run of the program that are not dropped yet.
#[derive(Debug, Default)]
pub struct Schemas {
    prefix: u32,
    names: Mutex<(u64, Vec<String>)>,
}

impl Schemas {
    pub fn new() -> Self {
        Self { prefix: fastrand::u32(..), names: Mutex::default() }
    }

    /// A new name.
    pub fn fresh(&self) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.0 += 1;
        let name = format!("bench_{:08x}_{}", self.prefix, names.0);
        names.1.push(name.clone());
        name
    }

    /// Drops all of them.
    pub async fn drop_all(&self) -> anyhow::Result<()> {
        loop {
            let next = self.names.lock().unwrap_or_else(PoisonError::into_inner).1.pop();
            let Some(schema) = next else { return Ok(()) };
            let script = settings()?.with_schema(&schema).script().uninstall();
            let dropped = async {
                let mut admin = Admin::connect().await?;
                for batch in format!("{script}\n").split("\nGO\n").filter(|batch| !batch.trim().is_empty()) {
                    admin.run(batch).await?;
                }
                anyhow::Ok(())
            };
            dropped.await.with_context(|| format!("schema {schema} could not be dropped"))?;
        }
    }
}

/// What the server says it is.
pub async fn version() -> String {
    let asked = async {
        let rows = Admin::connect().await?.run("SELECT @@VERSION;").await?;
        let row = rows.into_iter().flatten().next().context("no row")?;
        let text: &str = row.try_get(0)?.context("no text")?;
        anyhow::Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    asked.await.unwrap_or_else(|_| "a server that does not tell its version".into())
}

/// A connection beside those that are measured.
struct Admin(Client<Compat<TcpStream>>);

impl Admin {
    async fn connect() -> anyhow::Result<Self> {
        let config = settings()?;
        let mut client = tiberius::Config::new();
        client.host(&config.host);
        client.port(config.port.unwrap_or(1433));
        client.database(&config.database);
        client.command_timeout(Some(PATIENCE));
        client.encryption(match config.encryption {
            Encryption::Strict => bail!("this program does not measure over TDS 8: leave encryption out"),
            Encryption::LoginOnly => EncryptionLevel::Off,
            Encryption::NotSupported => EncryptionLevel::NotSupported,
            _ => EncryptionLevel::Required,
        });
        if config.trust_server_certificate {
            client.trust_cert();
        } else if let Some(ca) = config.ca {
            client.trust_cert_ca_bundle(ca);
        }
        if let Some(name) = config.host_name_in_certificate {
            client.hostname_in_certificate(name);
        }
        let Authentication::SqlLogin { user, password } = &config.authentication else {
            bail!("not a user with a password");
        };
        client.authentication(AuthMethod::sql_server(user, password.expose()));
        let socket = TcpStream::connect(client.get_addr()).await?;
        socket.set_nodelay(true)?;
        Ok(Self(Client::connect(client, socket.compat_write()).await?))
    }

    async fn run(&mut self, batch: &str) -> anyhow::Result<Vec<Vec<tiberius::Row>>> {
        Ok(self.0.simple_query(batch).await?.into_results().await?)
    }
}
