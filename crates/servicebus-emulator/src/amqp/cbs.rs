//! Claims-based security: what a connection has been given by the tokens it put to `$cbs`.

use crate::{
    message::{Body, Message},
    namespace::{Namespace, Refusal, path_of},
    sas::{Claim, Right},
};

/// Claims that a connection may hold; those of the same scope replace each other.
const MAX_CLAIMS: usize = 10_000;

/// The claims of a connection.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    pub(super) fn add(&mut self, claim: Claim) -> Result<(), Refusal> {
        if let Some(other) = self.0.iter_mut().find(|other| other.scope == claim.scope) {
            *other = claim;
            return Ok(());
        }
        if self.0.len() >= MAX_CLAIMS {
            return Err(Refusal::QuotaExceeded("The connection holds too many claims.".to_owned()));
        }
        self.0.push(claim);
        Ok(())
    }

    pub(super) fn allow(&self, namespace: &Namespace, right: Right, path: &str) -> bool {
        self.0.iter().any(|claim| claim.allows(right, path) && namespace.is_current(claim))
    }

    /// Whether an entity may be attached to for anything at all.
    pub(super) fn allow_any(&self, namespace: &Namespace, path: &str) -> bool {
        [Right::Listen, Right::Send, Right::Manage].iter().any(|right| self.allow(namespace, *right, path))
    }

    /// Does what a request to `$cbs` says: `put-token` with the token in the body and its audience as `name`.
    ///
    /// The `type` is not looked at, but the token: the Python SDK calls all of them `jwt`.
    pub(super) fn put_token(&mut self, namespace: &Namespace, request: &Message) -> Result<(), Refusal> {
        let property = |name| request.application_property(name).and_then(|value| value.as_str());
        let operation = property("operation").unwrap_or_default();
        if operation != "put-token" {
            return Err(Refusal::Invalid(format!("$cbs knows put-token, and not '{operation}'.")));
        }
        let audience =
            property("name").ok_or_else(|| Refusal::Invalid("The audience is missing.".to_owned()))?;
        let token = match &request.body {
            Body::Value(value) => value.as_str(),
            _ => None,
        };
        let token = token.ok_or_else(|| Refusal::Invalid("The token is missing.".to_owned()))?;
        self.add(namespace.authorize(token, path_of(audience))?)
    }
}
