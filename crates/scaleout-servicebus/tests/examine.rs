//! What is found wrong with a namespace, and what an app is found to have left there: all on the emulator.

mod support;

use std::{
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Bus, Error, ErrorKind, Finding, Remnant, Severity};
use scaleout_servicebus::{AccessToken, Credential, ServiceBusBackplane, ServiceBusConfig, TokenProvider};
use servicebus_emulator::{
    Emulator, EntityStatus, Incoming, Right, Rights, SubscriptionProperties, TopicProperties,
    shared_access_token,
};
use tokio::{net::TcpListener, time::timeout};

use self::support::{for_tests, node};

const PATIENCE: Duration = Duration::from_secs(60);

/// Of every policy here, so that no finding may show it.
const KEY: &str = "hunter2+hunter2/hunter2=";

const TOPICS: u16 = 3;

async fn emulator() -> Emulator {
    Emulator::builder()
        .key("owner", KEY, &[Right::Manage])
        .key("few", KEY, &[Right::Send, Right::Listen])
        .key("speaker", KEY, &[Right::Send])
        .key("listener", KEY, &[Right::Listen])
        .start()
        .await
        .expect("free ports")
}

fn config_of(emulator: &Emulator, policy: &str) -> ServiceBusConfig {
    let text = format!("{};App=chat", emulator.connection_string_of(policy, KEY));
    for_tests(text.parse().expect("its own connection string"))
        .with_topic_count(NonZeroU16::new(TOPICS).expect("it is not 0"))
}

fn config(emulator: &Emulator) -> ServiceBusConfig {
    config_of(emulator, "owner")
}

