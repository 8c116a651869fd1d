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

use crate::config::{Protocol, Reception, ServiceBusConfig, options::Login};

/// One of the [text forms](ServiceBusConfig#text-forms), or a map of the fields, of which `app`, `host`,
/// `shared_access_key_name` and `shared_access_key` are needed.
///
/// Instead of the last two there may be `shared_access_signature`. What is a choice is written as in a URL, `ca` is PEM or
/// the path of a PEM file, which is read at once. A size is a number of bytes or `"64KiB"`, a duration a number of seconds
/// or `"5m"`. Unknown fields are refused.
impl<'de> Deserialize<'de> for ServiceBusConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = ServiceBusConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL or connection string of Service Bus, or a map of settings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ServiceBusConfig, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ServiceBusConfig, A::Error> {
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
    host: String,
    amqp_port: Option<u16>,
    management_endpoint: Option<String>,
    shared_access_key_name: Option<String>,
    shared_access_key: Option<Secret>,
    shared_access_signature: Option<Secret>,
    development_emulator: Option<bool>,
    ca: Option<String>,
    protocol: Option<ProtocolName>,
    topic_prefix: Option<String>,
    topic_count: Option<NonZeroU16>,
    create_entities: Option<bool>,
    subscription: Option<String>,
    epoch: Option<u64>,
    node_label: Option<String>,
    reception: Option<ReceptionName>,
    subscription_idle_expiry: Option<Time>,
    message_ttl: Option<Time>,
    lock_duration: Option<Time>,
    max_delivery_count: Option<u32>,
    max_topic_megabytes: Option<u32>,
    duplicate_window: Option<Time>,
    max_payload_bytes: Option<Size<usize>>,
    idle_timeout: Option<Time>,
    keep_alive: Option<Time>,
    connect_timeout: Option<Time>,
    operation_timeout: Option<Time>,
    token_lifetime: Option<Time>,
    min_backoff: Option<Time>,
    max_backoff: Option<Time>,
    fatal_retry: Option<Time>,
    start_jitter: Option<Time>,
}

#[derive(Deserialize)]
#[serde(remote = "Protocol", rename_all = "lowercase")]
enum ProtocolDef {
    Amqp,
    WebSocket,
    Rest,
}

