//! Tokens: made from a shared access key, given ready, or got from a provider; kept until shortly before they expire.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use scaleout_core::{Error, provider::Secret};

use crate::{config::ServiceBusConfig, error::Failure};

/// As whom to connect.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A shared access policy of the namespace and its key, as in a connection string.
    SharedAccessKey {
        /// The name of the policy.
        name: String,
        /// Its primary or secondary key, as the portal shows it.
        key: Secret,
    },
    /// A token that somebody has made from such a key: `SharedAccessSignature sr=…&sig=…&se=…&skn=…`.
    ///
    /// It is used as it is until it expires, which is then a fatal error.
    SharedAccessSignature(Secret),
    /// Tokens of Microsoft Entra ID.
    Token(Arc<dyn TokenProvider>),
}

/// Who gets access tokens of Microsoft Entra ID.
///
/// They are asked for with the scope `https://servicebus.azure.net/.default`, for an identity with the role Azure Service
/// Bus Data Owner on the namespace, or the roles Data Sender and Data Receiver where `create_entities` is `false`.
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// A token that is valid now.
    ///
    /// It is called when the last one is about to expire, or was refused.
    ///
    /// # Errors
    /// Of any kind: one that [`is_fatal`](Error::is_fatal) is tried again after `fatal_retry`, others with a back-off.
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>>;
}

/// What a [`TokenProvider`] gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token (a JWT).
    pub secret: Secret,
    /// When it expires.
    pub expires_at: SystemTime,
}

/// A token for a resource.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The token itself.
    pub(crate) text: Secret,
    /// What it is, in the words of a put-token request.
    pub(crate) kind: TokenKind,
    /// When it expires.
    pub(crate) expires_at: SystemTime,
    /// When to ask for the next one.
    pub(crate) renew_at: SystemTime,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A shared access signature.
    Sas,
    /// A JWT of Microsoft Entra ID.
    Jwt,
}

impl TokenKind {
    /// The `type` of a put-token request.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sas => "servicebus.windows.net:sastoken",
            Self::Jwt => "jwt",
        }
    }
}

/// Gets tokens and keeps them. One for all connections of a node.
#[derive(Debug)]
pub(crate) struct Tokens {
    credential: Credential,
    lifetime: Duration,
}

impl Tokens {
    /// It does no I/O.
    pub(crate) fn new(config: &ServiceBusConfig) -> Self {
        Self { credential: config.credential.clone(), lifetime: config.token_lifetime }
    }

    /// A token for `resource_uri` (`sb://host/topic`), a kept one until its `renew_at`.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer of the provider.
    pub(crate) async fn token(&self, _resource_uri: &str) -> Result<Token, Failure> {
        let _ = (&self.credential, self.lifetime);
        Err(Failure::Closed)
    }

    /// Forgets the token for `resource_uri`, which was refused.
    pub(crate) fn forget(&self, _resource_uri: &str) {}
}

impl Credential {
    /// A shared access policy of the namespace and its key.
    pub fn shared_access_key(name: impl Into<String>, key: impl Into<Secret>) -> Self {
        Self::SharedAccessKey { name: name.into(), key: key.into() }
    }

    /// What cannot work, each in a few words.
    pub(crate) fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

impl PartialEq for Credential {
    /// Two token providers are equal if they are the same one.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::SharedAccessKey { name, key },
                Self::SharedAccessKey { name: other_name, key: other_key },
            ) => name == other_name && key == other_key,
            (Self::SharedAccessSignature(token), Self::SharedAccessSignature(other)) => token == other,
            (Self::Token(provider), Self::Token(other)) => Arc::ptr_eq(provider, other),
            _ => false,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedAccessKey { name, key } => {
                f.debug_struct("SharedAccessKey").field("name", name).field("key", key).finish()
            }
            Self::SharedAccessSignature(token) => {
                f.debug_tuple("SharedAccessSignature").field(token).finish()
            }
            Self::Token(provider) => f.debug_tuple("Token").field(provider).finish(),
        }
    }
}
