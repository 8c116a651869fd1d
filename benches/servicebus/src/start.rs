//! How long a start takes: until `connect` returns, with every stream open and caught up.

use std::time::Duration;

use anyhow::Context as _;
use scaleout_core::{Bus, Role};
use scaleout_servicebus::ServiceBusBackplane;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::{
    bare::Bare,
    case::{Case, PATIENCE},
    pair::load_average,
    server::{Server, settings_at},
};

/// What starts came to.
#[derive(Debug, Clone, Serialize)]
pub struct Starts {
    pub what: What,
    pub case: Case,
    /// Of each start, in order.
    pub connect_ms: Vec<f64>,
    pub load: f64,
}

/// What was there before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The client crate alone: a connection, a token, a link to send, a link to receive.
    Bare,
    /// The topics were there, the subscriptions were not.
    ExistingTopics,
    /// There was nothing.
    EmptyNamespace,
}

/// Starts nodes, one after the other; each is closed before the next one.
pub async fn measure(what: What, case: &Case, count: usize, server: &Server) -> anyhow::Result<Starts> {
    let load = load_average();
    let mut times = Vec::new();
    let app = match what {
        What::Bare => server.bare().await?,
        What::ExistingTopics | What::EmptyNamespace => server.fresh(case.topics)?,
    };
    let mut case = Case { app, ..case.clone() };
    if what == What::ExistingTopics {
        node(&case, server).await?;
    }
    for _ in 0..count {
        times.push(match what {
            What::Bare => bare(&case, server).await?,
            What::ExistingTopics => node(&case, server).await?,
            What::EmptyNamespace => {
                server.delete_all().await?;
                case.app = server.fresh(case.topics)?;
                node(&case, server).await?
            }
        });
    }
    server.delete_all().await?;
    let connect_ms = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    Ok(Starts { what, case, connect_ms, load })
}

async fn node(case: &Case, server: &Server) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let config = settings_at(&server.url, case)?;
    let app = config.app.clone();
    let bus = Bus::builder(ServiceBusBackplane::new(config)?).role(Role::Full).app(app).connect();
    let bus = timeout(PATIENCE, bus).await.context("it does not connect")??;
    let took = begin.elapsed();
    bus.close(Duration::from_secs(5)).await;
    Ok(took)
}

async fn bare(case: &Case, server: &Server) -> anyhow::Result<Duration> {
    let config = settings_at(&server.url, case)?;
    let begin = Instant::now();
    let mut bare = Bare::connect(&config.host, config.amqp_port.unwrap_or(5672), server.http.token()).await?;
    let links = (bare.sender(&case.app).await?, bare.receiver(&case.app).await?);
    let took = begin.elapsed();
    drop(links);
    bare.close().await;
    Ok(took)
}
