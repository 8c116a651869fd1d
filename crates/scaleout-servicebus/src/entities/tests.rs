use std::{
    collections::BTreeSet,
    num::NonZeroU16,
    sync::atomic::AtomicU32,
    time::{Duration, UNIX_EPOCH},
};

use futures_util::future::{join_all, try_join_all};
use servicebus_emulator::{Emulator, Endpoint, Right};

use super::*;
use crate::test_server::{Asked, TestServer, answer, entry, feed, refusal};

/// The emulator, listening for HTTP alone.
async fn emulator() -> Emulator {
    Emulator::builder().start().await.expect("free ports")
}

fn config(emulator: &Emulator, topics: u16) -> ServiceBusConfig {
    let text = format!("{};App=chat;NodeLabel=here;StartJitter=20ms", emulator.connection_string());
    let config: ServiceBusConfig = text.parse().expect("its own connection string");
    config.with_topic_count(NonZeroU16::new(topics).expect("not 0"))
}

fn entities(config: ServiceBusConfig) -> Entities {
    let tokens = Arc::new(Tokens::new(&config));
    let config = Arc::new(config);
    Entities::new(Arc::clone(&config), tokens, &NodeTls::of(&config)).expect("good settings")
}

async fn subscribe(entities: &Entities, stream: u16) -> Result<bool, Error> {
    let name = entities.subscription();
    entities.ensure_subscription(StreamIndex(stream), name).await
}

