mod extensions;
mod faults;
mod interest;
mod queues;
mod subscriptions;
mod threads;

use std::time::Duration;

use futures_util::FutureExt;
use static_assertions::assert_impl_all;
use tokio::time::timeout;

use super::*;
use crate::{Gap, GapReason, MemoryStore, Message, QueuePolicy, Received, Role, SendFault};

assert_impl_all!(Bus: Clone, Send, Sync, fmt::Debug);
assert_impl_all!(Subscription: Send, Unpin, futures_util::Stream, fmt::Debug);
assert_impl_all!(Publish: Send, Unpin);
assert_impl_all!(PublishMany: Send, Unpin);

async fn bus(store: &MemoryStore) -> Bus {
    Bus::builder(store.backplane()).connect().await.unwrap()
}

async fn received(subscription: &mut Subscription) -> Received {
    let next = timeout(Duration::from_secs(60), subscription.recv()).await;
    next.expect("something within a minute").expect("the bus is open")
}

async fn message(subscription: &mut Subscription) -> Message {
    match received(subscription).await {
        Received::Message(message) => message,
        Received::Gap(gap) => panic!("a gap: {gap:?}"),
    }
}

async fn gap(subscription: &mut Subscription) -> Gap {
    match received(subscription).await {
        Received::Gap(gap) => gap,
        Received::Message(message) => panic!("a message: {message:?}"),
    }
}

