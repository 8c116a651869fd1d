//! Making a client of the `redis` crate from the settings.

use std::time::Duration;

use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use scaleout_core::Error;

use crate::{
    config::{Endpoint, RedisConfig, TlsConfig},
    error::from_redis,
};

impl RedisConfig {
    /// A client for one server, or with `for_sentinel` for one sentinel. It does no I/O.
    pub(crate) fn client(&self, endpoint: &Endpoint, for_sentinel: bool) -> Result<Client, Error> {
        let address = match (endpoint, &self.tls) {
            (Endpoint::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
            (Endpoint::Tcp { host, port }, None) => ConnectionAddr::Tcp(host.clone(), *port),
            (Endpoint::Tcp { host, port }, Some(_)) => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
        };
        let (username, password, database) = if for_sentinel {
            (&self.sentinel_username, &self.sentinel_password, 0)
        } else {
            (&self.username, &self.password, self.database)
        };
        let mut login = RedisConnectionInfo::default()
            .set_db(i64::from(database))
            .set_lib_name("scaleout", env!("CARGO_PKG_VERSION"));
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }

        let failed = |error| from_redis(error, "setting up the client", self);
        let info = address
            .into_connection_info()
            .map_err(failed)?
            .set_tcp_settings(self.tcp_settings())
            .set_redis_settings(login);
        match (endpoint, &self.tls) {
            (Endpoint::Tcp { .. }, Some(tls)) => open_with_tls(info, tls),
            _ => Client::open(info),
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
fn open_with_tls(info: redis::ConnectionInfo, tls: &TlsConfig) -> redis::RedisResult<Client> {
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
fn open_with_tls(_: redis::ConnectionInfo, _: &TlsConfig) -> redis::RedisResult<Client> {
    Err((redis::ErrorKind::InvalidClientConfig, "scaleout-redis was built without its feature `tls`").into())
}

/// The liveness probe notices a dead server long before; this keeps what stands between from forgetting the link.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
