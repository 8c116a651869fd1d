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
    Authentication, Encryption, Install, Notifications, SqlServerConfig, options::integrated,
};

/// One of the [text forms](SqlServerConfig#text-forms), or a map of the fields, of which `app`, `host`, `database`, `user`
/// and `password` are needed.
///
/// Instead of the last two, `authentication` may be `"integrated"`. What is a choice is written as in a URL, `ca` is PEM
/// or the path of a PEM file, which is read at once. A size is a number of bytes or `"64MiB"`, a duration a number of
/// seconds or `"5m"`. Unknown fields are refused.
impl<'de> Deserialize<'de> for SqlServerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = SqlServerConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL or connection string of SQL Server, or a map of settings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SqlServerConfig, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SqlServerConfig, A::Error> {
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
    port: Option<u16>,
    instance: Option<String>,
    database: String,
    user: Option<String>,
    password: Option<Secret>,
    authentication: Option<AuthenticationName>,
    #[serde(alias = "encrypt")]
    encryption: Option<EncryptionName>,
    trust_server_certificate: Option<bool>,
    ca: Option<String>,
    host_name_in_certificate: Option<String>,
    application_name: Option<String>,
    packet_size: Option<u32>,
    schema: Option<String>,
    install: Option<InstallName>,
    enable_broker: Option<bool>,
    notifications: Option<NotificationsName>,
    table_count: Option<NonZeroU16>,
    max_connections: Option<NonZeroU16>,
    max_retained_age: Option<Time>,
    max_retained_bytes: Option<Size<u64>>,
    max_retained_rows: Option<u64>,
    sender_expiry: Option<Time>,
    max_payload_bytes: Option<Size<usize>>,
    min_poll: Option<Time>,
    max_poll: Option<Time>,
    max_poll_with_broker: Option<Time>,
    connect_timeout: Option<Time>,
    command_timeout: Option<Time>,
    min_backoff: Option<Time>,
    max_backoff: Option<Time>,
    fatal_retry: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuthenticationName {
    SqlLogin,
    Integrated,
}

#[derive(Deserialize)]
#[serde(remote = "Encryption", rename_all = "snake_case")]
enum EncryptionDef {
    Required,
    Strict,
    LoginOnly,
    NotSupported,
}

#[derive(Deserialize)]
struct EncryptionName(#[serde(with = "EncryptionDef")] Encryption);

#[derive(Deserialize)]
#[serde(remote = "Install", rename_all = "snake_case")]
enum InstallDef {
    Create,
    Verify,
    None,
}

#[derive(Deserialize)]
struct InstallName(#[serde(with = "InstallDef")] Install);

#[derive(Deserialize)]
#[serde(remote = "Notifications", rename_all = "snake_case")]
enum NotificationsDef {
    Auto,
    PollOnly,
}

#[derive(Deserialize)]
struct NotificationsName(#[serde(with = "NotificationsDef")] Notifications);

impl Fields {
    fn into_config(self) -> Result<SqlServerConfig, String> {
        let app: AppName = self.app.parse().map_err(|error: scaleout_core::Error| error.to_string())?;
        let authentication = match (self.authentication, self.user, self.password) {
            (Some(AuthenticationName::Integrated), None, None) => integrated()?,
            (Some(AuthenticationName::Integrated), _, _) => {
                return Err("user and password are for sql_login, and authentication is integrated".into());
            }
            (_, Some(user), Some(password)) => Authentication::SqlLogin { user, password },
            _ => return Err("user or password is missing".into()),
        };
        let mut config = SqlServerConfig::new(app, self.host, self.database, authentication);
        config.port = self.port;
        config.instance = self.instance;
        config.ca =
            self.ca.map(|value| pem(&value)).transpose().map_err(|problem| format!("ca {problem}"))?;
        config.host_name_in_certificate = self.host_name_in_certificate;
        put(&mut config.encryption, self.encryption.map(|it| it.0));
        put(&mut config.trust_server_certificate, self.trust_server_certificate);
        put(&mut config.application_name, self.application_name);
        put(&mut config.packet_size, self.packet_size);
        put(&mut config.schema, self.schema);
        put(&mut config.install, self.install.map(|it| it.0));
        put(&mut config.enable_broker, self.enable_broker);
        put(&mut config.notifications, self.notifications.map(|it| it.0));
        put(&mut config.table_count, self.table_count);
        put(&mut config.max_connections, self.max_connections);
        put(&mut config.max_retained_age, self.max_retained_age.map(|it| it.0));
        put(&mut config.max_retained_bytes, self.max_retained_bytes.map(|it| it.0));
        put(&mut config.max_retained_rows, self.max_retained_rows);
        put(&mut config.sender_expiry, self.sender_expiry.map(|it| it.0));
        put(&mut config.max_payload_bytes, self.max_payload_bytes.map(|it| it.0));
        put(&mut config.min_poll, self.min_poll.map(|it| it.0));
        put(&mut config.max_poll, self.max_poll.map(|it| it.0));
        put(&mut config.max_poll_with_broker, self.max_poll_with_broker.map(|it| it.0));
        put(&mut config.connect_timeout, self.connect_timeout.map(|it| it.0));
        put(&mut config.command_timeout, self.command_timeout.map(|it| it.0));
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn read(value: Value) -> Result<SqlServerConfig, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    /// The least that is needed, and `more`.
    fn with(more: Value) -> Value {
        let mut value = json!({"app": "a", "host": "h", "database": "d", "user": "u", "password": "p"});
        if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
            fields.extend(more);
        }
        value
    }

    #[test]
    fn a_map_holds_what_a_url_does() {
        let url = "sqlserver://u:p@h:7/d?app=chat&instance=i&encryption=login_only&trust_server_certificate=true\
                   &application_name=x&packet_size=4096&schema=s&install=verify&notifications=poll_only&table_count=8\
                   &max_connections=2&max_retained_age=5m&max_retained_bytes=128MiB&max_retained_rows=10\
                   &sender_expiry=2h&max_payload_bytes=1MB&min_poll=20ms&max_poll=2s&max_poll_with_broker=20s\
                   &connect_timeout=3s&command_timeout=1.5&min_backoff=10ms&max_backoff=2s&fatal_retry=10s";
        let map = json!({
            "app": "chat", "host": "h", "port": 7, "instance": "i", "database": "d", "user": "u", "password": "p",
            "encryption": "login_only", "trust_server_certificate": true, "application_name": "x",
            "packet_size": 4096, "schema": "s", "install": "verify", "notifications": "poll_only", "table_count": 8,
            "max_connections": 2, "max_retained_age": "5m", "max_retained_bytes": "128MiB",
            "max_retained_rows": 10, "sender_expiry": 7200, "max_payload_bytes": 1_000_000, "min_poll": "20ms",
            "max_poll": 2, "max_poll_with_broker": "20s", "connect_timeout": "3s", "command_timeout": 1.5,
            "min_backoff": "10ms", "max_backoff": "2s", "fatal_retry": 10,
        });
        let expected: SqlServerConfig = url.parse().expect("a good URL");
        assert_eq!(read(map).as_ref(), Ok(&expected));
        assert_eq!(read(json!(url)), Ok(expected));
        assert_eq!(read(with(json!({"encrypt": "strict"}))).map(|it| it.encryption), Ok(Encryption::Strict));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, told) in [
            (json!({"app": "a"}), "host"),
            (json!({"app": "a", "host": "h", "database": "d", "user": "u"}), "password"),
            (with(json!({"app": "A"})), "app name"),
            (with(json!({"table": 1})), "table"),
            (with(json!({"authentication": "integrated"})), "integrated"),
            (with(json!({"authentication": "token"})), "token"),
            (with(json!({"encryption": "maybe"})), "maybe"),
            (with(json!({"install": "x"})), "verify"),
            (with(json!({"ca": "/nonexistent"})), "ca is not"),
            (with(json!({"table_count": 0})), "0"),
            (with(json!({"table_count": 65})), "table_count is above 64"),
            (with(json!({"min_poll": "soon"})), "soon"),
            (with(json!({"max_retained_bytes": -1})), "number"),
            (with(json!({"max_payload_bytes": "much"})), "much"),
            (json!(7), "SQL Server"),
        ] {
            let text = read(value.clone()).expect_err("it is wrong");
            assert!(text.contains(told), "{value}: {text}");
        }
    }

    #[test]
    fn a_secret_of_another_type_is_not_told() {
        for secret in [json!(4242), json!(-4242), json!(4242.5), json!(["4242"]), json!({"4242": 1})] {
            let text = read(with(json!({"password": secret}))).expect_err("it is wrong");
            assert!(text.contains("in quotes") && !text.contains("4242"), "{text}");
        }
    }
}
