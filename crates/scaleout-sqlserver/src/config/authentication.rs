//! As whom a node logs in.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use scaleout_core::{Error, provider::Secret};

/// As whom a node logs in.
#[derive(Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// A login of SQL Server, or a user with a password of a contained database.
    SqlLogin {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// The account that the process runs as: by SSPI on Windows, elsewhere by Kerberos with the ticket in its cache.
    ///
    /// Needs the feature `kerberos` elsewhere than on Windows.
    #[cfg(any(windows, all(unix, feature = "kerberos")))]
    Integrated,
    /// An access token of Microsoft Entra ID, for Azure SQL Database and Managed Instance.
    AccessToken(Arc<dyn TokenProvider>),
}

/// Who gets access tokens.
///
/// Tokens of Microsoft Entra ID are asked for with the scope `https://database.windows.net/.default`. A server checks
/// one when a connection is made and not later; the provider should keep one until shortly before it expires, since
/// connections may be made often while there is trouble.
pub trait TokenProvider: Send + Sync {
    /// A token that is valid now. It is called for every connection, within its `connect_timeout`.
    ///
    /// # Errors
    /// Of any kind: one that [`is_fatal`](Error::is_fatal) is tried again after `fatal_retry`, others with a back-off.
    fn token(&self) -> BoxFuture<'_, Result<Secret, Error>>;
}

impl Authentication {
    /// A login of SQL Server.
    pub fn sql_login(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::SqlLogin { user: user.into(), password: password.into() }
    }

    /// What cannot work, each in a few words.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Self::SqlLogin { user, password } = self {
            let mut refuse = |wrong: bool, problem: &str| {
                if wrong {
                    problems.push(problem.to_owned());
                }
            };
            let fits = |text: &str| text.encode_utf16().count() <= 128;
            refuse(user.is_empty(), "user is missing");
            refuse(!fits(user), "user is longer than 128 characters");
            refuse(password.expose().is_empty(), "password is missing");
            refuse(!fits(password.expose()), "password is longer than 128 characters");
        }
        problems
    }
}

impl PartialEq for Authentication {
    /// Two token providers are equal if they are the same one.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::SqlLogin { user, password },
                Self::SqlLogin { user: other_user, password: other_password },
            ) => user == other_user && password == other_password,
            #[cfg(any(windows, all(unix, feature = "kerberos")))]
            (Self::Integrated, Self::Integrated) => true,
            (Self::AccessToken(provider), Self::AccessToken(other)) => Arc::ptr_eq(provider, other),
            _ => false,
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqlLogin { user, password } => {
                f.debug_struct("SqlLogin").field("user", user).field("password", password).finish()
            }
            #[cfg(any(windows, all(unix, feature = "kerberos")))]
            Self::Integrated => f.write_str("Integrated"),
            Self::AccessToken(_) => f.write_str("AccessToken"),
        }
    }
}
