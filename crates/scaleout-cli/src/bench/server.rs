//! What a Redis server used meanwhile, where it tells.

use redis::aio::MultiplexedConnection;
use scaleout::BackplaneConfig;

use super::bare;

/// A connection that asks the server.
pub(super) struct Server(MultiplexedConnection);

impl Server {
    /// `None` where the store is not one Redis server, or does not let anybody ask.
    pub(super) async fn of(settings: &BackplaneConfig) -> Option<Self> {
        let config = settings.redis()?;
        if matches!(config.topology, scaleout::redis::Topology::Cluster { .. }) {
            return None;
        }
        let mut server = Self(bare::connect(&bare::client(config).await.ok()?).await.ok()?);
        server.cpu().await?;
        Some(server)
    }

    /// Nanoseconds that it has had a processor, for whomever.
    pub(super) async fn cpu(&mut self) -> Option<u64> {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut self.0).await.ok()?;
        let seconds =
            |name| info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse::<f64>().ok();
        Some(((seconds("used_cpu_sys:")? + seconds("used_cpu_user:")?) * 1e9) as u64)
    }
}
