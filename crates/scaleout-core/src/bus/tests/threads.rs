//! The bus on real threads: what the simulation, on one thread, cannot show of locks and wake-ups.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;

use super::{received, *};
use crate::{BusConfig, Interest, MemoryStore, Overflow, Received};

const PUBLISHERS: usize = 4;
const MESSAGES: usize = 1_500;
const CHANNELS: usize = 6;
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_reordered_among_threads_while_links_break() {
    let store = MemoryStore::default();
    // A small queue, so that publishers wait for room on all streams.
    let config = BusConfig::default().with_max_queue_messages(8).with_overflow(Overflow::Wait);
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(Bus::builder(store.backplane()).config(config.clone()).connect().await.unwrap());
    }
    let readers: Vec<_> = (0..24)
        .map(|reader| {
            let channel = format!("c{}", reader % CHANNELS);
            let subscription = nodes[reader % 2].subscribe([&channel]);
            tokio::spawn(read_all(subscription))
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| tokio::spawn(publish_all(nodes[publisher % 2].clone(), publisher)))
        .collect();
    // Links break and epochs begin, without loss, until all is published; readers come and go.
    while !publishers.iter().all(tokio::task::JoinHandle::is_finished) {
        store.cut_receivers();
        for stream in store.streams() {
            store.new_epoch(stream);
        }
        let passing = nodes[0].subscribe((0..CHANNELS).map(|channel| format!("c{channel}")));
        tokio::task::yield_now().await;
        let cursor = passing.cursor();
        drop(nodes[1].resume(["c0"], &cursor));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    for reader in readers {
        timeout(DEADLINE, reader).await.expect("everything arrives in time").unwrap();
    }
    for node in nodes {
        assert_eq!(node.close(DEADLINE).await, CloseReport::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_subscribes_gets_what_it_publishes_while_streams_come_and_go_on_demand() {
    let store = MemoryStore::default();
    let config = BusConfig::default().with_interest(Interest::OnDemand).with_interest_linger(Duration::ZERO);
    let node = Bus::builder(store.backplane()).config(config).connect().await.unwrap();
    let clients: Vec<_> = (0..4).map(|client| tokio::spawn(come_and_go(node.clone(), client))).collect();
    // As the upkeep does, without waiting for its ticks.
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        node.inner().stream_indices().for_each(|stream| node.inner().give_up_unread(stream));
        tokio::task::yield_now().await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let counters = node.counters();
    assert_eq!((counters.gaps_lost, counters.holes, counters.delivered), (0, 0, 4 * 500));
    assert!(counters.received > counters.delivered, "no stream was opened again: {counters:?}");
    assert_eq!(node.close(DEADLINE).await, CloseReport::default());
}

async fn come_and_go(bus: Bus, client: usize) {
    let channel = format!("c{client}");
    for n in 0..500 {
        let mut subscription = bus.subscribe([&channel]);
        let sent = bus.publish(&channel, n.to_string());
        assert_eq!(text(&mut subscription).await, n.to_string(), "of client {client}");
        timeout(DEADLINE, sent).await.expect("a publish resolves").unwrap();
        drop(subscription);
        // Each time it comes back a little earlier or later in the course of the stream's end.
        for _ in 0..n % 16 {
            tokio::task::yield_now().await;
        }
    }
}

async fn publish_all(bus: Bus, publisher: usize) {
    // Several at a time, so that frames hold more than one message.
    let mut open = Vec::new();
    for n in 0..MESSAGES {
        let channel = format!("c{}", n % CHANNELS);
        open.push(bus.publish(&channel, format!("{publisher} {n}")));
        if open.len() == 5 || n + 1 == MESSAGES {
            for publish in open.drain(..) {
                timeout(DEADLINE, publish).await.expect("a publish resolves").unwrap();
            }
        }
    }
}

/// Reads until every publisher's last message of the channel came; each one's must come in order, once.
async fn read_all(mut subscription: Subscription) {
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let mut left = None;
    while left != Some(0) {
        let Received::Message(message) = received(&mut subscription).await else { panic!("a gap") };
        let text = String::from_utf8(message.payload().to_vec()).unwrap();
        let (publisher, n) = text.split_once(' ').unwrap();
        let n: usize = n.parse().unwrap();
        let first = n % CHANNELS;
        let expected = next.entry(publisher.to_owned()).or_insert(first);
        assert_eq!(n, *expected, "of publisher {publisher}");
        *expected += CHANNELS;
        let each = (MESSAGES - first).div_ceil(CHANNELS);
        left = Some(left.unwrap_or(each * PUBLISHERS) - 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_that_are_received_at_once_let_no_more_go_than_is_over() {
    const RING: usize = 64 << 10;
    const PAYLOAD: usize = 8 << 10;
    let store = MemoryStore::default();
    let config = BusConfig::default().with_max_ring_bytes(RING).with_max_frame_bytes(1);
    let node = Bus::builder(store.backplane()).config(config).connect().await.unwrap();
    // One channel on each stream.
    let mut channels = BTreeMap::new();
    for channel in (0..).map(|number| format!("c{number}")) {
        channels.entry(node.stream_of(&channel)).or_insert(channel);
        if channels.len() == usize::from(node.stream_count().get()) {
            break;
        }
    }
    for round in 1..=1_000 {
        let publishes: Vec<_> =
            channels.values().map(|channel| node.publish(channel, vec![0; PAYLOAD])).collect();
        for publish in publishes {
            publish.await.unwrap();
        }
        let all = (round * channels.len()) as u64;
        let come = async {
            while node.counters().received < all || node.usage().ring_bytes > RING {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, come).await.expect("everything arrives in time");
        let kept = node.usage().ring_bytes;
        // The ring is full, but for what the frame that left it last had taken.
        assert!(all < 12 || kept + PAYLOAD + 1_024 > RING, "{kept} bytes are kept in round {round}");
    }
}
