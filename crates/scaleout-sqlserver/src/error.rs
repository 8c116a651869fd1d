//! From what fails on a connection to our error.
//!
//! The text of the source is that of the server, of the client or of the token provider. No request holds a secret but
//! the login, whose answer repeats the user at most.

mod class;
mod wording;

use std::{error::Error as StdError, io, time::Duration};

use scaleout_core::{Error, ErrorKind};
use tiberius::error::Error as ClientError;

pub(crate) use self::class::{
    LET_A_DBA_INSTALL, Trouble, grant, grant_to_run, is_of_login, login_of, user_of,
};
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

    /// Whether a permission is missing.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            Self::Client(ClientError::Server(answer)) => class::is_denied(answer),
            _ => false,
        }
    }

    /// What it is to a caller, and what to grant or to change, where that helps.
    ///
    /// `doing` says what was being done, in lower case and without secrets.
    pub(crate) fn into_error(self, doing: &str, config: &SqlServerConfig) -> Error {
        let (trouble, source) = self.into_parts(config);
        let error = trouble.into_error_of(doing);
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    /// The same for people, with what the source says.
    pub(crate) fn into_trouble(self, config: &SqlServerConfig) -> Trouble {
        let said = match &self {
            Self::Client(ClientError::Server(answer)) => {
                Some(format!("{} ({})", answer.message(), answer.code()))
            }
            _ => None,
        };
        let (mut trouble, source) = self.into_parts(config);
        if let Some(said) = said.or_else(|| source.map(|source| source.to_string())) {
            let said: String = said.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
            trouble.what = match trouble.what.as_str() {
                "" => said,
                what => format!("{what} ({said})"),
            };
        }
        trouble
    }

    fn into_parts(self, config: &SqlServerConfig) -> (Trouble, Option<Source>) {
        match self {
            Self::Client(error) => (Trouble::of(&error, config), Some(brief(error).into())),
            Self::TimedOut { after } => {
                (Trouble::new(ErrorKind::Timeout, format!("no answer within {after:?}")), None)
            }
            Self::Connect(error) => (Trouble::of_io(error.kind()), Some(error.into())),
            Self::Answer(what) => {
                (Trouble::new(ErrorKind::Unsupported, format!("the answer has another form: {what}")), None)
            }
            Self::Token(error) => {
                (Trouble::new(error.kind(), "the token provider has no token"), Some(error.into()))
            }
        }
    }
}

/// What an error is caused by.
type Source = Box<dyn StdError + Send + Sync>;

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
