//! `socketioxide-redis`.

use socketioxide::{SocketIo, adapter::Emitter};
use socketioxide_redis::{
    CustomRedisAdapter, RedisAdapterConfig, RedisAdapterCtr, drivers::redis::RedisDriver,
};

use crate::{node::MAX_BUFFER_SIZE, words::Spec};

/// Messages that its adapter holds in patient runs, above its default of 1,024, so that less is lost.
const STREAM_BUFFER: usize = 1 << 16;

type Peer = CustomRedisAdapter<Emitter, RedisDriver>;

pub async fn io(spec: &Spec) -> anyhow::Result<SocketIo<Peer>> {
    let client = redis::Client::open(format!("{}?protocol=resp3", spec.url))?;
    let driver = RedisDriver::new(&client).await?;
    let mut config = RedisAdapterConfig::new().with_prefix(spec.app.clone());
    if spec.patient {
        config = config.with_stream_buffer(STREAM_BUFFER);
    }
    let (_, io) = SocketIo::builder()
        .max_buffer_size(MAX_BUFFER_SIZE)
        .with_adapter::<Peer>(RedisAdapterCtr::new_with_driver(driver, config))
        .build_svc();
    io.ns("/", async || ()).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(io)
}
