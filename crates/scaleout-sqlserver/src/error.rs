//! From what fails on a connection to our error.

use std::{io, time::Duration};

use scaleout_core::{Error, ErrorKind};

use crate::config::SqlServerConfig;

/// What fails on a connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client reports it: an answer of the server, or trouble with the connection.
    Client(tiberius::error::Error),
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
    pub(crate) fn into_error(self, doing: &str, _config: &SqlServerConfig) -> Error {
        match self {
            Self::Client(error) => Error::new(ErrorKind::Unavailable, doing).with_source(error),
            Self::TimedOut { after } => {
                Error::new(ErrorKind::Timeout, format!("{doing}: no answer within {after:?}"))
            }
            Self::Connect(error) => Error::new(ErrorKind::Unavailable, doing).with_source(error),
            Self::Answer(what) => {
                Error::new(ErrorKind::Unsupported, format!("{doing}: the answer has another form: {what}"))
            }
            Self::Token(error) => {
                Error::new(error.kind(), format!("{doing}: no access token")).with_source(error)
            }
        }
    }
}

impl From<tiberius::error::Error> for Failure {
    fn from(error: tiberius::error::Error) -> Self {
        Self::Client(error)
    }
}
