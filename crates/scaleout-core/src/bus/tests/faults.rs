//! What a bus tells of a store that fails, and of payloads that it cannot use.

use std::num::NonZeroU16;

use super::*;
use crate::{AppName, frame};

/// A frame of one message for `c`, as a node of another set-up would send it.
fn alien_frame(app: u64, stream_count: u16) -> Bytes {
    let mut messages = Vec::new();
    frame::encode_message(&mut messages, "c", b"alien", &[]);
    let node = NodeId(99);
    let head = frame::FrameHead { app, stream_count, node, number: 1, after: 0, sent_at_micros: 0 };
    frame::seal(&head, 1, &messages)
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_another_layout_degrades_the_stream_until_a_minute_without_one() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    let stream = one.stream_of("c");
    let state = || one.health().streams[stream.index()].clone();
    for _ in 0..2 {
        store.append_raw(stream, alien_frame(AppName::default().hash(), 5));
        let told = gap(&mut client).await;
        assert_eq!((told.reason(), told.frames()), (GapReason::Lost, Some(1)));
        tokio::time::sleep(Duration::from_secs(40)).await;
        let StreamState::Degraded { error, attempts, .. } = state() else { panic!("{:?}", state()) };
        assert_eq!((error.kind(), attempts), (ErrorKind::Config, 1));
        assert!(error.to_string().contains('5') && error.to_string().contains('4'), "{error}");
    }
    assert!(!one.health().ready, "it lasts longer than the grace time");
    one.publish("c", "still sent and received").await.unwrap();
    assert_eq!(text(&mut client).await, "still sent and received");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(state().is_up() && one.health().ready);
    assert_eq!((one.counters().mislaid, one.counters().gaps_lost), (2, 2));
    assert_eq!(one.stream_count(), NonZeroU16::new(4).unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_frame_is_told_and_a_foreign_one_is_not() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let (mut client, mut quiet) = (one.subscribe(["c"]), one.subscribe(["c2", "c3", "c4", "c5", "c6", "c7"]));
    let stream = one.stream_of("c");
    let app = AppName::default().hash();
    store.append_raw(stream, alien_frame(app + 1, 4));
    store.append_raw(stream, "somebody else's");
    store.append_empty(stream);
    one.publish("c", "1").await.unwrap();
    assert_eq!(text(&mut client).await, "1");
    let mut newer = alien_frame(app, 4).to_vec();
    newer[2] = 200;
    store.append_raw(stream, newer);
    let told = gap(&mut client).await;
    assert_eq!((told.reason(), told.frames()), (GapReason::Lost, Some(1)));
    assert_eq!(gap(&mut quiet).await.stream(), stream, "nobody knows whose it was");
    one.publish("c", "2").await.unwrap();
    assert_eq!(text(&mut client).await, "2");
    let counters = one.counters();
    assert_eq!((counters.foreign, counters.unreadable, counters.empty, counters.holes), (2, 1, 1, 1));
    assert!(one.health().ready);
}

#[tokio::test(start_paused = true)]
async fn sending_goes_on_as_soon_as_reception_does() {
    let store = MemoryStore::default();
    let config = BusConfig::default()
        .with_min_backoff(Duration::from_secs(1000))
        .with_max_backoff(Duration::from_secs(1000));
    let one = Bus::builder(store.backplane()).config(config).connect().await.unwrap();
    store.outage(store.streams());
    let waiting: Vec<_> = ["a", "b", "c", "d", "e"].map(|channel| one.publish(channel, "late")).into();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(one.health().streams.iter().all(|state| !state.is_up()));
    store.restore(store.streams());
    let all = futures_util::future::join_all(waiting);
    let sent =
        tokio::time::timeout(Duration::from_secs(8), all).await.expect("they do not wait for their delays");
    assert!(sent.iter().all(Result::is_ok));
    assert!(one.health().streams.iter().all(StreamState::is_up));
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_comes_out_once() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut client = one.subscribe(["c"]);
    for n in 0..3 {
        one.publish("c", n.to_string()).await.unwrap();
    }
    store.redeliver(one.stream_of("c"), 3);
    one.publish("c", "3").await.unwrap();
    for n in 0..4 {
        assert_eq!(text(&mut client).await, n.to_string());
    }
    assert!(client.recv().now_or_never().is_none());
    assert_eq!(one.counters().duplicates, 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_stays_ready_through_a_blip_and_not_through_an_outage() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    let mut watch = one.state();
    assert!(one.health().ready && watch.current().iter().all(StreamState::is_up));
    store.outage(store.streams());
    let changed = timeout(Duration::from_secs(60), watch.changed()).await.unwrap().unwrap();
    assert!(!changed.iter().all(StreamState::is_up));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let health = one.health();
    assert!(health.ready && health.streams.iter().all(|state| state.name() == "degraded"));
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(!one.health().ready);
    store.restore(store.streams());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(one.health().ready && one.health().streams.iter().all(StreamState::is_up));
    assert_eq!(one.health().node, one.node());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_was_up_is_not_ready() {
    let store = MemoryStore::default();
    store.outage(store.streams());
    let one = Bus::builder(store.backplane()).start().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!one.health().ready);
    store.restore(store.streams());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(one.health().ready);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_dropped_resolves_everything() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    store.block_sends(true);
    let mut client = one.subscribe(["c"]);
    let mut idle = one.subscribe::<&str>([]);
    let tried = one.publish("c", "tried");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let waits = one.publish("c", "waits");
    let clone = one.clone();
    drop(one);
    assert!(!clone.health().streams.iter().any(|state| state.name() == "closed"));
    drop(clone);
    assert_eq!(tried.await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    assert_eq!(waits.await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(client.recv().await.is_none() && idle.recv().await.is_none());
    client.add("d");
    assert!(client.recv().await.is_none());
    tokio::task::yield_now().await;
    assert_eq!(store.open_receptions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_close_waits_for_the_first() {
    let store = MemoryStore::default();
    let one = bus(&store).await;
    store.block_sends(true);
    let receipt = one.enqueue("c", "x").unwrap();
    let clone = one.clone();
    let first = tokio::spawn(async move { clone.close(Duration::from_secs(2)).await });
    tokio::task::yield_now().await;
    assert_eq!(one.publish("c", "late").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(one.close(Duration::from_secs(60)).await, CloseReport::default());
    assert_eq!(first.await.unwrap().unconfirmed, 1);
    assert_eq!(receipt.await.unwrap_err().kind(), ErrorKind::Unconfirmed);
    assert!(one.health().streams.iter().all(|state| state.name() == "closed"));
    assert!(!one.health().ready);
}