/// Examines, and looks at what all findings have in common.
async fn examine(config: &ServiceBusConfig) -> Vec<Finding> {
    let findings = timeout(PATIENCE, config.examine()).await.expect("it ends");
    assert!(!findings.is_empty());
    for finding in &findings {
        let text = finding.to_string();
        for secret in ["hunter2", "sig=", "sr=", "ey.secret"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(finding.fix.is_some(), finding.severity != Severity::Ok, "{text}");
        assert!(finding.fix.as_ref().is_none_or(|fix| !fix.is_empty()), "{text}");
    }
    findings
}

/// All that is not well, as texts.
fn wrong(findings: &[Finding]) -> Vec<String> {
    findings.iter().filter(|finding| finding.severity != Severity::Ok).map(Finding::to_string).collect()
}

/// Fails unless exactly this is wrong: a finding for each, which begins with the first text and contains the others.
fn expect_wrong(findings: &[Finding], expected: &[&[&str]]) {
    let wrong = wrong(findings);
    assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
    for texts in expected {
        let is_it =
            |found: &&String| found.starts_with(texts[0]) && texts.iter().all(|text| found.contains(text));
        assert_eq!(wrong.iter().filter(is_it).count(), 1, "{texts:?} in {wrong:#?}");
    }
}

fn expect_subjects(findings: &[Finding], expected: &[&str]) {
    let subjects: Vec<_> = findings.iter().map(|finding| finding.subject).collect();
    assert_eq!(subjects, expected, "{findings:#?}");
}

/// As nodes make topics.
fn properties() -> TopicProperties {
    TopicProperties {
        requires_duplicate_detection: true,
        duplicate_detection_window: Duration::from_secs(3_600),
        default_message_ttl: Duration::from_secs(300),
        ..TopicProperties::default()
    }
}

fn topic(index: u16) -> String {
    format!("scaleout-chat-{index}")
}

fn create(emulator: &Emulator, topics: impl IntoIterator<Item = u16>) {
    for index in topics {
        emulator.namespace().create_topic(&topic(index), properties()).expect("it is new");
    }
}

fn subscribe(emulator: &Emulator, topic: &str, name: &str) {
    let properties = SubscriptionProperties {
        lock_duration: Duration::from_secs(5),
        max_delivery_count: 2_000,
        ..SubscriptionProperties::default()
    };
    emulator.namespace().create_subscription(topic, name, properties).expect("it is new");
}

/// All entities and all that is in them, to be compared.
fn state(emulator: &Emulator) -> Vec<String> {
    let namespace = emulator.namespace();
    let topics = namespace.topics(0, usize::MAX);
    let of_topic = |topic: &servicebus_emulator::TopicInfo| {
        let subscriptions = namespace.subscriptions(&topic.name, 0, usize::MAX).expect("it is there");
        let subscriptions: Vec<_> = subscriptions
            .into_iter()
            .map(|it| format!("{} {:?} {:?}", it.name, it.properties, it.counts))
            .collect();
        format!("{} {:?} {} {subscriptions:?}", topic.name, topic.properties, topic.size_bytes)
    };
    topics.iter().map(of_topic).collect()
}

#[tokio::test]
async fn a_namespace_without_topics_is_well() {
    let emulator = emulator().await;
    let findings = examine(&config(&emulator)).await;
    expect_wrong(&findings, &[]);
    expect_subjects(
        &findings,
        &["connection", "clock", "login", "version", "layout", "entities", "permissions"],
    );
    assert!(state(&emulator).is_empty());
}

#[tokio::test]
async fn a_running_app_is_well_and_not_disturbed() {
    let emulator = emulator().await;
    let config = config(&emulator);
    let bus = Bus::builder_from(node(config.clone())).connect().await.expect("it is connected");
    bus.publish("room", "hello").await.expect("it is sent");
    // What was received is settled a moment later.
    let is_settled = || emulator.namespace().topics(0, usize::MAX).iter().all(|topic| topic.size_bytes == 0);
    timeout(PATIENCE, async {
        while !is_settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is settled in time");
    let before = state(&emulator);
    let sent = emulator.faults().figures().sends;
    let findings = examine(&config).await;
    expect_wrong(&findings, &[]);
    let subjects = [
        "connection",
        "clock",
        "login",
        "version",
        "layout",
        "entities",
        "retention",
        "nodes",
        "connection",
        "permissions",
    ];
    expect_subjects(&findings, &subjects);
    assert!(findings[7].what.starts_with("1 nodes"), "{}", findings[7]);
    assert_eq!((state(&emulator), emulator.faults().figures().sends), (before, sent));
    bus.close(PATIENCE).await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_before_anything_is_asked() {
    let emulator = emulator().await;
    let findings = examine(&config(&emulator).with_message_ttl(Duration::ZERO)).await;
    expect_wrong(&findings, &[&["problem: settings: ", "message_ttl is not 1 minute to 24 hours"]]);
    assert_eq!(emulator.faults().figures().management_calls, 0);
}

#[tokio::test]
async fn a_server_that_is_down_is_told() {
    let emulator = emulator().await;
    let config = config(&emulator);
    emulator.stop().await;
    let findings = examine(&config).await;
    let told: &[&str] =
        &["problem: connection: ", "asking http://127.0.0.1", "refused", "start the emulator"];
    expect_wrong(&findings, &[told]);
    let findings = examine(&config.with_create_entities(false).with_subscription("web-1")).await;
    let told: &[&str] =
        &["problem: connection: ", "attaching to topic scaleout-chat-0", "refused", "amqp_port"];
    expect_wrong(&findings, &[told]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_told_in_time() {
    // It accepts, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("it listens"));
    let emulator = emulator().await;
    let config = config(&emulator).with_management_endpoint(url);
    let findings = examine(&config.with_operation_timeout(Duration::from_millis(200))).await;
    expect_wrong(&findings, &[&["problem: connection: ", "no answer within 200ms"]]);
}

#[tokio::test]
async fn a_name_that_is_not_found_is_told() {
    let credential = Credential::shared_access_key("owner", KEY);
    let config = ServiceBusConfig::new("chat".parse().expect("a name"), "nowhere.invalid", credential);
    let findings = examine(&config.with_connect_timeout(Duration::from_secs(2))).await;
    let told: &[&str] = &["problem: connection: ", "the name nowhere.invalid is not found", "set host to"];
    expect_wrong(&findings, &[told]);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told() {
    let emulator = emulator().await;
    let text = format!("{};App=chat", emulator.tls_connection_string());
    let config: ServiceBusConfig = text.parse().expect("its own connection string");
    let findings = examine(&for_tests(config.clone())).await;
    expect_wrong(&findings, &[&["problem: connection: ", "the certificate is not trusted for", "set ca"]]);
    let findings = examine(&for_tests(config.with_ca(emulator.ca_pem()))).await;
    expect_wrong(&findings, &[]);
}

#[tokio::test]
async fn a_closed_port_for_messages_is_told_with_the_way_around_it() {
    let emulator = emulator().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = closed.local_addr().expect("it listens").port();
    drop(closed);
    let text = format!("{};App=chat", emulator.tls_connection_string());
    let config: ServiceBusConfig = text.parse().expect("its own connection string");
    let config = for_tests(config).with_ca(emulator.ca_pem()).with_amqp_port(port);
    let told: &[&str] =
        &["problem: connection: ", &format!("open TCP port {port}"), "protocol=websocket", "refused"];
    expect_wrong(&examine(&config).await, &[told]);
    // Here nobody needs HTTPS, and it is tried all the same.
    let few = Credential::shared_access_key("few", KEY);
    let without = config.with_credential(few).with_create_entities(false).with_subscription("web-1");
    expect_wrong(&examine(&without).await, &[told]);
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_policy_are_told() {
    let emulator = emulator().await;
    for (policy, key) in [("owner", "hunter2 of yesterday"), ("nobody", KEY)] {
        for creates in [true, false] {
            let config = config(&emulator)
                .with_credential(Credential::shared_access_key(policy, key))
                .with_create_entities(creates);
            let findings = examine(&config).await;
            let told: &[&str] = &[
                "problem: login: ",
                &format!("the key of the policy {policy}"),
                &format!("authorization-rule keys list -n {policy}"),
            ];
            expect_wrong(&findings, &[told]);
            // Nothing follows that would say the same again.
            assert_eq!(findings.last().map(|last| last.subject), Some("login"));
        }
    }
}

#[tokio::test]
async fn a_ready_signature_that_has_expired_is_told() {
    let emulator = emulator().await;
    let over = SystemTime::now() - Duration::from_secs(60);
    let token = shared_access_token("sb://127.0.0.1/", "owner", KEY, over);
    let config = config(&emulator).with_credential(Credential::SharedAccessSignature(token.into()));
    let told: &[&str] = &["problem: login: ", "has expired", "make a new one for sb://127.0.0.1/"];
    expect_wrong(&examine(&config).await, &[told]);
}

#[derive(Debug)]
struct Ready;

impl TokenProvider for Ready {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
        let expires_at = SystemTime::now() + Duration::from_secs(3_600);
        async move { Ok(AccessToken { secret: "ey.secret".into(), expires_at }) }.boxed()
    }
}

#[tokio::test]
async fn an_identity_is_told_the_role_that_it_lacks() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    let later = SystemTime::now() + Duration::from_secs(3_600);
    let config = config(&emulator).with_credential(Credential::Token(std::sync::Arc::new(Ready)));
    let unknown = examine(&config).await;
    expect_wrong(&unknown, &[&["problem: login: ", "the access token", "az role assignment create"]]);

    emulator.namespace().register_token("ey.secret", Rights::of(&[Right::Send]), "", later);
    let findings = examine(&config).await;
    let manage: &[&str] =
        &["problem: permissions: ", "lacks the right Manage", "\"Azure Service Bus Data Owner\""];
    let listen: &[&str] =
        &["problem: permissions: ", "lacks the right Listen", "\"Azure Service Bus Data Receiver\""];
    expect_wrong(&findings, &[manage, listen]);

    emulator.namespace().register_token("ey.secret", Rights::ALL, "", later);
    expect_wrong(&examine(&config).await, &[]);
}

#[tokio::test]
async fn a_key_without_manage_is_told_what_gives_it_and_what_works_without() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    let findings = examine(&config_of(&emulator, "few")).await;
    let told: &[&str] = &[
        "problem: permissions: ",
        "the key of the policy few lacks the right Manage",
        "az servicebus namespace authorization-rule update -n few",
        "--rights Manage Send Listen",
        "docs/providers/servicebus.bicep",
        "-p app=chat -p topicPrefix=scaleout- -p topicCount=3",
        "create_entities=false",
    ];
    expect_wrong(&findings, &[told]);
    let held = findings.last().expect("one at least");
    assert_eq!(held.subject, "permissions");
    assert!(held.what.ends_with("gives the rights Send and Listen"), "{held}");
}

#[tokio::test]
async fn topics_that_are_missing_are_told_where_nobody_may_make_them() {
    let emulator = emulator().await;
    create(&emulator, [0]);
    subscribe(&emulator, &topic(0), "web-1");
    let missing: &[&str] =
        &["problem: entities: ", "scaleout-chat-1, scaleout-chat-2", "az deployment group create"];
    let manage: &[&str] = &["problem: permissions: ", "Manage"];
    expect_wrong(&examine(&config_of(&emulator, "few")).await, &[manage, missing]);
    let without = config_of(&emulator, "few").with_create_entities(false).with_subscription("web-1");
    expect_wrong(&examine(&without).await, &[missing]);
    // Whoever may look at them sees the same.
    let owner = config(&emulator).with_create_entities(false).with_subscription("web-1");
    expect_wrong(&examine(&owner).await, &[missing]);

    create(&emulator, [1]);
    let one: &[&str] = &[
        "problem: entities: ",
        "make them: scaleout-chat-2",
        "az servicebus topic create -n scaleout-chat-2",
    ];
    let own: &[&str] = &[
        "problem: entities: ",
        "subscription web-1 of topic scaleout-chat-1 is missing",
        "subscription create -n web-1 --topic-name scaleout-chat-1",
    ];
    expect_wrong(&examine(&without).await, &[one, own]);
    expect_wrong(&examine(&owner).await, &[one, own]);
}

#[tokio::test]
async fn rights_to_send_and_to_listen_are_told_apart() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    (0..TOPICS).for_each(|index| subscribe(&emulator, &topic(index), "web-1"));
    let of = |policy| config_of(&emulator, policy).with_create_entities(false).with_subscription("web-1");
    for (policy, lacks) in [("listener", "Send"), ("speaker", "Listen")] {
        let told: &[&str] = &[
            "problem: permissions: ",
            &format!("lacks the right {lacks}"),
            &format!("authorization-rule update -n {policy}"),
            "--rights Send Listen",
        ];
        expect_wrong(&examine(&of(policy)).await, &[told]);
    }
    expect_wrong(&examine(&of("few")).await, &[]);
    // One that only publishes needs neither a subscription nor the right.
    let publishes = config_of(&emulator, "speaker").with_create_entities(false);
    expect_wrong(&examine(&publishes).await, &[&["warning: entities: ", "subscription is not set"]]);
}

#[tokio::test]
async fn a_wrong_clock_is_told_by_what_follows_from_it() {
    let emulator = emulator().await;
    let config = config(&emulator);
    // By how much theirs is ahead, and what is told.
    let cases: [(i64, &[&str]); 4] = [
        (90, &["warning: clock: ", " behind that of Service Bus", "expire so much sooner", "timedatectl"]),
        (-90, &["warning: clock: ", " ahead of that of Service Bus", "for so much longer", "timedatectl"]),
        // It is renewed a quarter of an hour before it is over.
        (1_200, &["problem: clock: ", "expire before they are renewed", "timedatectl"]),
        (7_200, &["problem: clock: ", "have expired when they arrive", "timedatectl"]),
    ];
    for (ahead, told) in cases {
        emulator.namespace().set_clock(ahead);
        let findings = examine(&config).await;
        expect_wrong(&findings, &[told]);
        // Where every token is refused for it, nothing follows.
        let last = findings.last().expect("one at least");
        assert_eq!(last.subject, if ahead < 7_200 { "permissions" } else { "clock" }, "{last}");
    }
    emulator.namespace().set_clock(0);
    expect_wrong(&examine(&config).await, &[]);
}

#[tokio::test]
async fn a_topic_that_is_not_as_nodes_make_it_is_told() {
    let emulator = emulator().await;
    let unlike = [
        TopicProperties { requires_duplicate_detection: false, ..properties() },
        TopicProperties { enable_partitioning: true, ..properties() },
        TopicProperties {
            status: EntityStatus::Disabled,
            default_message_ttl: Duration::from_secs(60),
            ..properties()
        },
    ];
    for (index, properties) in (0..).zip(unlike) {
        emulator.namespace().create_topic(&topic(index), properties).expect("it is new");
    }
    let duplicates: &[&str] = &[
        "warning: entities: topic scaleout-chat-0 does not detect duplicates",
        "az servicebus topic create -n scaleout-chat-0",
        "--enable-duplicate-detection true",
    ];
    let partitioned: &[&str] = &[
        "problem: entities: topic scaleout-chat-1 is partitioned",
        "az servicebus topic delete -n scaleout-chat-1",
        "--enable-partitioning false",
    ];
    let disabled: &[&str] = &[
        "problem: entities: topic scaleout-chat-2 is disabled",
        "az servicebus topic update",
        "--status Active",
    ];
    let short: &[&str] = &[
        "warning: retention: topic scaleout-chat-2 keeps messages for 60s",
        "--default-message-time-to-live PT5M",
    ];
    expect_wrong(&examine(&config(&emulator)).await, &[duplicates, partitioned, disabled, short]);
}

#[tokio::test]
async fn a_topic_that_is_nearly_full_is_told() {
    let emulator = emulator().await;
    create(&emulator, 1..TOPICS);
    let small = TopicProperties { max_size_megabytes: 1, ..properties() };
    emulator.namespace().create_topic(&topic(0), small).expect("it is new");
    subscribe(&emulator, &topic(0), "gone-0123456789abcdef");
    let fill = || {
        let message = Incoming { bare: Bytes::from(vec![0; 220_000]), ..Incoming::default() };
        emulator.namespace().publish(&topic(0), vec![message])
    };
    (0..3).for_each(|_| fill().expect("there is room"));
    expect_wrong(&examine(&config(&emulator)).await, &[]);
    fill().expect("there is room");
    let told: &[&str] = &["warning: entities: topic scaleout-chat-0 holds 0 of 1 MiB", "--max-size"];
    expect_wrong(&examine(&config(&emulator)).await, &[told]);
}

#[tokio::test]
async fn a_topic_with_nearly_as_many_subscriptions_as_there_may_be_is_told() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    let more = |from: u32, to: u32| {
        (from..to).for_each(|number| subscribe(&emulator, &topic(1), &format!("gone-{number:016x}")));
    };
    more(0, 1_799);
    expect_wrong(&examine(&config(&emulator)).await, &[]);
    more(1_799, 1_800);
    let told: &[&str] = &["warning: entities: topic scaleout-chat-1 has 1800 of at most 2000 subscriptions"];
    expect_wrong(&examine(&config(&emulator)).await, &[told]);
    more(1_800, 2_000);
    let told: &[&str] =
        &["problem: entities: ", "no node that receives can start", "subscription_idle_expiry"];
    expect_wrong(&examine(&config(&emulator)).await, &[told]);
}

#[tokio::test]
async fn the_layout_of_another_topic_count_is_told_with_both() {
    let emulator = emulator().await;
    create(&emulator, 0..5);
    let told: &[&str] = &[
        "problem: layout: ",
        "the app chat has 5 topics, and topic_count is 3",
        "set it to 5 on all nodes, or stop all nodes and delete the topics scaleout-chat-*",
    ];
    expect_wrong(&examine(&config(&emulator)).await, &[told]);
    let five = config(&emulator).with_topic_count(NonZeroU16::new(5).expect("it is not 0"));
    expect_wrong(&examine(&five).await, &[]);
}

#[tokio::test]
async fn topics_that_another_application_occupies_are_told() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    subscribe(&emulator, &topic(0), "web-0123456789abcdef");
    for name in ["billing", "audit"] {
        subscribe(&emulator, &topic(2), name);
    }
    let told: &[&str] = &[
        "warning: layout: ",
        "another application uses topics of the app chat",
        "2 subscriptions",
        "scaleout-chat-2/audit, scaleout-chat-2/billing",
        "set another app or topic_prefix",
    ];
    expect_wrong(&examine(&config(&emulator)).await, &[told]);
}

#[tokio::test]
async fn a_subscription_that_is_not_as_its_node_expects_is_told() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    for (index, status, seconds) in [(0, EntityStatus::ReceiveDisabled, 5), (1, EntityStatus::Active, 60)] {
        let properties = SubscriptionProperties {
            status,
            lock_duration: Duration::from_secs(seconds),
            ..SubscriptionProperties::default()
        };
        emulator.namespace().create_subscription(&topic(index), "web-1", properties).expect("it is new");
    }
    subscribe(&emulator, &topic(2), "web-1");
    let disabled: &[&str] =
        &["problem: entities: subscription web-1 of topic scaleout-chat-0 is disabled", "--status Active"];
    let lock: &[&str] = &[
        "warning: entities: subscription web-1 of topic scaleout-chat-1 locks messages for 60s",
        "--lock-duration PT5S",
    ];
    let config = config(&emulator).with_create_entities(false).with_subscription("web-1");
    let findings = examine(&config).await;
    let found: Vec<_> = wrong(&findings);
    for texts in [disabled, lock] {
        assert!(
            found.iter().any(|found| texts.iter().all(|text| found.contains(text))),
            "{texts:?}: {found:#?}"
        );
    }
}

#[tokio::test]
async fn what_an_app_left_is_listed_and_removed_and_nothing_else() {
    let emulator = emulator().await;
    let config = config(&emulator);
    // More topics than the settings say, with a hole, and others whose names begin alike or are spelt otherwise.
    create(&emulator, [0, 2, 10]);
    subscribe(&emulator, &topic(0), "web-0123456789abcdef");
    subscribe(&emulator, &topic(0), "audit");
    let others = [
        "scaleout-chat",
        "scaleout-chat-0-0",
        "scaleout-chat-00",
        "scaleout-chat-x",
        "scaleout-chat2-0",
        "orders",
    ];
    for other in others {
        emulator.namespace().create_topic(other, TopicProperties::default()).expect("it is new");
        subscribe(&emulator, other, "keep");
    }
    let message = Incoming { bare: Bytes::from(vec![0; 2_048]), ..Incoming::default() };
    emulator.namespace().publish(&topic(0), vec![message.clone()]).expect("it is there");
    emulator.namespace().publish("scaleout-chat-0-0", vec![message]).expect("it is there");
    let kept: Vec<_> = state(&emulator).into_iter().filter(|topic| topic.contains("keep")).collect();
    assert_eq!(kept.len(), others.len());

    let remnants = config.remnants().await.expect("it answers");
    let shown: Vec<_> = remnants.iter().map(Remnant::to_string).collect();
    let expected = [
        "topic scaleout-chat-0 (2 subscriptions, 4.0 KiB)",
        "subscription scaleout-chat-0/Subscriptions/audit (1 messages)",
        "subscription scaleout-chat-0/Subscriptions/web-0123456789abcdef (1 messages)",
        "topic scaleout-chat-2 (0 subscriptions, 0 bytes)",
        "topic scaleout-chat-10 (0 subscriptions, 0 bytes)",
    ];
    assert_eq!(shown, expected);

    assert_eq!(config.remove_remnants().await.expect("it answers"), remnants);
    assert_eq!(state(&emulator), kept);
    assert!(config.remnants().await.expect("it answers").is_empty());
    assert!(config.remove_remnants().await.expect("it answers").is_empty());
}

#[tokio::test]
async fn what_a_running_app_has_is_removed_and_made_anew() {
    let emulator = emulator().await;
    let config = config(&emulator);
    let backplane = ServiceBusBackplane::new(config.clone()).expect("settings that work");
    let bus = Bus::builder(backplane.clone()).connect().await.expect("it is connected");
    let removed = config.remove_remnants().await.expect("it answers");
    let subscriptions: Vec<_> = removed.iter().filter(|remnant| remnant.kind == "subscription").collect();
    assert_eq!((removed.len(), subscriptions.len()), (6, 3), "{removed:?}");
    for subscription in subscriptions {
        assert!(subscription.name.ends_with(backplane.subscription()), "{subscription}");
    }
    timeout(PATIENCE, bus.publish("room", "hello")).await.expect("in time").expect("it is sent");
    bus.close(PATIENCE).await;
    assert!(!config.remnants().await.expect("it answers").is_empty());
}

#[tokio::test]
async fn what_somebody_else_made_is_listed_and_not_removed() {
    let emulator = emulator().await;
    create(&emulator, 0..TOPICS);
    let without = config(&emulator).with_create_entities(false).with_subscription("web-1");
    assert_eq!(without.remnants().await.expect("it answers").len(), usize::from(TOPICS));
    let before = state(&emulator);
    let error = without.remove_remnants().await.expect_err("they are of somebody else");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(state(&emulator), before);
    // Without Manage nobody can say.
    let error = config_of(&emulator, "few").remnants().await.expect_err("it may not");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}
