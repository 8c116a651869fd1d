//! Streams that are received on demand.

use super::*;
use crate::{Capabilities, Cursor, CursorEntry, Interest, MemoryConfig, Overflow, Start};

const LINGER: Duration = Duration::from_secs(30);

fn on_demand() -> BusConfig {
    BusConfig::default().with_interest(Interest::OnDemand).with_interest_linger(LINGER)
}

async fn bus_with(store: &MemoryStore, config: BusConfig) -> Bus {
    Bus::builder(store.backplane()).config(config).connect().await.unwrap()
}

fn state_of(bus: &Bus, channel: &str) -> StreamState {
    bus.health().streams[bus.stream_of(channel).index()].clone()
}

async fn until_up(bus: &Bus, channel: &str) {
    let mut states = bus.state();
    while !state_of(bus, channel).is_up() {
        states.changed().await.expect("the bus is open");
    }
}

/// A little less, and a little more, than it takes to give a stream up.
async fn pass_linger() {
    tokio::time::sleep(LINGER + Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_received_from_the_first_subscription_until_a_while_after_the_last() {
    let store = MemoryStore::default();
    let one = bus_with(&store, on_demand()).await;
    assert!(one.health().ready && one.health().streams.iter().all(StreamState::is_up));
    assert_eq!(store.open_receptions(), 0);
    let (mut first, mut second) = (one.subscribe(["c"]), one.subscribe(["c"]));
    assert!(matches!(state_of(&one, "c"), StreamState::Connecting));
    assert!(one.health().ready, "the start of a stream on demand does not count");
    until_up(&one, "c").await;
    assert_eq!(store.open_receptions(), 1);
    one.publish("c", "hello").await.unwrap();
    assert_eq!((text(&mut first).await, text(&mut second).await), ("hello".into(), "hello".into()));
    assert!(one.usage().ring_bytes > 0);
    drop(first);
    pass_linger().await;
    assert_eq!(store.open_receptions(), 1, "somebody is still there");
    second.remove("c");
    tokio::time::sleep(LINGER - Duration::from_secs(1)).await;
    assert_eq!(store.open_receptions(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(store.open_receptions(), 0);
    assert_eq!((one.usage().ring_bytes, one.usage().readers), (0, 0));
    assert!(one.health().ready && one.health().streams.iter().all(StreamState::is_up));
}

#[tokio::test(start_paused = true)]
async fn short_subscriptions_keep_a_stream_open() {
    let store = MemoryStore::default();
    let one = bus_with(&store, on_demand().with_interest_linger(Duration::from_secs(2))).await;
    drop(one.subscribe(["c"]));
    until_up(&one, "c").await;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        assert_eq!(store.open_receptions(), 1);
        drop(one.subscribe(["c"]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_publishes_after_it_subscribed_reaches_it() {
    let store = MemoryStore::default();
    let policies = [QueuePolicy::Always, QueuePolicy::InitialOnly, QueuePolicy::Disabled];
    for policy in policies {
        let config = on_demand().with_queue_policy(policy).with_overflow(Overflow::Reject);
        let (one, other) = (bus_with(&store, config).await, bus(&store).await);
        other.publish("c", "before").await.unwrap();
        let mut client = one.subscribe(["c"]);
        for n in 0..3 {
            one.publish("c", n.to_string()).await.unwrap();
        }
        for n in 0..3 {
            assert_eq!(text(&mut client).await, n.to_string(), "{policy:?}");
        }
        until_up(&one, "c").await;
        other.publish("c", "after").await.unwrap();
        assert_eq!(text(&mut client).await, "after");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_in_time_finds_the_stream_as_it_was() {
    let store = MemoryStore::default();
    let (one, other) = (bus_with(&store, on_demand()).await, bus(&store).await);
    let mut client = one.subscribe(["c"]);
    one.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut client).await, "1");
    let cursor = client.cursor();
    drop(client);
    for n in 2..5 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        other.publish("c", n.to_string()).await.unwrap();
    }
    let received = one.counters().received;
    // What the store has lost meanwhile, the ring has.
    store.trim(one.stream_of("c"), 1);
    let mut client = one.resume(["c"], &cursor);
    for n in 2..5 {
        assert_eq!(text(&mut client).now_or_never(), Some(n.to_string()));
    }
    assert_eq!((one.counters().received, received), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_reopened_stream_is_resumed_from_the_backlog_without_a_false_gap() {
    let store = MemoryStore::default();
    let (one, other) = (bus_with(&store, on_demand()).await, bus(&store).await);
    let mut client = one.subscribe(["c"]);
    let mut cursor = client.cursor();
    assert_eq!(cursor.entry(one.stream_of("c")), Some(&CursorEntry::Unpositioned));
    for round in 0..3 {
        // The other node's frames go on while nobody here counts them.
        one.publish("c", format!("{round} here")).await.unwrap();
        assert_eq!(text(&mut client).await, format!("{round} here"));
        other.publish("c", format!("{round} there")).await.unwrap();
        assert_eq!(text(&mut client).await, format!("{round} there"));
        cursor = client.cursor().to_string().parse::<Cursor>().unwrap();
        drop(client);
        pass_linger().await;
        assert_eq!(store.open_receptions(), 4, "those of the other node");
        other.publish("c", format!("{round} missed")).await.unwrap();
        client = one.resume(["c"], &cursor);
        assert_eq!(client.cursor(), cursor, "until it is answered it stands where it stood");
        assert_eq!(text(&mut client).await, format!("{round} missed"));
    }
    let counters = one.counters();
    assert_eq!((counters.holes, counters.duplicates, counters.gaps_lost), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_older_than_the_backlog_expires() {
    let store = MemoryStore::default();
    let one = bus_with(&store, on_demand()).await;
    let mut client = one.subscribe(["c"]);
    one.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut client).await, "1");
    let cursor = client.cursor();
    drop(client);
    pass_linger().await;
    for n in 2..9 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    store.trim(one.stream_of("c"), 2);
    let mut client = one.resume(["c"], &cursor);
    assert_eq!(gap(&mut client).await.reason(), GapReason::Expired);
    assert_eq!(text(&mut client).await, "7");
}

#[tokio::test(start_paused = true)]
async fn a_hole_behind_the_reopening_is_told() {
    let store = MemoryStore::default();
    let (one, other) = (bus_with(&store, on_demand()).await, bus(&store).await);
    let mut client = one.subscribe(["c"]);
    until_up(&one, "c").await;
    other.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut client).await, "1");
    drop(client);
    pass_linger().await;
    other.publish("c", "2").await.unwrap();
    let mut client = one.subscribe(["c"]);
    until_up(&one, "c").await;
    store.append_raw(one.stream_of("c"), "SO\u{7f}of a later release");
    assert_eq!(gap(&mut client).await.reason(), GapReason::Lost);
    other.publish("c", "3").await.unwrap();
    assert_eq!(text(&mut client).await, "3");
}

#[tokio::test(start_paused = true)]
async fn look_ups_wait_for_a_store_that_is_away() {
    let store = MemoryStore::default();
    let (one, other) = (bus_with(&store, on_demand()).await, bus(&store).await);
    let stream = one.stream_of("c");
    let mut there = other.subscribe(["c"]);
    other.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut there).await, "1");
    let cursor = there.cursor();
    other.publish("c", "2").await.unwrap();
    store.outage([stream]);
    let mut client = one.resume(["c"], &cursor);
    // Longer than the wait for a cursor that is ahead: that counts only while the stream is up.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(matches!(state_of(&one, "c"), StreamState::Degraded { .. }));
    assert!(client.recv().now_or_never().is_none());
    store.restore([stream]);
    assert_eq!(text(&mut client).await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_given_up_in_an_outage_stays_degraded_until_a_probe_is_answered() {
    let store = MemoryStore::default();
    let one = bus_with(&store, on_demand()).await;
    let client = one.subscribe(["c"]);
    until_up(&one, "c").await;
    let stream = one.stream_of("c");
    store.outage([stream]);
    drop(client);
    pass_linger().await;
    assert_eq!(store.open_receptions(), 0);
    assert!(matches!(state_of(&one, "c"), StreamState::Degraded { .. }));
    store.restore([stream]);
    until_up(&one, "c").await;
    one.publish("c", "sent").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_received_opens_by_a_probe_and_its_tail_is_repaired() {
    let store = MemoryStore::default();
    let streams = store.streams();
    store.outage(streams);
    let starting = Bus::builder(store.backplane()).config(on_demand()).start().unwrap();
    let waits = starting.publish("c", "waits");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!starting.health().ready);
    store.restore(store.streams());
    waits.await.unwrap();
    until_up(&starting, "c").await;
    store.flush();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!((starting.counters().repaired, store.open_receptions()), (1, 0));
    let mut client = starting.subscribe(["c"]);
    starting.publish("c", "again").await.unwrap();
    assert_eq!(text(&mut client).await, "again");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_given_up_before_it_ever_opened_opens_by_a_probe() {
    let store = MemoryStore::default();
    store.outage(store.streams());
    let one = Bus::builder(store.backplane()).config(on_demand()).start().unwrap();
    drop(one.subscribe(["c"]));
    let waits = one.publish("c", "waits");
    pass_linger().await;
    store.restore(store.streams());
    assert_eq!(store.open_receptions(), 0);
    until_up(&one, "c").await;
    assert_eq!(waits.await.unwrap_err().kind(), ErrorKind::Expired);
    one.publish("c", "sent").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subscription_of_many_streams_opens_and_closes_them_one_by_one() {
    let store = MemoryStore::default();
    let one = bus_with(&store, on_demand()).await;
    let names: Vec<_> = (0..40).map(|n| format!("c{n}")).collect();
    let mut client = one.subscribe::<&str>([]);
    let mut followed = std::collections::BTreeSet::new();
    for name in &names {
        client.add(name);
        followed.insert(one.stream_of(name));
        one.publish(name, "hello").await.unwrap();
        assert_eq!(message(&mut client).await.channel(), name);
        assert_eq!(store.open_receptions(), followed.len());
    }
    let stream = one.stream_of(&names[0]);
    for name in names.iter().filter(|name| one.stream_of(name) != stream) {
        client.remove(name);
    }
    pass_linger().await;
    assert_eq!((store.open_receptions(), one.usage().readers), (1, 1));
    one.close(Duration::from_secs(1)).await;
    assert_eq!(store.open_receptions(), 0);
}

#[tokio::test]
async fn a_store_without_a_backlog_is_refused() {
    let config = MemoryConfig::default().with_capabilities(Capabilities::default().with_dense_ids(true));
    let store = MemoryStore::new(config);
    for config in [on_demand(), on_demand().with_max_backlog_payloads(0)] {
        let error = Bus::builder(store.backplane()).config(config).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("on demand"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reception_ends_when_its_events_are_dropped() {
    let store = MemoryStore::default();
    let node = store.backplane();
    let mut events = node.receive(StreamIndex(0), Start::Latest);
    futures_util::StreamExt::next(&mut events).await;
    assert_eq!(store.open_receptions(), 1);
    drop(events);
    assert_eq!(store.open_receptions(), 0);
}
