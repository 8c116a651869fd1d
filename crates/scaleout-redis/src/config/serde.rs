//! `Deserialize`, for applications that keep the settings in a file of their own.

use std::{fmt, num::NonZeroU16};

use scaleout_core::{
    AppName,
    provider::{
        Secret,
        settings::{Size, Time, pem},
    },
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::config::{
    Endpoint, RedisConfig, TlsConfig, Topology,
    url::{SENTINEL_PORT, SERVER_PORT},
};

/// One of the [text forms](RedisConfig#text-forms), or a map of the fields, of which `app` and `topology` are needed.
///
/// `topology` is `{"standalone": "host:6379"}`, `{"sentinel": {"master": "m", "sentinels": ["host:26379"]}}` or
/// `{"cluster": {"seeds": ["host:6379"]}}`, where a path stands for a unix socket. `tls` is a map of `ca`,
/// `client_cert` and `client_key`, all optional, each PEM or the path of a PEM file, which is read at once. A size is a
/// number of bytes or `"64MiB"`, a duration a number of seconds or `"5m"`. Unknown fields are refused.
impl<'de> Deserialize<'de> for RedisConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = RedisConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Redis URL, or a map of settings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RedisConfig, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RedisConfig, A::Error> {
        let config =
            Fields::deserialize(MapAccessDeserializer::new(map))?.into_config().map_err(A::Error::custom)?;
        config.check().map_err(A::Error::custom)?;
        Ok(config)
    }
}

/// The fields of the map.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    app: String,
    topology: TopologyFields,
    username: Option<String>,
    password: Option<Secret>,
    database: Option<u32>,
    tls: Option<TlsFields>,
    sentinel_username: Option<String>,
    sentinel_password: Option<Secret>,
    streams: Option<NonZeroU16>,
    groups: Option<NonZeroU16>,
    key_prefix: Option<String>,
    max_retained_bytes: Option<Size<usize>>,
    max_retained_age: Option<Time>,
    max_retained_entries: Option<usize>,
    key_expiry: Option<Time>,
    max_payload_bytes: Option<Size<usize>>,
    liveness: Option<Time>,
    connect_timeout: Option<Time>,
    min_backoff: Option<Time>,
    max_backoff: Option<Time>,
    fatal_retry: Option<Time>,
}

