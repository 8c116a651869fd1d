//! What a failure means, and what mends it.
//!
//! Source: "Service Bus messaging exceptions", "AMQP errors in Azure Service Bus" and "Authenticate and authorize an
//! application with Microsoft Entra ID" in the documentation of Azure.

use std::io;

use rustls::{Error as TlsError, InvalidMessage};
use scaleout_core::{Error, ErrorKind};

use crate::{commands, config::ServiceBusConfig, error::Failure, token::Credential};

/// What a failure means.
#[derive(Debug)]
pub(super) struct Class {
    kind: ErrorKind,
    /// In a few words; empty where the source says it all.
    why: String,
    /// What mends it, where that is known.
    pub(super) fix: Option<String>,
}

impl Class {
    fn new(kind: ErrorKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into(), fix: None }
    }

    fn mended_by(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// The error, without its source.
    pub(super) fn into_error(self, doing: &str) -> Error {
        let parts = [doing, &self.why, self.fix.as_deref().unwrap_or_default()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Error::new(self.kind, parts.join(": "))
    }

    pub(super) fn of(failure: &Failure, config: &ServiceBusConfig) -> Self {
        match failure {
            Failure::Io(error) => Self::of_io(error, config),
            Failure::TimedOut { after } => {
                Self::new(ErrorKind::Timeout, format!("no answer within {after:?}"))
            }
            Failure::Http { status, sub_code, .. } => Self::of_status(*status, *sub_code, config),
            Failure::Busy { .. } => Self::new(ErrorKind::Unavailable, BUSY),
            Failure::Unauthorized(_) => Self::unauthorized(config),
            Failure::NotFound(what) => Self::not_found(what, config),
            Failure::Token(error) => Self::new(error.kind(), "the token provider has no token"),
            Failure::Amqp { condition, .. } => Self::of_condition(condition, config),
            Failure::Closed => Self::new(ErrorKind::Unavailable, "the connection was closed"),
            Failure::Foreign(what) => {
                Self::new(ErrorKind::Unsupported, format!("this is no answer of Service Bus: {what}"))
            }
            // These are made into an error from what they hold.
            Failure::TooLarge { .. } | Failure::Settings(_) => Self::new(ErrorKind::Config, ""),
        }
    }

    fn of_io(error: &io::Error, config: &ServiceBusConfig) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match tls {
            Some(TlsError::InvalidCertificate(_)) => Self::new(
                ErrorKind::Config,
                format!("the certificate is not trusted for {}", config.host),
            )
            .mended_by("set ca where a proxy opens TLS, or look at host"),
            Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::new(
                ErrorKind::Config,
                "the other side speaks no TLS",
            )
            .mended_by(
                "look at the port, or set development_emulator (in a connection string UseDevelopmentEmulator=true)",
            ),
            _ if error.kind() == io::ErrorKind::TimedOut => {
                Self::new(ErrorKind::Timeout, "no answer in time")
            }
            _ => Self::new(ErrorKind::Unavailable, ""),
        }
    }

    /// Of a status that has no meaning of its own.
    fn of_status(status: u16, sub_code: Option<u32>, config: &ServiceBusConfig) -> Self {
        match status {
            400 => Self::new(
                ErrorKind::Config,
                "Service Bus refuses a setting of the entity: its tier, or the emulator, may not know it (Basic has no \
                 topics)",
            ),
            403 if sub_code == Some(INVALID_OPERATION) => Self::new(
                ErrorKind::Config,
                "the namespace does not allow this operation in its state or tier",
            ),
            403 => Self::new(
                ErrorKind::Config,
                format!(
                    "a quota is exceeded: az servicebus topic list --namespace-name {} -g <group> shows what there is, \
                     and subscriptions of nodes that are gone delete themselves after subscription_idle_expiry",
                    commands::namespace(config)
                ),
            ),
            408 | 409 | 500..=599 => Self::new(ErrorKind::Unavailable, ""),
            _ => Self::new(ErrorKind::Unsupported, ""),
        }
    }

    fn unauthorized(config: &ServiceBusConfig) -> Self {
        let rights = if config.create_entities { "Manage, Send and Listen" } else { "Send and Listen" };
        let otherwise = if config.create_entities {
            ", or create the entities and set create_entities=false"
        } else {
            ""
        };
        let why = match &config.credential {
            Credential::SharedAccessKey { name, .. } => format!(
                "Service Bus refuses the key of the policy {name}, or the policy lacks a right: it needs {rights} on the \
                 namespace ({}; … authorization-rule keys list shows its keys){otherwise}",
                commands::give_rights(config, name),
            ),
            Credential::SharedAccessSignature(_) => format!(
                "Service Bus refuses the shared access signature: it has expired, is for another resource, or its policy \
                 lacks a right of {rights}; make a new one for sb://{}/{otherwise}",
                config.host
            ),
            Credential::Token(_) => format!(
                "Service Bus refuses the access token, or its identity lacks a role: {}{} (it takes some minutes to be \
                 known){otherwise}",
                commands::give_role(config, if config.create_entities { "Owner" } else { "Sender" }),
                if config.create_entities {
                    ""
                } else {
                    ", and the same with \"Azure Service Bus Data Receiver\""
                },
            ),
        };
        Self::new(ErrorKind::Unauthorized, why)
    }

    /// `what` is the entity.
    fn not_found(what: &str, config: &ServiceBusConfig) -> Self {
        if config.create_entities {
            // It is created again.
            return Self::new(ErrorKind::Unavailable, format!("{what} is not there"));
        }
        let topics = format!("{}{}-<0 to {}>", config.topic_prefix, config.app, config.topic_count.get() - 1);
        let subscription = config.subscription.as_deref().unwrap_or("<node>");
        Self::new(ErrorKind::Config, format!("{what} is not there, and create_entities is false")).mended_by(
            format!(
                "{}, and on each topic {}",
                commands::create_topic(config, &topics),
                commands::create_subscription(config, "<topic>", subscription),
            ),
        )
    }

    /// Of what ends a link, a session or a connection, or rejects a message.
    fn of_condition(condition: &str, config: &ServiceBusConfig) -> Self {
        match condition {
            "amqp:not-found" => Self::not_found("the topic or subscription", config),
            "amqp:unauthorized-access" | "com.microsoft:auth-failed" => Self::unauthorized(config),
            "com.microsoft:server-busy" => Self::new(ErrorKind::Unavailable, BUSY),
            "com.microsoft:timeout" => Self::new(ErrorKind::Timeout, "Service Bus took too long"),
            "amqp:resource-limit-exceeded" => Self::new(
                ErrorKind::Unavailable,
                "the topic is full, or the namespace has too many connections: subscriptions of nodes that are gone fill \
                 a topic until message_ttl is over",
            )
            .mended_by(format!(
                "else raise the size: {}",
                commands::update_topic(config, "<topic>", "--max-size <megabytes>")
            )),
            "amqp:link:message-size-exceeded" => Self::new(
                ErrorKind::Config,
                "a message is larger than the topic takes",
            )
            .mended_by("lower max_payload_bytes (Standard takes 256 KiB with all properties)"),
            "com.microsoft:entity-disabled" => Self::new(
                ErrorKind::Config,
                "the topic or subscription is disabled",
            )
            .mended_by(commands::update_topic(config, "<topic>", "--status Active")),
            "amqp:not-allowed" | "amqp:not-implemented" => Self::new(
                ErrorKind::Unsupported,
                "the entity does not allow this: it may need sessions, or be partitioned",
            ),
            // Detached when idle, moved to another machine, upgraded: it passes.
            _ => Self::new(ErrorKind::Unavailable, ""),
        }
    }
}

/// Of a refusal that is not about a quota.
const INVALID_OPERATION: u32 = 40_301;

const BUSY: &str =
    "Service Bus asks to wait: the namespace is throttled, or does something else with the entity";
