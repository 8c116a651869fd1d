//! The namespace: whether it answers, its clock, what it thinks of the login, and what it is.

use std::time::{Duration, SystemTime};

use super::{Examination, Hidden};
use crate::{commands, error::Failure, token::Credential};

impl Examination {
    /// Whether somebody answers by HTTPS, and what the clock there shows.
    ///
    /// With `create_entities=false` a node asks for nothing by HTTPS, so it is no problem there if nobody does.
    pub(super) async fn look_for_service(&mut self) -> Result<bool, Hidden> {
        let url = self.management.url().clone();
        let needed = self.config.create_entities || self.uses_rest();
        if needed || url.host == self.config.host {
            self.look_up(&url.host, url.port).await?;
        }
        let before = SystemTime::now();
        match self.management.knock().await {
            Ok(date) => {
                self.ok("connection", format!("{url} answers"));
                if let Some(date) = date {
                    self.look_at_clock(date, before, SystemTime::now()).await;
                }
                Ok(true)
            }
            Err(_) if !needed => Ok(false),
            Err(failure) => {
                let fix = if self.config.development_emulator {
                    "start the emulator, or set management_endpoint to where it listens for HTTP"
                } else {
                    "look at host, and let this machine reach it by TCP at that port: firewalls on the way, and the \
                     networking page of the namespace"
                };
                self.failed("connection", &format!("asking {url}"), failure, fix);
                Err(Hidden)
            }
        }
    }

    /// Compares this machine's clock, which was asked `before` and `after`, with theirs, which shows whole seconds.
    async fn look_at_clock(&mut self, theirs: SystemTime, before: SystemTime, after: SystemTime) {
        let behind = theirs.duration_since(after).unwrap_or_default();
        let ahead = before.duration_since(theirs + SECOND).unwrap_or_default();
        let (off, direction) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
        if off <= SECOND {
            self.ok("clock", "this machine's and that of Service Bus agree, as far as whole seconds tell");
            return;
        }
        let off = Duration::from_secs(off.as_secs());
        let what = format!("this machine's is {off:?} {direction} that of Service Bus");
        match self.refused_for_clock(behind, ahead).await {
            Some(why) => self.problem("clock", format!("{what}: {why}"), CLOCK),
            None => {
                let consequence = if behind > ahead {
                    "tokens that are made here expire so much sooner than token_lifetime says"
                } else {
                    "tokens that are made here are valid for so much longer than token_lifetime says"
                };
                self.warning("clock", format!("{what}: {consequence}"), CLOCK);
            }
        }
    }

    /// Why Service Bus refuses this login for its clock, if it does.
    async fn refused_for_clock(&self, behind: Duration, ahead: Duration) -> Option<String> {
        match &self.config.credential {
            Credential::SharedAccessKey { .. } => {
                let lifetime = self.config.token_lifetime;
                if behind >= lifetime {
                    return Some(format!(
                        "tokens are made to be valid for {lifetime:?}, and have expired when they arrive"
                    ));
                }
                let token = self.tokens.token(&self.config.resource_uri("")).await.ok()?;
                let left = token.expires_at.duration_since(token.renew_at).unwrap_or_default();
                (behind > left).then(|| {
                    "tokens expire before they are renewed, and Service Bus ends the connection each time"
                        .into()
                })
            }
            // It ends by their clock, and is not renewed.
            Credential::SharedAccessSignature(_) => None,
            Credential::Token(_) => (behind.max(ahead) > TOLERATED).then(|| {
                "tokens of Microsoft Entra ID are taken for valid, or for expired, when they are not".into()
            }),
        }
    }

    /// What the service thinks of the login; whether it has the right Manage.
    pub(super) async fn look_at_login(&mut self) -> Result<bool, Hidden> {
        match self.management.namespace().await {
            Ok(info) => {
                self.ok("login", format!("Service Bus accepts {}", self.who()));
                self.look_at_version(info.map(|info| info.tier))?;
                Ok(true)
            }
            Err(Failure::Unauthorized(detail)) if lacks_right(&detail) => {
                self.ok("login", format!("Service Bus accepts {}", self.who()));
                if self.config.create_entities {
                    self.lacks("Manage", &detail);
                } else {
                    self.ok(
                        "permissions",
                        format!(
                            "{} has no Manage, which create_entities=false does not need: so it cannot be seen how the \
                             topics are set up, only whether they are there",
                            self.who()
                        ),
                    );
                }
                Ok(false)
            }
            Err(Failure::Unauthorized(detail)) if is_firewall(&detail) => {
                let what = format!("the namespace takes no connections from this machine: {detail}");
                self.problem(
                    "connection",
                    what,
                    "add this machine's address on the networking page of the namespace",
                );
                Err(Hidden)
            }
            Err(failure @ (Failure::Unauthorized(_) | Failure::Token(_))) => {
                self.refused_login(failure);
                Err(Hidden)
            }
            Err(failure) => {
                self.failed("connection", "asking what the namespace is", failure, "ask again in a moment");
                Err(Hidden)
            }
        }
    }

