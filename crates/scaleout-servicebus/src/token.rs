//! Tokens: made from a shared access key, given ready, or got from a provider; kept until shortly before they expire.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use scaleout_core::{Error, ErrorKind, provider::Secret};

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
    /// The last token for each resource; for none in particular where a provider gets them.
    kept: Mutex<HashMap<String, Token>>,
    /// Held while the provider is asked, so that all who wait for a token make one request of it.
    asking: tokio::sync::Mutex<()>,
}

impl Tokens {
    /// It does no I/O.
    pub(crate) fn new(config: &ServiceBusConfig) -> Self {
        Self {
            credential: config.credential.clone(),
            lifetime: config.token_lifetime,
            kept: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// A token for `resource_uri` (`sb://host/topic`), a kept one until its `renew_at`.
    ///
    /// # Errors
    /// [`Failure::Unauthorized`] where a ready token has expired, [`Failure::Token`] where the provider has none.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer of the provider.
    pub(crate) async fn token(&self, resource_uri: &str) -> Result<Token, Failure> {
        self.token_at(resource_uri, SystemTime::now()).await
    }

    /// Forgets the token for `resource_uri`, which was refused; whether another one may be better.
    ///
    /// One that is made from the same key is not, unless the clocks differ.
    pub(crate) fn forget(&self, resource_uri: &str) -> bool {
        match self.credential {
            Credential::SharedAccessKey { .. } => {
                self.with_kept(|kept| kept.remove(&resource_uri.to_lowercase()));
                false
            }
            Credential::SharedAccessSignature(_) => false,
            Credential::Token(_) => self.with_kept(|kept| kept.remove(ANY_RESOURCE)).is_some(),
        }
    }

    async fn token_at(&self, resource_uri: &str, now: SystemTime) -> Result<Token, Failure> {
        match &self.credential {
            Credential::SharedAccessKey { name, key } => {
                let resource = resource_uri.to_lowercase();
                if let Some(token) = self.fresh(&resource, now) {
                    return Ok(token);
                }
                let expires_at = now + self.lifetime;
                let text = shared_access_signature(&resource, name, key, seconds(expires_at)).into();
                let token = Token::new(text, TokenKind::Sas, now, expires_at);
                self.keep(resource, token.clone());
                Ok(token)
            }
            Credential::SharedAccessSignature(text) => {
                let unreadable =
                    || Failure::Unauthorized("the shared access signature cannot be read".into());
                let expires_at = expiry(text.expose()).ok_or_else(unreadable)?;
                if expires_at <= now {
                    return Err(Failure::Unauthorized("the shared access signature has expired".into()));
                }
                // There is no other.
                Ok(Token { text: text.clone(), kind: TokenKind::Sas, expires_at, renew_at: expires_at })
            }
            Credential::Token(provider) => {
                if let Some(token) = self.fresh(ANY_RESOURCE, now) {
                    return Ok(token);
                }
                let _asking = self.asking.lock().await;
                // Somebody else may have asked while this waited.
                if let Some(token) = self.fresh(ANY_RESOURCE, now) {
                    return Ok(token);
                }
                let token = self.ask(provider.as_ref(), now).await?;
                self.keep(ANY_RESOURCE.into(), token.clone());
                Ok(token)
            }
        }
    }

    /// What the provider gets, or else the kept token as long as it is valid.
    async fn ask(&self, provider: &dyn TokenProvider, now: SystemTime) -> Result<Token, Failure> {
        let error = match provider.token().await {
            Ok(AccessToken { secret, expires_at }) if expires_at > now => {
                return Ok(Token::new(secret, TokenKind::Jwt, now, expires_at));
            }
            Ok(_) => Error::new(ErrorKind::Unavailable, "the access token that was got has expired already"),
            Err(error) => error,
        };
        let kept = self.with_kept(|kept| kept.get(ANY_RESOURCE).cloned());
        match kept.filter(|token| token.expires_at > now) {
            Some(mut token) => {
                tracing::warn!(%error, "no new access token; the last one is still valid");
                token.renew_at = now + remaining(&token, now) / 4;
                Ok(token)
            }
            None => Err(Failure::Token(error)),
        }
    }

    /// The kept token, if it need not be renewed yet.
    fn fresh(&self, resource: &str, now: SystemTime) -> Option<Token> {
        self.with_kept(|kept| kept.get(resource).filter(|token| now < token.renew_at).cloned())
    }

    fn keep(&self, resource: String, token: Token) {
        self.with_kept(|kept| kept.insert(resource, token));
    }

    fn with_kept<T>(&self, use_kept: impl FnOnce(&mut HashMap<String, Token>) -> T) -> T {
        use_kept(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Token {
    /// One that is renewed after three quarters of its time, or five minutes before its end if that is sooner, but not
    /// in the first half.
    fn new(text: Secret, kind: TokenKind, now: SystemTime, expires_at: SystemTime) -> Self {
        let lifetime = expires_at.duration_since(now).unwrap_or_default();
        let early = lifetime.saturating_sub(RENEWED_EARLY).max(lifetime / 2);
        Self { text, kind, expires_at, renew_at: now + early.min(lifetime * 3 / 4) }
    }
}

fn remaining(token: &Token, now: SystemTime) -> Duration {
    token.expires_at.duration_since(now).unwrap_or_default()
}

/// A token for `resource`, which is in lower case, until `expiry` in seconds since 1970.
///
/// The key is used as the text that it is, not as the bytes that its base64 stands for.
fn shared_access_signature(resource: &str, name: &str, key: &Secret, expiry: u64) -> String {
    let resource = utf8_percent_encode(resource, UNRESERVED).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes()));
    format!(
        "SharedAccessSignature sr={resource}&sig={}&se={expiry}&skn={}",
        utf8_percent_encode(&signature, UNRESERVED),
        utf8_percent_encode(name, UNRESERVED)
    )
}

/// When a ready token expires, if it is one.
fn expiry(signature: &str) -> Option<SystemTime> {
    let fields = signature.strip_prefix("SharedAccessSignature ")?;
    let value = |name: &str| {
        let mut values =
            fields.split('&').filter_map(|field| field.split_once('=')).filter(|field| field.0 == name);
        // Which of two would count is not known.
        values.next().map(|field| field.1).filter(|value| !value.is_empty() && values.next().is_none())
    };
    let (_, _, _, expiry) = (value("sr")?, value("sig")?, value("skn")?, value("se")?);
    if !expiry.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    UNIX_EPOCH.checked_add(Duration::from_secs(expiry.parse().ok()?))
}

/// Whole seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Credential {
    /// A shared access policy of the namespace and its key.
    pub fn shared_access_key(name: impl Into<String>, key: impl Into<Secret>) -> Self {
        Self::SharedAccessKey { name: name.into(), key: key.into() }
    }

    /// What cannot work, each in a few words.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };
        let is_line = |text: &str| !text.chars().any(char::is_control);
        match self {
            Self::SharedAccessKey { name, key } => {
                refuse(name.is_empty(), "shared_access_key_name is missing");
                refuse(
                    name.len() > 256 || !is_line(name),
                    "shared_access_key_name is longer than 256 bytes, or holds a control character",
                );
                refuse(key.expose().is_empty(), "shared_access_key is missing");
                refuse(
                    key.expose().len() > 256 || !is_line(key.expose()),
                    "shared_access_key is longer than 256 bytes, or holds a control character",
                );
            }
            Self::SharedAccessSignature(text) => refuse(
                expiry(text.expose()).is_none() || !text.expose().is_ascii() || !is_line(text.expose()),
                "shared_access_signature is not SharedAccessSignature sr=…&sig=…&se=…&skn=…",
            ),
            Self::Token(_) => {}
        }
        problems
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

/// What a provider's token is for: the service as a whole.
const ANY_RESOURCE: &str = "";

/// Others renew six or seven minutes before the end; more than five would leave little of a short token.
const RENEWED_EARLY: Duration = Duration::from_secs(300);

/// What need not be escaped anywhere in a URI (RFC 3986, section 2.3).
pub(crate) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests;
