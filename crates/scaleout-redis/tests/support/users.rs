//! Users of a server that may do no more than the backplane needs.

use scaleout_core::{Error, ErrorKind};
use scaleout_redis::RedisConfig;
use scaleout_testkit::servers::RedisServer;

use crate::{probe::probe, support::node};

const PASSWORD: &str = "secret";

/// Settings of a node that logs in as the user of its app.
pub(crate) fn log_in(config: RedisConfig) -> RedisConfig {
    let user = config.app.to_string();
    config.with_username(user).with_password(PASSWORD)
}

/// Makes the user of `config`, with the permissions that the backplane says it needs; tells which these are.
pub(crate) async fn grant(servers: &[&RedisServer], config: RedisConfig) -> Vec<String> {
    let user = config.username.clone().expect("a user");
    for server in servers {
        let password = format!(">{PASSWORD}");
        server.command(&["ACL", "SETUSER", &user, "reset", "on", &password]).await.expect("the server obeys");
    }
    let error = probe(&node(config)).await.expect_err("a lack of permissions");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let advice = advice(&error);
    for server in servers {
        server.command(&advice).await.expect("the server obeys");
    }
    advice
}

/// The command that an error advises.
fn advice(error: &Error) -> Vec<String> {
    let text = error.to_string();
    let line = text.split_once("the least that is needed: ").expect("an advice").1;
    line.split(' ').map(str::to_owned).collect()
}
