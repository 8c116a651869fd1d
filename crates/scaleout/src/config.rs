//! Which backplane, and how to reach it.

#[cfg(feature = "serde")]
mod serde;

use std::{fmt, str::FromStr, sync::Arc};

use scaleout_core::{AppName, Backplane, Bus, BusBuilder, BusConfig, Error, ErrorKind, MemoryStore};
#[cfg(feature = "redis")]
use scaleout_redis::{RedisBackplane, RedisConfig};
#[cfg(feature = "servicebus")]
use scaleout_servicebus::{ServiceBusBackplane, ServiceBusConfig};
#[cfg(feature = "sqlserver")]
use scaleout_sqlserver::{SqlServerBackplane, SqlServerConfig};

use crate::url;

/// Where the nodes of an app meet: a store of any provider that is compiled in.
///
/// It comes from a URL, or from the settings of a provider, and makes any number of nodes. Nothing is connected before
/// such a node is. `Debug` shows no secrets.
///
/// # URLs
///
/// | Scheme | Feature | Store |
/// | --- | --- | --- |
/// | `memory:` | always there | a new one, in this process, for all nodes that are made of the parsed value |
/// | `memory:name` | always there | the one of that name in this process, which lives as long as the process |
/// | `redis://host?app=chat` | `redis` | a Redis or Valkey server; `valkey` is the same |
/// | `rediss://host?app=chat` | `redis`, `tls` | the same, by TLS; `valkeys` is the same |
/// | `redis+unix:///path?app=chat` | `redis` | a server behind a unix socket |
/// | `redis+sentinel://host,host/master?app=chat` | `redis` | the master that sentinels know; `rediss+sentinel` by TLS |
/// | `redis+cluster://host,host?app=chat` | `redis` | a Cluster; `rediss+cluster` by TLS |
/// | `sqlserver://user:password@host/database?app=chat` | `sqlserver` | SQL Server or Azure SQL, by TLS; `mssql` is the same |
/// | `servicebus://policy:key@host?app=chat` | `servicebus` | topics of Azure Service Bus, by TLS |
/// | `servicebus+emulator://policy:key@host?app=chat` | `servicebus` | an emulator of it, without TLS |
///
/// `app` is the namespace of the application in the store. It is required where others may share the store, and may be
/// given to `memory:`, where a name means another store for each app. A name is 1 to 64 of `A-Z`, `a-z`, `0-9`,
/// `_`, `.` and `-`. `RedisConfig`, `SqlServerConfig` and `ServiceBusConfig` list the further options of their URLs, which
/// are named as their fields.
///
/// Connection strings are taken as well: one of ADO.NET, `Server=host;Database=…;User ID=…;Password=…;App=chat`, is known
/// by its `Server`, or a synonym of it; one of Service Bus, `Endpoint=sb://host;SharedAccessKeyName=…;SharedAccessKey=…;`
/// `App=chat`, by its `Endpoint`. The form of StackExchange.Redis, `host:6380,ssl=true,…`, cannot be told
/// from a name and is not; `RedisConfig` reads it.
///
/// # Examples
///
/// ```
/// use scaleout::{BackplaneConfig, BusConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), scaleout::Error> {
/// let backplane: BackplaneConfig = "memory:?app=chat".parse()?;
/// let alpha = backplane.bus(BusConfig::default())?.connect().await?;
/// let beta = backplane.bus(BusConfig::default())?.start()?; // does not wait for the store
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BackplaneConfig {
    app: Option<AppName>,
    pub(crate) kind: Kind,
}

/// A provider with its settings.
#[derive(Clone)]
pub(crate) enum Kind {
    Memory(MemoryStore),
    #[cfg(feature = "redis")]
    Redis(Box<RedisConfig>),
    #[cfg(feature = "servicebus")]
    ServiceBus(Box<ServiceBusConfig>),
    #[cfg(feature = "sqlserver")]
    SqlServer(Box<SqlServerConfig>),
}

impl BackplaneConfig {
    /// Reads what [`parse`](str::parse) reads; where it names no app, it is for this one.
    ///
    /// For applications that have the namespace elsewhere than in `text`, such as in an option of their own. An app that
    /// `text` names stays: [`bus`](Self::bus) refuses it where [`BusConfig::app`] is another.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), as of `parse`.
    pub fn parse_for(app: &AppName, text: &str) -> Result<Self, Error> {
        url::parse(&url::with_app(text, app))
    }

