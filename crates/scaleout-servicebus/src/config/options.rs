//! The options of a text form: each a name and a value.
//!
//! Problems are told by the option's name and never show a value: where a key was not escaped, the rest of the text is
//! part of it.

use scaleout_core::{
    AppName, Error, ErrorKind,
    provider::{
        Secret,
        settings::{Reading, boolean, canonical, duration, number, one_of, pem, put, size},
    },
};

use crate::{
    config::{Protocol, Reception, STORE, ServiceBusConfig, endpoints::host_and_port},
    token::Credential,
};

/// What was read of a text form so far, and what is wrong with it.
pub(super) struct Options {
    config: ServiceBusConfig,
    /// What the caller wants, whatever the text says.
    given: Option<Credential>,
    login: Login,
    pub(super) reading: Reading,
}

/// What was read about as whom to connect.
#[derive(Default)]
pub(super) struct Login {
    pub(super) name: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) signature: Option<Secret>,
}

impl Login {
    pub(super) fn credential(self) -> Result<Credential, &'static str> {
        match (self.name, self.key, self.signature) {
            (None, None, Some(signature)) => Ok(Credential::SharedAccessSignature(signature)),
            (_, _, Some(_)) => Err(
                "shared_access_signature is a ready token, and shared_access_key_name or shared_access_key is there to \
                 make one",
            ),
            // What is missing is told with all else that is.
            (name, key, None) => Ok(Credential::SharedAccessKey {
                name: name.unwrap_or_default(),
                key: key.unwrap_or_else(|| Secret::from("")),
            }),
        }
    }
}

impl Options {
    /// Nothing read yet; with `given`, the text must not say as whom to connect.
    pub(super) fn new(given: Option<Credential>) -> Self {
        Self {
            config: ServiceBusConfig::new(AppName::default(), "", Credential::shared_access_key("", "")),
            given,
            login: Login::default(),
            reading: Reading::default(),
        }
    }

    /// The field's name for an option that is written as `name`, in any case and without its underscores if need be.
    pub(super) fn canonical(name: &str) -> Option<&'static str> {
        canonical(SETTERS.iter().map(|(name, _)| *name), name)
    }

    /// Sets the option `name`, which is a field's; `false` if there is no such option.
    pub(super) fn set(&mut self, name: &str, value: &str) -> bool {
        let Some((name, setter)) = SETTERS.iter().find(|(known, _)| *known == name) else {
            return false;
        };
        if !self.reading.first(name) {
            return true;
        }
        let outcome = if value.is_empty() { Err("is empty".into()) } else { setter(self, value) };
        self.reading.took(name, outcome);
        true
    }

    /// Reads `host`, `host:port` and `[v6]:port`. A problem is told without a word of it: in a text with an unescaped
    /// key, this is part of it.
    pub(super) fn set_host(&mut self, text: &str) {
        match host_and_port(text) {
            Some((host, port)) => {
                self.set("host", host);
                if let Some(port) = port {
                    self.set("amqp_port", &port.to_string());
                }
            }
            None => {
                if self.reading.first("host") {
                    self.reading.refuse(
                        "host is not <name>, <name>:<port>, [<IPv6 address>] or [<IPv6 address>]:<port>",
                    );
                }
            }
        }
    }

    /// What is wrong so far, where it makes no sense to look further.
    pub(super) fn abandon(self) -> Result<ServiceBusConfig, Error> {
        self.reading.finish(STORE)?;
        Err(ErrorKind::Config.into())
    }

    /// The settings, or everything that is wrong.
    pub(super) fn finish(mut self) -> Result<ServiceBusConfig, Error> {
        self.reading.require_app();
        let said = |name: &str| self.reading.said(name);
        let mut told: Vec<_> = ["host", KEY_NAME, KEY, SIGNATURE]
            .into_iter()
            .filter(|name| self.reading.is_wrong(name))
            .collect();
        let says_login = said(KEY_NAME) || said(KEY) || said(SIGNATURE);
        match self.given.take() {
            Some(given) => {
                if says_login {
                    self.reading.refuse("the credential is given in code, and in the text as well");
                }
                self.config.credential = given;
            }
            None => match std::mem::take(&mut self.login).credential() {
                Ok(credential) => self.config.credential = credential,
                Err(problem) => {
                    self.reading.refuse(problem);
                    told.extend([KEY_NAME, KEY, SIGNATURE]);
                }
            },
        }
        if told.contains(&SIGNATURE) {
            told.extend([KEY_NAME, KEY]);
        }
        self.reading.refuse_more(self.config.problems(), &told);
        self.reading.finish(STORE)?;
        Ok(self.config)
    }
}

