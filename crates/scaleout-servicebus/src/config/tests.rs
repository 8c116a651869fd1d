use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use proptest::prelude::*;
use scaleout_core::{ErrorKind, provider::Secret};
use scaleout_testkit::servers::TestCa;

use super::*;
use crate::token::{AccessToken, TokenProvider};

fn config() -> ServiceBusConfig {
    ServiceBusConfig::new(
        "chat".parse().unwrap(),
        "x.servicebus.windows.net",
        Credential::shared_access_key("n", "k"),
    )
}

fn parsed(text: &str) -> ServiceBusConfig {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    let error = text.parse::<ServiceBusConfig>().expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!error.to_string().contains('\n'));
    error.to_string()
}

#[derive(Debug)]
struct FixedToken;

impl TokenProvider for FixedToken {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
        async { Ok(AccessToken { secret: "hunter3".into(), expires_at: std::time::SystemTime::UNIX_EPOCH }) }
            .boxed()
    }
}

const SIGNATURE: &str = "SharedAccessSignature sr=sb%3a%2f%2fh&sig=abc%3d&se=4000000000&skn=n";

#[test]
fn the_defaults_work() {
    assert_eq!(config().check().map_err(|error| error.to_string()), Ok(()));
    let credential = Credential::Token(Arc::new(FixedToken));
    assert_eq!(config().with_credential(credential).check().map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn check_names_every_problem_at_once() {
    let wrong = ServiceBusConfig::new("chat".parse().unwrap(), "a b", Credential::shared_access_key("", ""))
        .with_amqp_port(0)
        .with_management_endpoint("http://example.com")
        .with_ca("no PEM")
        .with_topic_prefix("-a")
        .with_topic_count(NonZeroU16::new(65).unwrap())
        .with_subscription("a b")
        .with_epoch(2)
        .with_node_label("--")
        .with_subscription_idle_expiry(Duration::from_secs(299))
        .with_message_ttl(Duration::from_secs(59))
        .with_lock_duration(Duration::from_secs(4))
        .with_max_delivery_count(9)
        .with_max_topic_megabytes(1_000)
        .with_duplicate_window(Duration::from_secs(19))
        .with_max_payload_bytes(0)
        .with_idle_timeout(Duration::from_secs(1))
        .with_keep_alive(Duration::ZERO)
        .with_connect_timeout(Duration::ZERO)
        .with_operation_timeout(Duration::ZERO)
        .with_token_lifetime(Duration::ZERO)
        .with_min_backoff(Duration::ZERO)
        .with_fatal_retry(Duration::ZERO)
        .with_start_jitter(HOUR);
    let text = wrong.check().expect_err("all of it is wrong").to_string();
    for field in [
        "shared_access_key_name is missing",
        "shared_access_key is missing",
        "host is not a name",
        "amqp_port",
        "management_endpoint is http://",
        "ca holds no certificate",
        "topic_prefix",
        "topic_count is above 64",
        "subscription is not 1 to 50",
        "subscription is for create_entities=false",
        "epoch is for create_entities=false",
        "node_label",
        "subscription_idle_expiry",
        "message_ttl",
        "lock_duration",
        "max_delivery_count",
        "max_topic_megabytes",
        "duplicate_window",
        "max_payload_bytes",
        "idle_timeout",
        "keep_alive",
        "connect_timeout",
        "operation_timeout",
        "token_lifetime",
        "min_backoff",
        "fatal_retry",
        "start_jitter",
    ] {
        assert!(text.contains(field), "{field}: {text}");
    }
}

#[test]
fn a_connection_string_of_the_portal_is_understood() {
    let config = parsed(
        "Endpoint=sb://chat.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;\
         SharedAccessKey=ab+/cd==;App=chat",
    );
    assert_eq!(config.host, "chat.servicebus.windows.net");
    assert_eq!((config.amqp_port, config.data_port(), config.tls()), (None, 5671, true));
    assert_eq!(config.credential, Credential::shared_access_key("RootManageSharedAccessKey", "ab+/cd=="));
    assert_eq!(
        config.management_url().map(|url| url.to_string()).as_deref(),
        Some("https://chat.servicebus.windows.net")
    );
    assert_eq!(config.resource_uri("t"), "sb://chat.servicebus.windows.net/t");
}

#[test]
fn a_connection_string_of_the_emulator_is_understood() {
    let config = parsed(
        "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;\
         UseDevelopmentEmulator=true;app=chat;",
    );
    assert_eq!((config.data_port(), config.tls()), (5672, false));
    assert_eq!(config.management_url().map(|url| url.to_string()).as_deref(), Some("http://localhost:5300"));

    let config = parsed(
        " endpoint = sb://[::1]:7000/ ; sharedaccesskeyname=n;SHAREDACCESSKEY=k;useDevelopmentEmulator=True;\
         ManagementEndpoint=http://127.0.0.1:8000;App=chat",
    );
    assert_eq!((config.host.as_str(), config.data_port()), ("::1", 7000));
    let url = config.management_url().unwrap();
    assert_eq!((url.to_string().as_str(), url.is_loopback()), ("http://127.0.0.1:8000", true));
}

#[test]
fn every_option_has_a_place_in_both_forms() {
    let options = [
        ("app", "chat"),
        ("management_endpoint", "https://localhost:1"),
        ("protocol", "amqp"),
        ("topic_prefix", "x."),
        ("topic_count", "8"),
        ("create_entities", "false"),
        ("subscription", "web-1"),
        ("epoch", "3"),
        ("node_label", "web"),
        ("reception", "receive_and_delete"),
        ("subscription_idle_expiry", "5m"),
        ("message_ttl", "1h"),
        ("lock_duration", "30"),
        ("max_delivery_count", "10"),
        ("max_topic_megabytes", "2048"),
        ("duplicate_window", "10m"),
        ("max_payload_bytes", "64KiB"),
        ("idle_timeout", "30s"),
        ("keep_alive", "20s"),
        ("connect_timeout", "5s"),
        ("operation_timeout", "2s"),
        ("token_lifetime", "20m"),
        ("min_backoff", "10ms"),
        ("max_backoff", "1s"),
        ("fatal_retry", "10s"),
        ("start_jitter", "0"),
    ];
    let second = Duration::from_secs(1);
    let expected = config()
        .with_amqp_port(7)
        .with_management_endpoint("https://localhost:1")
        .with_topic_prefix("x.")
        .with_topic_count(NonZeroU16::new(8).unwrap())
        .with_create_entities(false)
        .with_subscription("web-1")
        .with_epoch(3)
        .with_node_label("web")
        .with_reception(Reception::ReceiveAndDelete)
        .with_subscription_idle_expiry(5 * MINUTE)
        .with_message_ttl(HOUR)
        .with_lock_duration(30 * second)
        .with_max_delivery_count(10)
        .with_max_topic_megabytes(2_048)
        .with_duplicate_window(10 * MINUTE)
        .with_max_payload_bytes(64 << 10)
        .with_idle_timeout(30 * second)
        .with_keep_alive(20 * second)
        .with_connect_timeout(5 * second)
        .with_operation_timeout(2 * second)
        .with_token_lifetime(20 * MINUTE)
        .with_min_backoff(Duration::from_millis(10))
        .with_max_backoff(second)
        .with_fatal_retry(10 * second)
        .with_start_jitter(Duration::ZERO);
    let joined = |separator| options.map(|(name, value)| format!("{name}={value}")).join(separator);
    assert_eq!(parsed(&format!("servicebus://n:k@x.servicebus.windows.net:7/?{}", joined("&"))), expected);
    let login = "Endpoint=sb://x.servicebus.windows.net:7;SharedAccessKeyName=n;SharedAccessKey=k";
    assert_eq!(parsed(&format!("{login};{}", joined(";"))), expected);
    let camel = joined(";").replace('_', "");
    assert_eq!(
        parsed(&format!("{login};{}", camel.replace("receiveanddelete", "receive_and_delete"))),
        expected
    );
}

#[test]
fn a_url_is_percent_decoded() {
    let config =
        parsed("servicebus+emulator://Root%20Key:ab%2B%2Fcd+%3D%3D@[::1]:7?app=chat&node_label=a%20b");
    assert_eq!(config.credential, Credential::shared_access_key("Root Key", "ab+/cd+=="));
    assert_eq!((config.host.as_str(), config.amqp_port), ("::1", Some(7)));
    assert!(config.development_emulator);
    assert_eq!(config.node_label.as_deref(), Some("a b"));
}

#[test]
fn a_ready_token_is_a_credential() {
    let expected = Credential::SharedAccessSignature(SIGNATURE.into());
    let text = format!("Endpoint=sb://h;App=chat;SharedAccessSignature={SIGNATURE}");
    assert_eq!(parsed(&text).credential, expected);
    let escaped = percent_encoding::utf8_percent_encode(SIGNATURE, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("servicebus://h/?app=chat&shared_access_signature={escaped}");
    assert_eq!(parsed(&url).credential, expected);
    assert!(refusal(&format!("{text};SharedAccessKey=k")).contains("is a ready token"));
    let told = refusal("Endpoint=sb://h;App=chat;SharedAccessSignature=sr=hunter2");
    assert!(told.contains("shared_access_signature is not") && !told.contains("hunter2"), "{told}");
}

#[test]
fn a_token_provider_takes_a_text_without_credential() {
    let given = || Credential::Token(Arc::new(FixedToken));
    let config = ServiceBusConfig::parse_with("Endpoint=sb://h;App=chat", given()).expect("a good text");
    assert!(matches!(config.credential, Credential::Token(_)));
    let error = ServiceBusConfig::parse_with("servicebus://n:k@h?app=chat", given()).expect_err("both");
    assert!(error.to_string().contains("as well"), "{error}");
}

#[test]
fn what_is_wrong_in_a_connection_string_is_named() {
    let login = "Endpoint=sb://h;SharedAccessKeyName=n;SharedAccessKey=hunter2;App=chat";
    for (text, told) in [
        ("", "app is missing"),
        ("Endpoint=sb://h", "shared_access_key is missing"),
        ("SharedAccessKeyName=n;SharedAccessKey=k;App=chat", "host is missing"),
        ("Endpoint=h;App=chat", "Endpoint is not sb://"),
        ("Endpoint=https://h;App=chat", "Endpoint is not sb://"),
        ("Endpoint=sb://h/t;App=chat", "Endpoint is not sb://"),
        ("Endpoint=sb://h:99999;App=chat", "host is not <name>"),
        ("Endpoint=sb://[::x];App=chat", "host is not <name>"),
        (&format!("{login};EntityPath=t"), "EntityPath"),
        (&format!("{login};Colour=red"), "no option Colour"),
        (&format!("{login};app=other"), "app is given twice"),
        (&format!("{login};Endpoint=sb://h"), "host is given twice"),
        (&format!("{login};TopicCount="), "topic_count is empty"),
        (&format!("{login};TopicCount=many"), "topic_count is not a whole number"),
        (&format!("{login};UseDevelopmentEmulator=perhaps"), "development_emulator is neither"),
        (&format!("{login};TransportType=NetMessaging"), "TransportType"),
        (&format!("{login};Authentication=ManagedIdentity"), "parse_with"),
        (&format!("{login};RuntimePort=1"), "Windows Server"),
        (&format!("{login};nonsense"), "name=value"),
        (&format!("{login};Protocol=smtp"), "none of amqp, websocket, rest"),
        (&format!("{login};ManagementEndpoint=http://h"), "in the clear"),
        (&format!("{login};ManagementEndpoint=https://h/path"), "without a path"),
        (&format!("{login};Subscription=s"), "create_entities=false"),
        (&format!("{login};ca=/nonexistent"), "ca is not the path"),
    ] {
        let problem = refusal(text);
        assert!(problem.contains(told) && !problem.contains("hunter2"), "{text}: {problem}");
    }
}

#[test]
fn a_protocol_is_there_with_its_feature() {
    let login = "Endpoint=sb://h;SharedAccessKeyName=n;SharedAccessKey=hunter2;App=chat";
    for (option, protocol, is_there) in [
        ("TransportType=AmqpWebSockets", Protocol::WebSocket, cfg!(feature = "websocket")),
        ("Protocol=websocket", Protocol::WebSocket, cfg!(feature = "websocket")),
        ("Protocol=rest", Protocol::Rest, cfg!(feature = "rest")),
    ] {
        let text = format!("{login};{option}");
        match text.parse::<ServiceBusConfig>() {
            Ok(config) => assert!(is_there && config.protocol == protocol, "{option}"),
            Err(error) => {
                assert!(!is_there && error.to_string().contains("built without its feature"), "{error}");
            }
        }
    }
}

#[test]
fn what_is_wrong_in_a_url_is_named_without_a_piece_of_the_key() {
    for (text, told) in [
        ("amqps://n:hunter2@h?app=chat", "servicebus://"),
        ("servicebus://n:hunter2/x@h?app=chat", "%2F"),
        ("servicebus://n:hunter2#x@h?app=chat", "%23"),
        ("servicebus://n:hunter2?x@h?app=chat", "%3F"),
        ("servicebus://n:hunter2?topic_count=x@h&app=chat", "topic_count"),
        ("servicebus://n:hunter2@/?app=chat", "host is missing"),
        ("servicebus://n:hunter2@h:x?app=chat", "host is not <name>"),
        ("servicebus://n:hunter2@h/topic?app=chat", "path"),
        ("servicebus://n:hunter2@h?app=chat&app=chat", "app is given twice"),
        ("servicebus://n:hunter2@h?app=Chat", "app is not 1 to 31"),
        ("servicebus://n:hunter2@h?app=chat&node_label=%ff", "not UTF-8"),
        ("servicebus://n:hunter2@h?app=chat&colour=red", "no option colour"),
        ("servicebus://hunter2@h?app=chat", "shared_access_key is missing"),
        ("servicebus://n:hunter2@h?app=chat&amqp_port=1&amqp_port=2", "amqp_port is given twice"),
        ("servicebus+emulator://n:hunter2@h?app=chat&development_emulator=false", "given twice"),
    ] {
        let problem = refusal(text);
        assert!(problem.contains(told) && !problem.contains("hunter2"), "{text}: {problem}");
    }
}

#[test]
fn plain_http_is_for_loopback_and_the_emulator() {
    for (url, emulator, fits) in [
        ("http://127.0.0.1:1", false, true),
        ("http://[::1]:1/", false, true),
        ("http://localhost", false, true),
        ("HTTP://example.com", false, false),
        ("http://example.com", true, true),
        ("https://example.com", false, true),
        ("https://example.com:0", false, false),
        ("https://user@example.com", false, false),
        ("https://example.com?x", false, false),
        ("ftp://example.com", false, false),
        ("example.com", false, false),
    ] {
        let config = config().with_management_endpoint(url).with_development_emulator(emulator);
        assert_eq!(config.check().is_ok(), fits, "{url}");
    }
}

#[test]
fn a_ca_is_checked_and_trusted_besides_those_of_the_system() {
    let ca = TestCa::new().expect("a CA");
    let config = config().with_ca(ca.ca_pem());
    assert_eq!(config.check().map_err(|error| error.to_string()), Ok(()));
    assert!(NodeTls::of(&config).get().is_ok());
    assert!(config.with_development_emulator(true).check().is_err(), "it has no TLS");
}

#[test]
fn debug_shows_fields_and_no_secrets() {
    let text = format!(
        "{:?}",
        config().with_credential(Credential::shared_access_key("n", "hunter2")).with_ca("PEM")
    );
    assert!(text.contains("x.servicebus.windows.net") && !text.contains("hunter2"), "{text}");
    let text =
        format!("{:?}", config().with_credential(Credential::SharedAccessSignature(Secret::from("hunter2"))));
    assert!(!text.contains("hunter2"), "{text}");
}

proptest! {
    #[test]
    fn any_text_is_settings_or_an_error_of_one_line(text in "\\PC{0,200}") {
        if let Err(error) = text.parse::<ServiceBusConfig>() {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_pieces_are_settings_or_an_error(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("servicebus://"), Just("Endpoint=sb://"), Just(";"), Just("&"), Just("?"), Just("@"), Just(":"),
                Just("["), Just("]"), Just("app=chat"), Just("SharedAccessKey="), Just("SharedAccessKeyName="),
                Just("hunter2"), Just("h"), Just("%2"), Just("/"), Just("="), Just("UseDevelopmentEmulator=true"),
                Just("ManagementEndpoint="), Just("7"), Just("é"),
            ],
            0..20,
        ),
    ) {
        let _ = pieces.concat().parse::<ServiceBusConfig>();
    }

    #[test]
    fn any_key_comes_through_both_forms(key in "[!-~]{1,60}") {
        let escaped = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
        let expected = Credential::shared_access_key("n", key.as_str());
        prop_assert_eq!(parsed(&format!("servicebus://n:{escaped}@h?app=chat")).credential, expected.clone());
        if !key.contains(';') {
            let text = format!("Endpoint=sb://h;SharedAccessKeyName=n;App=chat;SharedAccessKey={key}");
            prop_assert_eq!(parsed(&text).credential, expected);
        }
    }
}
