//! Faults by HTTP.

use std::time::SystemTime;

use serde_json::Value;
use servicebus_emulator::Emulator;

use crate::support::{ask, emulator, topic, with_subscription};

async fn fault(emulator: &Emulator, wish: &str) -> u16 {
    ask(emulator, "POST", "$emulator/faults").token(None).body(wish.to_owned()).send().await.status
}

#[tokio::test]
async fn the_state_is_shown_to_whoever_asks() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    let reply = ask(&emulator, "GET", "$emulator/state").token(None).send().await;
    let state: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(state["topics"][0]["subscriptions"][0]["name"], "s");
    assert_eq!(state["figures"]["management_calls"], 2);
    emulator.stop().await;
}

#[tokio::test]
async fn entities_can_be_deleted_and_connections_refused() {
    let emulator = emulator().await;
    with_subscription(&emulator, "orders", "").await;
    assert_eq!(fault(&emulator, r#"{"fault":"delete-entity","entity":"orders/Subscriptions/s"}"#).await, 200);
    assert!(emulator.namespace().subscription("orders", "s").is_none());
    assert_eq!(fault(&emulator, r#"{"fault":"delete-entity","entity":"orders/Subscriptions/s"}"#).await, 404);
    assert_eq!(fault(&emulator, r#"{"fault":"refuse-connections","refuse":true}"#).await, 200);
    assert!(ask(&emulator, "PUT", "other").body(topic("")).try_send().await.is_err());
    assert_eq!(fault(&emulator, r#"{"fault":"clear"}"#).await, 200);
    assert_eq!(ask(&emulator, "PUT", "other").body(topic("")).send().await.status, 201);
    emulator.stop().await;
}

#[tokio::test]
async fn tokens_can_be_declared_expired() {
    let emulator = emulator().await;
    let token = Some(crate::support::token("root", crate::support::KEY));
    assert_eq!(ask(&emulator, "PUT", "orders").token(token.clone()).body(topic("")).send().await.status, 201);
    assert_eq!(fault(&emulator, r#"{"fault":"expire-tokens"}"#).await, 200);
    assert_eq!(ask(&emulator, "DELETE", "orders").token(token).send().await.status, 401);
    emulator.stop().await;
}

#[tokio::test]
async fn the_clock_that_tokens_expire_by_can_be_set() {
    let emulator = emulator().await;
    let asked = || ask(&emulator, "GET", "$namespaceinfo").send();
    let ahead = |date: &str| {
        let shown = httpdate::parse_http_date(date).expect("a date");
        shown.duration_since(SystemTime::now()).unwrap_or_default().as_secs()
    };
    let reply = asked().await;
    assert_eq!((reply.status, ahead(reply.header("date"))), (200, 0));
    // The token is good for an hour.
    assert_eq!(fault(&emulator, r#"{"fault":"clock","seconds_ahead":1800}"#).await, 200);
    let reply = asked().await;
    assert_eq!(reply.status, 200);
    assert!((1_700..=1_800).contains(&ahead(reply.header("date"))), "{}", reply.header("date"));
    assert_eq!(fault(&emulator, r#"{"fault":"clock","seconds_ahead":7200}"#).await, 200);
    let reply = asked().await;
    assert_eq!(reply.status, 401);
    assert!(reply.text().contains("ExpiredToken") && ahead(reply.header("date")) > 7_000, "{}", reply.text());
    assert_eq!(fault(&emulator, r#"{"fault":"clear"}"#).await, 200);
    assert_eq!(asked().await.status, 200);
    emulator.stop().await;
}

#[tokio::test]
async fn a_wish_that_is_none_is_refused() {
    let emulator = emulator().await;
    for wish in
        ["", "{}", r#"{"fault":"rain"}"#, r#"{"fault":"delay"}"#, r#"{"fault":"delay","millis":-1}"#, "[]"]
    {
        assert_eq!(fault(&emulator, wish).await, 400, "{wish}");
    }
    assert_eq!(ask(&emulator, "GET", "$emulator/faults").send().await.status, 405);
    emulator.stop().await;
}
