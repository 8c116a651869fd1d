//! Who may do what: shared access keys, tokens, and what they give.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::hmac;

use crate::namespace::{Refusal, path_of};

/// What a shared access token begins with.
const SCHEME: &str = "SharedAccessSignature ";

/// Tokens that are remembered so that they can be declared expired. Beyond it, those that are over anyway are forgotten.
const MAX_TOKENS_SEEN: usize = 10_000;

/// One thing that a claim may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To create, change, delete and list entities.
    Manage,
    /// To send to topics.
    Send,
    /// To receive from subscriptions.
    Listen,
}

/// Several [`Right`]s. Who may manage may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    manage: bool,
    send: bool,
    listen: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Self = Self { manage: true, send: true, listen: true };

    /// Those of a list.
    pub fn of(rights: &[Right]) -> Self {
        let manage = rights.contains(&Right::Manage);
        Self {
            manage,
            send: manage || rights.contains(&Right::Send),
            listen: manage || rights.contains(&Right::Listen),
        }
    }

    /// Whether `right` is among them.
    pub fn contains(self, right: Right) -> bool {
        match right {
            Right::Manage => self.manage,
            Right::Send => self.send,
            Right::Listen => self.listen,
        }
    }
}

/// What a token gives to whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What may be done.
    pub rights: Rights,
    /// The path below which it may be done, in lower case; empty is everywhere.
    pub scope: String,
    /// When it is over.
    pub expires: SystemTime,
    /// How often tokens had been declared expired when this one was shown.
    pub(crate) generation: u64,
}

impl Claim {
    /// Whether it gives `right` on the entity at `path` (an address or a path). Does not look at the time:
    /// see [`Namespace::is_current`](crate::Namespace::is_current).
    pub fn allows(&self, right: Right, path: &str) -> bool {
        self.rights.contains(right) && covers(&self.scope, &path_of(path).to_lowercase())
    }
}

/// Makes a shared access token, as clients do: for `resource`, a URL, signed with the text of `key`.
pub fn shared_access_token(resource: &str, policy: &str, key: &str, expires: SystemTime) -> String {
    let resource = encode(&resource.to_lowercase());
    let expiry = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let signature = hmac::sign(&signing_key(key), signed_text(&resource, &expiry.to_string()).as_bytes());
    let (signature, policy) = (encode(&STANDARD.encode(signature)), encode(policy));
    format!("{SCHEME}sr={resource}&sig={signature}&se={expiry}&skn={policy}")
}

/// The keys and tokens of a namespace.
#[derive(Default)]
pub(crate) struct Guard {
    policies: HashMap<String, (hmac::Key, Rights)>,
    /// Those that tests registered.
    bearers: HashMap<String, Claim>,
    /// Tokens that were shown, and when they are over.
    seen: HashMap<String, SystemTime>,
    expired: HashSet<String>,
    generation: u64,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("policies", &self.policies.keys()).finish_non_exhaustive()
    }
}

impl Guard {
    pub(crate) fn add_policy(&mut self, name: &str, key: &str, rights: Rights) {
        self.policies.insert(name.to_owned(), (signing_key(key), rights));
    }

    pub(crate) fn register_bearer(&mut self, token: &str, claim: Claim) {
        self.bearers.insert(token.to_owned(), claim);
    }

    /// From now on every token that was shown is over.
    pub(crate) fn expire_all(&mut self) {
        self.generation += 1;
        self.expired.extend(self.seen.drain().map(|(token, _)| token));
    }

    pub(crate) fn is_current(&self, claim: &Claim, now: SystemTime) -> bool {
        claim.generation == self.generation && claim.expires > now
    }

    /// What `token` gives for `path`.
    pub(crate) fn authorize(&mut self, token: &str, path: &str, now: SystemTime) -> Result<Claim, Refusal> {
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let (rights, scope, expires) = if token.starts_with(SCHEME) {
            self.check_signature(token)?
        } else {
            let claim = self
                .bearers
                .get(token)
                .ok_or_else(|| unauthorized("InvalidToken: nobody knows the token"))?;
            (claim.rights, claim.scope.clone(), claim.expires)
        };
        if expires <= now || self.expired.contains(token) {
            return Err(unauthorized("ExpiredToken: The token is expired."));
        }
        let path = path_of(path).to_lowercase();
        if !covers(&scope, &path) {
            return Err(unauthorized("InvalidAudience: The authorization token is for another resource."));
        }
        self.remember(token, expires, now);
        Ok(Claim { rights, scope: path, expires, generation: self.generation })
    }