async fn text(subscription: &mut Subscription) -> String {
    String::from_utf8(message(subscription).await.payload().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_every_node() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let mut here = one.subscribe(["room:42"]);
    let mut there = two.subscribe(["room:42", "user:7"]);
    one.publish("room:42", "hello").await.unwrap();
    two.publish("user:7", "you").await.unwrap();
    two.publish("room:1", "nobody").await.unwrap();
    assert_eq!(text(&mut here).await, "hello");
    let mut both = [text(&mut there).await, text(&mut there).await];
    both.sort();
    assert_eq!(both, ["hello", "you"]);
    assert!(there.recv().now_or_never().is_none());
    let counters = two.counters();
    assert_eq!((counters.published, counters.received, counters.delivered), (2, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_on_another_node_inside_a_frame() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let mut client = one.subscribe(["c"]);
    one.publish_many((0..10).map(|n| ("c", format!("{n}")))).await.unwrap();
    let mut last = None;
    for n in 0..4 {
        let message = message(&mut client).await;
        assert_eq!(message.payload(), format!("{n}").as_bytes());
        last = Some(message.cursor());
    }
    let text_form = last.unwrap().to_string();
    let mut client = two.resume(["c"], &text_form.parse().unwrap());
    for n in 4..10 {
        assert_eq!(text(&mut client).await, n.to_string());
    }
    assert!(client.recv().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_fresh_node_resumes_the_clients_of_others() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    for n in 0..5 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    assert_eq!(text(&mut client).await, "0");
    let cursor = message(&mut client).await.cursor();
    let two = bus(&store).await;
    let mut client = two.resume(["c"], &cursor);
    for n in 2..5 {
        assert_eq!(text(&mut client).await, n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_loses_nothing_that_was_accepted() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let mut client = two.subscribe(["c"]);
    one.publish("c", "before").await.unwrap();
    store.outage(store.streams());
    let during: Vec<_> = (0..3).map(|n| one.publish("c", n.to_string())).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!one.health().streams.iter().any(StreamState::is_up));
    store.restore(store.streams());
    for publish in during {
        publish.await.unwrap();
    }
    for expected in ["before", "0", "1", "2"] {
        assert_eq!(text(&mut client).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flushed_store_is_repaired_without_a_copy() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let mut client = two.subscribe(["c"]);
    for n in 0..3 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    for n in 0..3 {
        assert_eq!(text(&mut client).await, n.to_string());
    }
    store.flush();
    one.publish("c", "3").await.unwrap();
    assert_eq!(text(&mut client).await, "3");
    let three = bus(&store).await;
    let stream = one.stream_of("c");
    let held: Vec<_> = store.held(stream).iter().map(|entry| entry.number).collect();
    assert_eq!(held.into_iter().filter(|n| *n > 0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(three.health().ready);
    assert!(one.counters().rewound >= 1 && one.counters().repaired == 3);
    assert_eq!(two.counters().duplicates, 3);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_send_comes_out_once() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    let stream = one.stream_of("c");
    for (n, fault) in [SendFault::Landed, SendFault::Lost, SendFault::Refused].into_iter().enumerate() {
        store.fail_sends(stream, 2, fault);
        one.publish("c", n.to_string()).await.unwrap();
        assert_eq!(text(&mut client).await, n.to_string());
    }
    assert!(client.recv().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_what_it_missed() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_ring_bytes(4_000);
    let one = Bus::builder(store.backplane()).config(config).connect().await.unwrap();
    let mut slow = one.subscribe(["c"]);
    let mut quiet = one.subscribe(["quiet"]);
    for n in 0..100 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    let lagged = gap(&mut slow).await;
    assert_eq!(lagged.reason(), GapReason::Lagged);
    let first: u64 = text(&mut slow).await.parse().unwrap();
    assert_eq!(lagged.frames(), Some(first));
    assert!(quiet.recv().now_or_never().is_none(), "a quiet channel never lags");
    assert!(one.usage().ring_bytes <= 4_000);
}

#[tokio::test(start_paused = true)]
async fn close_flushes_and_ends_subscriptions() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    let mut idle = one.subscribe::<&str>([]);
    let receipt = one.enqueue("c", "last").unwrap();
    let report = one.close(Duration::from_secs(5)).await;
    assert_eq!(report, CloseReport::default());
    receipt.await.unwrap();
    assert!(idle.recv().await.is_none());
    while client.recv().await.is_some() {}
    assert_eq!(one.publish("c", "late").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.open_receptions(), 0);
    assert!(one.subscribe(["c"]).recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn close_reports_what_was_not_sent() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    store.block_sends(true);
    let tried = one.enqueue("c", "tried").unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let waits = one.enqueue("c", "waits").unwrap();
    let report = one.close(Duration::from_secs(1)).await;
    assert_eq!((report.unsent, report.unconfirmed), (1, 1));
    assert_eq!(tried.await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    assert_eq!(waits.await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_publish_only_node_reaches_the_others() {
    let store = MemoryStore::default();
    let emitter = Bus::builder(store.backplane()).role(Role::PublishOnly).connect().await.unwrap();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    emitter.publish("c", "job done").await.unwrap();
    assert_eq!(text(&mut client).await, "job done");
    assert!(emitter.health().ready);
    store.flush();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(emitter.counters().repaired, 1, "its tail is repaired although it receives nothing");
}

#[tokio::test(start_paused = true)]
async fn a_stream_recovers_under_every_policy() {
    for policy in [QueuePolicy::Always, QueuePolicy::InitialOnly, QueuePolicy::Disabled] {
        let store = MemoryStore::default();
        let config = BusConfig::default().with_queue_policy(policy);
        let one = Bus::builder(store.backplane()).config(config).connect().await.unwrap();
        store.fail_sends(one.stream_of("c"), 1, SendFault::Refused);
        let first = one.publish("c", "1").await;
        assert_eq!(first.is_ok(), policy == QueuePolicy::Always);
        tokio::time::sleep(Duration::from_secs(10)).await;
        one.publish("c", "2").await.unwrap();
        assert!(one.health().ready);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_fails_connect_at_once() {
    let store = MemoryStore::default();
    store.fatal(Some(ErrorKind::Unauthorized));
    let error = Bus::builder(store.backplane()).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn every_frame_is_a_sign_of_life() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    assert_eq!(two.heard_ago(one.node()), None);
    let mut there = two.subscribe(["c"]);
    one.publish("c", "hello").await.unwrap();
    message(&mut there).await;
    assert_eq!(two.heard_ago(one.node()), Some(Duration::ZERO));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(one.heard_ago(one.node()), Some(Duration::from_secs(5)), "a node hears itself");
    assert_eq!(two.heard_ago(two.node()), None);
}
