//! Entities created, changed, read, listed and deleted.

use servicebus_emulator::Endpoint;

use crate::support::{ask, emulator, subscription, token, topic, with_subscription};

#[tokio::test]
async fn a_topic_is_created_once() {
    let emulator = emulator().await;
    let body = topic(
        "<DefaultMessageTimeToLive>PT5M</DefaultMessageTimeToLive><RequiresDuplicateDetection>true</RequiresDuplicateDetection>",
    );
    let first = ask(&emulator, "PUT", "Orders?api-version=2021-05").body(body.clone()).send().await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.header("content-type"), "application/atom+xml;type=entry;charset=utf-8");
    assert_eq!(first.element("DefaultMessageTimeToLive"), "PT5M");
    assert_eq!(first.element("RequiresDuplicateDetection"), "true");
    assert_eq!(first.element("AutoDeleteOnIdle"), "P10675199DT2H48M5.4775807S");
    assert_eq!(first.element("id"), "http://127.0.0.1:5300/Orders?api-version=2021-05");
    let second = ask(&emulator, "PUT", "orders").body(body).send().await;
    assert_eq!(second.status, 409);
    assert_eq!(second.element("Code"), "409");
    assert!(second.element("Detail").starts_with("SubCode=40900. "), "{}", second.text());
    let read = ask(&emulator, "GET", "orders?api-version=2021-05&enrich=False").send().await;
    assert_eq!((read.status, read.element("CreatedAt")), (200, first.element("CreatedAt")));
    emulator.stop().await;
}

#[tokio::test]
async fn a_path_with_nothing_on_it_is_an_empty_list() {
    let emulator = emulator().await;
    let reply = ask(&emulator, "GET", "missing").send().await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().starts_with("<feed ") && !reply.text().contains("<entry"), "{}", reply.text());
    emulator.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    let emulator = emulator().await;
    let body = || subscription("");
    assert_eq!(ask(&emulator, "PUT", "missing/subscriptions/s").body(body()).send().await.status, 404);
    assert_eq!(ask(&emulator, "DELETE", "missing").send().await.status, 404);
    with_subscription(&emulator, "orders", "").await;
    assert_eq!(ask(&emulator, "GET", "orders/subscriptions/other").send().await.status, 404);
    assert_eq!(ask(&emulator, "DELETE", "orders/subscriptions/other").send().await.status, 404);
    assert_eq!(
        ask(&emulator, "PUT", "missing").header("If-Match", "*").body(topic("")).send().await.status,
        404
    );
    assert_eq!(ask(&emulator, "GET", "orders/what/is/this").send().await.status, 404);
    emulator.stop().await;
}

#[tokio::test]
async fn a_subscription_shows_everything_that_sdks_look_for() {
    let emulator = emulator().await;
    with_subscription(
        &emulator,
        "orders",
        "<LockDuration>PT5S</LockDuration><MaxDeliveryCount>2000</MaxDeliveryCount><AutoDeleteOnIdle>PT10M</AutoDeleteOnIdle>",
    )
    .await;
    let reply = ask(&emulator, "GET", "orders/subscriptions/s").send().await;
    assert_eq!(reply.status, 200);
    assert!(reply.element("id").contains("/orders/Subscriptions/s?"), "{}", reply.text());
    for (name, value) in [
        ("LockDuration", "PT5S"),
        ("RequiresSession", "false"),
        ("MaxDeliveryCount", "2000"),
        ("AutoDeleteOnIdle", "PT10M"),
        ("MessageCount", "0"),
        ("Status", "Active"),
        ("EntityAvailabilityStatus", "Available"),
        ("d2p1:ActiveMessageCount", "0"),
    ] {
        assert_eq!(reply.element(name), value, "{name}");
    }
    let rules = ask(&emulator, "GET", "orders/subscriptions/s/rules").send().await;
    assert_eq!((rules.status, rules.element("Name")), (200, "$Default"));
    emulator.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let emulator = emulator().await;
    for index in 0..5 {
        assert_eq!(ask(&emulator, "PUT", &format!("t-{index}")).body(topic("")).send().await.status, 201);
    }
    let page = |skip: usize| format!("$Resources/topics?$skip={skip}&$top=2&api-version=2021-05");
    for (skip, expected) in [(0, 2), (2, 2), (4, 1), (6, 0)] {
        let reply = ask(&emulator, "GET", &page(skip)).send().await;
        assert_eq!((reply.status, reply.text().matches("<entry").count()), (200, expected));
        // Microsoft's SDKs go on for as long as there is a second link.
        let next = format!("$Resources/topics?api-version=2021-05&amp;$skip={}&amp;$top=2\"/>", skip + 2);
        assert_eq!(reply.text().contains("<link rel=\"next\""), expected == 2);
        assert_eq!(reply.text().contains(&next), expected == 2, "{}", reply.text());
    }
    with_subscription(&emulator, "orders", "").await;
    let reply = ask(&emulator, "GET", "orders/subscriptions").send().await;
    assert_eq!((reply.status, reply.text().matches("<entry").count()), (200, 1));
    assert_eq!(ask(&emulator, "GET", "missing/subscriptions").send().await.status, 404);
    emulator.stop().await;
}