    /// The namespace of the application, where the URL or the settings of the provider name it.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        self.app.as_ref()
    }

    /// The same store with nothing in common with this app: for `app`, in a place of its own.
    ///
    /// For measurements and trials beside an application. On SQL Server, where a schema belongs to one app, the schema is
    /// another one too: the name of `app` with `_` for what a schema's name cannot hold. What this app keeps others from
    /// making (tables, topics) is made, and [`remove_remnants`](Self::remove_remnants) removes it. All other settings stay.
    #[must_use]
    pub fn apart(&self, app: AppName) -> Self {
        let mut kind = self.kind.clone();
        match &mut kind {
            // Its nodes meet in the value that they are made of.
            Kind::Memory(store) => *store = MemoryStore::default(),
            #[cfg(feature = "redis")]
            Kind::Redis(config) => config.app = app.clone(),
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(config) => {
                config.app = app.clone();
                config.create_entities = true;
                config.subscription = None;
            }
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(config) => {
                let fitting = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
                config.app = app.clone();
                config.schema = app.to_string().chars().map(fitting).collect();
                config.install = scaleout_sqlserver::Install::Create;
            }
        }
        Self { app: Some(app), kind }
    }

    /// What the store is: `memory`, or the provider by the name of its feature.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match &self.kind {
            Kind::Memory(_) => "memory",
            #[cfg(feature = "redis")]
            Kind::Redis(_) => "redis",
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(_) => "servicebus",
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(_) => "sqlserver",
        }
    }

    /// The settings of the provider, where the store is Redis (feature `redis`).
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis(&self) -> Option<&RedisConfig> {
        match &self.kind {
            Kind::Redis(config) => Some(config),
            _ => None,
        }
    }

    /// Whether nodes of other processes can be reached: not over `memory:`.
    #[must_use]
    pub fn reaches_other_processes(&self) -> bool {
        !matches!(self.kind, Kind::Memory(_))
    }

    /// The connection of one more node; nothing is connected yet.
    ///
    /// The bus over it must be of the same [`app`](Self::app); [`bus`](Self::bus) sees to it.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem of the provider's settings in one line.
    pub fn backplane(&self) -> Result<Arc<dyn Backplane>, Error> {
        match &self.kind {
            Kind::Memory(store) => Ok(Arc::new(store.backplane())),
            #[cfg(feature = "redis")]
            Kind::Redis(config) => Ok(Arc::new(RedisBackplane::new(RedisConfig::clone(config))?)),
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(config) => {
                Ok(Arc::new(ServiceBusBackplane::new(ServiceBusConfig::clone(config))?))
            }
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(config) => Ok(Arc::new(SqlServerBackplane::new(SqlServerConfig::clone(config))?)),
        }
    }

    /// One more node, to be connected or started.
    ///
    /// The bus is of this [`app`](Self::app), so [`BusConfig::app`] is best left alone. Where there is none (over memory),
    /// the one of `config` counts.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where `config` names an app that is neither the default nor this one, and as
    /// [`backplane`](Self::backplane).
    pub fn bus(&self, config: BusConfig) -> Result<BusBuilder, Error> {
        let config = match &self.app {
            Some(app) if config.app != *app && config.app != AppName::default() => {
                let problem = format!(
                    "the backplane's settings say app {app}, those of the bus say app {}: they must be the same",
                    config.app
                );
                return Err(Error::new(ErrorKind::Config, problem));
            }
            Some(app) => config.with_app(app.clone()),
            None => config,
        };
        Ok(Bus::builder_from(self.backplane()?).config(config))
    }

    /// The settings of a store on SQL Server, where it is one: for what only that has, such as its
    /// [script](SqlServerConfig::script).
    #[cfg(feature = "sqlserver")]
    #[must_use]
    pub fn as_sqlserver(&self) -> Option<&SqlServerConfig> {
        match &self.kind {
            Kind::SqlServer(config) => Some(config),
            _ => None,
        }
    }

    pub(crate) fn memory(store: MemoryStore, app: Option<AppName>) -> Self {
        Self { app, kind: Kind::Memory(store) }
    }
}

impl FromStr for BackplaneConfig {
    type Err = Error;

    /// Reads a [URL](BackplaneConfig#urls), or a connection string of ADO.NET or of Service Bus.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config). It says what is wrong, and for a scheme that is not compiled in which feature to
    /// enable; it shows no part of the URL but the scheme.
    fn from_str(url: &str) -> Result<Self, Error> {
        url::parse(url)
    }
}

/// A store in this process, without an app of its own.
impl From<MemoryStore> for BackplaneConfig {
    fn from(store: MemoryStore) -> Self {
        Self::memory(store, None)
    }
}

/// A store on Redis (feature `redis`).
#[cfg(feature = "redis")]
impl From<RedisConfig> for BackplaneConfig {
    fn from(config: RedisConfig) -> Self {
        Self { app: Some(config.app.clone()), kind: Kind::Redis(Box::new(config)) }
    }
}

/// A store on Azure Service Bus (feature `servicebus`).
#[cfg(feature = "servicebus")]
impl From<ServiceBusConfig> for BackplaneConfig {
    fn from(config: ServiceBusConfig) -> Self {
        Self { app: Some(config.app.clone()), kind: Kind::ServiceBus(Box::new(config)) }
    }
}

/// A store on SQL Server (feature `sqlserver`).
#[cfg(feature = "sqlserver")]
impl From<SqlServerConfig> for BackplaneConfig {
    fn from(config: SqlServerConfig) -> Self {
        Self { app: Some(config.app.clone()), kind: Kind::SqlServer(Box::new(config)) }
    }
}

impl fmt::Debug for BackplaneConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("BackplaneConfig");
        debug.field("app", &self.app);
        match &self.kind {
            Kind::Memory(store) => debug.field("memory", store),
            #[cfg(feature = "redis")]
            Kind::Redis(config) => debug.field("redis", config),
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(config) => debug.field("servicebus", config),
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(config) => debug.field("sqlserver", config),
        };
        debug.finish()
    }
}

#[cfg(test)]
mod tests;
