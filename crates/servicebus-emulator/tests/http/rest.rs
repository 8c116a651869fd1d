//! Messages over HTTP.

use serde_json::{Value, json};
use servicebus_emulator::Emulator;
use tokio::join;

use crate::support::{Reply, ask, emulator, subscription, topic, until, with_subscription};

const HEAD: &str = "orders/subscriptions/s/messages/head";

async fn send(emulator: &Emulator, properties: &Value, body: &str) -> u16 {
    let request = ask(emulator, "POST", "orders/messages").policy("send");
    request.header("BrokerProperties", &properties.to_string()).body(body.to_owned()).send().await.status
}

async fn peek_lock(emulator: &Emulator) -> Reply {
    ask(emulator, "POST", &format!("{HEAD}?timeout=0")).policy("listen").send().await
}

fn properties(reply: &Reply) -> Value {
    serde_json::from_str(reply.header("brokerproperties")).expect("JSON")
}

fn location(reply: &Reply) -> String {
    let (_, path) = reply.header("location").split_once("://127.0.0.1:5300/").expect("a location");
    path.to_owned()
}

#[tokio::test]
async fn a_message_comes_out_as_it_went_in() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    let request = ask(&emulator, "POST", "orders/messages?timeout=60")
        .header("content-type", "text/plain")
        .header("BrokerProperties", r#"{"MessageId":"m-1","Label":"news","TimeToLive":30}"#)
        .header("Priority", "\"High\"")
        .header("Weight", "12");
    assert_eq!(request.body(vec![0, 1, 255]).send().await.status, 201);
    let reply = ask(&emulator, "DELETE", HEAD).send().await;
    assert_eq!((reply.status, reply.body.as_ref()), (200, &[0, 1, 255][..]));
    assert_eq!(reply.header("content-type"), "text/plain");
    assert_eq!((reply.header("priority"), reply.header("weight")), ("\"High\"", "12"));
    let properties = properties(&reply);
    assert_eq!(properties["MessageId"], "m-1");
    assert_eq!(properties["Label"], "news");
    assert_eq!(properties["TimeToLive"], 30.0);
    assert_eq!(
        (&properties["SequenceNumber"], &properties["EnqueuedSequenceNumber"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(properties.get("LockToken"), None);
    let reply = ask(&emulator, "DELETE", &format!("{HEAD}?timeout=0")).send().await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    emulator.stop().await;
}

#[tokio::test]
async fn a_locked_message_is_unlocked_renewed_and_deleted() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    assert_eq!(send(&emulator, &json!({}), "x").await, 201);
    let first = peek_lock(&emulator).await;
    assert_eq!((first.status, first.text()), (201, "x"));
    assert_eq!(properties(&first)["DeliveryCount"], 1);
    assert!(location(&first).ends_with(properties(&first)["LockToken"].as_str().expect("a token")));
    assert_eq!(peek_lock(&emulator).await.status, 204);
    assert_eq!(ask(&emulator, "PUT", &location(&first)).policy("listen").send().await.status, 200);
    let second = peek_lock(&emulator).await;
    assert_eq!(properties(&second)["DeliveryCount"], 2);
    assert_eq!(properties(&second)["MessageId"], properties(&first)["MessageId"]);
    assert_eq!(ask(&emulator, "POST", &location(&second)).send().await.status, 200);
    assert_eq!(ask(&emulator, "DELETE", &location(&second)).send().await.status, 200);
    for method in ["DELETE", "PUT", "POST"] {
        assert_eq!(ask(&emulator, method, &location(&second)).send().await.status, 404, "{method}");
    }
    let counts = emulator.namespace().counts("orders", "s").expect("a subscription");
    assert_eq!((counts.active, counts.locked), (0, 0));
    emulator.stop().await;
}

#[tokio::test]
async fn a_batch_is_several_messages() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    let batch = json!([
        { "Body": "one", "BrokerProperties": { "Label": "a", "TimeToLiveTimeSpan": "00:00:40" } },
        { "Body": "two", "UserProperties": { "Priority": "High", "n": 2 } },
    ]);
    let request = ask(&emulator, "POST", "orders/messages")
        .header("content-type", "application/vnd.microsoft.servicebus.json")
        .body(batch.to_string());
    assert_eq!(request.send().await.status, 201);
    let one = peek_lock(&emulator).await;
    let two = peek_lock(&emulator).await;
    assert_eq!((one.text(), two.text()), ("one", "two"));
    assert_eq!((&properties(&one)["Label"], &properties(&one)["TimeToLive"]), (&json!("a"), &json!(40.0)));
    assert_eq!((two.header("priority"), two.header("n")), ("\"High\"", "2"));
    let broken = ask(&emulator, "POST", "orders/messages")
        .header("content-type", "application/vnd.microsoft.servicebus.json")
        .body("[{}]");
    assert_eq!(broken.send().await.status, 400);
    emulator.stop().await;
}

#[tokio::test]
async fn who_waits_gets_a_message_when_it_comes() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    let waiting = async { ask(&emulator, "DELETE", &format!("{HEAD}?timeout=60")).send().await };
    let sending = async {
        until(|| emulator.namespace().subscription("orders", "s").is_some_and(|info| info.receivers > 0))
            .await;
        send(&emulator, &json!({}), "late").await
    };
    let (reply, sent) = join!(waiting, sending);
    assert_eq!((reply.text(), sent), ("late", 201));
    emulator.stop().await;
}

