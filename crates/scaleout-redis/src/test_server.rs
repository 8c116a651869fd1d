//! A real server for the tests of this crate.

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use scaleout_testkit::servers::{RedisServer, RedisServerBuilder, redis_is_there};

use crate::config::{Endpoint, RedisConfig, Topology};

pub(crate) struct TestServer(pub(crate) RedisServer);

impl TestServer {
    /// Starts a server with further `options`; none where it is not installed.
    pub(crate) async fn start(options: &[(&str, &str)]) -> Option<Self> {
        let builder =
            options.iter().fold(RedisServer::builder(), |builder, (name, value)| builder.config(name, value));
        Self::start_as(builder).await
    }

    pub(crate) async fn start_as(builder: RedisServerBuilder) -> Option<Self> {
        if !redis_is_there(std::thread::current().name().unwrap_or("a test")) {
            return None;
        }
        Some(Self(builder.start().await.expect("redis-server starts")))
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::new("chat".parse().expect("a name"), Topology::Standalone(self.endpoint()))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::tcp("127.0.0.1", self.0.port())
    }

    /// A connection with the credentials of `config`.
    pub(crate) async fn connect(config: &RedisConfig) -> Result<MultiplexedConnection, scaleout_core::Error> {
        let Topology::Standalone(endpoint) = &config.topology else { panic!("not standalone") };
        config.connect(endpoint, false, AsyncConnectionConfig::new()).await
    }
}