pub(super) const KEY_NAME: &str = "shared_access_key_name";
pub(super) const KEY: &str = "shared_access_key";
const SIGNATURE: &str = "shared_access_signature";

pub(super) const PROTOCOLS: &[(&str, Protocol)] =
    &[("amqp", Protocol::Amqp), ("websocket", Protocol::WebSocket), ("rest", Protocol::Rest)];

pub(super) const RECEPTIONS: &[(&str, Reception)] =
    &[("peek_lock", Reception::PeekLock), ("receive_and_delete", Reception::ReceiveAndDelete)];

type Setter = fn(&mut Options, &str) -> Result<(), String>;

/// The options: their names, which are those of the fields, and what they do.
const SETTERS: &[(&str, Setter)] = &[
    ("app", |options, value| {
        // The error of core shows the name, which may be anything in a text that is wrong elsewhere.
        let app = value.parse().map_err(|_| "is not 1 to 31 of a-z, 0-9 and '-', not beginning with '-'")?;
        options.config.app = app;
        Ok(())
    }),
    ("host", |options, value| put(&mut options.config.host, Ok(value.to_owned()))),
    ("amqp_port", |options, value| put(&mut options.config.amqp_port, number(value).map(Some))),
    ("management_endpoint", |options, value| {
        put(&mut options.config.management_endpoint, Ok(Some(value.to_owned())))
    }),
    (KEY_NAME, |options, value| put(&mut options.login.name, Ok(Some(value.to_owned())))),
    (KEY, |options, value| put(&mut options.login.key, Ok(Some(Secret::from(value))))),
    (SIGNATURE, |options, value| put(&mut options.login.signature, Ok(Some(Secret::from(value))))),
    ("development_emulator", |options, value| put(&mut options.config.development_emulator, boolean(value))),
    ("ca", |options, value| put(&mut options.config.ca, pem(value).map(Some))),
    ("protocol", |options, value| put(&mut options.config.protocol, one_of(value, PROTOCOLS))),
    ("topic_prefix", |options, value| put(&mut options.config.topic_prefix, Ok(value.to_owned()))),
    ("topic_count", |options, value| put(&mut options.config.topic_count, number(value))),
    ("create_entities", |options, value| put(&mut options.config.create_entities, boolean(value))),
    ("subscription", |options, value| put(&mut options.config.subscription, Ok(Some(value.to_owned())))),
    ("epoch", |options, value| put(&mut options.config.epoch, number(value))),
    ("node_label", |options, value| put(&mut options.config.node_label, Ok(Some(value.to_owned())))),
    ("reception", |options, value| put(&mut options.config.reception, one_of(value, RECEPTIONS))),
    ("subscription_idle_expiry", |options, value| {
        put(&mut options.config.subscription_idle_expiry, duration(value))
    }),
    ("message_ttl", |options, value| put(&mut options.config.message_ttl, duration(value))),
    ("lock_duration", |options, value| put(&mut options.config.lock_duration, duration(value))),
    ("max_delivery_count", |options, value| put(&mut options.config.max_delivery_count, number(value))),
    ("max_topic_megabytes", |options, value| put(&mut options.config.max_topic_megabytes, number(value))),
    ("duplicate_window", |options, value| put(&mut options.config.duplicate_window, duration(value))),
    ("max_payload_bytes", |options, value| put(&mut options.config.max_payload_bytes, size(value))),
    ("idle_timeout", |options, value| put(&mut options.config.idle_timeout, duration(value))),
    ("keep_alive", |options, value| put(&mut options.config.keep_alive, duration(value))),
    ("connect_timeout", |options, value| put(&mut options.config.connect_timeout, duration(value))),
    ("operation_timeout", |options, value| put(&mut options.config.operation_timeout, duration(value))),
    ("token_lifetime", |options, value| put(&mut options.config.token_lifetime, duration(value))),
    ("min_backoff", |options, value| put(&mut options.config.min_backoff, duration(value))),
    ("max_backoff", |options, value| put(&mut options.config.max_backoff, duration(value))),
    ("fatal_retry", |options, value| put(&mut options.config.fatal_retry, duration(value))),
    ("start_jitter", |options, value| put(&mut options.config.start_jitter, duration(value))),
];