    fn check_signature(&self, token: &str) -> Result<(Rights, String, SystemTime), Refusal> {
        let malformed = || unauthorized("MalformedToken: The token is no shared access signature.");
        let fields = token.strip_prefix(SCHEME).ok_or_else(malformed)?;
        let field = |name: &str| {
            let mut fields = fields.split('&').filter_map(|field| field.split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(malformed)
        };
        let (resource, signature, expiry, policy) =
            (field("sr")?, field("sig")?, field("se")?, field("skn")?);
        // One answer for an unknown policy and a wrong key: it does not tell which policies there are.
        let refused = || unauthorized("InvalidSignature: The token has an invalid signature.");
        let (key, rights) = self.policies.get(&decode(policy)).ok_or_else(refused)?;
        let signature = STANDARD.decode(decode(signature)).map_err(|_| refused())?;
        // In constant time.
        hmac::verify(key, signed_text(resource, expiry).as_bytes(), &signature).map_err(|_| refused())?;
        let seconds = expiry.parse().map_err(|_| malformed())?;
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or_else(malformed)?;
        Ok((*rights, scope_of(&decode(resource)), expires))
    }

    fn remember(&mut self, token: &str, expires: SystemTime, now: SystemTime) {
        if self.seen.contains_key(token) {
            return;
        }
        if self.seen.len() >= MAX_TOKENS_SEEN {
            self.seen.retain(|_, expires| *expires > now);
        }
        if self.seen.len() < MAX_TOKENS_SEEN {
            self.seen.insert(token.to_owned(), expires);
        }
    }
}

/// The path of a token's resource, in lower case. It begins with the host even where it has no scheme, and some SDKs sign
/// the whole address of a request, with its query.
fn scope_of(resource: &str) -> String {
    let resource = resource.split_once('?').map_or(resource, |(resource, _)| resource);
    let resource = resource.split_once("://").map_or(resource, |(_, rest)| rest);
    resource.split_once('/').map_or("", |(_, path)| path).trim_matches('/').to_lowercase()
}

/// Whether what holds for `scope` holds for `path`, both in lower case.
fn covers(scope: &str, path: &str) -> bool {
    scope.is_empty() || path.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The key's text is the secret: base64 or not, it is not decoded.
fn signing_key(key: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())
}

/// Resource and expiry as they stand in the token.
fn signed_text(resource: &str, expiry: &str) -> String {
    format!("{resource}\n{expiry}")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn unauthorized(why: &str) -> Refusal {
    Refusal::Unauthorized(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn guard() -> Guard {
        let mut guard = Guard::default();
        guard.add_policy("root", "c2VjcmV0", Rights::ALL);
        guard.add_policy("listen", "other", Rights::of(&[Right::Listen]));
        guard
    }

    fn token(resource: &str, policy: &str, key: &str) -> String {
        shared_access_token(resource, policy, key, SystemTime::now() + HOUR)
    }

    #[test]
    fn a_signature_is_what_other_clients_compute() {
        let token = shared_access_token(
            "https://ns.servicebus.windows.net/orders",
            "root",
            "c2VjcmV0",
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        );
        assert_eq!(
            token,
            "SharedAccessSignature sr=https%3A%2F%2Fns%2Eservicebus%2Ewindows%2Enet%2Forders\
             &sig=tjw76WejPMYwq7%2Fyfoqsa93NEhJrFgzH9SoNUAxtM4c%3D&se=1800000000&skn=root"
        );
    }

    #[test]
    fn a_token_holds_for_its_scope_and_below() {
        let mut guard = guard();
        let now = SystemTime::now();
        let whole = token("sb://host:5671/", "root", "c2VjcmV0");
        assert!(guard.authorize(&whole, "amqps://elsewhere/orders/Subscriptions/a", now).is_ok());
        for form in ["host:5300", "https://host:5300/orders?api-version=2021-05"] {
            assert!(guard.authorize(&token(form, "root", "c2VjcmV0"), "orders", now).is_ok(), "{form}");
        }
        let one = token("sb://host/Orders", "root", "c2VjcmV0");
        let claim = guard.authorize(&one, "orders/Subscriptions/a", now).expect("within the scope");
        assert!(claim.allows(Right::Listen, "ORDERS/subscriptions/A/$management"));
        assert!(!claim.allows(Right::Listen, "orders/subscriptions/ab"));
        for path in ["", "orders-2", "other"] {
            assert!(guard.authorize(&one, path, now).is_err(), "{path}");
        }
    }

    #[test]
    fn rights_are_those_of_the_policy() {
        let claim = guard()
            .authorize(&token("sb://host/", "listen", "other"), "orders", SystemTime::now())
            .expect("a good token");
        assert!(claim.allows(Right::Listen, "orders"));
        assert!(!claim.allows(Right::Send, "orders") && !claim.allows(Right::Manage, "orders"));
    }

    #[test]
    fn what_is_forged_or_over_or_garbage_is_refused() {
        let mut guard = guard();
        let now = SystemTime::now();
        let good = token("sb://host/", "root", "c2VjcmV0");
        let later = good.replace("&se=", "&se=9");
        let over = shared_access_token("sb://host/", "root", "c2VjcmV0", now - HOUR);
        let wrong_key = token("sb://host/", "root", "wrong");
        let wrong_policy = token("sb://host/", "nobody", "c2VjcmV0");
        for bad in [
            &later,
            &over,
            &wrong_key,
            &wrong_policy,
            "",
            "SharedAccessSignature ",
            "SharedAccessSignature sr=%&sig=%&se=x&skn=root",
        ] {
            assert!(guard.authorize(bad, "orders", now).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_that_were_shown_can_be_declared_expired() {
        let mut guard = guard();
        let now = SystemTime::now();
        let first = token("sb://host/", "root", "c2VjcmV0");
        let claim = guard.authorize(&first, "orders", now).expect("a good token");
        assert!(guard.is_current(&claim, now) && !guard.is_current(&claim, now + 2 * HOUR));
        guard.expire_all();
        assert!(!guard.is_current(&claim, now));
        assert!(guard.authorize(&first, "orders", now).is_err());
        let next = shared_access_token("sb://host/", "root", "c2VjcmV0", now + 2 * HOUR);
        let claim = guard.authorize(&next, "orders", now).expect("a new token");
        assert!(guard.is_current(&claim, now));
    }

    #[test]
    fn bearer_tokens_are_those_that_were_registered() {
        let mut guard = guard();
        let now = SystemTime::now();
        assert!(guard.authorize("Bearer ey.a.b", "orders", now).is_err());
        let claim = Claim {
            rights: Rights::of(&[Right::Send]),
            scope: String::new(),
            expires: now + HOUR,
            generation: 0,
        };
        guard.register_bearer("ey.a.b", claim);
        for text in ["Bearer ey.a.b", "ey.a.b"] {
            assert!(
                guard.authorize(text, "orders", now).expect("a good token").allows(Right::Send, "orders")
            );
        }
    }
}
