//! What connections are told, while time stands still.

use std::{pin::pin, task::Poll, time::Duration};

use super::{Event, FaultKind, Faults, SendFate};
use crate::{namespace::Namespace, settings::Settings};

fn faults() -> Faults {
    Faults::new(Namespace::new(Settings::default()))
}

async fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    let mut future = future;
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test(start_paused = true)]
async fn the_oldest_connection_is_killed_alone() {
    let faults = faults();
    let (first, second) = (faults.connect().expect("not refused"), faults.connect().expect("not refused"));
    assert!(faults.kill_connection());
    assert_eq!(first.event().await, Event::Kill);
    assert!(is_pending(pin!(second.event())).await);
    drop(first);
    assert_eq!(faults.kill_connections(), 1);
    assert_eq!(second.event().await, Event::Kill);
    drop(second);
    assert!(!faults.kill_connection());
    assert_eq!((faults.figures().connections, faults.figures().connections_made), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_connection_hears_nothing_but_its_end() {
    let faults = faults();
    let connection = faults.connect().expect("not refused");
    faults.freeze();
    faults.detach_all();
    assert!(connection.is_frozen());
    assert!(is_pending(pin!(connection.event())).await);
    assert!(is_pending(pin!(connection.thawed())).await);
    assert!(!faults.connect().expect("not refused").is_frozen(), "those that come later are not met");
    faults.thaw();
    connection.thawed().await;
    assert_eq!(connection.event().await, Event::Detach { entity: None });
    faults.freeze();
    connection.frozen().await;
    faults.kill_connections();
    assert_eq!(connection.event().await, Event::Kill);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_twice_is_done_once() {
    let faults = faults();
    let connection = faults.connect().expect("not refused");
    for _ in 0..1_000 {
        faults.detach("Orders");
        faults.expire_tokens();
    }
    assert_eq!(connection.event().await, Event::Detach { entity: Some("orders".to_owned()) });
    assert_eq!(connection.event().await, Event::TokensExpired);
    assert!(is_pending(pin!(connection.event())).await);
}

#[test]
fn a_detach_means_a_topic_with_its_subscriptions_or_one_of_them() {
    let detach = |entity: &str| Event::Detach { entity: Some(entity.to_owned()) };
    let topic = detach("orders");
    for address in
        ["orders", "/Orders", "amqps://host/orders/Subscriptions/a", "orders/subscriptions/a/$management"]
    {
        assert!(topic.detaches(address), "{address}");
    }
    assert!(!topic.detaches("orders-2") && !topic.detaches("$cbs") && !Event::Kill.detaches("orders"));
    let subscription = detach("orders/subscriptions/a");
    assert!(
        subscription.detaches("orders/Subscriptions/A")
            && subscription.detaches("orders/subscriptions/a/$management")
    );
    assert!(!subscription.detaches("orders") && !subscription.detaches("orders/subscriptions/ab"));
    assert!(Event::Detach { entity: None }.detaches("anything"));
}

#[test]
fn sends_are_met_in_turn() {
    let faults = faults();
    faults.server_busy(2);
    faults.lose_outcomes(1);
    let fates: Vec<_> = (0..4).map(|_| faults.next_send()).collect();
    assert_eq!(fates, [SendFate::Busy, SendFate::Busy, SendFate::LoseOutcome, SendFate::Normal]);
    faults.server_busy_until_told(true);
    assert_eq!((faults.next_send(), faults.next_send()), (SendFate::Busy, SendFate::Busy));
    faults.cut_deliveries(1);
    faults.clear();
    assert_eq!(faults.next_send(), SendFate::Normal);
    assert!(!faults.cuts_delivery());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_does_the_same_and_leaves_nothing_behind() {
    let minute = Duration::from_secs(60);
    let (first, second) = (faults(), faults());
    let done = first.run(7, minute).await;
    assert!(done.len() > 20, "{done:?}");
    assert_eq!(second.run(7, minute).await, done);
    assert_ne!(second.run(8, minute).await, done);
    assert!(first.connect().is_some() && first.next_send() == SendFate::Normal && !first.cuts_delivery());
    assert_eq!(first.answer_delay(), Duration::ZERO);
    let some = first.run_among(&[FaultKind::Detach], 7, minute).await;
    assert!(some.iter().all(|kind| *kind == FaultKind::Detach));
    assert!(first.run_among(&[], 7, minute).await.is_empty());
}
