//! What an application keeps in its environment, or in a file of its own.

use std::ffi::OsString;

use scaleout_core::{AppName, Bus, BusConfig, Error, ErrorKind};

use crate::BackplaneConfig;

/// Where the nodes of an app meet, and how the bus behaves there: all that an application need keep of scaleout.
///
/// It comes from the [environment](Self::from_env), or, with the feature `serde`, out of the application's own file, by
/// whatever reads that:
///
/// ```toml
/// [scaleout]
/// backplane = "redis://cache.example:6379?app=chat"     # a URL or a connection string, or a map:
/// # backplane.redis = { app = "chat", topology = { standalone = "cache.example:6379" } }
///
/// [scaleout.bus]                                        # fields of BusConfig that are not to have their default
/// max_queue_bytes = "64MiB"
/// overflow = "drop_oldest"
/// ```
///
/// The map has one entry: `url`, `redis`, `sqlserver` or `servicebus`, the last three with the fields of `RedisConfig`,
/// `SqlServerConfig` and `ServiceBusConfig`. Unknown fields are refused everywhere. `Debug` shows no secrets.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Settings {
    /// The store.
    pub backplane: BackplaneConfig,
    /// The bus.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bus: BusConfig,
}

impl Settings {
    /// Reads the variables whose names begin with `SCALEOUT_`.
    ///
    /// | Variable | Holds |
    /// | --- | --- |
    /// | `SCALEOUT_URL` | where the nodes meet: a [URL](BackplaneConfig#urls) or a connection string |
    /// | `SCALEOUT_APP` | the namespace of the application, where that names none |
    /// | `SCALEOUT_BUS_…` | a field of [`BusConfig`], in the form of [`BusConfig::set`]: `SCALEOUT_BUS_MAX_QUEUE_BYTES=64MiB` |
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config): `SCALEOUT_URL` is not there, a value cannot be used, or a name that begins with
    /// `SCALEOUT_BUS_` is that of no field. No value is shown.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), scaleout::Error> {
    /// let bus = scaleout::Settings::from_env()?.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars("SCALEOUT_", std::env::vars_os())
    }

    /// [`from_env`](Self::from_env), of these variables, with names that begin with `prefix` in place of `SCALEOUT_`.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(
        prefix: &str,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        let (mut url, mut app, mut bus) = (None, None, BusConfig::default());
        // Whether the app is among the fields of the bus as well.
        let mut is_in_bus = false;
        for (name, value) in vars {
            // A name that is no text is none of ours.
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
            let field = rest.strip_prefix("BUS_");
            if field.is_none() && !matches!(rest, "URL" | "APP") {
                continue;
            }
            let Some(value) = value.to_str() else {
                return Err(refused(format!("{prefix}{rest} is not valid UTF-8")));
            };
            if let Some(field) = field {
                is_in_bus |= field.eq_ignore_ascii_case("app");
                bus.set(&field.to_ascii_lowercase(), value)?;
            } else if rest == "URL" {
                url = Some(value.to_owned());
            } else {
                let problem =
                    format!("{prefix}APP is not 1 to 31 of a-z, 0-9 and '-', not beginning with '-'");
                app = Some(value.parse::<AppName>().map_err(|_| refused(problem))?);
            }
        }
        let Some(url) = url else {
            return Err(refused(format!(
                "{prefix}URL is not set: it says where the nodes meet, such as redis://127.0.0.1:6379?app=chat"
            )));
        };
        let backplane = match app {
            Some(app) if is_in_bus && bus.app != app => {
                return Err(refused(format!("{prefix}APP and {prefix}BUS_APP name two apps: leave out one")));
            }
            Some(app) => {
                let backplane = BackplaneConfig::parse_for(&app, &url)?;
                bus.app = app;
                backplane
            }
            None => url.parse()?,
        };
        Ok(Self { backplane, bus })
    }

    /// Joins the nodes of the app, as [`connect_with`](crate::connect_with) does.
    ///
    /// # Errors
    /// As [`connect_with`](crate::connect_with).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future stops the bus.
    pub async fn connect(&self) -> Result<Bus, Error> {
        self.backplane.bus(self.bus.clone())?.connect().await
    }
}

fn refused(problem: String) -> Error {
    Error::new(ErrorKind::Config, problem)
}

#[cfg(test)]
mod tests {
    use scaleout_core::Overflow;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, Error> {
        let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Settings::from_vars("CHAT_", vars)
    }

