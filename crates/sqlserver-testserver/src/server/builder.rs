//! What a server is to be like: [`TestServerBuilder`].

use std::io;

use tokio::sync::Mutex;

use super::TestServer;
use crate::{
    broker::Broker,
    port::Port,
    shared::{Settings, Shared},
    store::Store,
    tls::Tls,
};

/// Password of the user `sa`.
pub(super) const PASSWORD: &str = "Scale-Out-1";

/// Of an edition that has everything.
const ENTERPRISE: i64 = 3;

/// Azure SQL Database.
const AZURE_SQL_DATABASE: i64 = 5;

/// Makes a [`TestServer`].
#[derive(Debug)]
#[must_use]
pub struct TestServerBuilder {
    port: Option<u16>,
    database: String,
    broker: bool,
    edition: i64,
    version: String,
    babelfish: Option<String>,
    access_token: Option<String>,
    /// Certificates, key, whether it is required.
    tls: Option<(String, String, bool)>,
}

impl Default for TestServerBuilder {
    fn default() -> Self {
        Self {
            port: None,
            database: "test".into(),
            broker: true,
            edition: ENTERPRISE,
            version: "16.0.1024.0".into(),
            babelfish: None,
            access_token: None,
            tls: None,
        }
    }
}

impl TestServerBuilder {
    /// This port instead of a free one.
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// The name of the only database, instead of `test`.
    pub fn database(self, name: &str) -> Self {
        Self { database: name.into(), ..self }
    }

    /// `is_broker_enabled` at the beginning; it is 1 where nothing is said.
    pub fn broker(self, enabled: bool) -> Self {
        Self { broker: enabled, ..self }
    }

    /// Says that it is Azure SQL Database, which has no Service Broker at all.
    pub fn without_service_broker(self) -> Self {
        Self { broker: false, edition: AZURE_SQL_DATABASE, ..self }
    }

    /// Says that it is of this version, as `12.0.6024.0`, instead of SQL Server 2022.
    pub fn version(self, version: &str) -> Self {
        Self { version: version.into(), ..self }
    }

    /// Says that it is Babelfish of this version, as `4.3.0`: an old SQL Server whose Service Broker is off.
    pub fn babelfish(self, version: &str) -> Self {
        Self { babelfish: Some(version.into()), broker: false, version: "12.0.2000.8".into(), ..self }
    }

    /// Lets whoever has this access token in, as well as `sa` with the password.
    pub fn access_token(self, token: &str) -> Self {
        Self { access_token: Some(token.into()), ..self }
    }

    /// Offers TLS with these certificates, the server's first, and the key of the server's, as PEM texts.
    pub fn tls(self, certificates: &str, key: &str) -> Self {
        Self { tls: Some((certificates.into(), key.into(), false)), ..self }
    }

    /// As [`tls`](Self::tls), and lets nobody in who does not encrypt everything.
    pub fn require_tls(self, certificates: &str, key: &str) -> Self {
        Self { tls: Some((certificates.into(), key.into(), true)), ..self }
    }

    /// Starts the server.
    ///
    /// # Errors
    /// Where no port is free, or certificates and key are none.
    pub async fn start(self) -> io::Result<TestServer> {
        let tls = match &self.tls {
            None => Tls::Unsupported,
            Some((certificates, key, false)) => Tls::Offered(Tls::configs(certificates, key)?),
            Some((certificates, key, true)) => Tls::Required(Tls::configs(certificates, key)?),
        };
        let settings = Settings {
            user: "sa".into(),
            password: PASSWORD.into(),
            access_token: self.access_token,
            edition: self.edition,
            version: self.version,
            babelfish: self.babelfish,
            tls,
        };
        let store = Store::new(self.database, Broker::new(self.broker));
        let port = match self.port {
            Some(port) => Port::fixed(port),
            None => Port::free()?,
        };
        let server = TestServer { port, shared: Shared::new(settings, store), listening: Mutex::new(None) };
        server.start().await?;
        Ok(server)
    }
}