#[derive(Deserialize)]
struct ProtocolName(#[serde(with = "ProtocolDef")] Protocol);

#[derive(Deserialize)]
#[serde(remote = "Reception", rename_all = "snake_case")]
enum ReceptionDef {
    PeekLock,
    ReceiveAndDelete,
}

#[derive(Deserialize)]
struct ReceptionName(#[serde(with = "ReceptionDef")] Reception);

impl Fields {
    fn into_config(self) -> Result<ServiceBusConfig, String> {
        let app: AppName = self.app.parse().map_err(|error: scaleout_core::Error| error.to_string())?;
        let login = Login {
            name: self.shared_access_key_name,
            key: self.shared_access_key,
            signature: self.shared_access_signature,
        };
        let mut config = ServiceBusConfig::new(app, self.host, login.credential()?);
        config.amqp_port = self.amqp_port;
        config.management_endpoint = self.management_endpoint;
        config.ca =
            self.ca.map(|value| pem(&value)).transpose().map_err(|problem| format!("ca {problem}"))?;
        config.subscription = self.subscription;
        config.node_label = self.node_label;
        put(&mut config.development_emulator, self.development_emulator);
        put(&mut config.protocol, self.protocol.map(|it| it.0));
        put(&mut config.topic_prefix, self.topic_prefix);
        put(&mut config.topic_count, self.topic_count);
        put(&mut config.create_entities, self.create_entities);
        put(&mut config.epoch, self.epoch);
        put(&mut config.reception, self.reception.map(|it| it.0));
        put(&mut config.subscription_idle_expiry, self.subscription_idle_expiry.map(|it| it.0));
        put(&mut config.message_ttl, self.message_ttl.map(|it| it.0));
        put(&mut config.lock_duration, self.lock_duration.map(|it| it.0));
        put(&mut config.max_delivery_count, self.max_delivery_count);
        put(&mut config.max_topic_megabytes, self.max_topic_megabytes);
        put(&mut config.duplicate_window, self.duplicate_window.map(|it| it.0));
        put(&mut config.max_payload_bytes, self.max_payload_bytes.map(|it| it.0));
        put(&mut config.idle_timeout, self.idle_timeout.map(|it| it.0));
        put(&mut config.keep_alive, self.keep_alive.map(|it| it.0));
        put(&mut config.connect_timeout, self.connect_timeout.map(|it| it.0));
        put(&mut config.operation_timeout, self.operation_timeout.map(|it| it.0));
        put(&mut config.token_lifetime, self.token_lifetime.map(|it| it.0));
        put(&mut config.min_backoff, self.min_backoff.map(|it| it.0));
        put(&mut config.max_backoff, self.max_backoff.map(|it| it.0));
        put(&mut config.fatal_retry, self.fatal_retry.map(|it| it.0));
        put(&mut config.start_jitter, self.start_jitter.map(|it| it.0));
        Ok(config)
    }
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn read(value: Value) -> Result<ServiceBusConfig, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    /// The least that is needed, and `more`.
    fn with(more: Value) -> Value {
        let mut value =
            json!({"app": "a", "host": "h", "shared_access_key_name": "n", "shared_access_key": "k"});
        if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
            fields.extend(more);
        }
        value
    }

    #[test]
    fn a_map_holds_what_a_url_does() {
        let url = "servicebus://n:k@h:7/?app=chat&management_endpoint=https://localhost:1&development_emulator=true\
                   &protocol=amqp&topic_prefix=x.&topic_count=8&create_entities=false&subscription=web-1&epoch=3\
                   &node_label=web&reception=receive_and_delete&subscription_idle_expiry=5m&message_ttl=1h\
                   &lock_duration=30&max_delivery_count=10&max_topic_megabytes=2048&duplicate_window=10m\
                   &max_payload_bytes=64KiB&idle_timeout=30s&keep_alive=20s&connect_timeout=5s&operation_timeout=1.5\
                   &token_lifetime=20m&min_backoff=10ms&max_backoff=1s&fatal_retry=10s&start_jitter=0";
        let map = json!({
            "app": "chat", "host": "h", "amqp_port": 7, "management_endpoint": "https://localhost:1",
            "shared_access_key_name": "n", "shared_access_key": "k", "development_emulator": true,
            "protocol": "amqp", "topic_prefix": "x.", "topic_count": 8, "create_entities": false,
            "subscription": "web-1", "epoch": 3, "node_label": "web", "reception": "receive_and_delete",
            "subscription_idle_expiry": "5m", "message_ttl": 3600, "lock_duration": 30,
            "max_delivery_count": 10, "max_topic_megabytes": 2048, "duplicate_window": "10m",
            "max_payload_bytes": "64KiB", "idle_timeout": "30s", "keep_alive": "20s", "connect_timeout": "5s",
            "operation_timeout": 1.5, "token_lifetime": "20m", "min_backoff": "10ms", "max_backoff": 1,
            "fatal_retry": 10, "start_jitter": 0,
        });
        let expected: ServiceBusConfig = url.parse().expect("a good URL");
        assert_eq!(read(map).as_ref(), Ok(&expected));
        assert_eq!(read(json!(url)), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, told) in [
            (json!({"app": "a"}), "host"),
            (json!({"app": "a", "host": "h", "shared_access_key_name": "n"}), "shared_access_key is missing"),
            (with(json!({"app": "A"})), "app name"),
            (with(json!({"topic": 1})), "topic"),
            (with(json!({"protocol": "smtp"})), "smtp"),
            (with(json!({"reception": "x"})), "peek_lock"),
            (with(json!({"ca": "/nonexistent"})), "ca is not"),
            (with(json!({"topic_count": 0})), "0"),
            (with(json!({"topic_count": 65})), "topic_count is above 64"),
            (with(json!({"min_backoff": "soon"})), "soon"),
            (with(json!({"shared_access_signature": "x"})), "ready token"),
            (json!(7), "Service Bus"),
        ] {
            let text = read(value.clone()).expect_err("it is wrong");
            assert!(text.contains(told), "{value}: {text}");
        }
    }

    #[test]
    fn a_secret_of_another_type_is_not_told() {
        for secret in [json!(4242), json!(["4242"]), json!({"4242": 1})] {
            for field in ["shared_access_key", "shared_access_signature"] {
                let text = read(with(json!({field: secret}))).expect_err("it is wrong");
                assert!(text.contains("in quotes") && !text.contains("4242"), "{text}");
            }
        }
    }
}
