//! The chat from outside: two nodes over one store, and clients that know nothing but the protocol.

use std::time::Duration;

use scaleout::{BusConfig, MemoryStore, QueuePolicy};
use scaleout_tests::{ChatNode, Client, DEADLINE, Heard, get};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

const RESTART: Option<u16> = Some(1012);
const POLICY: Option<u16> = Some(1008);
const SIZE: Option<u16> = Some(1009);

async fn two_nodes(config: BusConfig) -> (ChatNode, ChatNode) {
    let store = MemoryStore::default();
    (ChatNode::start(&store, config.clone()).await, ChatNode::start(&store, config).await)
}

#[tokio::test]
async fn what_is_said_on_one_node_is_heard_on_the_other_in_order() {
    let (alpha, beta) = two_nodes(BusConfig::default()).await;
    let mut ada = Client::join(alpha.address, "lobby", "Ada").await;
    let mut grace = Client::join(beta.address, "lobby", "Grace").await;
    let mut elsewhere = Client::join(beta.address, "attic", "Linus").await;
    for number in 0..50 {
        ada.say(&number.to_string()).await;
    }
    for number in 0..50 {
        let message = grace.expect("message").await;
        assert_eq!(message["text"], number.to_string());
        assert_eq!(
            (&message["user"], &message["node"]),
            (&json!("Ada"), &json!(alpha.bus.node().to_string()))
        );
        assert_eq!(ada.text().await, number.to_string());
    }
    grace.say("\u{1f980} <b>\"'").await;
    assert_eq!(ada.text().await, "\u{1f980} <b>\"'");
    elsewhere.say("another room").await;
    assert_eq!(elsewhere.text().await, "another room");
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_client_whose_node_closes_goes_on_at_the_other_and_hears_everything_once() {
    const MESSAGES: usize = 300;
    let (alpha, beta) = two_nodes(BusConfig::default()).await;
    let mut reader = Client::join(alpha.address, "lobby", "Ada").await;
    let writer = Client::join(beta.address, "lobby", "Grace").await;
    let writing = tokio::spawn(async move {
        let mut writer = writer;
        for number in 0..MESSAGES {
            writer.say(&number.to_string()).await;
            // One at a time, so that the hop falls between some of them.
            assert_eq!(writer.text().await, number.to_string());
        }
    });
    let mut heard = Vec::new();
    while heard.len() < MESSAGES / 3 {
        heard.push(reader.text().await);
    }
    let stopping = tokio::spawn(alpha.stop());
    loop {
        match reader.hear().await {
            Heard::Json(json) if json["type"] == "message" => heard.push(text(&json)),
            Heard::Json(json) => assert_eq!(json["type"], "cursor", "{json}"),
            Heard::Closed(code) => break assert_eq!(code, RESTART),
        }
    }
    let mut reader = Client::resume(beta.address, "lobby", "Ada", &reader.cursor).await;
    while heard.len() < MESSAGES {
        heard.push(reader.text().await);
    }
    writing.await.unwrap();
    reader.say("over").await;
    assert_eq!(reader.text().await, "over", "nothing came twice");
    let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(heard, expected);
    stopping.await.unwrap();
    beta.stop().await;
}

#[tokio::test]
async fn an_idle_client_in_a_quiet_room_resumes_without_a_gap_after_the_ring_has_turned_over_twice() {
    const RING_BYTES: usize = 64 << 10;
    let (alpha, beta) = two_nodes(BusConfig::default().with_max_ring_bytes(RING_BYTES)).await;
    // Both rooms on one stream: else the noise would not move the quiet room's cursor.
    let stream = |room: &str| alpha.bus.stream_of(&format!("room:{room}"));
    let quiet = (0..).map(|n| format!("quiet-{n}")).find(|room| stream(room) == stream("noisy")).unwrap();

    let mut idle = Client::join(alpha.address, &quiet, "Ada").await;
    let mut noise = Client::join(alpha.address, "noisy", "Grace").await;
    let mut observer = Client::join(beta.address, "noisy", "Linus").await;
    let before_the_noise = observer.cursor.clone();
    let large = "x".repeat(4 << 10);
    for _ in 0..=2 * RING_BYTES / large.len() {
        noise.say(&large).await;
        noise.text().await;
        observer.text().await;
    }
    // The ring did turn over: who stayed where the noise began has lost something, and is told.
    let mut late = Client::resume(beta.address, "noisy", "Linus", &before_the_noise).await;
    let gap = late.expect("gap").await;
    assert_eq!(gap["reason"], "expired");
    assert!(gap["missing"].as_u64().is_none_or(|missing| missing > 0), "{gap}");

    // The heartbeat brings the idle client to where somebody stands who enters now.
    let now = alpha.bus.subscribe([format!("room:{quiet}")]).cursor().to_string();
    while idle.cursor != now {
        idle.expect("cursor").await;
    }
    let mut idle = Client::resume(beta.address, &quiet, "Ada", &idle.cursor).await;
    idle.say("still here").await;
    assert_eq!(idle.text().await, "still here");
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_cursor_that_cannot_be_read_is_an_error_and_the_client_goes_on_from_now() {
    let (alpha, beta) = two_nodes(BusConfig::default()).await;
    for wrong in ["not-a-cursor", "%00", &"9".repeat(2000)] {
        let mut client = Client::connect(alpha.address, &format!("room=lobby&user=Ada&cursor={wrong}")).await;
        client.expect("error").await;
        client.expect("hello").await;
        client.say("here").await;
        assert_eq!(client.text().await, "here");
    }
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_an_error_and_the_connection_goes_on() {
    let (alpha, beta) = two_nodes(BusConfig::default()).await;
    let mut client = Client::join(alpha.address, "lobby", "Ada").await;
    let long = json!({ "text": "x".repeat(5000) }).to_string();
    for wrong in ["", "{", "[]", r#"{"text":1}"#, r#"{"text":"  "}"#, &long] {
        client.send(Message::text(wrong)).await;
        client.expect("error").await;
    }
    client.send(Message::binary(vec![0xff; 10])).await;
    client.expect("error").await;
    client.say("still here").await;
    assert_eq!(client.text().await, "still here");

    // Beyond what a node reads at all, the connection ends, and no other.
    let mut other = Client::join(alpha.address, "lobby", "Grace").await;
    client.send(Message::text("x".repeat(100 << 10))).await;
    client.expect("error").await;
    assert_eq!(client.closed().await, SIZE);
    other.say("unharmed").await;
    assert_eq!(other.text().await, "unharmed");
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn names_that_are_refused_close_the_connection_with_the_reason() {
    let (alpha, beta) = two_nodes(BusConfig::default()).await;
    for query in
        ["", "room=lobby", "user=Ada", "room=%20&user=Ada", &format!("room=lobby&user={}", "x".repeat(33))]
    {
        let mut client = Client::connect(alpha.address, query).await;
        client.expect("error").await;
        assert_eq!(client.closed().await, POLICY, "{query}");
    }
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_is_told_what_it_missed() {
    const MESSAGES: usize = 3000;
    let (alpha, beta) = two_nodes(BusConfig::default().with_max_ring_bytes(1 << 20)).await;
    let mut slow = Client::join(alpha.address, "lobby", "Slow").await;
    let mut fast = Client::join(alpha.address, "lobby", "Fast").await;
    let writer = Client::join(beta.address, "lobby", "Grace").await;
    // More than the sockets' buffers hold: the node cannot get rid of it.
    let padding = "x".repeat(4000);
    let writing = tokio::spawn(async move {
        let mut writer = writer;
        for number in 0..MESSAGES {
            writer.say(&format!("{number} {padding}")).await;
            writer.text().await;
        }
    });
    for number in 0..MESSAGES {
        assert!(fast.text().await.starts_with(&format!("{number} ")));
    }
    writing.await.unwrap();

    let mut next = 0;
    let (mut gaps, mut told) = (Vec::new(), 0);
    while next < MESSAGES {
        match slow.hear().await {
            Heard::Json(json) if json["type"] == "message" => {
                let number: usize = text(&json).split(' ').next().unwrap().parse().unwrap();
                let missing = json!(number - next);
                assert!(number == next || gaps.pop() == Some(missing), "{next} was expected, not {number}");
                next = number + 1;
            }
            Heard::Json(json) if json["type"] == "gap" => {
                assert_eq!(json["reason"], "lagged");
                gaps.push(json["missing"].clone());
                told += 1;
            }
            Heard::Json(json) => assert_eq!(json["type"], "cursor", "{json}"),
            Heard::Closed(code) => panic!("closed with {code:?}"),
        }
    }
    assert!(gaps.is_empty(), "a gap that nothing is missing in");
    assert!(told > 0, "it never fell behind: this test shows nothing");
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn the_page_and_the_state_of_the_node_are_served() {
    let (alpha, beta) = two_nodes(BusConfig::default()).await;
    let (status, page) = get(alpha.address, "/").await;
    assert_eq!((status, page.contains("<!doctype html>")), (200, true));
    let (status, health) = get(alpha.address, "/health").await;
    let health: Value = serde_json::from_str(&health).expect("health is JSON");
    assert_eq!((status, &health["ready"]), (200, &json!(true)));
    assert_eq!(health["node"], alpha.bus.node().to_string());
    assert_eq!(health["streams"][0], json!({ "stream": 0, "state": "up" }));
    let (status, nodes) = get(alpha.address, "/nodes").await;
    assert_eq!((status, nodes.contains(&alpha.bus.node().to_string())), (200, true));
    for nothing in ["/favicon.ico", "/ws/x", "/..%2f", "/admin"] {
        assert_eq!(get(alpha.address, nothing).await.0, 404, "{nothing}");
    }
    // Without an upgrade there is no WebSocket, and no harm.
    assert!((400..500).contains(&get(alpha.address, "/ws?room=a&user=b").await.0));
    alpha.stop().await;
    beta.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_store_shows_in_the_health_and_to_those_whose_message_was_refused() {
    let config =
        BusConfig::default().with_queue_policy(QueuePolicy::Disabled).with_degraded_grace(Duration::ZERO);
    let store = MemoryStore::default();
    let node = ChatNode::start(&store, config).await;
    let mut client = Client::join(node.address, "lobby", "Ada").await;
    store.outage(store.streams());
    let health = until_health(&node, 503).await;
    assert_eq!(health["ready"], false);
    assert_eq!(client.expect("store").await["state"], "degraded");
    let mut late = Client::connect(node.address, "room=lobby&user=Grace").await;
    assert_eq!(late.expect("hello").await["store"], "degraded");
    for (index, stream) in health["streams"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&stream["stream"], &stream["state"]), (&json!(index), &json!("degraded")), "{health}");
        assert!(stream["error"].is_string() && stream["attempts"].is_u64(), "{health}");
    }
    client.say("lost").await;
    let error = client.expect("error").await;
    assert!(error["message"].as_str().unwrap().starts_with("your message was not sent: "), "{error}");

    store.restore(store.streams());
    until_health(&node, 200).await;
    for client in [&mut client, &mut late] {
        assert_eq!(client.expect("store").await["state"], "up");
    }
    client.say("back").await;
    assert_eq!(client.text().await, "back");
    node.stop().await;
}

/// The node's health once its status is `wanted`.
async fn until_health(node: &ChatNode, wanted: u16) -> Value {
    let mut state = node.bus.state();
    let change = async {
        loop {
            let (status, health) = get(node.address, "/health").await;
            if status == wanted {
                return serde_json::from_str(&health).expect("health is JSON");
            }
            state.changed().await;
        }
    };
    timeout(DEADLINE, change).await.unwrap_or_else(|_| panic!("/health never became {wanted}"))
}

fn text(message: &Value) -> String {
    message["text"].as_str().expect("a message has a text").to_owned()
}
