//! Servers that all cases of a file share, each with an app and a user of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_redis::RedisConfig;
use scaleout_testkit::{
    conformance,
    fixture::{Fault, RETAINED},
    servers::RedisServer,
};

use crate::{
    nodes::{Nodes, Servers, keys},
    users,
};

/// Cases that run at once: most of their time they wait for something.
const AT_ONCE: usize = 8;

/// A set of servers with masters that nobody replaces while they are shared.
pub(crate) trait ServerSet: Send + Sync + 'static {
    /// The settings of a node of `app` that logs in as nobody.
    fn config(&self, app: &str) -> RedisConfig;

    /// All that hold keys.
    fn servers(&self) -> &[RedisServer];

    /// Those of them that take commands.
    fn masters(&self) -> Vec<&RedisServer>;
}

/// A set that is shared; its servers end with the last one who shares it.
#[derive(Debug)]
pub(crate) struct Shared<S>(Arc<S>);

/// Runs the conformance suite on nodes that share `set`.
pub(crate) async fn run_suite<S: ServerSet>(set: S) {
    static APPS: AtomicUsize = AtomicUsize::new(0);
    let set = Arc::new(set);
    conformance::run_all(AT_ONCE, || {
        let set = Arc::clone(&set);
        async move {
            let app = format!("app-{}", APPS.fetch_add(1, Ordering::Relaxed));
            let servers = Shared(set);
            for app in [&app, &format!("another-{app}")] {
                users::grant(&servers.0.servers().iter().collect::<Vec<_>>(), servers.config(app)).await;
            }
            Nodes { app, servers }
        }
    })
    .await;
}

impl<S: ServerSet> Shared<S> {
    /// Ends the connections of an app's nodes.
    async fn cut_links(&self, app: &str) {
        for server in self.0.servers() {
            server.command(&["CLIENT", "KILL", "USER", app]).await.expect("the server obeys");
        }
    }

    /// Makes it look as if the streams of an app had been opened on other servers.
    async fn change_identity(&self, app: &str) {
        for master in self.masters() {
            for meta in keys(master, &format!("*:{{{app}:*:meta")).await {
                let fields = master.command(&["HGETALL", &meta]).await.expect("the server obeys");
                let fields: HashMap<String, String> = redis::from_redis_value(fields).expect("a hash");
                for (stream, opened) in fields.iter().filter(|(name, _)| *name != "layout") {
                    let words: Vec<&str> = opened.split(' ').collect();
                    let [epoch, _, after, since] = words[..] else { panic!("{opened}") };
                    let opened = [epoch, "another", after, since].join(" ");
                    master.command(&["HSET", &meta, stream, &opened]).await.expect("the server obeys");
                }
            }
        }
    }

    /// Lets the user of an app log in with a password alone, or with `nopass` anyhow.
    async fn set_password(&self, app: &str, rule: &str) {
        for server in self.0.servers() {
            server.command(&["ACL", "SETUSER", app, "resetpass", rule]).await.expect("the server obeys");
        }
    }
}

impl<S: ServerSet> Servers for Shared<S> {
    fn config(&self, app: &str) -> RedisConfig {
        users::log_in(self.0.config(app))
    }

    fn masters(&self) -> Vec<&RedisServer> {
        self.0.masters()
    }

    /// Those that concern one app alone. What befalls whole servers has tests of its own.
    fn can(&self, fault: Fault) -> bool {
        matches!(
            fault,
            Fault::CutLinks | Fault::Restart | Fault::Flush | Fault::Trim | Fault::Refuse | Fault::Accept
        )
    }

    fn inject<'a>(&'a self, app: &'a str, fault: Fault) -> BoxFuture<'a, ()> {
        async move {
            match fault {
                Fault::CutLinks => self.cut_links(app).await,
                Fault::Restart => {
                    self.change_identity(app).await;
                    self.cut_links(app).await;
                }
                Fault::Flush => {
                    for master in self.masters() {
                        let keys = keys(master, &format!("*:{{{app}:*")).await;
                        // Those of a group go at once, as all others would in a flush.
                        for group in keys.chunk_by(|a, b| a.split('}').next() == b.split('}').next()) {
                            let words = std::iter::once("DEL").chain(group.iter().map(String::as_str));
                            master.command(&words.collect::<Vec<_>>()).await.expect("the server obeys");
                        }
                    }
                }
                Fault::Trim => {
                    for master in self.masters() {
                        for key in keys(master, &format!("*:{{{app}:*:stream:*")).await {
                            master
                                .command(&["XTRIM", &key, "MAXLEN", &RETAINED.to_string()])
                                .await
                                .expect("the server obeys");
                        }
                    }
                }
                Fault::Refuse => {
                    self.set_password(app, ">another").await;
                    self.cut_links(app).await;
                }
                Fault::Accept => self.set_password(app, "nopass").await,
                _ => unreachable!("a fault that they can be put through"),
            }
        }
        .boxed()
    }
}