#[tokio::test]
async fn a_change_takes_what_is_not_said_for_the_default() {
    let emulator = emulator().await;
    let body = topic("<MaxSizeInMegabytes>2048</MaxSizeInMegabytes><UserMetadata>a &lt; b</UserMetadata>");
    let made = ask(&emulator, "PUT", "orders").body(body).send().await;
    assert_eq!((made.element("MaxSizeInMegabytes"), made.element("UserMetadata")), ("2048", "a &lt; b"));
    let changed = ask(&emulator, "PUT", "orders").header("If-Match", "*").body(topic("")).send().await;
    assert_eq!((changed.status, changed.element("MaxSizeInMegabytes")), (200, "1024"));
    assert_eq!(changed.element("CreatedAt"), made.element("CreatedAt"));
    emulator.stop().await;
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let emulator = emulator().await;
    for token in [
        None,
        Some(token("root", "wrong")),
        Some("Bearer ey.x.y".to_owned()),
        Some(token("send", "c2VjcmV0")),
    ] {
        let reply = ask(&emulator, "PUT", "orders").token(token.clone()).body(topic("")).send().await;
        assert_eq!(reply.status, 401, "{token:?}");
    }
    assert!(emulator.namespace().topic("orders").is_none());
    emulator.stop().await;
}

#[tokio::test]
async fn what_the_service_would_not_take_is_refused() {
    let emulator = emulator().await;
    let status = |body: String| {
        let request = ask(&emulator, "PUT", "orders").body(body);
        async move { request.send().await.status }
    };
    assert_eq!(status("no XML".into()).await, 400);
    assert_eq!(status(format!("<!DOCTYPE a>{}", topic(""))).await, 400);
    assert_eq!(status(topic("<AutoDeleteOnIdle>PT1M</AutoDeleteOnIdle>")).await, 400);
    assert_eq!(status(topic("<AutoDeleteOnIdle>soon</AutoDeleteOnIdle>")).await, 400);
    let out_of_order =
        "<AutoDeleteOnIdle>PT5M</AutoDeleteOnIdle><MaxSizeInMegabytes>1024</MaxSizeInMegabytes>";
    assert_eq!(status(topic(out_of_order)).await, 400);
    assert_eq!(status(topic("<EnablePartitioning>true</EnablePartitioning>")).await, 501);
    assert_eq!(ask(&emulator, "PUT", "or!ders").body(topic("")).send().await.status, 400);
    with_subscription(&emulator, "orders", "").await;
    let long = format!("orders/subscriptions/{}", "x".repeat(51));
    assert_eq!(ask(&emulator, "PUT", &long).body(subscription("")).send().await.status, 400);
    let lock = subscription("<LockDuration>PT1S</LockDuration>");
    assert_eq!(ask(&emulator, "PUT", "orders/subscriptions/t").body(lock).send().await.status, 400);
    emulator.stop().await;
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let emulator = emulator().await;
    let reply = ask(&emulator, "PUT", "orders").body(vec![b' '; 1024 * 1024]).try_send().await;
    // The connection may be gone before everything was written.
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 403));
    emulator.stop().await;
}

#[tokio::test]
async fn the_same_is_there_under_tls() {
    let emulator = emulator().await;
    let reply = ask(&emulator, "PUT", "orders").over(Endpoint::Https).body(topic("")).send().await;
    assert_eq!(reply.status, 201);
    assert!(reply.element("id").starts_with("https://"));
    assert_eq!(ask(&emulator, "DELETE", "orders").send().await.status, 200);
    emulator.stop().await;
}
