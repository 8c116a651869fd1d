//! The options of a text form: each a name and a value.
//!
//! Problems are told by the option's name and never show a value: where a password was not escaped, the rest of the
//! text is part of it.

use std::num::NonZeroU16;

use scaleout_core::{
    AppName, Error, ErrorKind,
    provider::{
        Secret,
        settings::{Reading, duration, number, pem, put, size},
    },
};

use crate::config::{RedisConfig, STORE, TlsConfig, Topology};

/// What was read of a text form so far, and what is wrong with it.
pub(super) struct Options {
    config: RedisConfig,
    tls: bool,
    ca: Option<Vec<u8>>,
    client_cert: Option<Vec<u8>>,
    client_key: Option<Vec<u8>>,
    pub(super) reading: Reading,
}

impl Options {
    /// Nothing read yet.
    pub(super) fn new() -> Self {
        Self {
            // The topology is only known at the end; this one is never seen.
            config: RedisConfig::new(AppName::default(), Topology::Cluster { seeds: Vec::new() }),
            tls: false,
            ca: None,
            client_cert: None,
            client_key: None,
            reading: Reading::default(),
        }
    }

    /// Asks for TLS, or not.
    pub(super) fn set_tls(&mut self, tls: bool) {
        self.tls = tls;
    }

    /// Whether there is an option `name`.
    pub(super) fn knows(&self, name: &str) -> bool {
        SETTERS.iter().any(|(names, _)| names.contains(&name))
    }

    /// Sets the option `name`; `false` if there is no such option.
    pub(super) fn set(&mut self, name: &str, value: &str) -> bool {
        let Some((canonical, setter)) =
            SETTERS.iter().find_map(|(names, setter)| names.contains(&name).then_some((names[0], *setter)))
        else {
            return false;
        };
        if self.reading.first(canonical) {
            let outcome = setter(self, value);
            self.reading.took(canonical, outcome);
        }
        true
    }

    /// What is wrong so far, where it makes no sense to look further.
    pub(super) fn abandon(self) -> Result<RedisConfig, Error> {
        self.reading.finish(STORE)?;
        Err(ErrorKind::Config.into())
    }

    /// The settings, or everything that is wrong.
    pub(super) fn finish(mut self, topology: Option<Topology>) -> Result<RedisConfig, Error> {
        self.reading.require_app();
        match (self.client_cert.take(), self.client_key.take()) {
            (Some(chain), Some(key)) => self.tls_config().client_certificate = Some((chain, key)),
            (None, None) => {}
            _ if self.reading.said("client_cert") && self.reading.said("client_key") => {}
            _ => self.reading.refuse("client_cert and client_key go together"),
        }
        if let Some(ca) = self.ca.take() {
            self.tls_config().ca = Some(ca);
        }
        if self.tls {
            self.tls_config();
        } else if self.config.tls.is_some() {
            self.reading.refuse(
                "ca, client_cert and client_key are for TLS: begin the URL with rediss, or set ssl=true",
            );
        }
        if let Some(topology) = topology {
            self.config.topology = topology;
            self.reading.refuse_more(self.config.problems(), &[]);
        }
        self.reading.finish(STORE)?;
        Ok(self.config)
    }

    fn tls_config(&mut self) -> &mut TlsConfig {
        self.config.tls.get_or_insert_default()
    }
}

type Setter = fn(&mut Options, &str) -> Result<(), String>;

/// The options: their names, of which the first is that of the field, and what they do.
const SETTERS: &[(&[&str], Setter)] = &[
    (&["app"], |options, value| {
        // The error of core shows the name, which may be anything in a text that is wrong elsewhere.
        let app = value.parse().map_err(|_| "is not 1 to 31 of a-z, 0-9 and '-', not beginning with '-'")?;
        options.config.app = app;
        Ok(())
    }),
    (&["username", "user"], |options, value| {
        options.config.username = text(value);
        Ok(())
    }),
    (&["password"], |options, value| {
        options.config.password = text(value).map(Secret::from);
        Ok(())
    }),
    (&["database", "db"], |options, value| put(&mut options.config.database, number(value))),
    (&["sentinel_username"], |options, value| {
        options.config.sentinel_username = text(value);
        Ok(())
    }),
    (&["sentinel_password"], |options, value| {
        options.config.sentinel_password = text(value).map(Secret::from);
        Ok(())
    }),
    (&["ca"], |options, value| put(&mut options.ca, pem(value).map(Some))),
    (&["client_cert"], |options, value| put(&mut options.client_cert, pem(value).map(Some))),
    (&["client_key"], |options, value| put(&mut options.client_key, pem(value).map(Some))),
    (&["streams"], |options, value| put(&mut options.config.streams, number::<NonZeroU16>(value))),
    (&["groups"], |options, value| put(&mut options.config.groups, number(value).map(Some))),
    (&["key_prefix"], |options, value| put(&mut options.config.key_prefix, Ok(value.to_owned()))),
    (&["max_retained_bytes"], |options, value| put(&mut options.config.max_retained_bytes, size(value))),
    (&["max_retained_age"], |options, value| put(&mut options.config.max_retained_age, duration(value))),
    (&["max_retained_entries"], |options, value| {
        put(&mut options.config.max_retained_entries, number(value))
    }),
    (&["key_expiry"], |options, value| put(&mut options.config.key_expiry, duration(value))),
    (&["max_payload_bytes"], |options, value| put(&mut options.config.max_payload_bytes, size(value))),
    (&["liveness"], |options, value| put(&mut options.config.liveness, duration(value))),
    (&["connect_timeout"], |options, value| put(&mut options.config.connect_timeout, duration(value))),
    (&["min_backoff"], |options, value| put(&mut options.config.min_backoff, duration(value))),
    (&["max_backoff"], |options, value| put(&mut options.config.max_backoff, duration(value))),
    (&["fatal_retry"], |options, value| put(&mut options.config.fatal_retry, duration(value))),
];

/// An empty user or password is none: `redis://:@host` has neither.
fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}
