//! From an error of the `redis` crate to ours.
//!
//! The text of the source is that of the server, or of the client; neither holds secrets, except that a server which
//! does not know a command (an `AUTH` that was renamed, say) repeats its arguments: those are cut off.

mod acl;
mod version;

use std::error::Error as StdError;

use redis::{ErrorKind as RedisErrorKind, RedisError, make_extension_error};
use scaleout_core::{Error, ErrorKind};

use crate::config::{RedisConfig, Topology};

pub(crate) use self::{
    acl::{OPTIONAL_COMMANDS, key_pattern, minimal_acl, needed_commands, set_user},
    version::{info_field, server_version},
};

/// What `error` is to a caller, and what of `config` or of the grants to change, where that helps.
///
/// `doing` says what was being done, in lower case and without secrets. The server does not tell which key has the
/// wrong type, or which slot a transaction is of: `doing` names the key.
pub(crate) fn from_redis(error: RedisError, doing: &str, config: &RedisConfig) -> Error {
    let mut class = Class::of(&error);
    match class.advice {
        Advice::None => {}
        Advice::Grant => class.why += &format!("; the least that is needed: {}", minimal_acl(config)),
        Advice::Cluster if matches!(config.topology, Topology::Cluster { .. }) => {}
        Advice::Cluster => class.why += "; this server is a member of a Cluster: use redis+cluster://",
    }
    class.into_error(doing, error)
}

/// What of a store `error` is about, which is no [missing right](missing_grant): the subject of a
/// [`Finding`](scaleout_core::Finding).
pub(crate) fn subject_of(error: &Error) -> &'static str {
    let cause = StdError::source(error).and_then(|source| source.downcast_ref::<RedisError>());
    if cause.is_some_and(|cause| tls_class(cause).is_some() || cause.code() == Some("DENIED")) {
        return "connection";
    }
    match error.kind() {
        ErrorKind::Unauthorized => "login",
        ErrorKind::Unsupported => "version",
        ErrorKind::Config => "settings",
        _ => "connection",
    }
}

/// Which right an error is about, in words; `None` if it is about something else.
pub(crate) fn missing_grant(error: &Error) -> Option<String> {
    let cause = StdError::source(error)?.downcast_ref::<RedisError>()?;
    Some(Class::of(cause)).filter(|class| class.advice == Advice::Grant).map(|class| class.why)
}

/// Which right an answer says is missing; `None` if it is about something else.
pub(crate) fn missing_right(error: &RedisError) -> Option<Right> {
    (Class::of(error).advice == Advice::Grant).then(|| {
        if is_about_a_key(error.detail().unwrap_or_default()) { Right::Keys } else { Right::Command }
    })
}

/// What a user of the server may be allowed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// To run the command.
    Command,
    /// To use the keys that the command names.
    Keys,
}

/// What an error of the client means.
#[derive(Debug)]
struct Class {
    kind: ErrorKind,
    /// In a few words; empty where the source says it all.
    why: String,
    advice: Advice,
}

/// What the settings can add to an error.
#[derive(Debug, PartialEq)]
enum Advice {
    None,
    /// The user lacks a permission.
    Grant,
    /// Only a Cluster's member answers like that.
    Cluster,
}

