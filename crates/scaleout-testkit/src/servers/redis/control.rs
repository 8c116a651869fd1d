//! The connection by which a test commands its server.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, ToRedisArgs, aio::MultiplexedConnection,
};
use tokio::sync::Mutex;

/// A user that every server has, so that tests may do with all other users what they like.
pub(super) const USER: &str = "testkit";
/// Guards against nothing but a client that was given no credentials.
pub(super) const PASSWORD: &str = "testkit";

/// Longer than anything a healthy server on a busy machine needs for one command.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands a server by its unix socket: no port that another server could have taken, no TLS, no proxy between.
pub(super) struct Control {
    socket: PathBuf,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Control {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, connection: Mutex::new(None) }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs one command; once more where the connection turns out to be broken.
    pub(super) async fn command<T: FromRedisValue>(
        &self,
        words: &[impl ToRedisArgs],
    ) -> Result<T, RedisError> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(word);
        }
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_mut() {
            match command.query_async(connection).await {
                Err(error) if error.is_unrecoverable_error() => *kept = None,
                outcome => return outcome,
            }
        }
        let mut connection = self.connect().await?;
        let outcome = command.query_async(&mut connection).await;
        *kept = Some(connection);
        outcome
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let settings = RedisConnectionInfo::default().set_username(USER).set_password(PASSWORD);
        let address = ConnectionAddr::Unix(self.socket.clone()).into_connection_info()?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let client = Client::open(address.set_redis_settings(settings))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("socket", &self.socket).finish_non_exhaustive()
    }
}
