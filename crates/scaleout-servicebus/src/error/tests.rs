use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use rustls::{CertificateError, Error as TlsError, InvalidMessage};

use super::*;
use crate::token::{AccessToken, Credential, TokenProvider};

#[derive(Debug)]
struct NoToken;

impl TokenProvider for NoToken {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
        async { Err(ErrorKind::Unavailable.into()) }.boxed()
    }
}

fn config() -> ServiceBusConfig {
    ServiceBusConfig::new(
        "chat".parse().unwrap(),
        "prod.servicebus.windows.net",
        Credential::shared_access_key("node", "hunter2"),
    )
}

fn error(failure: Failure) -> Error {
    failure.into_error("doing it", &config())
}

fn amqp(condition: &str) -> Failure {
    Failure::Amqp { condition: condition.into(), description: "TrackingId:1".into() }
}

fn http(status: u16) -> Failure {
    Failure::Http { status, sub_code: None, detail: "TrackingId:1".into() }
}

#[test]
fn each_failure_has_a_kind() {
    let io = |kind| Failure::from(io::Error::from(kind));
    let tls = |error| Failure::Io(io::Error::new(io::ErrorKind::InvalidData, error));
    for (failure, kind) in [
        (io(io::ErrorKind::ConnectionRefused), ErrorKind::Unavailable),
        (io(io::ErrorKind::TimedOut), ErrorKind::Timeout),
        (tls(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)), ErrorKind::Config),
        (tls(TlsError::InvalidMessage(InvalidMessage::InvalidContentType)), ErrorKind::Config),
        (tls(TlsError::HandshakeNotComplete), ErrorKind::Unavailable),
        (Failure::TimedOut { after: Duration::from_secs(1) }, ErrorKind::Timeout),
        (http(400), ErrorKind::Config),
        (http(403), ErrorKind::Config),
        (http(409), ErrorKind::Unavailable),
        (http(500), ErrorKind::Unavailable),
        (http(418), ErrorKind::Unsupported),
        (Failure::Busy { wait: None, detail: String::new() }, ErrorKind::Unavailable),
        (Failure::Unauthorized("no".into()), ErrorKind::Unauthorized),
        (Failure::NotFound("topic t".into()), ErrorKind::Unavailable),
        (Failure::Token(ErrorKind::Timeout.into()), ErrorKind::Timeout),
        (amqp("amqp:not-found"), ErrorKind::Unavailable),
        (amqp("amqp:unauthorized-access"), ErrorKind::Unauthorized),
        (amqp("com.microsoft:server-busy"), ErrorKind::Unavailable),
        (amqp("com.microsoft:timeout"), ErrorKind::Timeout),
        (amqp("com.microsoft:entity-disabled"), ErrorKind::Config),
        (amqp("amqp:resource-limit-exceeded"), ErrorKind::Unavailable),
        (amqp("amqp:link:message-size-exceeded"), ErrorKind::Config),
        (amqp("amqp:not-allowed"), ErrorKind::Unsupported),
        (amqp("amqp:link:detach-forced"), ErrorKind::Unavailable),
        (Failure::TooLarge { actual: 2, limit: 1 }, ErrorKind::PayloadTooLarge { actual: 2, limit: 1 }),
        (Failure::Closed, ErrorKind::Unavailable),
        (Failure::Foreign("HTML".into()), ErrorKind::Unsupported),
        (Failure::Settings(ErrorKind::Config.into()), ErrorKind::Config),
    ] {
        let text = format!("{failure:?}");
        let error = error(failure);
        assert_eq!(error.kind(), kind, "{text}");
        assert!(!error.to_string().contains('\n') && !format!("{error:?}").contains("hunter2"));
    }
}

#[test]
fn a_quota_is_told_from_what_is_not_allowed() {
    let refused =
        |sub_code| error(Failure::Http { status: 403, sub_code, detail: String::new() }).to_string();
    assert!(refused(Some(40_300)).contains("quota") && refused(None).contains("quota"));
    assert!(refused(Some(40_301)).contains("does not allow"));
}

#[test]
fn what_service_bus_says_is_the_source() {
    for failure in [
        amqp("amqp:not-found"),
        http(400),
        Failure::Unauthorized("TrackingId:1".into()),
        Failure::Busy { wait: None, detail: "TrackingId:1".into() },
    ] {
        let error = error(failure);
        assert!(error.to_string().starts_with("doing it"));
        assert!(!error.to_string().contains("TrackingId"));
        assert!(error.source().expect("a source").to_string().contains("TrackingId:1"));
    }
}

#[test]
fn a_missing_right_names_the_command_that_gives_it() {
    let refused = |config: &ServiceBusConfig| {
        Failure::Unauthorized(String::new()).into_error("creating topic t", config).to_string()
    };
    let key = refused(&config());
    assert!(key.contains("authorization-rule update -n node --namespace-name prod"), "{key}");
    assert!(key.contains("--rights Manage Send Listen") && key.contains("create_entities=false"), "{key}");
    let few = refused(&config().with_create_entities(false));
    assert!(few.contains("--rights Send Listen;") && !few.contains("Manage"), "{few}");

    let roles = config().with_credential(Credential::Token(Arc::new(NoToken)));
    assert!(refused(&roles).contains("\"Azure Service Bus Data Owner\""));
    let roles = refused(&roles.with_create_entities(false));
    for role in ["\"Azure Service Bus Data Sender\"", "\"Azure Service Bus Data Receiver\""] {
        assert!(roles.contains(role), "{roles}");
    }
    let ready = config().with_credential(Credential::SharedAccessSignature("hunter2".into()));
    assert!(refused(&ready).contains("make a new one for sb://prod.servicebus.windows.net/"));
}

#[test]
fn a_missing_entity_names_the_commands_that_make_it_where_a_node_may_not() {
    let config = config().with_create_entities(false).with_subscription("web-1");
    let missing = Failure::NotFound("topic scaleout-chat-3".into()).into_error("attaching", &config);
    assert_eq!(missing.kind(), ErrorKind::Config);
    let text = missing.to_string();
    assert!(text.contains("topic scaleout-chat-3 is not there"), "{text}");
    assert!(
        text.contains("az servicebus topic create -n scaleout-chat-<0 to 4> --namespace-name prod"),
        "{text}"
    );
    assert!(text.contains("subscription create -n web-1"), "{text}");
    assert_eq!(amqp("amqp:not-found").into_error("attaching", &config).kind(), ErrorKind::Config);
}

#[test]
fn questions_look_through_both_protocols() {
    assert!(Failure::Busy { wait: None, detail: String::new() }.is_busy());
    assert!(amqp("com.microsoft:server-busy").is_busy());
    assert!(!amqp("amqp:not-found").is_busy());
    assert!(Failure::NotFound(String::new()).is_not_found() && amqp("amqp:not-found").is_not_found());
    assert!(!http(404).is_not_found());
    assert!(Failure::Unauthorized(String::new()).is_unauthorized());
    assert!(amqp("amqp:unauthorized-access").is_unauthorized());
    assert!(!Failure::Closed.is_unauthorized());
}