impl Class {
    fn new(kind: ErrorKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into(), advice: Advice::None }
    }

    fn with_advice(self, advice: Advice) -> Self {
        Self { advice, ..self }
    }

    fn into_error(self, doing: &str, error: RedisError) -> Error {
        let context = if self.why.is_empty() { doing.to_owned() } else { format!("{doing}: {}", self.why) };
        Error::new(self.kind, context).with_source(without_arguments(error))
    }

    fn of(error: &RedisError) -> Self {
        if let Some(class) = Self::of_answers(error) {
            return class;
        }
        match error.kind() {
            RedisErrorKind::AuthenticationFailed => {
                Self::new(ErrorKind::Unauthorized, "the server refuses the user or the password")
            }
            RedisErrorKind::InvalidClientConfig if error.to_string().contains("address") => {
                Self::new(ErrorKind::Unavailable, "the host has no address")
            }
            RedisErrorKind::InvalidClientConfig => Self::new(ErrorKind::Config, ""),
            RedisErrorKind::RESP3NotSupported => Self::new(ErrorKind::Unsupported, ""),
            RedisErrorKind::Io if error.is_timeout() => Self::new(ErrorKind::Timeout, "no answer in time"),
            _ => tls_class(error).unwrap_or(Self::new(ErrorKind::Unavailable, "")),
        }
    }

    /// The class of what the server answered, if it did.
    fn of_answers(error: &RedisError) -> Option<Self> {
        let answers = match error.clone().into_server_errors() {
            Some(answers) => answers
                .iter()
                .map(|(_, answer)| {
                    (answer.code().to_owned(), answer.details().unwrap_or_default().to_owned())
                })
                .collect(),
            None => Vec::new(),
        };
        if answers.is_empty() {
            let code = error.code()?;
            return Some(Self::of_answer(code, error.detail().unwrap_or_default()));
        }
        // Of a transaction, the cause and not that it was aborted; and rather what somebody must mend, since the
        // transaction will not pass before.
        let fatal = |class: &Self| Error::from(class.kind).is_fatal();
        let mut classes: Vec<_> = answers
            .iter()
            .filter(|(code, _)| answers.len() == 1 || code != "EXECABORT")
            .map(|(code, detail)| Self::of_answer(code, detail))
            .collect();
        classes.sort_by_key(|class| !fatal(class));
        classes.into_iter().next()
    }

    /// The class of one answer, by its code and the text that follows.
    fn of_answer(code: &str, detail: &str) -> Self {
        let transient = |why: &str| Self::new(ErrorKind::Unavailable, why);
        match code {
            "LOADING" => transient("the server is loading its data"),
            "MASTERDOWN" => transient("the server is a replica that has lost its master"),
            "CLUSTERDOWN" => transient("the Cluster is down"),
            "TRYAGAIN" => transient("the slot is being moved"),
            "MOVED" | "ASK" => transient("the slot is on another server").with_advice(Advice::Cluster),
            "READONLY" => transient("the server is a read-only replica"),
            "OOM" => transient("the server has used up its maxmemory"),
            "MISCONF" => transient("the server cannot save its data, and accepts no writes"),
            "NOREPLICAS" => transient("the server has fewer replicas than min-replicas-to-write"),
            "BUSY" => transient("the server is busy with somebody's script"),
            "NOSCRIPT" => transient("the server has forgotten a script"),
            "UNBLOCKED" => transient("the server ended the blocking read"),
            // Of EXEC itself: "Transaction discarded because of: NOPERM this user has …".
            "EXECABORT" => match detail.split_once("because of: ").and_then(|(_, why)| why.split_once(' ')) {
                Some((code, detail)) => Self::of_answer(code, detail),
                None => transient("the transaction was discarded"),
            },
            "NOAUTH" => Self::new(ErrorKind::Unauthorized, "the server wants a password, and none is set"),
            "WRONGPASS" => Self::new(ErrorKind::Unauthorized, "the server refuses the user or the password"),
            "DENIED" => Self::new(
                ErrorKind::Unauthorized,
                "the server is in protected mode, and refuses other machines",
            ),
            "NOPERM" => Self::of_missing_grant(detail),
            "WRONGTYPE" => Self::new(
                ErrorKind::Config,
                "a key of this app holds what no node wrote; choose another key_prefix",
            ),
            "CROSSSLOT" => {
                Self::new(ErrorKind::Config, "the keys are not in one slot").with_advice(Advice::Cluster)
            }
            "NOPROTO" => Self::new(ErrorKind::Unsupported, ""),
            "ERR" => Self::of_text(detail),
            // What this code does not know may pass, and where it does not, the source tells what it is.
            _ => transient(""),
        }
    }

    /// The class of an answer with the code `ERR`, or without any: by its text.
    fn of_text(detail: &str) -> Self {
        let detail_lower = detail.to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| detail_lower.contains(part));
        if says(&["invalid password", "authentication required"]) {
            Self::new(ErrorKind::Unauthorized, "the server refuses the user or the password")
        } else if says(&["without any password configured", "no password is set"]) {
            Self::new(ErrorKind::Unauthorized, "a password is set, and the server has none for this user")
        } else if says(&["no permissions", "the user executing the script can't", "acl failure"]) {
            Self::of_missing_grant(detail)
        } else if says(&["protected mode"]) {
            Self::of_answer("DENIED", detail)
        } else if says(&["db index is out of range"]) {
            Self::new(ErrorKind::Config, "the server has no database of this number")
        } else if says(&["select is not allowed in cluster mode"]) {
            Self::new(ErrorKind::Config, "a Cluster has only database 0").with_advice(Advice::Cluster)
        } else if says(&["cluster support disabled"]) {
            Self::new(ErrorKind::Config, "the server is not a member of a Cluster: use redis://")
        } else if says(&["no such master"]) {
            Self::new(ErrorKind::Config, "the sentinels know no master of this name")
        } else if says(&["unknown command", "unknown subcommand"]) {
            // A renamed or missing command; the name alone, for the arguments may hold the password.
            let command = quoted(detail).map_or(String::new(), |name| format!(" {name}"));
            Self::new(ErrorKind::Unsupported, format!("the server has no command{command}"))
        } else if says(&["syntax error", "invalid stream id"]) {
            // All that is sent is known to Redis 7.0, so this is something older behind a newer number.
            Self::new(ErrorKind::Unsupported, "the server does not know an option of Redis 7.0")
        } else {
            Self::new(ErrorKind::Unavailable, "")
        }
    }

    /// The class of a missing permission, with the command or key that the server names.
    ///
    /// 7.0: `this user has no permissions to run the 'xadd' command`, `… to access one of the keys used as arguments`.
    /// 7.2: `User x has no permissions to run the 'xadd' command`, `No permissions to access a key`.
    fn of_missing_grant(detail: &str) -> Self {
        let why = match quoted(detail) {
            Some(name) if is_about_a_key(detail) => format!("the user may not use the key {name}"),
            Some(name) => format!("the user may not run the command {name}"),
            None if is_about_a_key(detail) => "the user may not use the app's keys".into(),
            None => "the user lacks a permission".into(),
        };
        Self::new(ErrorKind::Unauthorized, why).with_advice(Advice::Grant)
    }
}

