//! What a server holds.

use redis::{ErrorKind, ServerErrorKind};
use scaleout_core::{Epoch, PayloadId, StreamIndex};
use scaleout_redis::RedisConfig;
use scaleout_testkit::{fixture::Held, servers::RedisServer};

type Field = (String, Vec<u8>);

/// The entries of a stream; `None` where another server of a cluster has it.
pub(crate) async fn log_of(
    server: &RedisServer,
    config: &RedisConfig,
    stream: StreamIndex,
) -> Option<Vec<Held>> {
    let (app, group) = (&config.app, stream.0 % config.group_count());
    let key = format!("{}:{{{app}:{group}}}:stream:{stream}", config.key_prefix);
    let entries = match server.command(&["XRANGE", &key, "-", "+"]).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => return None,
        entries => entries.expect("the server obeys"),
    };
    let entries: Vec<(String, Vec<Field>)> = redis::from_redis_value(entries).expect("entries");
    let held = entries.into_iter().map(|(id, fields)| {
        let (epoch, id) = id.split_once('-').expect("an id");
        let frame = fields.into_iter().find(|(name, _)| name == "f");
        Held {
            epoch: Epoch(epoch.parse().expect("an epoch")),
            id: PayloadId(id.parse().expect("an id")),
            bytes: frame.map(|(_, bytes)| bytes.into()).unwrap_or_default(),
        }
    });
    Some(held.collect())
}