    #[test]
    fn an_environment_holds_a_store_an_app_and_fields_of_the_bus() {
        let settings = read(&[
            ("CHAT_URL", "memory:demo"),
            ("CHAT_APP", "shop"),
            ("CHAT_BUS_MAX_QUEUE_BYTES", "64MiB"),
            ("CHAT_BUS_OVERFLOW", "drop_oldest"),
            ("CHAT_COLOUR", "of somebody else"),
            ("PATH", "/bin"),
        ])
        .expect("settings that work");
        assert_eq!(settings.backplane.app().map(AppName::as_str), Some("shop"));
        assert_eq!(settings.bus.app.as_str(), "shop");
        assert_eq!((settings.bus.max_queue_bytes, settings.bus.overflow), (64 << 20, Overflow::DropOldest));
    }

    #[test]
    fn what_an_environment_lacks_or_says_wrong_is_named_and_not_shown() {
        for (vars, told) in [
            (&[("CHAT_APP", "shop")][..], "CHAT_URL is not set"),
            (&[("CHAT_URL", "hunter2")], "no scheme"),
            (&[("CHAT_URL", "memory:"), ("CHAT_APP", "hunter2!")], "CHAT_APP is not"),
            (&[("CHAT_URL", "memory:"), ("CHAT_BUS_MAX_QUEUE", "1")], "max_queue_bytes"),
            (
                &[("CHAT_URL", "memory:"), ("CHAT_APP", "shop"), ("CHAT_BUS_APP", "chat")],
                "CHAT_APP and CHAT_BUS_APP name two apps",
            ),
            (&[("CHAT_URL", "memory:"), ("CHAT_BUS_OVERFLOW", "hunter2")], "overflow is none of"),
        ] {
            let error = read(vars).expect_err(told);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(told) && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn two_apps_for_one_node_are_refused() {
        let settings =
            read(&[("CHAT_URL", "memory:?app=chat"), ("CHAT_APP", "shop")]).expect("each by itself");
        let error = settings.connect().await.expect_err("they differ").to_string();
        assert!(error.contains("chat") && error.contains("shop"), "{error}");
    }

    #[cfg(feature = "serde")]
    mod serde {
        use serde_json::json;

        use super::*;

        fn read(value: serde_json::Value) -> Result<Settings, String> {
            serde_json::from_value(value).map_err(|error| error.to_string())
        }

        #[tokio::test]
        async fn a_file_holds_the_same() {
            let value = json!({
                "backplane": "memory:demo?app=shop",
                "bus": {"max_queue_bytes": "64MiB", "max_queue_age": 1.5, "max_queue_messages": 9, "overflow": "wait"},
            });
            let settings = read(value).expect("settings that work");
            let expected = BusConfig::default()
                .with_max_queue_bytes(64 << 20)
                .with_max_queue_age(std::time::Duration::from_millis(1500))
                .with_max_queue_messages(9)
                .with_overflow(Overflow::Wait);
            assert_eq!(settings.bus, expected);
            assert_eq!(settings.connect().await.expect("a bus").config().app.as_str(), "shop");
            read(json!({"backplane": {"url": "memory:"}})).expect("a map of one entry");
        }

        #[test]
        fn what_is_wrong_is_named_and_not_shown() {
            for (value, told) in [
                (json!({"bus": {}}), "backplane"),
                (json!({"backplane": "memory:", "colour": "red"}), "colour"),
                (json!({"backplane": "memory:", "bus": {"max_queue": 1}}), "max_queue_bytes"),
                (json!({"backplane": "memory:", "bus": {"overflow": "hunter2"}}), "overflow is none of"),
                (json!({"backplane": "memory:", "bus": {"overflow": true}}), "a number, or text"),
                (json!({"backplane": "hunter2"}), "no scheme"),
                (json!({"backplane": {"url": "hunter2"}}), "no scheme"),
                (json!({"backplane": {"nats": "x"}}), "nats"),
                (json!({"backplane": {}}), "one entry"),
                (json!({"backplane": {"url": "memory:", "zebra": {}}}), "one entry"),
                #[cfg(not(feature = "redis"))]
                (json!({"backplane": {"redis": {"password": "hunter2"}}}), "feature `redis` of scaleout"),
                #[cfg(feature = "redis")]
                (json!({"backplane": {"redis": {"app": "a", "stream": 1}}}), "stream"),
            ] {
                let text = read(value).expect_err(told);
                assert!(text.contains(told) && !text.contains("hunter2"), "{told}: {text}");
            }
            let twice = r#"{"backplane": "memory:", "bus": {"overflow": "wait", "overflow": "reject"}}"#;
            let text = serde_json::from_str::<Settings>(twice).expect_err("twice").to_string();
            assert!(text.contains("overflow comes twice"), "{text}");
        }

        #[cfg(feature = "redis")]
        #[test]
        fn the_settings_of_a_provider_can_be_a_map() {
            let map = json!({"redis": {"app": "shop", "topology": {"standalone": "localhost"}, "password": "hunter2"}});
            let settings = read(json!({"backplane": map})).expect("settings that work");
            assert_eq!(settings.backplane.app().map(AppName::as_str), Some("shop"));
            assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        }
    }
}
