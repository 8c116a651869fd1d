//! What subscriptions are given, and where they stand.

use std::{collections::BTreeSet, future::poll_fn, pin::pin, task::Poll};

use futures_util::StreamExt;
use tokio::task::yield_now;

use super::*;
use crate::{Capabilities, CursorEntry, Epoch, MemoryConfig, PayloadId, Position};

/// Names of channels that are all on different streams, in the order of their streams.
fn a_channel_of_each_stream(bus: &Bus) -> Vec<String> {
    let name_on = |stream| {
        (0..).map(|n| format!("room:{n}")).find(|name| bus.stream_of(name) == StreamIndex(stream)).unwrap()
    };
    (0..bus.stream_count().get()).map(name_on).collect()
}

fn cursor_at(bus: &Bus, channel: &str, entry: CursorEntry) -> Cursor {
    let mut cursor = Cursor::new(bus.stream_count());
    cursor.set(bus.stream_of(channel), entry);
    cursor
}

fn behind(epoch: u64, id: u64) -> CursorEntry {
    CursorEntry::At { position: Position::behind(Epoch(epoch), PayloadId(id)), stem: None }
}

/// Polls `recv` up to `polls` times and drops it.
async fn recv_dropped(subscription: &mut Subscription, polls: usize) -> Option<Received> {
    let mut recv = pin!(subscription.recv());
    for _ in 0..polls {
        if let Poll::Ready(received) = poll_fn(|cx| Poll::Ready(recv.as_mut().poll(cx))).await {
            return received;
        }
        yield_now().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn recv_dropped_at_any_point_loses_nothing() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let channels = a_channel_of_each_stream(&one);
    let mut client = two.subscribe(&channels);
    let publisher = tokio::spawn(async move {
        let mut random = fastrand::Rng::with_seed(1);
        for n in 0..300 {
            let channel = random.choice(&channels).unwrap();
            drop(one.publish(channel, n.to_string()));
            for _ in 0..random.usize(..4) {
                yield_now().await;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        one
    });
    let mut random = fastrand::Rng::with_seed(2);
    let mut numbers = BTreeSet::new();
    while numbers.len() < 300 {
        match recv_dropped(&mut client, random.usize(..5)).await {
            Some(Received::Message(message)) => {
                let number: u32 = std::str::from_utf8(message.payload()).unwrap().parse().unwrap();
                assert!(numbers.insert(number), "{number} came twice");
            }
            Some(Received::Gap(gap)) => panic!("{gap:?}"),
            None => yield_now().await,
        }
    }
    drop(publisher.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_a_stream() {
    let one = bus(&MemoryStore::default()).await;
    let mut client = one.subscribe(["c"]);
    for n in 0..3 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    let three: Vec<Received> = client.by_ref().take(3).collect().await;
    assert_eq!(three.len(), 3);
    one.close(Duration::from_secs(1)).await;
    assert!(client.next().await.is_none() && client.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_added_from_the_subscriptions_own_position() {
    let one = bus(&MemoryStore::default()).await;
    let other =
        (0..).map(|n| format!("d{n}")).find(|name| one.stream_of(name) == one.stream_of("c")).unwrap();
    let mut client = one.subscribe(["c"]);
    one.publish(&other, "passed").await.unwrap();
    one.publish("c", "1").await.unwrap();
    one.publish(&other, "2").await.unwrap();
    client.add(&other);
    assert_eq!(text(&mut client).await, "1");
    assert_eq!(text(&mut client).await, "2");
    client.remove("c");
    one.publish("c", "not any more").await.unwrap();
    one.publish(&other, "3").await.unwrap();
    assert_eq!(text(&mut client).await, "3");
    client.remove(&other);
    assert_eq!((one.usage().readers, client.cursor().entries().len()), (0, 0));
    client.add("c");
    one.publish("c", "4").await.unwrap();
    assert_eq!(text(&mut client).await, "4");
}

#[tokio::test(start_paused = true)]
async fn names_that_are_no_channels_carry_nothing() {
    let one = bus(&MemoryStore::default()).await;
    let mut client = one.subscribe([String::new(), "x".repeat(1_025)]);
    client.add("");
    client.remove("");
    assert_eq!(one.usage().readers, 0);
    assert_eq!(one.publish("", "x").await.unwrap_err().kind(), ErrorKind::InvalidChannel);
    assert!(client.recv().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_published_after_an_early_subscribe_comes() {
    let store = MemoryStore::default();
    let other = bus(&store).await;
    other.publish("c", "earlier").await.unwrap();
    store.outage(store.streams());
    let one = Bus::builder(store.backplane()).start().unwrap();
    let mut client = one.subscribe(["c"]);
    let cursor = client.cursor();
    assert!(cursor.entries().all(|(_, entry)| *entry == CursorEntry::Unpositioned));
    let published = one.publish("c", "1");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(client.recv().now_or_never().is_none());
    store.restore(store.streams());
    published.await.unwrap();
    assert_eq!(text(&mut client).await, "1");
    assert!(!one.health().ready || one.health().streams.iter().all(StreamState::is_up));
}

#[tokio::test(start_paused = true)]
async fn a_message_tells_where_streams_stand_that_opened_after_the_subscribe() {
    let store = MemoryStore::default();
    let one = Bus::builder(store.backplane()).start().unwrap();
    let channels = a_channel_of_each_stream(&one);
    let mut client = one.subscribe(&channels);
    one.publish(&channels[0], "x").await.unwrap();
    let cursor = message(&mut client).await.cursor();
    assert_eq!(cursor.entries().len(), 4);
    let two = bus(&store).await;
    let mut client = two.resume(&channels, &cursor);
    two.publish(&channels[1], "y").await.unwrap();
    assert_eq!(text(&mut client).await, "y", "and no gap");
}

#[tokio::test(start_paused = true)]
async fn a_message_tells_where_its_subscription_stood_on_other_streams() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let channels = a_channel_of_each_stream(&one);
    let mut client = one.subscribe(&channels);
    for n in 0..40 {
        one.publish(&channels[n % 4], n.to_string()).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    for n in 0..40 {
        let message = message(&mut client).await;
        assert!(seen.insert(message.payload().clone()));
        if n % 7 == 0 {
            let mut rest = two.resume(&channels, &message.cursor());
            let mut both = seen.clone();
            for _ in seen.len()..40 {
                assert!(both.insert(super::message(&mut rest).await.payload().clone()));
            }
            assert_eq!((both.len(), rest.recv().now_or_never().is_none()), (40, true));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_ahead_waits_while_the_stream_is_up_and_then_resets() {
    let store = MemoryStore::new(MemoryConfig::default().with_first_epoch(Epoch(1)));
    let one = bus(&store).await;
    let mut client = one.resume(["c"], &cursor_at(&one, "c", behind(1, 5)));
    tokio::time::sleep(Duration::from_secs(8)).await;
    store.outage(store.streams());
    tokio::time::sleep(Duration::from_secs(60)).await;
    store.restore(store.streams());
    assert!(client.recv().now_or_never().is_none(), "an outage does not count");
    let told = gap(&mut client).await;
    assert_eq!((told.reason(), told.frames()), (GapReason::Reset, None));
    one.publish("c", "on").await.unwrap();
    assert_eq!(text(&mut client).await, "on");

    let mut client = one.resume(["c"], &cursor_at(&one, "c", behind(1, 2)));
    for n in 1..5 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    assert_eq!(text(&mut client).await, "3", "ids 1 and 2 were passed by that cursor");
    let counters = one.counters();
    assert_eq!((counters.lookups_ahead, counters.gaps_reset), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn each_row_of_the_look_up_table_is_counted() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    one.publish("c", "0").await.unwrap();
    let mut in_ring = one.subscribe(["c"]);
    one.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut in_ring).await, "1");
    let mut lost = one.resume(["c"], &cursor_at(&one, "c", CursorEntry::Unpositioned));
    assert_eq!(lost.cursor(), cursor_at(&one, "c", CursorEntry::Unpositioned));
    let told = gap(&mut lost).await;
    assert_eq!((told.reason(), told.frames()), (GapReason::Lost, None));
    assert!(lost.recv().now_or_never().is_none());
    assert_eq!(told.cursor(), in_ring.cursor());
    let mut reset = one.resume(["c"], &cursor_at(&one, "c", behind(0, 9)));
    assert_eq!(gap(&mut reset).await.reason(), GapReason::Reset);
    let mut layout = one.resume(["c"], &Cursor::new(NonZeroU16::new(9).unwrap()));
    assert_eq!(gap(&mut layout).await.reason(), GapReason::Reset);
    let _absent = one.resume(["c"], &Cursor::new(one.stream_count()));
    let _in_ring = one.resume(["c"], &in_ring.cursor());
    let counters = one.counters();
    let rows = [
        counters.lookups_in_ring,
        counters.lookups_reset,
        counters.lookups_unpositioned,
        counters.lookups_absent,
        counters.gaps_lost,
        counters.gaps_reset,
    ];
    assert_eq!(rows, [1, 2, 1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_on_one_channel_gets_every_message() {
    let one = bus(&MemoryStore::default()).await;
    let mut clients: Vec<_> = (0..3_000).map(|_| one.subscribe(["c"])).collect();
    let publishes: Vec<_> = (0..3).map(|n| one.publish("c", n.to_string())).collect();
    for publish in publishes {
        publish.await.unwrap();
    }
    for client in &mut clients {
        for n in 0..3 {
            assert_eq!(text(client).await, n.to_string());
        }
    }
    assert_eq!(one.counters().delivered, 9_000);
    clients.truncate(5);
    assert_eq!(one.usage().readers, 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_resumes_after_the_ring_turned_over() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_ring_bytes(3_000);
    let one = Bus::builder(store.backplane()).config(config.clone()).connect().await.unwrap();
    let two = Bus::builder(store.backplane()).config(config).connect().await.unwrap();
    let (quiet, first) = (one.subscribe(["quiet"]), one.subscribe(["quiet"]).cursor());
    let noisy = (0..).map(|n| format!("n{n}")).find(|name| one.stream_of(name) == one.stream_of("quiet"));
    let noisy = noisy.unwrap();
    for n in 0..200 {
        one.publish(&noisy, n.to_string()).await.unwrap();
    }
    let mut clients = [two.resume(["quiet"], &quiet.cursor()), two.resume(["quiet"], &first)];
    two.publish("quiet", "hello").await.unwrap();
    for client in &mut clients {
        assert_eq!(text(client).await, "hello");
    }
    let mut late = two.resume([&noisy], &first);
    assert_eq!(gap(&mut late).await.reason(), GapReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_store_carries_messages_through_an_outage() {
    for bits in 0..8 {
        let (replay, dense_ids, asks_held) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
        let capabilities =
            Capabilities::default().with_replay(replay).with_dense_ids(dense_ids).with_asks_held(asks_held);
        let store = MemoryStore::new(MemoryConfig::default().with_capabilities(capabilities));
        let (one, two) = (bus(&store).await, bus(&store).await);
        let mut client = two.subscribe(["c"]);
        one.publish("c", "0").await.unwrap();
        assert_eq!(text(&mut client).await, "0");
        let cursor = client.cursor();
        store.outage(store.streams());
        let during = one.publish("c", "1");
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.restore(store.streams());
        during.await.unwrap();
        // Without replay what came while the link was down is lost, and told.
        let next = received(&mut client).await;
        match next {
            Received::Message(message) => assert_eq!(message.payload(), "1"),
            Received::Gap(gap) => {
                assert!(!replay && gap.reason() == GapReason::Lost, "{capabilities:?}: {gap:?}");
            }
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        one.publish("c", "2").await.unwrap();
        let mut rest = Vec::new();
        while rest.last().is_none_or(|last| last != "2") {
            if let Received::Message(message) = received(&mut client).await {
                rest.push(String::from_utf8(message.payload().to_vec()).unwrap());
            }
        }
        let mut resumed = two.resume(["c"], &cursor);
        let reached = std::iter::from_fn(|| resumed.recv().now_or_never().flatten());
        let last = reached.filter_map(|item| match item {
            Received::Message(message) => Some(message.payload().clone()),
            Received::Gap(_) => None,
        });
        assert_eq!(last.last().unwrap(), "2", "{capabilities:?}");

        store.flush();
        one.publish("c", "3").await.unwrap();
        one.publish("c", "4").await.unwrap();
        let mut after = Vec::new();
        while after.last().is_none_or(|last| last != "4") {
            if let Received::Message(message) = received(&mut client).await {
                after.push(String::from_utf8(message.payload().to_vec()).unwrap());
            }
        }
        assert_eq!(after, ["3", "4"], "{capabilities:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_ends_in_an_empty_epoch_opens_a_fresh_node() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    one.publish("c", "0").await.unwrap();
    one.publish("c", "1").await.unwrap();
    let cursor = message(&mut client).await.cursor();
    for stream in store.streams() {
        store.new_epoch(stream);
    }
    let two = timeout(Duration::from_secs(60), bus(&store)).await.expect("it reaches the head");
    let mut client = two.resume(["c"], &cursor);
    two.publish("c", "2").await.unwrap();
    assert_eq!((text(&mut client).await, text(&mut client).await), ("1".into(), "2".into()));
}

#[tokio::test(start_paused = true)]
async fn without_a_backlog_a_node_is_up_at_once() {
    let store = MemoryStore::default();
    bus(&store).await.publish("c", "0").await.unwrap();
    let config = BusConfig::default().with_max_backlog_payloads(0);
    let one = Bus::builder(store.backplane()).config(config).connect();
    let one = timeout(Duration::from_secs(60), one).await.expect("there is nothing to wait for").unwrap();
    let mut client = one.subscribe(["c"]);
    one.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut client).await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_an_earlier_process_is_told() {
    let earlier = MemoryStore::new(MemoryConfig::default().with_first_epoch(Epoch(1_000)));
    let one = bus(&earlier).await;
    let mut client = one.subscribe(["c"]);
    one.publish("c", "then").await.unwrap();
    let cursor = message(&mut client).await.cursor();
    // The process was started again: its store is another one, and has come just as far.
    let store = MemoryStore::default();
    let two = bus(&store).await;
    two.publish("c", "now").await.unwrap();
    let mut client = two.resume(["c"], &cursor);
    assert_eq!(gap(&mut client).await.reason(), GapReason::Reset);
}