#[tokio::test]
async fn who_waits_is_told_when_the_subscription_goes() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    let waiting = async { ask(&emulator, "POST", &format!("{HEAD}?timeout=60")).send().await.status };
    let deleting = async {
        until(|| emulator.namespace().subscription("orders", "s").is_some_and(|info| info.receivers > 0))
            .await;
        ask(&emulator, "DELETE", "orders").send().await.status
    };
    assert_eq!(join!(waiting, deleting), (410, 200));
    emulator.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_numbers() {
    let emulator = emulator().await;
    assert_eq!(send(&emulator, &json!({}), "x").await, 410);
    assert_eq!(peek_lock(&emulator).await.status, 410);
    with_subscription(&emulator, "orders", "").await;
    assert_eq!(ask(&emulator, "POST", "orders/messages").token(None).send().await.status, 401);
    assert_eq!(ask(&emulator, "POST", "orders/messages").policy("listen").send().await.status, 401);
    assert_eq!(ask(&emulator, "DELETE", HEAD).policy("send").send().await.status, 401);
    assert_eq!(send(&emulator, &json!({}), &"x".repeat(256 * 1024)).await, 403);
    assert_eq!(send(&emulator, &json!({ "ScheduledEnqueueTimeUtc": "later" }), "x").await, 501);
    assert_eq!(send(&emulator, &json!({ "TimeToLive": -1 }), "x").await, 400);
    assert_eq!(ask(&emulator, "POST", &format!("{HEAD}?timeout=x")).send().await.status, 400);
    assert_eq!(ask(&emulator, "DELETE", "orders/subscriptions/s/messages/1/none").send().await.status, 400);
    let disabled = topic("<Status>Disabled</Status>");
    assert_eq!(
        ask(&emulator, "PUT", "orders").header("If-Match", "*").body(disabled).send().await.status,
        200
    );
    assert_eq!(send(&emulator, &json!({}), "x").await, 403);
    emulator.stop().await;
}

#[tokio::test]
async fn what_failed_too_often_is_in_the_dead_letter_queue() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "<MaxDeliveryCount>1</MaxDeliveryCount>").await;
    assert_eq!(send(&emulator, &json!({}), "x").await, 201);
    let first = peek_lock(&emulator).await;
    assert_eq!(ask(&emulator, "PUT", &location(&first)).send().await.status, 200);
    assert_eq!(peek_lock(&emulator).await.status, 204);
    let dead = "orders/subscriptions/s/$DeadLetterQueue/messages/head";
    let reply = ask(&emulator, "POST", dead).send().await;
    assert_eq!((reply.status, reply.text()), (201, "x"));
    assert_eq!(reply.header("deadletterreason"), "\"MaxDeliveryCountExceeded\"");
    assert_eq!(ask(&emulator, "DELETE", &location(&reply)).send().await.status, 200);
    emulator.stop().await;
}

#[tokio::test]
async fn a_message_id_is_taken_once() {
    let emulator = emulator().await;
    let detecting = topic("<RequiresDuplicateDetection>true</RequiresDuplicateDetection>");
    assert_eq!(ask(&emulator, "PUT", "orders").body(detecting).send().await.status, 201);
    assert_eq!(
        ask(&emulator, "PUT", "orders/subscriptions/s").body(subscription("")).send().await.status,
        201
    );
    for id in ["a", "b", "a"] {
        assert_eq!(send(&emulator, &json!({ "MessageId": id }), id).await, 201);
    }
    assert_eq!(emulator.namespace().counts("orders", "s").map(|counts| counts.active), Some(2));
    emulator.stop().await;
}

#[tokio::test]
async fn faults_meet_messages_over_http_as_well() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    emulator.faults().server_busy(1);
    assert_eq!(send(&emulator, &json!({}), "busy").await, 503);
    assert_eq!(send(&emulator, &json!({}), "one").await, 201);
    emulator.faults().cut_deliveries(1);
    assert!(ask(&emulator, "DELETE", HEAD).try_send().await.is_err());
    emulator.faults().lose_outcomes(1);
    let losing = async { ask(&emulator, "POST", "orders/messages").body("two").try_send().await };
    let killing = async {
        until(|| emulator.faults().figures().sends == 2).await;
        emulator.faults().kill_connections()
    };
    let (lost, killed) = join!(losing, killing);
    assert!(lost.is_err());
    assert!(killed >= 1);
    emulator.faults().duplicate_deliveries(1);
    let (first, second) = (peek_lock(&emulator).await, peek_lock(&emulator).await);
    assert_eq!((first.text(), second.text()), ("two", "two"));
    assert_eq!(properties(&first)["SequenceNumber"], properties(&second)["SequenceNumber"]);
    emulator.stop().await;
}
