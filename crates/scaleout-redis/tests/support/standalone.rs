//! One server that belongs to one test, with nodes that reach it through a proxy.

use futures_util::future::{BoxFuture, FutureExt};
use redis::Value;
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    fixture::{FORGOTTEN, Fault, RETAINED},
    servers::{Fate, RedisServer, RedisServerBuilder, TcpProxy},
};

use crate::{
    nodes::{Nodes, Servers, keys},
    support::config_of,
};

/// A server and the proxy before it.
pub(crate) struct Standalone {
    server: RedisServer,
    proxy: TcpProxy,
    adapt: Box<dyn Fn(RedisConfig) -> RedisConfig + Send + Sync>,
}

impl Standalone {
    /// Starts a server, to which nodes get in with what `adapt` adds to their settings.
    pub(crate) async fn start(
        builder: RedisServerBuilder,
        adapt: impl Fn(RedisConfig) -> RedisConfig + Send + Sync + 'static,
    ) -> Nodes<Self> {
        // It keeps what it confirmed.
        let server = builder.appendonly().start().await.expect("redis-server starts");
        let proxy = TcpProxy::to_port(server.tls_port().unwrap_or(server.port())).await.expect("a free port");
        Nodes { app: "app".into(), servers: Self { server, proxy, adapt: Box::new(adapt) } }
    }

    /// The user that nodes of an app are.
    fn user(&self, app: &str) -> String {
        self.config(app).username.unwrap_or("default".into())
    }

    async fn command(&self, words: &[&str]) -> Value {
        self.server.command(words).await.expect("the server obeys")
    }
}

impl Servers for Standalone {
    fn config(&self, app: &str) -> RedisConfig {
        (self.adapt)(config_of(&format!("redis://{}", self.proxy.address()), app))
    }

    fn masters(&self) -> Vec<&RedisServer> {
        vec![&self.server]
    }

    fn can(&self, fault: Fault) -> bool {
        match fault {
            // The proxy finds frames in plain text alone.
            Fault::LoseAnswer | Fault::LoseSend | Fault::DelaySend | Fault::Arrival => {
                self.server.tls_port().is_none()
            }
            _ => true,
        }
    }

    fn inject<'a>(&'a self, app: &'a str, fault: Fault) -> BoxFuture<'a, ()> {
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
                    for key in keys(&self.server, "*:stream:*").await {
                        self.command(&["XTRIM", &key, "MAXLEN", &RETAINED.to_string()]).await;
                    }
                }
                Fault::Refuse => {
                    self.command(&["ACL", "SETUSER", &self.user(app), "resetpass", ">another"]).await;
                    self.proxy.cut_all();
                }
                Fault::Accept => {
                    self.command(&["ACL", "SETUSER", &self.user(app), "resetpass", "nopass"]).await;
                }
                _ => unreachable!("a fault that it can be put through"),
            }
        }
        .boxed()
    }
}
