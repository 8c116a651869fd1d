//! What becomes of messages that are received, and of those that are not.

use std::time::Duration;

use tokio::{join, time::advance};
use uuid::Uuid;

use super::{MINUTE, bodies, message, namespace, receiver, send, with_properties};
use crate::namespace::{
    DeadLetter, EntityStatus, Incoming, MessageState, Mode, Namespace, Queue, Refusal, Settlement,
    SubscriptionProperties,
};

fn dead(namespace: &Namespace) -> Vec<(String, Option<String>)> {
    let peeked = namespace.peek("orders", "s", Queue::DeadLetter, 0, 100).expect("a subscription");
    let reason =
        |delivery: &crate::Delivery| delivery.dead_letter.as_ref().and_then(|why| why.reason.clone());
    peeked
        .iter()
        .map(|delivery| (bodies(std::slice::from_ref(delivery))[0].to_owned(), reason(delivery)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_received_and_deleted_is_gone() {
    let namespace = namespace();
    send(&namespace, &["a", "b", "c"]);
    let receiver = receiver(&namespace, Mode::ReceiveAndDelete);
    let taken = receiver.take(2);
    assert_eq!(bodies(&taken), ["a", "b"]);
    assert!(taken.iter().all(|delivery| delivery.locked_until.is_none() && delivery.lock_token.is_nil()));
    assert_eq!(bodies(&receiver.take(2)), ["c"]);
    assert_eq!(namespace.topic("orders").map(|topic| topic.size_bytes), Some(0));
}

#[tokio::test(start_paused = true)]
async fn every_settlement_does_what_it_says() {
    let namespace = namespace();
    send(&namespace, &["complete", "abandon", "release", "dead", "defer"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let taken = receiver.take(10);
    assert_eq!(taken.len(), 5);
    assert!(receiver.take(10).is_empty());
    let why = DeadLetter { reason: Some("why".to_owned()), description: None };
    let settlements = [
        Settlement::Complete,
        Settlement::Abandon,
        Settlement::Release,
        Settlement::DeadLetter(why),
        Settlement::Defer,
    ];
    for (delivery, how) in taken.iter().zip(settlements) {
        namespace.settle(delivery.lock_token, how).expect("a lock");
    }
    let again = receiver.take(10);
    assert_eq!(bodies(&again), ["abandon", "release"], "in the order of their numbers");
    let counts: Vec<_> = again.iter().map(|delivery| delivery.delivery_count).collect();
    assert_eq!(counts, [1, 0]);
    assert_eq!(dead(&namespace), [("dead".to_owned(), Some("why".to_owned()))]);
    assert_eq!(namespace.settle(taken[0].lock_token, Settlement::Complete), Err(Refusal::LockLost));
    assert_eq!(namespace.settle(Uuid::nil(), Settlement::Complete), Err(Refusal::LockLost));
}

#[tokio::test(start_paused = true)]
async fn what_is_deferred_comes_to_who_asks_for_it() {
    let namespace = namespace();
    send(&namespace, &["a", "b"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let lock = receiver.take(1)[0].lock_token;
    namespace.settle(lock, Settlement::Defer).expect("a lock");
    let missing = namespace.take_deferred("orders", "s", &[1, 2], Mode::PeekLock);
    assert_eq!(missing.expect_err("the second is not deferred"), Refusal::MessageNotFound);
    let taken = namespace.take_deferred("orders", "s", &[1], Mode::PeekLock).expect("it is deferred");
    assert_eq!((bodies(&taken), taken[0].state), (vec!["a"], MessageState::Deferred));
    namespace.settle(taken[0].lock_token, Settlement::Abandon).expect("a lock");
    let taken = namespace.take_deferred("orders", "s", &[1], Mode::ReceiveAndDelete).expect("it still is");
    assert_eq!(taken[0].delivery_count, 1);
    assert_eq!(namespace.counts("orders", "s").map(|counts| counts.deferred), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_over_gives_the_message_back() {
    let namespace = namespace();
    send(&namespace, &["a"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let first = receiver.take(1);
    advance(MINUTE / 2).await;
    namespace.renew(first[0].lock_token).expect("a lock");
    advance(MINUTE * 3 / 4).await;
    namespace.sweep();
    assert!(receiver.take(1).is_empty(), "it was renewed");
    let (taken, ()) = join!(
        async {
            receiver.changed().await;
            receiver.take(1)
        },
        async {
            advance(MINUTE / 4).await;
            namespace.sweep();
        }
    );
    assert_eq!(taken[0].delivery_count, 1);
    assert_eq!(namespace.settle(first[0].lock_token, Settlement::Complete), Err(Refusal::LockLost));
    assert_eq!(namespace.renew(first[0].lock_token), Err(Refusal::LockLost));
    namespace.settle(taken[0].lock_token, Settlement::Complete).expect("the lock of now");
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_over_even_if_nobody_swept() {
    let namespace = namespace();
    send(&namespace, &["a"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let lock = receiver.take(1)[0].lock_token;
    advance(MINUTE).await;
    assert_eq!(namespace.settle(lock, Settlement::Complete), Err(Refusal::LockLost));
    namespace.sweep();
    assert_eq!(bodies(&receiver.take(1)), ["a"], "a settlement that comes too late loses nothing");
}

#[tokio::test(start_paused = true)]
async fn what_fails_too_often_is_dead() {
    let properties = SubscriptionProperties { max_delivery_count: 2, ..SubscriptionProperties::default() };
    let namespace = with_properties(properties);
    send(&namespace, &["a"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    for _ in 0..2 {
        let lock = receiver.take(1)[0].lock_token;
        namespace.settle(lock, Settlement::Abandon).expect("a lock");
    }
    assert!(receiver.take(1).is_empty());
    assert_eq!(dead(&namespace), [("a".to_owned(), Some("MaxDeliveryCountExceeded".to_owned()))]);
    let receiver =
        namespace.open_receiver("orders", "s", Queue::DeadLetter, Mode::PeekLock).expect("a queue");
    for count in 2..20 {
        let taken = receiver.take(1);
        assert_eq!(taken[0].delivery_count, count, "from there it goes nowhere");
        namespace.settle(taken[0].lock_token, Settlement::Abandon).expect("a lock");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_live_as_long_as_the_shortest_of_three_says() {
    let properties =
        SubscriptionProperties { default_message_ttl: MINUTE, ..SubscriptionProperties::default() };
    let namespace = with_properties(properties);
    let with_ttl = |ttl, body| Incoming { ttl: Some(ttl), ..message(body) };
    namespace
        .publish("orders", vec![with_ttl(MINUTE / 2, "short"), with_ttl(MINUTE * 2, "long"), message("none")])
        .expect("a topic");
    advance(MINUTE / 2).await;
    namespace.sweep();
    assert_eq!(namespace.counts("orders", "s").map(|counts| counts.active), Some(2));
    advance(MINUTE / 2).await;
    assert!(receiver(&namespace, Mode::PeekLock).take(10).is_empty(), "whether somebody swept or not");
    assert_eq!(namespace.topic("orders").map(|topic| topic.size_bytes), Some(0));
    assert!(dead(&namespace).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_says_how_long_its_message_lives() {
    let lives = |namespace: &Namespace| {
        let with_ttl = |ttl| Incoming { ttl: Some(ttl), ..message("x") };
        let messages = vec![with_ttl(MINUTE / 2), with_ttl(MINUTE * 2), message("none")];
        namespace.publish("orders", messages).expect("a topic");
        let deliveries = receiver(namespace, Mode::PeekLock).take(10);
        deliveries.into_iter().map(|delivery| delivery.ttl).collect::<Vec<_>>()
    };
    let bounded = SubscriptionProperties { default_message_ttl: MINUTE, ..SubscriptionProperties::default() };
    assert_eq!(lives(&with_properties(bounded)), [MINUTE / 2, MINUTE, MINUTE].map(Some));
    let unbounded = with_properties(SubscriptionProperties::default());
    assert_eq!(lives(&unbounded), [Some(MINUTE / 2), Some(MINUTE * 2), None]);
}

#[tokio::test(start_paused = true)]
async fn messages_that_lived_too_long_are_dead_where_that_is_wanted() {
    let properties = SubscriptionProperties {
        default_message_ttl: MINUTE,
        dead_lettering_on_message_expiration: true,
        ..SubscriptionProperties::default()
    };
    let namespace = with_properties(properties);
    send(&namespace, &["a"]);
    advance(MINUTE).await;
    namespace.sweep();
    assert_eq!(dead(&namespace), [("a".to_owned(), Some("TTLExpiredException".to_owned()))]);
}

#[tokio::test(start_paused = true)]
async fn who_looks_before_waiting_misses_nothing() {
    let namespace = namespace();
    let receiver = receiver(&namespace, Mode::ReceiveAndDelete);
    assert!(receiver.take(1).is_empty());
    send(&namespace, &["a", "b"]);
    receiver.changed().await;
    assert_eq!(receiver.take(1).len(), 1);
    // There is more than was asked for.
    receiver.changed().await;
    assert_eq!(receiver.take(2).len(), 1);
    let ((), ()) = join!(receiver.changed(), async { send(&namespace, &["c"]) });
}

#[tokio::test(start_paused = true)]
async fn peeking_shows_what_is_there_and_takes_nothing() {
    let namespace = namespace();
    send(&namespace, &["a", "b", "c"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let locks: Vec<_> = receiver.take(2).iter().map(|delivery| delivery.lock_token).collect();
    namespace.settle(locks[1], Settlement::Defer).expect("a lock");
    let peek = |from, max| namespace.peek("orders", "s", Queue::Active, from, max).expect("a subscription");
    assert_eq!(bodies(&peek(0, 10)), ["a", "b", "c"]);
    assert_eq!(bodies(&peek(2, 1)), ["b"]);
    assert_eq!(bodies(&receiver.take(10)), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_ends_with_its_subscription() {
    let namespace = namespace();
    send(&namespace, &["a"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let lock = receiver.take(1)[0].lock_token;
    assert_eq!(receiver.ended(), None);
    let ((), ()) = join!(receiver.changed(), async {
        namespace.delete_subscription("orders", "s").expect("a subscription");
    });
    assert!(matches!(receiver.ended(), Some(Refusal::NotFound { .. })));
    assert_eq!(namespace.settle(lock, Settlement::Complete), Err(Refusal::LockLost));
    namespace.create_subscription("orders", "s", SubscriptionProperties::default()).expect("a new one");
    assert!(
        receiver.ended().is_some() && receiver.take(1).is_empty(),
        "another one of the same name is another one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_disabled_subscription_gives_nothing() {
    let namespace = namespace();
    send(&namespace, &["a"]);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let disabled =
        SubscriptionProperties { status: EntityStatus::ReceiveDisabled, ..SubscriptionProperties::default() };
    namespace.update_subscription("orders", "s", disabled).expect("a subscription");
    assert!(receiver.take(1).is_empty());
    assert!(matches!(receiver.ended(), Some(Refusal::Disabled { .. })));
    assert!(namespace.open_receiver("orders", "s", Queue::Active, Mode::PeekLock).is_err());
}

#[tokio::test(start_paused = true)]
async fn deliveries_can_be_made_to_come_twice() {
    let namespace = namespace();
    send(&namespace, &["a", "b"]);
    namespace.repeat_deliveries(1);
    let receiver = receiver(&namespace, Mode::PeekLock);
    let taken = receiver.take(10);
    assert_eq!(bodies(&taken), ["a", "a", "b"]);
    assert_eq!(taken[0].enqueued_sequence_number, taken[1].enqueued_sequence_number);
    assert_eq!((taken[0].delivery_count, taken[1].delivery_count), (0, 1));
    for delivery in taken {
        namespace.settle(delivery.lock_token, Settlement::Complete).expect("each has a lock");
    }
    assert_eq!(namespace.topic("orders").map(|topic| topic.size_bytes), Some(0));
}

#[tokio::test(start_paused = true)]
async fn many_locks_leave_nothing_behind() {
    let namespace = namespace();
    let receiver = receiver(&namespace, Mode::PeekLock);
    for _ in 0..10_000 {
        send(&namespace, &["a"]);
        let lock = receiver.take(1)[0].lock_token;
        namespace.settle(lock, Settlement::Complete).expect("a lock");
    }
    advance(Duration::from_secs(3600)).await;
    namespace.sweep();
    let counts = namespace.counts("orders", "s").expect("a subscription");
    assert_eq!((counts.active, counts.locked, counts.dead_letter), (0, 0, 0));
}
