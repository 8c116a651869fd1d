//! Users of a server that may do no more than the backplane needs.

use std::sync::Arc;

use bytes::Bytes;
use scaleout_core::{Backplane, Error, ErrorKind, FrameId, NodeId, StreamIndex};
use scaleout_redis::RedisConfig;
use scaleout_testkit::servers::RedisServer;

use crate::support::node;

const PASSWORD: &str = "secret";

/// Settings of a node that logs in as the user of its app.
pub(crate) fn log_in(config: RedisConfig) -> RedisConfig {
    let user = config.app.to_string();
    config.with_username(user).with_password(PASSWORD)
}

/// Makes the user of `config`, with the permissions that the backplane says it needs.
pub(crate) async fn grant(servers: &[&RedisServer], config: RedisConfig) {
    let user = config.username.clone().expect("a user");
    for server in servers {
        server
            .command(&["ACL", "SETUSER", &user, "reset", "on", &format!(">{PASSWORD}")])
            .await
            .expect("the server obeys");
    }
    let error = refusal(&node(config)).await;
    for server in servers {
        server.command(&advice(&error)).await.expect("the server obeys");
    }
}

/// The error of a node that may not do something.
pub(crate) async fn refusal(node: &Arc<dyn Backplane>) -> Error {
    let frame = FrameId { node: NodeId::random(), number: 0, after: 0 };
    let error = node.send(StreamIndex(0), frame, Bytes::new()).await.expect_err("a lack of permission");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    error
}

/// The command that an error advises.
pub(crate) fn advice(error: &Error) -> Vec<String> {
    let text = error.to_string();
    let line = text.split_once("the least that is needed: ").expect("an advice").1;
    line.split(' ').map(str::to_owned).collect()
}
