//! `scaleout-socketioxide` over `scaleout-redis`.

use scaleout_core::{AppName, Bus, BusConfig};
use scaleout_redis::{RedisBackplane, RedisConfig};
use scaleout_socketioxide::{AdapterConfig, Confirm, ScaleoutAdapter, ScaleoutCtr};
use socketioxide::{SocketIo, adapter::Emitter};

use crate::{case::Which, node::MAX_BUFFER_SIZE, words::Spec};

/// What is kept of a stream for nodes that are behind, in patient runs. As by default, 64 MiB, it is half a second of
/// messages of 8 KiB: a node that is behind by more has a gap.
const RETAINED: usize = 1 << 30;

/// With the settings that an application has by default, but for [`RETAINED`], and `Confirm::Queued` where that is
/// measured.
pub async fn io(spec: &Spec) -> anyhow::Result<(SocketIo<ScaleoutAdapter<Emitter>>, ScaleoutCtr)> {
    let app: AppName = spec.app.parse()?;
    let mut redis: RedisConfig = format!("{}?app={}", spec.url, spec.app).parse()?;
    if spec.patient {
        redis = redis.with_max_retained_bytes(RETAINED);
    }
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