impl Fields {
    fn into_config(self) -> Result<RedisConfig, String> {
        let app: AppName = self.app.parse().map_err(|error: scaleout_core::Error| error.to_string())?;
        let mut config = RedisConfig::new(app, self.topology.into_topology()?);
        config.username = self.username;
        config.password = self.password;
        config.tls = self.tls.map(TlsFields::into_config).transpose()?;
        config.sentinel_username = self.sentinel_username;
        config.sentinel_password = self.sentinel_password;
        config.groups = self.groups;
        put(&mut config.database, self.database);
        put(&mut config.streams, self.streams);
        put(&mut config.key_prefix, self.key_prefix);
        put(&mut config.max_retained_bytes, self.max_retained_bytes.map(|it| it.0));
        put(&mut config.max_retained_age, self.max_retained_age.map(|it| it.0));
        put(&mut config.max_retained_entries, self.max_retained_entries);
        put(&mut config.key_expiry, self.key_expiry.map(|it| it.0));
        put(&mut config.max_payload_bytes, self.max_payload_bytes.map(|it| it.0));
        put(&mut config.liveness, self.liveness.map(|it| it.0));
        put(&mut config.connect_timeout, self.connect_timeout.map(|it| it.0));
        put(&mut config.min_backoff, self.min_backoff.map(|it| it.0));
        put(&mut config.max_backoff, self.max_backoff.map(|it| it.0));
        put(&mut config.fatal_retry, self.fatal_retry.map(|it| it.0));
        Ok(config)
    }
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum TopologyFields {
    Standalone(String),
    Sentinel { master: String, sentinels: Vec<String> },
    Cluster { seeds: Vec<String> },
}

impl TopologyFields {
    fn into_topology(self) -> Result<Topology, String> {
        let endpoint = |text: String, default_port| {
            Endpoint::parse(&text, default_port)
                .map_err(|problem| format!("an endpoint of topology has {problem}"))
        };
        let endpoints = |texts: Vec<String>, default_port| {
            texts.into_iter().map(|text| endpoint(text, default_port)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match self {
            Self::Standalone(text) => Topology::Standalone(endpoint(text, SERVER_PORT)?),
            Self::Sentinel { master, sentinels } => {
                Topology::Sentinel { master, sentinels: endpoints(sentinels, SENTINEL_PORT)? }
            }
            Self::Cluster { seeds } => Topology::Cluster { seeds: endpoints(seeds, SERVER_PORT)? },
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFields {
    ca: Option<String>,
    client_cert: Option<String>,
    client_key: Option<Secret>,
}

impl TlsFields {
    fn into_config(self) -> Result<TlsConfig, String> {
        let read = |name: &str, value: &str| pem(value).map_err(|problem| format!("{name} {problem}"));
        let ca = self.ca.map(|value| read("ca", &value)).transpose()?;
        let client_certificate = match (self.client_cert, self.client_key) {
            (Some(chain), Some(key)) => {
                Some((read("client_cert", &chain)?, read("client_key", key.expose())?))
            }
            (None, None) => None,
            _ => return Err("client_cert and client_key go together".into()),
        };
        Ok(TlsConfig { ca, client_certificate })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn read(value: Value) -> Result<RedisConfig, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_map_holds_what_a_url_does() {
        let url = "redis+sentinel://u:p@a,b:7/m/1?app=chat&streams=8&groups=2&key_prefix=x&max_retained_bytes=128MiB\
                   &max_retained_age=5m&max_retained_entries=10&key_expiry=1h&max_payload_bytes=1MB&liveness=1.5\
                   &connect_timeout=3s&min_backoff=10ms&max_backoff=2s&fatal_retry=10s&sentinel_username=su\
                   &sentinel_password=sp";
        let map = json!({
            "app": "chat", "topology": {"sentinel": {"master": "m", "sentinels": ["a", "b:7"]}},
            "username": "u", "password": "p", "database": 1, "streams": 8, "groups": 2, "key_prefix": "x",
            "max_retained_bytes": "128MiB", "max_retained_age": "5m", "max_retained_entries": 10,
            "key_expiry": 3600, "max_payload_bytes": 1_000_000, "liveness": 1.5, "connect_timeout": "3s",
            "min_backoff": "10ms", "max_backoff": "2s", "fatal_retry": 10, "sentinel_username": "su",
            "sentinel_password": "sp",
        });
        let expected: RedisConfig = url.parse().expect("a good URL");
        assert_eq!(read(map).as_ref(), Ok(&expected));
        assert_eq!(read(json!(url)), Ok(expected));

        let topology = |value| read(json!({"app": "a", "topology": value})).map(|config| config.topology);
        assert_eq!(topology(json!({"standalone": "h"})), Ok(Topology::Standalone(Endpoint::tcp("h", 6379))));
        assert_eq!(
            topology(json!({"standalone": "/run/r.sock"})),
            Ok(Topology::Standalone(Endpoint::Unix("/run/r.sock".into())))
        );
        let seeds = vec![Endpoint::tcp("h", 1)];
        assert_eq!(topology(json!({"cluster": {"seeds": ["h:1"]}})), Ok(Topology::Cluster { seeds }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let at = json!({"standalone": "h"});
        for (value, told) in [
            (json!({"topology": at}), "app"),
            (json!({"app": "a"}), "topology"),
            (json!({"app": "A", "topology": at}), "app name"),
            (json!({"app": "a", "topology": at, "stream": 1}), "stream"),
            (json!({"app": "a", "topology": at, "tls": {"cert": "x"}}), "cert"),
            (json!({"app": "a", "topology": at, "tls": {"ca": "/nonexistent"}}), "ca is not"),
            (json!({"app": "a", "topology": {"standalone": "h:x"}}), "port"),
            (json!({"app": "a", "topology": {"cluster": {"seeds": [], "x": 1}}}), "x"),
            (json!({"app": "a", "topology": at, "liveness": "soon"}), "soon"),
            (json!({"app": "a", "topology": at, "liveness": -1}), "duration"),
            (json!({"app": "a", "topology": at, "max_payload_bytes": "much"}), "much"),
            (json!({"app": "a", "topology": at, "liveness": 1e300}), "duration"),
            (json!({"app": "a", "topology": at, "liveness": "1ms"}), "liveness is below"),
            (json!(7), "Redis URL"),
        ] {
            let text = read(value.clone()).expect_err("it is wrong");
            assert!(text.contains(told), "{value}: {text}");
        }
    }

    #[test]
    fn a_secret_of_another_type_is_not_told() {
        for secret in [json!(4242), json!(-4242), json!(4242.5), json!(["4242"]), json!({"4242": 1})] {
            let value = json!({"app": "a", "topology": {"standalone": "h"}, "password": secret});
            let text = read(value).expect_err("it is wrong");
            assert!(text.contains("in quotes") && !text.contains("4242"), "{text}");
        }
    }
}