fn topics(emulator: &Emulator) -> Vec<String> {
    let mut names: Vec<_> =
        emulator.namespace().topics(0, usize::MAX).into_iter().map(|topic| topic.name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn topics_are_created_with_what_a_node_needs() {
    let emulator = emulator().await;
    let entities = entities(config(&emulator, 3));
    entities.ensure_layout().await.unwrap();
    assert_eq!(topics(&emulator), ["scaleout-chat-0", "scaleout-chat-1", "scaleout-chat-2"]);
    for topic in emulator.namespace().topics(0, 10) {
        let properties = topic.properties;
        assert!(properties.requires_duplicate_detection);
        assert_eq!(properties.duplicate_detection_window, Duration::from_secs(3_600));
        assert_eq!(properties.default_message_ttl, Duration::from_secs(300));
    }
    let created = emulator.namespace().topic("scaleout-chat-1").expect("it is there").times.created_at;
    let micros = created.duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let epoch = entities.epoch(StreamIndex(1)).await.unwrap().expect("it is there");
    assert_eq!(u128::from(epoch.0), micros);
    assert_eq!(entities.topic(StreamIndex(1)), "scaleout-chat-1");
}

#[tokio::test]
async fn a_subscription_is_created_once_and_removed() {
    let emulator = emulator().await;
    let entities = entities(config(&emulator, 2));
    entities.ensure_layout().await.unwrap();
    assert!(subscribe(&entities, 1).await.unwrap());
    assert!(!subscribe(&entities, 1).await.unwrap());
    let name = entities.subscription();
    assert!(name.starts_with("here-") && name.len() == 21, "{name}");
    let found = emulator.namespace().subscription("scaleout-chat-1", name).expect("it is there");
    assert_eq!(found.properties.lock_duration, Duration::from_secs(5));
    assert_eq!(found.properties.max_delivery_count, 2_000);
    assert_eq!(found.properties.default_message_ttl, Duration::from_secs(300));
    assert_eq!(found.properties.auto_delete_on_idle, Duration::from_secs(600));
    entities.remove_subscription(StreamIndex(1), name).await.unwrap();
    assert!(emulator.namespace().subscription("scaleout-chat-1", name).is_none());
    entities.remove_subscription(StreamIndex(1), name).await.unwrap();
    assert!(subscribe(&entities, 1).await.unwrap());
}

#[tokio::test]
async fn twenty_nodes_start_at_once_on_an_empty_namespace() {
    let emulator = emulator().await;
    let nodes: Vec<_> = (0..20).map(|_| entities(config(&emulator, 5))).collect();
    let started = nodes.iter().map(|node| async move {
        node.ensure_layout().await?;
        for stream in 0..5 {
            node.ensure_topic(StreamIndex(stream)).await?;
            assert!(subscribe(node, stream).await?);
        }
        Ok::<_, Error>(())
    });
    try_join_all(started).await.unwrap();
    assert_eq!(topics(&emulator).len(), 5);
    let names: BTreeSet<_> = nodes.iter().map(Entities::subscription).collect();
    assert_eq!(names.len(), 20);
    for topic in topics(&emulator) {
        assert_eq!(emulator.namespace().subscriptions(&topic, 0, 100).unwrap().len(), 20);
    }
    // All nodes agree on the epochs.
    let epochs = nodes.iter().map(|node| node.epoch(StreamIndex(0)));
    let epochs: BTreeSet<_> = join_all(epochs).await.into_iter().map(|epoch| epoch.unwrap()).collect();
    assert_eq!(epochs.len(), 1);
}

#[tokio::test]
async fn another_count_is_refused_with_both() {
    let emulator = emulator().await;
    entities(config(&emulator, 3)).ensure_layout().await.unwrap();
    for (count, told) in [(2, "topic_count is 2"), (8, "topic_count is 8")] {
        let other = entities(config(&emulator, count));
        let error = other.ensure_layout().await.expect_err("another count");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("has 3 topics") && text.contains(told), "{text}");
        assert!(text.contains("set it to 3"), "{text}");
    }
    assert_eq!(topics(&emulator).len(), 3);
    // It is looked at again after an error.
    for topic in topics(&emulator) {
        emulator.namespace().delete_topic(&topic).unwrap();
    }
    entities(config(&emulator, 2)).ensure_layout().await.unwrap();
}

#[tokio::test]
async fn an_app_whose_name_begins_like_another_one_is_left_alone() {
    let emulator = emulator().await;
    let other = config(&emulator, 7);
    let other = ServiceBusConfig { app: "chat-1".parse().unwrap(), ..other };
    entities(other).ensure_layout().await.unwrap();
    entities(config(&emulator, 2)).ensure_layout().await.unwrap();
    assert_eq!(topics(&emulator).len(), 9);
}

#[tokio::test]
async fn a_topic_that_was_deleted_is_created_again_as_a_greater_epoch() {
    let emulator = emulator().await;
    let entities = entities(config(&emulator, 2));
    entities.ensure_layout().await.unwrap();
    let stream = StreamIndex(0);
    let before = entities.ensure_topic(stream).await.unwrap();
    assert!(subscribe(&entities, 0).await.unwrap());
    emulator.namespace().delete_topic("scaleout-chat-0").unwrap();
    assert_eq!(entities.epoch(stream).await.unwrap(), None);
    let missing = subscribe(&entities, 0).await.expect_err("no topic");
    assert_eq!(missing.kind(), ErrorKind::Unavailable);
    assert!(missing.to_string().contains("topic scaleout-chat-0 is not there"), "{missing}");
    let after = entities.ensure_topic(stream).await.unwrap();
    assert!(after > before);
    assert!(subscribe(&entities, 0).await.unwrap());
}

#[tokio::test]
async fn a_key_without_manage_is_told_what_it_lacks() {
    let emulator = Emulator::builder()
        .key("all", "hunter1", &[Right::Manage])
        .key("few", "hunter2", &[Right::Send, Right::Listen])
        .start()
        .await
        .expect("free ports");
    let text = format!("{};App=chat;StartJitter=0", emulator.connection_string_of("few", "hunter2"));
    let entities = entities(text.parse().unwrap());
    let error = entities.ensure_layout().await.expect_err("it may not");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let text = error.to_string();
    assert!(text.contains("policy few") && text.contains("Manage"), "{text}");
    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
}

#[tokio::test]
async fn entities_are_reached_by_tls_with_a_configured_ca_alone() {
    let emulator = emulator().await;
    let url = format!("https://{}", emulator.address(Endpoint::Https).expect("it listens"));
    let config = config(&emulator, 1).with_development_emulator(false).with_management_endpoint(url);
    let trusting = config.clone().with_ca(emulator.ca_pem());
    entities(trusting).ensure_layout().await.unwrap();
    let error = entities(config).ensure_layout().await.expect_err("nobody vouches for it");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn without_the_right_to_create_nothing_is_asked() {
    let server = TestServer::start(|_| refusal(500, "nobody should ask")).await;
    let config = server.config().with_create_entities(false).with_epoch(7);
    let receiving = entities(config.clone().with_subscription("web-1"));
    let stream = StreamIndex(0);
    receiving.ensure_layout().await.unwrap();
    assert_eq!(receiving.epoch(stream).await.unwrap(), Some(Epoch(7)));
    assert_eq!(receiving.ensure_topic(stream).await.unwrap(), Epoch(7));
    assert!(!subscribe(&receiving, 0).await.unwrap());
    receiving.remove_subscription(stream, "web-1").await.unwrap();
    assert_eq!(receiving.subscription(), "web-1");
    assert!(server.lines().is_empty());
    let error = subscribe(&entities(config), 0).await.expect_err("none is configured");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("subscription is missing"), "{error}");
}

const CREATED: &str = "<CreatedAt>2026-11-21T21:39:27.1234567Z</CreatedAt>";

/// A server with one topic of these fields.
async fn one_topic(fields: &'static str) -> TestServer {
    TestServer::start(move |_| {
        answer(200, "", &entry("t", "TopicDescription", &format!("{CREATED}{fields}")))
    })
    .await
}

#[tokio::test]
async fn a_topic_that_is_of_no_use_is_refused() {
    for (fields, told) in [
        ("<EnablePartitioning>true</EnablePartitioning>", "partitioned"),
        ("<Status>Disabled</Status>", "is disabled"),
        ("<Status>SendDisabled</Status>", "is disabled"),
    ] {
        let server = one_topic(fields).await;
        let error = entities(server.config()).epoch(StreamIndex(0)).await.expect_err(told);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn the_window_of_duplicates_is_that_of_the_topic_where_it_is_shorter() {
    let stream = StreamIndex(0);
    for (fields, seconds) in [
        ("", 3_600),
        (
            "<RequiresDuplicateDetection>true</RequiresDuplicateDetection><DuplicateDetectionHistoryTimeWindow>PT10M\
             </DuplicateDetectionHistoryTimeWindow>",
            600,
        ),
        (
            "<RequiresDuplicateDetection>true</RequiresDuplicateDetection><DuplicateDetectionHistoryTimeWindow>P1D\
             </DuplicateDetectionHistoryTimeWindow>",
            3_600,
        ),
        ("<DuplicateDetectionHistoryTimeWindow>PT10M</DuplicateDetectionHistoryTimeWindow>", 3_600),
    ] {
        let server = one_topic(fields).await;
        let entities = entities(server.config());
        assert_eq!(entities.duplicate_window(stream), Duration::from_secs(3_600));
        assert_eq!(entities.epoch(stream).await.unwrap(), Some(Epoch(1_795_297_167_123_456)));
        assert_eq!(entities.duplicate_window(stream), Duration::from_secs(seconds), "{fields}");
    }
}

/// Answers with the first of `refusals` as often as asked, and then as `then` says.
async fn after(
    count: u32,
    refused: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    then: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
) -> TestServer {
    let asked = AtomicU32::new(0);
    TestServer::start(move |request| match asked.fetch_add(1, Ordering::Relaxed) < count {
        true => refused(),
        false => then(request),
    })
    .await
}

#[tokio::test]
async fn what_passes_is_asked_for_again_a_few_times() {
    let passing: [fn() -> Vec<u8>; 5] = [
        || refusal(500, "SubCode=50000. Internal Server Error."),
        || refusal(503, ""),
        || refusal(429, ""),
        || refusal(409, "SubCode=40901. Another conflicting operation is in progress."),
        || refusal(504, "<html>"),
    ];
    for refused in passing {
        let server = after(4, refused, |_| feed("")).await;
        assert_eq!(entities(server.config()).epoch(StreamIndex(0)).await.unwrap(), None);
        assert_eq!(server.lines().len(), 5);
        let server = after(u32::MAX, refused, |_| feed("")).await;
        let error = entities(server.config()).epoch(StreamIndex(0)).await.expect_err("it never passes");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(server.lines().len(), 5);
    }
}

#[tokio::test]
async fn what_does_not_pass_is_asked_for_once() {
    for (status, kind) in [
        (400, ErrorKind::Config),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Config),
        (405, ErrorKind::Unsupported),
    ] {
        let server = TestServer::start(move |_| refusal(status, "no")).await;
        let error = entities(server.config()).epoch(StreamIndex(0)).await.expect_err("it is refused");
        assert_eq!(error.kind(), kind);
        assert_eq!(server.lines().len(), 1, "{status}");
    }
    let server = TestServer::start(|_| Vec::new()).await;
    let error = entities(server.config()).epoch(StreamIndex(0)).await.expect_err("it hangs up");
    assert_eq!((error.kind(), server.lines().len()), (ErrorKind::Unavailable, 1));
}

#[tokio::test]
async fn topics_are_created_from_the_highest_to_the_lowest_between_two_lists() {
    let server = TestServer::start(|asked| match asked.method.as_str() {
        "GET" => feed(&entry("Scaleout-Chat-4", "TopicDescription", "")),
        _ => refusal(409, "SubCode=40900."),
    })
    .await;
    let entities = entities(server.config());
    let both = tokio::join!(entities.ensure_layout(), entities.ensure_layout());
    assert!(both.0.is_ok() && both.1.is_ok());
    entities.ensure_layout().await.unwrap();
    let list = "GET /$Resources/topics?$skip=0&$top=100&api-version=2021-05".to_owned();
    let put = |index: u16| format!("PUT /scaleout-chat-{index}?api-version=2021-05");
    assert_eq!(server.lines(), [list.clone(), put(3), put(2), put(1), put(0), list]);
}

#[tokio::test]
async fn a_subscription_that_is_there_is_looked_at() {
    for (found, kind, told) in [
        (feed(""), ErrorKind::Unavailable, "neither there"),
        (
            answer(200, "", &entry("s", "SubscriptionDescription", "<Status>ReceiveDisabled</Status>")),
            ErrorKind::Config,
            "disabled",
        ),
    ] {
        let server = TestServer::start(move |asked| match asked.method.as_str() {
            "PUT" => refusal(409, "SubCode=40900. Conflict."),
            _ => found.clone(),
        })
        .await;
        let error = subscribe(&entities(server.config()), 0).await.expect_err(told);
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(told), "{error}");
    }
}
