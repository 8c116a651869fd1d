//! Users that may do what the backplane says it needs, or less.

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/standalone.rs"]
mod standalone;
mod support;
#[path = "support/users.rs"]
mod users;

use scaleout_testkit::{conformance_tests, servers::RedisServer};

use self::{
    nodes::{Nodes, Servers},
    standalone::Standalone,
    users::{grant, log_in},
};

/// The conformance suite for users with the least permissions, one for each app.
mod least {
    use super::*;

    conformance_tests!(start().await);
}

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
