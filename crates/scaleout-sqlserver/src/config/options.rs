//! The options of a text form: each a name and a value.
//!
//! Problems are told by the option's name and never show a value: where a password was not escaped, the rest of the
//! text is part of it.

use scaleout_core::{
    AppName, Error, ErrorKind,
    provider::{
        Secret,
        settings::{Reading, boolean, canonical, duration, number, one_of, pem, put, size},
    },
};

use crate::config::{Authentication, Encryption, Install, Notifications, STORE, SqlServerConfig};

/// What was read of a text form so far, and what is wrong with it.
pub(super) struct Options {
    config: SqlServerConfig,
    login: Login,
    pub(super) reading: Reading,
}

/// What was read about who logs in.
struct Login {
    /// What the caller wants, whatever the text says.
    given: Option<Authentication>,
    user: Option<String>,
    password: Option<Secret>,
    integrated: bool,
}

impl Options {
    /// Nothing read yet; with `given`, the text must not say who logs in.
    pub(super) fn new(given: Option<Authentication>) -> Self {
        let authentication = Authentication::sql_login("", "");
        Self {
            config: SqlServerConfig::new(AppName::default(), "", "", authentication),
            login: Login { given, user: None, password: None, integrated: false },
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

    /// What is wrong so far, where it makes no sense to look further.
    pub(super) fn abandon(self) -> Result<SqlServerConfig, Error> {
        self.reading.finish(STORE)?;
        Err(ErrorKind::Config.into())
    }

    /// The settings, or everything that is wrong.
    pub(super) fn finish(mut self) -> Result<SqlServerConfig, Error> {
        self.reading.require_app();
        let said = |name: &str| self.reading.said(name);
        let says_login = said("user") || said("password") || said("authentication");
        let mut told: Vec<_> = ["host", "database", "user", "password"]
            .into_iter()
            .filter(|name| self.reading.is_wrong(name))
            .collect();
        match self.login.given.take() {
            Some(given) => {
                if says_login {
                    self.reading.refuse(
                        "user, password and authentication are given in code, and in the text as well",
                    );
                }
                self.config.authentication = given;
            }
            None => match self.login.authentication() {
                Ok(authentication) => self.config.authentication = authentication,
                Err(problem) => {
                    self.reading.refuse(problem);
                    told.extend(["user", "password"]);
                }
            },
        }
        self.reading.refuse_more(self.config.problems(), &told);
        self.reading.finish(STORE)?;
        Ok(self.config)
    }
}

impl Login {
    fn authentication(&mut self) -> Result<Authentication, &'static str> {
        let (user, password) = (self.user.take(), self.password.take());
        if !self.integrated {
            // What is missing is told with all else that is.
            return Ok(Authentication::SqlLogin {
                user: user.unwrap_or_default(),
                password: password.unwrap_or_else(|| Secret::from("")),
            });
        }
        if user.is_some() || password.is_some() {
            return Err(
                "user and password are for a login of SQL Server, and integrated authentication is asked for",
            );
        }
        integrated()
    }
}

/// The account that the process runs as, where the client can.
#[cfg(any(windows, all(unix, feature = "kerberos")))]
pub(super) fn integrated() -> Result<Authentication, &'static str> {
    Ok(Authentication::Integrated)
}

/// The account that the process runs as, where the client can.
#[cfg(not(any(windows, all(unix, feature = "kerberos"))))]
pub(super) fn integrated() -> Result<Authentication, &'static str> {
    Err(
        "integrated authentication is Kerberos here, and scaleout-sqlserver was built without its feature `kerberos`: \
         use it, or give user and password",
    )
}

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
    ("port", |options, value| put(&mut options.config.port, number(value).map(Some))),
    ("instance", |options, value| put(&mut options.config.instance, Ok(Some(value.to_owned())))),
    ("database", |options, value| put(&mut options.config.database, Ok(value.to_owned()))),
    ("user", |options, value| put(&mut options.login.user, Ok(Some(value.to_owned())))),
    ("password", |options, value| put(&mut options.login.password, Ok(Some(Secret::from(value))))),
    ("authentication", |options, value| {
        put(&mut options.login.integrated, one_of(value, &[("sql_login", false), ("integrated", true)]))
    }),
    ("encryption", |options, value| put(&mut options.config.encryption, encryption(value))),
    ("trust_server_certificate", |options, value| {
        put(&mut options.config.trust_server_certificate, boolean(value))
    }),
    ("ca", |options, value| put(&mut options.config.ca, pem(value).map(Some))),
    ("host_name_in_certificate", |options, value| {
        put(&mut options.config.host_name_in_certificate, Ok(Some(value.to_owned())))
    }),
    ("application_name", |options, value| put(&mut options.config.application_name, Ok(value.to_owned()))),
    ("packet_size", |options, value| put(&mut options.config.packet_size, number(value))),
    ("schema", |options, value| put(&mut options.config.schema, Ok(value.to_owned()))),
    ("install", |options, value| {
        let modes = [("create", Install::Create), ("verify", Install::Verify), ("none", Install::None)];
        put(&mut options.config.install, one_of(value, &modes))
    }),
    ("enable_broker", |options, value| put(&mut options.config.enable_broker, boolean(value))),
    ("notifications", |options, value| {
        let modes = [("auto", Notifications::Auto), ("poll_only", Notifications::PollOnly)];
        put(&mut options.config.notifications, one_of(value, &modes))
    }),
    ("table_count", |options, value| put(&mut options.config.table_count, number(value))),
    ("max_connections", |options, value| put(&mut options.config.max_connections, number(value))),
    ("max_retained_age", |options, value| put(&mut options.config.max_retained_age, duration(value))),
    ("max_retained_bytes", |options, value| put(&mut options.config.max_retained_bytes, size(value))),
    ("max_retained_rows", |options, value| put(&mut options.config.max_retained_rows, number(value))),
    ("sender_expiry", |options, value| put(&mut options.config.sender_expiry, duration(value))),
    ("max_payload_bytes", |options, value| put(&mut options.config.max_payload_bytes, size(value))),
    ("min_poll", |options, value| put(&mut options.config.min_poll, duration(value))),
    ("max_poll", |options, value| put(&mut options.config.max_poll, duration(value))),
    ("max_poll_with_broker", |options, value| put(&mut options.config.max_poll_with_broker, duration(value))),
    ("connect_timeout", |options, value| put(&mut options.config.connect_timeout, duration(value))),
    ("command_timeout", |options, value| put(&mut options.config.command_timeout, duration(value))),
    ("min_backoff", |options, value| put(&mut options.config.min_backoff, duration(value))),
    ("max_backoff", |options, value| put(&mut options.config.max_backoff, duration(value))),
    ("fatal_retry", |options, value| put(&mut options.config.fatal_retry, duration(value))),
];

/// Our names, and those of `Encrypt` in a connection string of ADO.NET, where `false` still encrypts the login.
fn encryption(value: &str) -> Result<Encryption, String> {
    match value.to_ascii_lowercase().as_str() {
        "required" | "mandatory" | "true" | "yes" => Ok(Encryption::Required),
        "strict" => Ok(Encryption::Strict),
        "login_only" | "optional" | "false" | "no" => Ok(Encryption::LoginOnly),
        "not_supported" => Ok(Encryption::NotSupported),
        _ => Err("is none of required, strict, login_only and not_supported".into()),
    }
}
