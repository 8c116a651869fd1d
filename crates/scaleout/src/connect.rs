//! From a URL to a bus, in one call.

use scaleout_core::{Bus, BusConfig, Error};

use crate::BackplaneConfig;

/// Joins the nodes of the app that `url` names, with the defaults of [`BusConfig`].
///
/// Returns when every stream is open and has caught up with the store. While the store is merely away it waits: give
/// it a time-out where that is wanted, or use [`BackplaneConfig::bus`] and [`start`](scaleout_core::BusBuilder::start).
/// The [schemes](BackplaneConfig#urls) are those of the providers that are compiled in.
///
/// # Errors
/// [`Config`](scaleout_core::ErrorKind::Config) for a URL that cannot work, and the first fatal error of the store, a
/// wrong password for instance. No error shows what may be a secret.
///
/// # Panics
/// Outside of a tokio runtime.
///
/// # Cancel safety
/// Dropping the future stops the bus.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), scaleout::Error> {
/// let url = std::env::var("BACKPLANE_URL").unwrap_or("memory:".into());
/// let bus = scaleout::connect(&url).await?;
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<Bus, Error> {
    connect_with(url, BusConfig::default()).await
}

/// [`connect`], with settings for the bus.
///
/// Where `url` names an app, it is that of the bus as well; [`BackplaneConfig::bus`] says what happens to
/// [`BusConfig::app`].
///
/// # Errors
/// As [`connect`], and [`Config`](scaleout_core::ErrorKind::Config) for settings that cannot work.
///
/// # Panics
/// Outside of a tokio runtime.
///
/// # Cancel safety
/// Dropping the future stops the bus.
pub async fn connect_with(url: &str, config: BusConfig) -> Result<Bus, Error> {
    url.parse::<BackplaneConfig>()?.bus(config)?.connect().await
}