    /// Reports a login that is not accepted, whatever it may do.
    pub(super) fn refused_login(&mut self, failure: Failure) {
        let detail = match failure {
            Failure::Unauthorized(detail) => detail,
            failure => failure.told("asking for a token", &self.config).0,
        };
        // Then it is the clock that has to be mended, which is among the findings.
        if is_expired(&detail)
            && !self.is_well("clock")
            && matches!(self.config.credential, Credential::SharedAccessKey { .. })
        {
            return;
        }
        let (what, fix) = match &self.config.credential {
            Credential::SharedAccessKey { name, .. } => (
                "it is no key of that policy (any more), or there is no such policy",
                format!("take the connection string from: {}", commands::show_key(&self.config, name)),
            ),
            Credential::SharedAccessSignature(_) => (
                "it has expired, is for another resource, or its policy has another key now",
                format!("make a new one for sb://{}/, and set shared_access_signature", self.config.host),
            ),
            Credential::Token(_) => (
                "the token is refused, or there is none",
                commands::give_role(
                    &self.config,
                    if self.config.create_entities { "Owner" } else { "Sender" },
                ),
            ),
        };
        let who = self.who();
        self.problem("login", format!("Service Bus does not accept {who}: {what} ({detail})"), fix);
    }

    /// Reports a right that is missing.
    pub(super) fn lacks(&mut self, right: &str, detail: &str) {
        let config = &self.config;
        let consequence = match right {
            "Manage" => {
                "a node can make neither topics nor subscriptions. Without Manage it works with create_entities=false, \
                 where both were made beforehand"
            }
            "Send" => "a node can send nothing, and without sending to itself it cannot receive either",
            _ => "a node can receive nothing; one that only publishes needs it not",
        };
        let give = match &config.credential {
            Credential::SharedAccessKey { name, .. } => commands::give_rights(config, name),
            Credential::SharedAccessSignature(_) => {
                format!("make the signature with a policy that has the rights {}", commands::rights(config))
            }
            Credential::Token(_) => commands::give_role(
                config,
                match right {
                    "Manage" => "Owner",
                    "Send" => "Sender",
                    _ => "Receiver",
                },
            ),
        };
        let fix = match right {
            "Manage" => format!(
                "{give}; or {}, and set create_entities=false and subscription on each node",
                commands::deploy_entities(config)
            ),
            _ => give,
        };
        let what = format!("{} lacks the right {right}: {consequence} ({detail})", self.who());
        self.problem("permissions", what, fix);
    }

    fn look_at_version(&mut self, tier: Option<String>) -> Result<(), Hidden> {
        match tier {
            Some(tier) if tier.eq_ignore_ascii_case("Basic") => {
                let fix = format!(
                    "az servicebus namespace update -n {} -g <group> --sku Standard",
                    commands::namespace(&self.config)
                );
                self.problem("version", "the namespace is of the tier Basic, which has no topics", fix);
                return Err(Hidden);
            }
            Some(tier) if self.config.development_emulator => {
                self.ok(
                    "version",
                    format!("an emulator, which says that it is a namespace of the tier {tier}"),
                );
            }
            Some(tier) => self.ok("version", format!("a namespace of the tier {tier}")),
            None if self.config.development_emulator => {
                self.ok("version", "an emulator, which does not say its tier");
            }
            None => self.ok("version", "a namespace that does not say its tier"),
        }
        Ok(())
    }

    /// As whom, without a secret.
    pub(super) fn who(&self) -> String {
        match &self.config.credential {
            Credential::SharedAccessKey { name, .. } => format!("the key of the policy {name}"),
            Credential::SharedAccessSignature(_) => "the shared access signature".into(),
            Credential::Token(_) => "the access token".into(),
        }
    }

    pub(super) fn uses_rest(&self) -> bool {
        self.config.protocol == crate::Protocol::Rest
    }
}

/// Whether a refusal says that the token is good, and does not give the right that is needed.
pub(super) fn lacks_right(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    (detail.contains("claim") || detail.contains("unauthorized access"))
        && !detail.contains("signature")
        && !is_expired(&detail)
}

fn is_expired(detail: &str) -> bool {
    detail.to_ascii_lowercase().contains("expired")
}

fn is_firewall(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    detail.contains("ip has been prevented") || detail.contains("public network access")
}

const SECOND: Duration = Duration::from_secs(1);

/// What Microsoft Entra ID lets clocks differ.
const TOLERATED: Duration = Duration::from_secs(300);

const CLOCK: &str = "set this machine's clock by NTP: timedatectl set-ntp true (Windows: w32tm /resync)";
