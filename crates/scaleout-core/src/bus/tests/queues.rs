//! Sending, as an application sees it: policies, bounds, outcomes.

use std::num::NonZeroU16;

use super::*;
use crate::{MemoryConfig, Overflow};

async fn with(store: &MemoryStore, config: BusConfig) -> Bus {
    Bus::builder(store.backplane()).config(config).connect().await.unwrap()
}

/// Names of two channels on different streams.
fn two_streams(bus: &Bus) -> [String; 2] {
    let on = |stream| (0..).map(|n| format!("c{n}")).find(|name| bus.stream_of(name) == StreamIndex(stream));
    [on(0).unwrap(), on(1).unwrap()]
}

async fn kind(publish: Publish) -> Result<(), ErrorKind> {
    let outcome = timeout(Duration::from_secs(120), publish).await.expect("every publish resolves");
    outcome.map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn a_batch_names_the_messages_that_failed() {
    let one = bus(&MemoryStore::default()).await;
    let large = "x".repeat(2 << 20);
    let batch = [("c", "0"), ("", "1"), ("c", "2"), ("c", &large), ("d", "4")];
    let error =
        one.publish_many(batch.map(|(channel, payload)| (channel, payload.to_owned()))).await.unwrap_err();
    let failed: Vec<_> = error.failed.iter().map(|(index, error)| (*index, error.kind())).collect();
    assert_eq!((failed[0], failed[1].0, failed.len()), ((1, ErrorKind::InvalidChannel), 3, 2));
    let ErrorKind::PayloadTooLarge { actual, limit } = failed[1].1 else { panic!("{failed:?}") };
    assert!(actual > limit && limit == 1 << 20);
    assert!(error.to_string().contains("2 messages") && error.to_string().contains("index 1"), "{error}");
    assert_eq!(one.counters().published, 3);
    one.publish_many(Vec::<(&str, &str)>::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn always_waits_through_an_outage_and_expires_what_was_not_tried() {
    let store = MemoryStore::default();
    let one = with(&store, BusConfig::default()).await;
    store.outage(store.streams());
    let tried = one.publish("c", "tried");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waits = one.publish("c", "waits");
    assert_eq!(kind(waits).await, Err(ErrorKind::Expired));
    store.restore(store.streams());
    assert_eq!(kind(tried).await, Ok(()));
    assert_eq!(one.usage().queue_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn initial_only_waits_for_the_first_opened_and_then_refuses() {
    let store = MemoryStore::default();
    store.outage(store.streams());
    let config = BusConfig::default().with_queue_policy(QueuePolicy::InitialOnly);
    let one = Bus::builder(store.backplane()).config(config).start().unwrap();
    let early = one.publish("c", "early");
    tokio::time::sleep(Duration::from_secs(2)).await;
    store.restore(store.streams());
    assert_eq!(kind(early).await, Ok(()));
    tokio::time::sleep(Duration::from_secs(6)).await;
    store.outage(store.streams());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(kind(one.publish("c", "late")).await, Err(ErrorKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn disabled_never_waits_and_gives_up_what_was_tried() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_queue_policy(QueuePolicy::Disabled);
    let one = with(&store, config).await;
    store.block_sends(true);
    let tried = one.publish("c", "tried");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let waits = one.publish("c", "waits");
    store.outage(store.streams());
    assert_eq!(kind(tried).await, Err(ErrorKind::Unconfirmed));
    assert_eq!(kind(waits).await, Err(ErrorKind::Unavailable));
    assert_eq!(kind(one.publish("c", "late")).await, Err(ErrorKind::Unavailable));
    store.block_sends(false);
    store.restore(store.streams());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(kind(one.publish("c", "again")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects() {
    let store = MemoryStore::default();
    let one = with(&store, BusConfig::default().with_max_queue_messages(2)).await;
    let [a, b] = two_streams(&one);
    store.block_sends(true);
    let (first, second) = (one.publish(&a, "1"), one.publish(&b, "2"));
    assert_eq!(kind(one.publish(&a, "3")).await, Err(ErrorKind::QueueFull), "the bound is the bus's");
    assert_eq!(one.enqueue(&b, "4").unwrap_err().kind(), ErrorKind::QueueFull);
    assert_eq!((one.usage().queue_messages, one.counters().refused), (2, 2));
    store.block_sends(false);
    assert_eq!((kind(first).await, kind(second).await), (Ok(()), Ok(())));
    assert_eq!((one.usage().queue_messages, one.usage().queue_bytes), (0, 0));
    assert!(one.usage().tail_bytes > 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_oldest_makes_room_on_the_same_stream() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_queue_messages(3).with_overflow(Overflow::DropOldest);
    let one = with(&store, config).await;
    let [a, b] = two_streams(&one);
    let mut client = one.subscribe([&a]);
    store.block_sends(true);
    let tried = one.publish(&a, "tried");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (old, new) = (one.publish(&a, "old"), one.publish(&a, "new"));
    let newer = one.publish(&a, "newer");
    assert_eq!(kind(old).await, Err(ErrorKind::Dropped));
    assert_eq!(kind(one.publish(&b, "x")).await, Err(ErrorKind::QueueFull), "nothing of its own to drop");
    store.block_sends(false);
    for publish in [tried, new, newer] {
        assert_eq!(kind(publish).await, Ok(()));
    }
    for expected in ["tried", "new", "newer"] {
        assert_eq!(text(&mut client).await, expected);
    }
    assert_eq!(one.counters().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_gets_it_from_another_stream() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_queue_messages(1).with_overflow(Overflow::Wait);
    let one = with(&store, config).await;
    let [a, b] = two_streams(&one);
    store.block_stream(one.stream_of(&a), true);
    let first = one.publish(&a, "1");
    let waits = one.publish(&b, "2");
    assert_eq!(one.enqueue(&b, "3").unwrap_err().kind(), ErrorKind::QueueFull, "it never waits");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(one.usage().queue_messages, 1);
    store.block_stream(one.stream_of(&a), false);
    let both = timeout(Duration::from_secs(1), async { (kind(first).await, kind(waits).await) });
    assert_eq!(both.await.expect("room on one stream is seen on the other"), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_in_vain_expires_and_a_close_ends_the_wait() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_queue_messages(1).with_overflow(Overflow::Wait);
    let one = with(&store, config).await;
    let [a, b] = two_streams(&one);
    store.block_sends(true);
    let first = one.publish(&a, "1");
    let before = tokio::time::Instant::now();
    assert_eq!(kind(one.publish(&b, "2")).await, Err(ErrorKind::Expired));
    assert!((29..32).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    let waits = one.publish(&b, "3");
    let report = one.close(Duration::from_secs(1)).await;
    assert_eq!(kind(waits).await, Err(ErrorKind::Closed));
    assert_eq!(kind(first).await, Err(ErrorKind::Unconfirmed));
    assert_eq!(report.unconfirmed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_a_frame_goes_alone() {
    let store = MemoryStore::new(MemoryConfig::default().with_streams(NonZeroU16::MIN));
    let one = with(&store, BusConfig::default().with_max_frame_bytes(200)).await;
    let mut client = one.subscribe(["c"]);
    let large = "x".repeat(1_000);
    one.publish_many(["a", &large, "b", "c"].map(|payload| ("c", payload.to_owned()))).await.unwrap();
    for expected in ["a", &large, "b", "c"] {
        assert_eq!(text(&mut client).await, expected);
    }
    assert_eq!(store.held(StreamIndex(0)).iter().filter(|entry| entry.number > 0).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn rings_and_tails_share_their_budgets_between_streams() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_ring_bytes(6_000).with_max_tail_bytes(2_000);
    let one = with(&store, config).await;
    let [a, b] = two_streams(&one);
    let cursor = one.subscribe([&a, &b]).cursor();
    for _ in 0..5 {
        one.publish(&a, "x".repeat(100)).await.unwrap();
    }
    for _ in 0..100 {
        one.publish(&b, "y".repeat(100)).await.unwrap();
        let usage = one.usage();
        assert!(usage.ring_bytes <= 6_000 && usage.tail_bytes <= 2_000, "{usage:?}");
    }
    let mut late = one.resume([&a], &cursor);
    assert_eq!(gap(&mut late).await.frames(), Some(5), "the oldest of all streams went first");
    assert!(one.usage().ring_bytes > 3_000);
    tokio::time::sleep(Duration::from_secs(660)).await;
    let usage = one.usage();
    assert_eq!((usage.ring_bytes, usage.tail_bytes, usage.queue_bytes), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_control_message_is_taken_by_a_full_queue_and_keeps_its_place() {
    for overflow in [Overflow::Reject, Overflow::Wait, Overflow::DropOldest] {
        let store = MemoryStore::default();
        let config = BusConfig::default().with_overflow(overflow).with_max_queue_messages(2);
        let one = with(&store, config).await;
        let mut subscription = one.subscribe(["c"]);
        let waiting = ["a", "b", "c"].map(|text| one.publish("c", text));
        let control = one.publish_control("c", "control");
        assert_eq!(kind(control).await, Ok(()), "{overflow:?}");
        let expected = match overflow {
            Overflow::Reject => vec!["a", "b", "control"],
            Overflow::Wait => vec!["a", "b", "c", "control"],
            Overflow::DropOldest => vec!["b", "c", "control"],
        };
        for text in expected {
            assert_eq!(self::text(&mut subscription).await, text, "{overflow:?}");
        }
        drop(waiting);
        let large = "x".repeat(2 << 20);
        let refused = kind(one.publish_control("c", &large)).await.unwrap_err();
        assert!(matches!(refused, ErrorKind::PayloadTooLarge { .. }), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_message_is_told() {
    let one = bus(&MemoryStore::default()).await;
    for channel in ["c", &"c".repeat(1024)] {
        let most = one.max_message_bytes(channel);
        one.publish(channel, "x".repeat(most)).await.unwrap();
        let refused = kind(one.publish(channel, "x".repeat(most + 5))).await.unwrap_err();
        assert!(matches!(refused, ErrorKind::PayloadTooLarge { .. }), "{refused:?}");
    }
}