/// The class of a failed handshake: a certificate stays wrong until somebody mends it.
#[cfg(feature = "tls")]
fn tls_class(error: &RedisError) -> Option<Class> {
    use std::{io, sync::Arc};

    use rustls::{AlertDescription, Error as TlsError};

    let cause = error.source()?.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    let in_io = || cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<TlsError>();
    match cause.downcast_ref::<TlsError>().or_else(in_io)? {
        TlsError::InvalidCertificate(_) => Some(Class::new(
            ErrorKind::Config,
            "the server's certificate is not trusted for this host: set ca, or connect by a name that it holds",
        )),
        TlsError::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            // The signature of an authority of the same name.
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => Some(Class::new(
            ErrorKind::Unauthorized,
            "the server refuses the client's certificate, or wants one: set client_cert and client_key",
        )),
        _ => None,
    }
}

#[cfg(not(feature = "tls"))]
fn tls_class(_: &RedisError) -> Option<Class> {
    None
}

/// Whether a refusal is for the sake of a key. Names of commands, which may well hold `key`, come in quotes.
fn is_about_a_key(detail: &str) -> bool {
    let unquoted = quoted(detail).map_or_else(|| detail.to_owned(), |name| detail.replace(name, ""));
    unquoted.contains("key")
}

/// What a server puts in quotes, with them; nothing if it is no plain name.
fn quoted(detail: &str) -> Option<&str> {
    let start = detail.find(['\'', '`'])?;
    let quote = &detail[start..=start];
    let length = detail[start + 1..].find([quote.chars().next()?, '\''])?;
    let end = start + 1 + length;
    let plain = |byte: u8| byte.is_ascii_graphic();
    ((1..=128).contains(&length) && detail[start + 1..end].bytes().all(plain)).then(|| &detail[start..=end])
}

/// `error`, without the arguments of the command that a server repeats when it does not know it.
fn without_arguments(error: RedisError) -> RedisError {
    const ARGUMENTS: &str = "with args beginning with";
    if !error.to_string().contains(ARGUMENTS) {
        return error;
    }
    let answers = error.into_server_errors();
    let first = answers.iter().flat_map(|answers| answers.iter()).map(|(_, answer)| answer).next();
    let detail = first.and_then(|answer| answer.details()).unwrap_or_default();
    let kept = detail.split(ARGUMENTS).next().unwrap_or_default().trim_end_matches([' ', ',']);
    make_extension_error("ERR".into(), Some(kept.into()))
}

#[cfg(test)]
mod tests;
