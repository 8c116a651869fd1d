//! Making a client of the `redis` crate from the settings.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use scaleout_core::{Error, ErrorKind};
use tokio::time::timeout;

use crate::{
    config::{Endpoint, RedisConfig, Secret, TlsConfig},
    error::from_redis,
};

impl RedisConfig {
    /// A connection to one server, or with `for_sentinel` to one sentinel, logged in within `connect_timeout`.
    ///
    /// The client could log in by itself, but takes whatever is answered to that for a wrong password, such as that
    /// the server has too many clients.
    ///
    /// # Cancel safety
    /// A connection that is being made is dropped.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        for_sentinel: bool,
        connection: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        // A server tells that it refuses the client's certificate only after the handshake; the client's own set-up
        // reads that, and an idle connection does not. It holds nothing but commands whose answer is ignored.
        let set_up = match self.tls {
            Some(_) => RedisConnectionInfo::default(),
            None => RedisConnectionInfo::default().set_skip_set_lib_name(),
        };
        let client = self.client(endpoint, set_up)?;
        // One time-out for all of it.
        let connection = connection.set_connection_timeout(None);
        let connect = async {
            let failed = |error| from_redis(error, &format!("connecting to {endpoint}"), self);
            let connection =
                client.get_multiplexed_async_connection_with_config(&connection).await.map_err(failed)?;
            self.log_in(&connection, for_sentinel)
                .await
                .map_err(|error| from_redis(error, &format!("logging in to {endpoint}"), self))?;
            Ok(connection)
        };
        timeout(self.connect_timeout, connect).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Timeout,
                format!("connecting to {endpoint}: not done within connect_timeout"),
            ))
        })
    }

    async fn log_in(&self, connection: &MultiplexedConnection, for_sentinel: bool) -> RedisResult<()> {
        let (username, password, database) = self.login(for_sentinel);
        let mut commands = Vec::new();
        if let Some(password) = password {
            commands.push(redis::cmd("AUTH").arg(username).arg(password.expose()).take());
        }
        if database != 0 {
            commands.push(redis::cmd("SELECT").arg(database).take());
        }
        let needed = commands.len();
        // For whoever looks at CLIENT LIST. Redis knows it from 7.2 on, and an ACL may forbid it.
        for (name, value) in [("LIB-NAME", LIBRARY_NAME), ("LIB-VER", env!("CARGO_PKG_VERSION"))] {
            commands.push(redis::cmd("CLIENT").arg("SETINFO").arg(name).arg(value).take());
        }

        // At once, yet not as one request: a server that refuses the connection answers to the first, and closes.
        let answers = commands.iter().map(|command| {
            let mut connection = connection.clone();
            async move { command.query_async::<Value>(&mut connection).await }
        });
        for (index, answer) in join_all(answers).await.into_iter().enumerate() {
            let may_fail = |error: &RedisError| {
                index >= needed && matches!(error.code(), Some("ERR" | "NOAUTH" | "NOPERM"))
            };
            answer.map(drop).or_else(|error| if may_fail(&error) { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// User, password and database.
    fn login(&self, for_sentinel: bool) -> (Option<&str>, Option<&Secret>, u32) {
        if for_sentinel {
            (self.sentinel_username.as_deref(), self.sentinel_password.as_ref(), 0)
        } else {
            (self.username.as_deref(), self.password.as_ref(), self.database)
        }
    }

    /// A client that does not log in. It does no I/O.
    fn client(&self, endpoint: &Endpoint, login: RedisConnectionInfo) -> Result<Client, Error> {
        let (address, tls) = match (endpoint, &self.tls) {
            (Endpoint::Unix(path), _) => (ConnectionAddr::Unix(path.clone()), None),
            (Endpoint::Tcp { host, port }, None) => (ConnectionAddr::Tcp(host.clone(), *port), None),
            (Endpoint::Tcp { host, port }, Some(tls)) => {
                let (host, port) = (host.clone(), *port);
                (ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }, Some(tls))
            }
        };
        let failed = |error| from_redis(error, "setting up the client", self);
        let info = address
            .into_connection_info()
            .map_err(failed)?
            .set_tcp_settings(self.tcp_settings())
            .set_redis_settings(login);
        match tls {
            Some(tls) => open_with_tls(info, tls),
            None => Client::open(info),
        }
        .map_err(failed)
    }

    fn tcp_settings(&self) -> TcpSettings {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        // What was sent and is not acknowledged for this long is a dead link, whatever the kernel would still try.
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let settings = settings.set_user_timeout(self.liveness);
        settings
    }
}

#[cfg(feature = "tls")]
fn open_with_tls(info: ConnectionInfo, tls: &TlsConfig) -> RedisResult<Client> {
    use rustls::crypto::{CryptoProvider, ring};

    // The client takes the provider of the process, and panics where two are compiled in and none is chosen.
    if CryptoProvider::get_default().is_none() {
        // It fails where another thread was faster, which is as good.
        let _ = ring::default_provider().install_default();
    }
    let client_tls = tls
        .client_certificate
        .clone()
        .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert: tls.ca.clone() })
}

#[cfg(not(feature = "tls"))]
fn open_with_tls(_: ConnectionInfo, _: &TlsConfig) -> RedisResult<Client> {
    Err((redis::ErrorKind::InvalidClientConfig, "scaleout-redis was built without its feature `tls`").into())
}

const LIBRARY_NAME: &str = "scaleout";

/// The liveness probe notices a dead server long before; this keeps what stands between from forgetting the link.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
