//! `scaleout-socketioxide` over `scaleout-redis`.

use scaleout_core::{AppName, Bus, BusConfig};
use scaleout_redis::{RedisBackplane, RedisConfig};
use scaleout_socketioxide::{AdapterConfig, Confirm, ScaleoutAdapter, ScaleoutCtr};
use socketioxide::{SocketIo, adapter::Emitter};

use crate::{case::Which, node::MAX_BUFFER_SIZE, words::Spec};

/// With the settings that an application has by default, but for `Confirm::Queued` where that is measured.
pub async fn io(spec: &Spec) -> anyhow::Result<(SocketIo<ScaleoutAdapter<Emitter>>, ScaleoutCtr)> {
    let app: AppName = spec.app.parse()?;
    let redis: RedisConfig = format!("{}?app={}", spec.url, spec.app).parse()?;
    let config = BusConfig::default().with_app(app);
    let bus = Bus::builder(RedisBackplane::new(redis)?).config(config).connect().await?;
    let mut config = AdapterConfig::default();
    if spec.which == Which::ScaleoutQueued {
        config = config.with_confirm(Confirm::Queued);
    }
    let ctr = ScaleoutCtr::with_config(&bus, config)?;
    // The others tell where their sockets are before anything is asked.
    ctr.cluster().ready().await;
    let (_, io) = SocketIo::builder()
        .max_buffer_size(MAX_BUFFER_SIZE)
        .with_adapter::<ScaleoutAdapter<_>>(ctr.clone())
        .build_svc();
    io.ns("/", async || ()).await?;
    Ok((io, ctr))
}
