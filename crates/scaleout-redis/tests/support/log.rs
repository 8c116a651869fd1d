//! What a server holds.

use scaleout_core::{Epoch, PayloadId, StreamIndex};
use scaleout_testkit::{fixture::Held, servers::RedisServer};

type Field = (String, Vec<u8>);

/// The entries of a stream of the app `app`, in one group.
pub(crate) async fn log_of(server: &RedisServer, stream: StreamIndex) -> Vec<Held> {
    let key = format!("scaleout:{{app:0}}:stream:{stream}");
    let entries = server.command(&["XRANGE", &key, "-", "+"]).await.expect("the server obeys");
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
    held.collect()
}
