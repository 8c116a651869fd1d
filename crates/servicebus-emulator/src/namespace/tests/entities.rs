//! How entities come and go.

use tokio::time::advance;

use super::{MINUTE, message, namespace, receiver, with_properties};
use crate::{
    namespace::{FOREVER, Mode, Namespace, Refusal, SubscriptionProperties, TopicProperties},
    settings::Settings,
};

#[tokio::test(start_paused = true)]
async fn names_are_the_same_in_whatever_case() {
    let namespace = namespace();
    assert_eq!(namespace.topic("ORDERS").map(|topic| topic.name), Some("Orders".to_owned()));
    let again = namespace.create_topic("oRDERS", TopicProperties::default());
    assert!(matches!(again, Err(Refusal::Exists { .. })));
    let again = namespace.create_subscription("ORDERS", "s", SubscriptionProperties::default());
    assert!(matches!(again, Err(Refusal::Exists { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_again_is_younger() {
    let namespace = namespace();
    let mut last = namespace.topic("orders").expect("a topic").times.created_at;
    for _ in 0..100 {
        namespace.delete_topic("orders").expect("a topic");
        let topic = namespace.create_topic("orders", TopicProperties::default()).expect("a new topic");
        assert!(topic.times.created_at > last);
        last = topic.times.created_at;
    }
    namespace.publish("orders", vec![message("a")]).expect("a topic");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_receives_from_goes() {
    let properties =
        SubscriptionProperties { auto_delete_on_idle: 5 * MINUTE, ..SubscriptionProperties::default() };
    let namespace = with_properties(properties);
    let receiver = receiver(&namespace, Mode::PeekLock);
    advance(60 * MINUTE).await;
    namespace.sweep();
    assert!(namespace.subscription("orders", "s").is_some(), "a receiver keeps it");
    drop(receiver);
    advance(4 * MINUTE).await;
    namespace.publish("orders", vec![message("a")]).expect("a topic");
    namespace.sweep();
    assert!(namespace.subscription("orders", "s").is_some());
    advance(MINUTE).await;
    namespace.sweep();
    assert!(namespace.subscription("orders", "s").is_none(), "what is published does not keep it");
    assert_eq!(namespace.topic("orders").map(|topic| topic.subscriptions), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_uses_goes_with_its_subscriptions() {
    let namespace = Namespace::new(Settings::default());
    let properties = TopicProperties { auto_delete_on_idle: 5 * MINUTE, ..TopicProperties::default() };
    namespace.create_topic("Orders", properties).expect("a new topic");
    namespace
        .create_subscription("orders", "s", SubscriptionProperties::default())
        .expect("a new subscription");
    for _ in 0..3 {
        advance(4 * MINUTE).await;
        namespace.publish("orders", vec![message("a")]).expect("a topic");
        namespace.sweep();
    }
    let receiver = receiver(&namespace, Mode::PeekLock);
    advance(60 * MINUTE).await;
    namespace.sweep();
    assert!(namespace.topic("orders").is_some(), "a receiver of a subscription keeps it");
    drop(receiver);
    advance(5 * MINUTE).await;
    namespace.sweep();
    assert!(namespace.topic("orders").is_none());
}

#[tokio::test(start_paused = true)]
async fn forever_is_not_reached() {
    let namespace = namespace();
    assert_eq!(namespace.topic("orders").map(|topic| topic.properties.auto_delete_on_idle), Some(FOREVER));
    namespace.publish("orders", vec![message("a")]).expect("a topic");
    advance(1_000_000 * MINUTE).await;
    namespace.sweep();
    assert_eq!(namespace.counts("orders", "s").map(|counts| counts.active), Some(1));
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many() {
    let settings = Settings { max_topics: 2, max_subscriptions: 1, ..Settings::default() };
    let namespace = Namespace::new(settings);
    for name in ["a", "b"] {
        namespace.create_topic(name, TopicProperties::default()).expect("room");
    }
    let third = namespace.create_topic("c", TopicProperties::default());
    assert!(matches!(third, Err(Refusal::QuotaExceeded(_))));
    namespace.create_subscription("a", "s", SubscriptionProperties::default()).expect("room");
    let second = namespace.create_subscription("a", "t", SubscriptionProperties::default());
    assert!(matches!(second, Err(Refusal::QuotaExceeded(_))));
    namespace.create_subscription("b", "s", SubscriptionProperties::default()).expect("room");
}

#[tokio::test(start_paused = true)]
async fn names_and_properties_are_what_the_service_takes() {
    let namespace = namespace();
    for name in ["", "a b", "a/b", "$a", "ä", &"x".repeat(261)] {
        assert!(namespace.create_topic(name, TopicProperties::default()).is_err(), "{name}");
    }
    namespace.create_topic("scaleout-chat.v2_x-0", TopicProperties::default()).expect("a good name");
    let properties = SubscriptionProperties::default;
    for wrong in [
        SubscriptionProperties { lock_duration: MINUTE / 20, ..properties() },
        SubscriptionProperties { lock_duration: 6 * MINUTE, ..properties() },
        SubscriptionProperties { auto_delete_on_idle: MINUTE, ..properties() },
        SubscriptionProperties { max_delivery_count: 0, ..properties() },
        SubscriptionProperties { max_delivery_count: 2_001, ..properties() },
    ] {
        let outcome = namespace.create_subscription("orders", "t", wrong.clone());
        assert!(matches!(outcome, Err(Refusal::Invalid(_))), "{wrong:?}");
    }
}
