//! Nodes on Redis servers that the tests start.

mod log;

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use redis::Value;
use scaleout_core::{AppName, Backplane, Bus, BusBuilder, Capabilities, StreamIndex};
use scaleout_redis::{Endpoint, RedisBackplane, RedisConfig, Topology};
use scaleout_testkit::{
    fixture::{FORGOTTEN, Fault, Fixture, Held, Need, RETAINED},
    servers::{Fate, RedisServer, TcpProxy},
};

use self::log::log_of;

/// How soon a dead server is noticed in tests, so that these do not wait for long.
pub(crate) const LIVENESS: Duration = Duration::from_millis(600);

/// One server, with nodes that reach it through a proxy.
#[derive(Debug)]
pub(crate) struct Standalone {
    server: RedisServer,
    proxy: TcpProxy,
}

impl Standalone {
    /// A server that keeps what it confirmed.
    pub(crate) async fn start() -> Self {
        let server = RedisServer::builder().appendonly().start().await.expect("redis-server starts");
        let proxy = TcpProxy::to_port(server.port()).await.expect("a free port");
        Self { server, proxy }
    }

    fn config(&self, app: &str) -> RedisConfig {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: self.proxy.port() };
        config(app, Topology::Standalone(endpoint))
    }

    async fn command(&self, words: &[&str]) -> Value {
        self.server.command(words).await.expect("the server obeys")
    }

    async fn stream_keys(&self) -> Vec<String> {
        redis::from_redis_value(self.command(&["KEYS", "scaleout:{app:*}:stream:*"]).await).expect("keys")
    }
}

/// The settings of tests.
pub(crate) fn config(app: &str, topology: Topology) -> RedisConfig {
    let app: AppName = app.parse().expect("a name");
    RedisConfig::new(app, topology).with_liveness(LIVENESS).with_fatal_retry(Duration::from_secs(2))
}

pub(crate) fn node(config: RedisConfig) -> Arc<dyn Backplane> {
    Arc::new(RedisBackplane::new(config).expect("settings that work"))
}

impl Fixture for Standalone {
    fn capabilities(&self) -> Capabilities {
        node(self.config("app")).capabilities()
    }

    fn expects(&self, need: Need) -> bool {
        need != Need::Registrations
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn node(&self) -> Arc<dyn Backplane> {
        node(self.config("app"))
    }

    fn bus(&self) -> BusBuilder {
        Bus::builder_from(self.node())
    }

    fn node_of_another_app(&self) -> Arc<dyn Backplane> {
        node(self.config("another"))
    }

    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>> {
        let config = self.config("app");
        let more = config.streams.saturating_add(1);
        Some(node(config.with_streams(more)))
    }

    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        async move {
            match fault {
                Fault::Outage => {
                    self.proxy.refuse().await;
                    self.proxy.cut_all();
                }
                Fault::Restored => self.proxy.accept().await.expect("its port is free"),
                Fault::CutLinks => self.proxy.cut_all(),
                Fault::Flush => {
                    self.command(&["FLUSHALL"]).await;
                }
                Fault::Failover => {
                    self.server.forget_last(FORGOTTEN).await.expect("the server starts again");
                }
                Fault::Restart => self.server.restart().await.expect("the server starts again"),
                Fault::LoseAnswer => self.proxy.next_frame(Fate::LoseAnswer),
                Fault::LoseSend => self.proxy.next_frame(Fate::LoseSend),
                Fault::DelaySend => self.proxy.next_frame(Fate::Delay),
                Fault::Arrival => {
                    self.proxy.release().await;
                }
                Fault::Trim => {
                    for key in self.stream_keys().await {
                        self.command(&["XTRIM", &key, "MAXLEN", &RETAINED.to_string()]).await;
                    }
                }
                Fault::Refuse => {
                    self.command(&["ACL", "SETUSER", "default", "resetpass", ">secret"]).await;
                    self.proxy.cut_all();
                }
                Fault::Accept => {
                    self.command(&["ACL", "SETUSER", "default", "nopass"]).await;
                }
                // Nodes register nothing in Redis.
                Fault::Aging => {}
                _ => return false,
            }
            true
        }
        .boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Option<usize>> {
        async { None }.boxed()
    }

    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>> {
        async move { Some(log_of(&self.server, stream).await) }.boxed()
    }

    fn clean_up(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
