//! What a node asks the server for while nothing happens, counted on the wire.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use scaleout_core::Bus;
use scaleout_sqlserver::{Doorbell, Encryption, Notifications, SqlServerBackplane};
use scaleout_testkit::servers::TcpProxy;
use serde::Serialize;
use tokio::{
    net::lookup_host,
    time::{Instant, sleep, timeout},
};

use crate::{
    node::told,
    server::{Schemas, settings_of},
};

/// What watching a node came to.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    pub tables: u16,
    pub mode: Mode,
    /// `None`: it could not be watched.
    pub statements_per_minute: Option<f64>,
    /// Why not.
    pub not_available: Option<String>,
}

/// How a node learns of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Polling,
    Doorbell,
}

/// How long a node may take until it is connected, and has found out whether there is a doorbell.
const PATIENCE: Duration = Duration::from_secs(90);

/// Until polls are as far apart as they get, and the doorbell is armed.
const SETTLING: Duration = Duration::from_secs(5);

/// Watches a node for `seconds`.
pub async fn watch(tables: u16, mode: Mode, seconds: u32, schemas: &Schemas) -> anyhow::Result<Idle> {
    let watched = statements(tables, mode, seconds, schemas).await;
    schemas.drop_all().await?;
    let (per_minute, why) = match watched {
        Ok(statements) => (Some(statements as f64 * 60.0 / f64::from(seconds)), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Ok(Idle { tables, mode, statements_per_minute: per_minute, not_available: why })
}

async fn statements(tables: u16, mode: Mode, seconds: u32, schemas: &Schemas) -> anyhow::Result<u64> {
    let mut config = settings_of(&schemas.fresh(), tables)?;
    let address = lookup_host((config.host.as_str(), config.port.unwrap_or(1433))).await?.next();
    let proxy = TcpProxy::start(address.context("the host has no address")?).await?;
    config.host = "127.0.0.1".into();
    config.port = Some(proxy.port());
    // The proxy counts what it can read.
    config.encryption = Encryption::NotSupported;
    config.notifications = match mode {
        Mode::Polling => Notifications::PollOnly,
        Mode::Doorbell => Notifications::Auto,
    };
    let backplane = SqlServerBackplane::new(config)?;
    let bus = Bus::builder(backplane.clone()).connect();
    let bus = timeout(PATIENCE, bus).await.context("it does not connect without encryption")??;
    let _subscription = bus.subscribe(["idle"]);
    if mode == Mode::Doorbell {
        let deadline = Instant::now() + PATIENCE;
        while matches!(backplane.doorbell(), Doorbell::Unknown) && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        let doorbell = backplane.doorbell();
        ensure!(matches!(doorbell, Doorbell::Works), told(&doorbell));
    }
    sleep(SETTLING).await;
    let before = proxy.requests();
    sleep(Duration::from_secs(seconds.into())).await;
    let statements = proxy.requests() - before;
    bus.close(Duration::from_secs(5)).await;
    Ok(statements)
}
