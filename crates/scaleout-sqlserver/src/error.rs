//! From what fails on a connection to our error.
//!
//! The text of the source is that of the server, of the client or of the token provider. No request holds a secret but
//! the login, whose answer repeats the user at most.

mod class;
mod wording;

use std::{io, time::Duration};

use scaleout_core::{Error, ErrorKind};
use tiberius::error::Error as ClientError;

use self::class::Class;
use crate::config::SqlServerConfig;

/// What fails on a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client reports it: an answer of the server, or trouble with the connection.
    Client(ClientError),
    /// Nothing was answered for this long.
    TimedOut {
        /// What was waited.
        after: Duration,
    },
    /// There is no connection to the host.
    Connect(io::Error),
    /// The token provider has no token.
    Token(Error),
    /// The server answered something that no procedure of ours yields.
    Answer(String),
}

impl Failure {
    /// The server's number of the error, if it is an answer of the server.
    pub(crate) fn number(&self) -> Option<u32> {
        match self {
            Self::Client(error) => error.code(),
            _ => None,
        }
    }

    /// What it is to a caller, and what to grant or to change, where that helps.
    ///
    /// `doing` says what was being done, in lower case and without secrets.
    pub(crate) fn into_error(self, doing: &str, config: &SqlServerConfig) -> Error {
        match self {
            Self::Client(error) => Class::of(&error, config).into_error(doing).with_source(brief(error)),
            Self::TimedOut { after } => {
                Error::new(ErrorKind::Timeout, format!("{doing}: no answer within {after:?}"))
            }
            Self::Connect(error) => Class::of_io(error.kind()).into_error(doing).with_source(error),
            Self::Answer(what) => {
                Error::new(ErrorKind::Unsupported, format!("{doing}: the answer has another form: {what}"))
            }
            Self::Token(error) => {
                Error::new(error.kind(), format!("{doing}: the token provider has no token"))
                    .with_source(error)
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// `error`, without what the client advises: it names its own settings, which nobody can reach here.
fn brief(error: ClientError) -> ClientError {
    match error {
        ClientError::Tls(text) => {
            ClientError::Tls(text.split(" To connect anyway").next().unwrap_or_default().to_owned())
        }
        error => error,
    }
}

#[cfg(test)]
mod tests;
