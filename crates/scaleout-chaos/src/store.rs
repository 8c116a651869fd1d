//! The stores that runs are made on, and what can befall them.

mod redis;
mod servicebus;
mod sqlserver;

use anyhow::Result;
use scaleout::StreamIndex;
use scaleout_testkit::{fixture::Held, servers::TcpProxy};

use self::{redis::Redis, servicebus::ServiceBus, sqlserver::SqlServer};
use crate::plan::{Persistence, Provider, StoreFault};

/// Streams of every store.
pub(crate) const STREAMS: u16 = 4;

/// The app of every run: the one that the checker reads frames of.
const APP: &str = "app";

/// A store of one run; it ends with this value.
pub(crate) enum Store {
    Redis(Redis),
    SqlServer(SqlServer),
    ServiceBus(ServiceBus),
}

impl Store {
    /// # Errors
    /// Where it does not start.
    pub(crate) async fn start(provider: Provider, persistence: Persistence) -> Result<Self> {
        Ok(match provider {
            Provider::Redis => Self::Redis(Redis::start(persistence).await?),
            Provider::Sqlserver => Self::SqlServer(SqlServer::start().await?),
            Provider::Servicebus => Self::ServiceBus(ServiceBus::start().await?),
        })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Redis(store) => store.port(),
            Self::SqlServer(store) => store.port(),
            Self::ServiceBus(store) => store.port(),
        }
    }

    /// The URL or connection string for a node that reaches it by this port.
    pub(crate) fn url(&self, port: u16) -> String {
        match self {
            Self::Redis(_) => redis::url(port),
            Self::SqlServer(store) => store.url(port),
            Self::ServiceBus(store) => store.url(port),
        }
    }

    /// Begins a fault, or does it where it has no length. Answers what there is to say beside its name.
    ///
    /// # Errors
    /// Where the store does not obey.
    pub(crate) async fn strike(&self, fault: &StoreFault) -> Result<String> {
        match self {
            Self::Redis(store) => store.strike(fault).await,
            Self::SqlServer(store) => store.strike(fault).await,
            Self::ServiceBus(store) => store.strike(fault),
        }
    }

    /// Ends a fault that has a length.
    ///
    /// # Errors
    /// Where the store does not come back.
    pub(crate) async fn relent(&self, fault: &StoreFault) -> Result<()> {
        match self {
            Self::Redis(store) => store.relent(fault).await,
            Self::SqlServer(store) => store.relent(fault).await,
            Self::ServiceBus(store) => {
                store.relent(fault);
                Ok(())
            }
        }
    }

    /// Lets a fate meet the next frame on stream 0, of this node where the store tells nodes apart.
    pub(crate) fn next_frame(&self, proxy: &TcpProxy, fate: scaleout_testkit::servers::Fate) {
        match self {
            Self::Redis(_) => proxy.next_frame(fate),
            Self::SqlServer(store) => store.next_frame(fate),
            Self::ServiceBus(store) => store.next_frame(fate),
        }
    }

    /// Lets go what a fate holds.
    pub(crate) async fn release(&self, proxy: &TcpProxy) {
        match self {
            Self::Redis(_) => drop(proxy.release().await),
            Self::SqlServer(store) => store.release().await,
            Self::ServiceBus(store) => store.release(),
        }
    }

    /// Ends all that lasts.
    pub(crate) async fn heal(&self) -> Result<()> {
        match self {
            Self::Redis(store) => store.heal().await,
            Self::SqlServer(store) => {
                store.heal().await;
                Ok(())
            }
            Self::ServiceBus(store) => {
                store.heal();
                Ok(())
            }
        }
    }

    /// What it holds of a stream.
    ///
    /// # Errors
    /// Where it does not tell.
    pub(crate) async fn log(&self, stream: StreamIndex) -> Result<Vec<Held>> {
        match self {
            Self::Redis(store) => store.log(stream).await,
            Self::SqlServer(store) => Ok(store.log(stream)),
            Self::ServiceBus(store) => Ok(store.log(stream)),
        }
    }

    /// What it held of a stream when it was trimmed.
    pub(crate) fn trimmed(&self, stream: StreamIndex) -> Vec<Held> {
        match self {
            Self::Redis(store) => store.trimmed(stream),
            Self::SqlServer(store) => store.trimmed(stream),
            Self::ServiceBus(_) => Vec::new(),
        }
    }
}
