//! placeholder until the installer is merged
use crate::{config::SqlServerConfig, error::Failure, link::Link};
use scaleout_core::Error;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) doorbell: Doorbell,
}
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doorbell {
    Installed,
    NotInstalled,
    NoBroker,
    Off,
}
pub(crate) async fn prepare(_link: &mut Link, _config: &SqlServerConfig) -> Result<Prepared, Error> {
    Ok(Prepared { doorbell: Doorbell::Off })
}
pub(crate) fn is_missing(failure: &Failure) -> bool {
    matches!(failure.number(), Some(208 | 2812))
}
