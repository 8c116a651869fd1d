//! Users that may do what the backplane says it needs, or less.

#[path = "support/log.rs"]
mod log;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/probe.rs"]
mod probe;
#[path = "support/standalone.rs"]
mod standalone;
mod support;
#[path = "support/users.rs"]
mod users;

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use scaleout_core::{Error, ErrorKind, Event, FrameId, NodeId, Start, StreamIndex};
use scaleout_redis::RedisConfig;
use scaleout_testkit::{conformance_tests, needs_redis, servers::RedisServer};
use tokio::time::timeout;

use self::{
    nodes::{Nodes, Servers},
    probe::probe,
    standalone::Standalone,
    support::{config_of, node},
    users::{grant, log_in},
};

/// The conformance suite for users with the least permissions, one for each app.
mod least {
    use super::*;

    conformance_tests!({
        needs_redis!();
        start().await
    });
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody may be the default user. It still needs its permissions: while many a server loads an append-only
/// file, transactions are checked against them, and dropped without a word (redis/redis#14541, valkey-io/valkey#3983).
const NO_DEFAULT_USER: &str = "default off ~* &* +@all";

async fn start() -> Nodes<Standalone> {
    let nodes = Standalone::start(RedisServer::builder().acl([NO_DEFAULT_USER]), log_in).await;
    for app in ["app", "another-app"] {
        grant(&nodes.servers.masters(), nodes.servers.config(app)).await;
    }
    for server in nodes.servers.masters() {
        // So that the users outlive a restart.
        server.command(&["CONFIG", "REWRITE"]).await.expect("the server obeys");
    }
    nodes
}

#[tokio::test]
async fn what_is_missing_is_named() {
    needs_redis!();
    let scene = Scene::start().await;
    let optional = ["client|id", "client|kill", "client|unblock", "client|setname", "xtrim"];
    for grant in scene.advice.iter().filter_map(|word| word.strip_prefix('+')) {
        scene.set_user(&[&format!("-{grant}")]).await;
        let outcome = scene.tour().await;
        if optional.contains(&grant) {
            outcome.expect("a tour without what is optional");
            continue;
        }
        let error = outcome.expect_err(grant);
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "without {grant}: {error}");
        let text = error.to_string();
        let (problem, advice) = text.split_once("the least that is needed: ").expect("an advice");
        // A script tells only the line where it failed.
        let command = grant.split('|').next().expect("a name");
        assert!(problem.contains(command), "without {grant}: {problem}");
        assert_eq!(advice, scene.advice.join(" "), "without {grant}");
    }
}

#[tokio::test]
async fn keys_that_may_not_be_used_are_told() {
    needs_redis!();
    let scene = Scene::start().await;
    scene.set_user(&["resetkeys", "~scaleout:{another:*}*"]).await;
    let error = scene.tour().await.expect_err("a lack of permissions");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("key") && error.to_string().contains("~scaleout:{app:*}*"), "{error}");
}

#[tokio::test]
async fn what_is_optional_may_be_missing() {
    needs_redis!();
    let scene = Scene::start().await;
    scene.set_user(&["-client|id", "-client|kill", "-client|unblock", "-client|setname", "-xtrim"]).await;
    scene.tour().await.expect("a tour without what is optional");
}

/// A server with a user that has the least permissions, for one of its databases.
struct Scene {
    server: RedisServer,
    config: RedisConfig,
    advice: Vec<String>,
}

impl Scene {
    async fn start() -> Self {
        let server = RedisServer::builder().acl([NO_DEFAULT_USER]).start().await.expect("a server");
        let config = log_in(config_of(&format!("{}/3", server.url()), "app"));
        let advice = grant(&[&server], config.clone()).await;
        server.command(&["SELECT", "3"]).await.expect("the server obeys");
        Self { server, config, advice }
    }

    /// Gives the user the least permissions, and changes these.
    async fn set_user(&self, changes: &[&str]) {
        let mut words: Vec<&str> = self.advice.iter().map(String::as_str).collect();
        words.extend(changes);
        self.server.command(&words).await.expect("the server obeys");
        self.server.command(&["FLUSHALL"]).await.expect("the server obeys");
    }

    /// Uses every command once: sends, receives, and crosses into another epoch.
    async fn tour(&self) -> Result<(), Error> {
        let frame = FrameId { node: NodeId::random(), number: 1, after: 0 };
        let sender = node(self.config.clone());
        probe(&sender).await?;
        sender.send(StreamIndex(0), frame, "frame".into()).await?;
        let begin = Start::Backlog { payloads: 9 };
        payload(&mut sender.receive(StreamIndex(0), begin)).await?;
        sender.close().await?;

        // As if the streams had been opened on another server.
        let meta = "scaleout:{app:0}:meta";
        let opened = self.server.command(&["HGET", meta, "0"]).await.expect("the server obeys");
        let opened: String = redis::from_redis_value(opened).expect("text");
        let words: Vec<&str> = opened.split(' ').collect();
        let [epoch, _, after, since] = words[..] else { panic!("{opened}") };
        let changed = [epoch, "another", after, since].join(" ");
        self.server.command(&["HSET", meta, "0", &changed]).await.expect("the server obeys");
        let late = node(self.config.clone());
        // More than the epoch has that the new one continues, and less than the stream has.
        payload(&mut late.receive(StreamIndex(0), Start::Backlog { payloads: 2 })).await?;
        late.close().await
    }
}

/// Waits for a frame, or an error that is fatal.
async fn payload(events: &mut BoxStream<'static, Event>) -> Result<(), Error> {
    let frame = async {
        loop {
            match events.next().await.expect("a reception that does not end") {
                Event::Payload { bytes, .. } if !bytes.is_empty() => return Ok(()),
                Event::Faulted(error) if error.is_fatal() => return Err(error),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, frame).await.expect("a frame in time")
}
