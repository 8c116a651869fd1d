//! What becomes of messages that are sent.

use std::{future::Future as _, pin::pin, task::Poll, time::Duration};

use tokio::time::advance;

use super::{MINUTE, bodies, message, namespace, receiver, send};
use crate::{
    namespace::{EntityStatus, Incoming, Mode, Namespace, Refusal, SubscriptionProperties, TopicProperties},
    settings::Settings,
};

fn with_topic(settings: Settings, properties: TopicProperties) -> Namespace {
    let namespace = Namespace::new(settings);
    namespace.create_topic("orders", properties).expect("a new topic");
    namespace
        .create_subscription("orders", "s", SubscriptionProperties::default())
        .expect("a new subscription");
    namespace
}

#[tokio::test(start_paused = true)]
async fn the_number_of_the_topic_is_the_same_on_every_subscription() {
    let namespace = namespace();
    send(&namespace, &["a", "b"]);
    namespace.create_subscription("orders", "late", SubscriptionProperties::default()).expect("a new one");
    send(&namespace, &["c"]);
    let numbers = |subscription| {
        let peeked =
            namespace.peek("orders", subscription, crate::Queue::Active, 0, 10).expect("a subscription");
        let numbers = peeked.iter().map(|found| (found.sequence_number, found.enqueued_sequence_number));
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(numbers("s"), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(numbers("late"), [(1, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_known_in_the_window_is_dropped() {
    let detecting = TopicProperties {
        requires_duplicate_detection: true,
        duplicate_detection_window: MINUTE,
        ..TopicProperties::default()
    };
    let namespace = with_topic(Settings::default(), detecting);
    let named = |id: &str, body| Incoming { message_id: Some(id.to_owned()), ..message(body) };
    namespace.publish("orders", vec![named("1", "a"), named("1", "b"), named("2", "c")]).expect("sent");
    advance(MINUTE / 2).await;
    namespace.publish("orders", vec![named("1", "d"), message("e"), message("f")]).expect("sent");
    advance(MINUTE / 2).await;
    // The second one did not make it be remembered longer.
    namespace.publish("orders", vec![named("1", "g")]).expect("sent");
    let taken = receiver(&namespace, Mode::ReceiveAndDelete).take(10);
    assert_eq!(bodies(&taken), ["a", "c", "e", "f", "g"]);
    let numbers: Vec<_> = taken.iter().map(|delivery| delivery.enqueued_sequence_number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "what is dropped takes no number");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_refused_as_a_whole() {
    let settings = Settings { max_message_bytes: 4, ..Settings::default() };
    let namespace = with_topic(settings, TopicProperties::default());
    let refusal = namespace.publish("orders", vec![message("abc"), message("de")]);
    assert_eq!(refusal, Err(Refusal::TooLarge { actual: 5, limit: 4 }));
    namespace.publish("orders", vec![message("abcd")]).expect("just right");
    assert_eq!(namespace.counts("orders", "s").map(|counts| counts.active), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_full_topic_takes_nothing_until_something_goes() {
    let settings = Settings { max_topic_bytes: Some(10), ..Settings::default() };
    let namespace = with_topic(settings, TopicProperties::default());
    send(&namespace, &["12345", "67890"]);
    assert!(matches!(namespace.publish("orders", vec![message("x")]), Err(Refusal::QuotaExceeded(_))));
    assert_eq!(namespace.topic("orders").map(|topic| topic.size_bytes), Some(10));
    receiver(&namespace, Mode::ReceiveAndDelete).take(1);
    namespace.publish("orders", vec![message("x")]).expect("there is room");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_out_of_credits_is_busy_until_the_next_second() {
    let settings = Settings { throttle_credits_per_second: Some(3), ..Settings::default() };
    let namespace = with_topic(settings, TopicProperties::default());
    // Each costs two: itself, and its copy in the subscription.
    send(&namespace, &["a", "b"]);
    assert_eq!(namespace.publish("orders", vec![message("c")]), Err(Refusal::ServerBusy));
    assert_eq!(namespace.pay_for_management(), Err(Refusal::ServerBusy));
    let receiver = receiver(&namespace, Mode::ReceiveAndDelete);
    assert!(receiver.take(10).is_empty());
    let mut changed = pin!(receiver.changed());
    assert!(std::future::poll_fn(|cx| Poll::Ready(changed.as_mut().poll(cx).is_pending())).await);
    advance(Duration::from_secs(1)).await;
    namespace.sweep();
    changed.await;
    assert_eq!(bodies(&receiver.take(10)), ["a", "b"]);
    send(&namespace, &["c"]);
    namespace.set_throttle(None);
    send(&namespace, &["d", "e", "f"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_disabled_takes_nothing() {
    let namespace = namespace();
    let sender = namespace.open_sender("orders").expect("a topic");
    let properties = TopicProperties { status: EntityStatus::SendDisabled, ..TopicProperties::default() };
    namespace.update_topic("orders", properties).expect("a topic");
    assert_eq!(sender.closed().await, Refusal::Disabled { entity: "Orders".to_owned() });
    assert!(matches!(namespace.publish("orders", vec![message("x")]), Err(Refusal::Disabled { .. })));
    assert!(matches!(namespace.open_sender("orders"), Err(Refusal::Disabled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_sender_ends_with_its_topic_and_not_with_the_next_of_its_name() {
    let namespace = namespace();
    let sender = namespace.open_sender("orders").expect("a topic");
    assert_eq!(sender.ended(), None);
    namespace.delete_topic("orders").expect("a topic");
    namespace.create_topic("orders", TopicProperties::default()).expect("a new topic");
    assert!(matches!(sender.closed().await, Refusal::NotFound { .. }));
    assert!(sender.publish(vec![message("x")]).is_err());
}
