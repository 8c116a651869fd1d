//! The servers that tests start do what they are told, and go when they are done with.

#![cfg(unix)]

mod cluster;
mod proxy;
mod replica;
mod sentinels;
mod server;
mod tls;

use std::{path::Path, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisError, Value, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};

/// For what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long something must not happen to count as not happening.
const MOMENT: Duration = Duration::from_millis(200);

async fn connect(url: impl AsRef<str>) -> Result<MultiplexedConnection, RedisError> {
    connect_by(Client::open(url.as_ref())?).await
}

async fn connect_by(client: Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn run(connection: &mut MultiplexedConnection, line: &str) -> Result<Value, RedisError> {
    let mut command = redis::Cmd::new();
    for word in line.split_whitespace() {
        command.arg(word);
    }
    command.query_async(connection).await
}

/// Waits until `is_so`.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn runs(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}
