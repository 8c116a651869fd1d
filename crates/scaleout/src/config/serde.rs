//! `Deserialize`, for applications that keep the settings in a file of their own.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::{BackplaneConfig, url};

/// A URL or a connection string, or a map of one entry: `url`, or the name of a provider with its settings. Needs the
/// feature `serde`.
impl<'de> Deserialize<'de> for BackplaneConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = BackplaneConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the URL of a store, or a map of one entry: `url`, `redis`, `sqlserver` or `servicebus`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<BackplaneConfig, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BackplaneConfig, A::Error> {
        let Some(kind) = map.next_key::<String>()? else { return Err(A::Error::invalid_length(0, &self)) };
        let config = match kind.as_str() {
            "url" => map.next_value::<String>()?.parse().map_err(A::Error::custom)?,
            #[cfg(feature = "redis")]
            "redis" => map.next_value::<scaleout_redis::RedisConfig>()?.into(),
            #[cfg(feature = "servicebus")]
            "servicebus" => map.next_value::<scaleout_servicebus::ServiceBusConfig>()?.into(),
            #[cfg(feature = "sqlserver")]
            "sqlserver" => map.next_value::<scaleout_sqlserver::SqlServerConfig>()?.into(),
            kind => return Err(A::Error::custom(url::no_provider(kind))),
        };
        match map.next_key::<String>()? {
            None => Ok(config),
            Some(_) => Err(A::Error::invalid_length(2, &self)),
        }
    }
}
