use std::{num::NonZeroU16, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    stream::{BoxStream, StreamExt},
};
use tokio::time::{Instant, timeout};

use super::{LogEntry, MemoryBackplane, MemoryConfig, MemoryStore, SendFault};
use crate::{
    Backplane, Capabilities, Epoch, Error, ErrorKind, Event, FrameId, NodeId, PayloadId, Start, StreamIndex,
};

const STREAM: StreamIndex = StreamIndex(0);
const NODE: NodeId = NodeId(1);
const ALL: Start = Start::Backlog { payloads: usize::MAX };

/// One node of a store with one stream, and one reception, told as text.
struct Bench {
    store: MemoryStore,
    node: MemoryBackplane,
    events: BoxStream<'static, Event>,
}

impl Bench {
    fn new(start: Start) -> Self {
        Self::with(start, |capabilities| capabilities)
    }

    fn with(start: Start, change: impl FnOnce(Capabilities) -> Capabilities) -> Self {
        let config = MemoryConfig::default()
            .with_first_epoch(Epoch(1))
            .with_streams(NonZeroU16::MIN)
            .with_keep_log(true);
        let capabilities = change(config.capabilities);
        let store = MemoryStore::new(config.with_capabilities(capabilities));
        let node = store.backplane();
        let events = node.receive(STREAM, start);
        Self { store, node, events }
    }

    /// Sends a frame whose bytes are its number.
    async fn send(&self, number: u64, after: u64) -> Result<(), Error> {
        let payload = if number == 0 { Bytes::new() } else { number.to_string().into() };
        self.node.send(STREAM, FrameId { node: NODE, number, after }, payload).await
    }

    /// Sends the frames `numbers`, each after the one before it.
    async fn send_all(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.send(number, number - 1).await.unwrap();
        }
    }

    /// The events that are there now.
    async fn ready(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::from_nanos(1), self.events.next()).await {
            told.push(tell(&event));
        }
        told
    }

    fn contents(&self) -> Vec<String> {
        self.store.held(STREAM).iter().map(tell_entry).collect()
    }
}

fn tell(event: &Event) -> String {
    let place = |(epoch, id): (Epoch, PayloadId)| format!("{epoch}-{id}");
    match event {
        Event::Opened { epoch, after, head, unbroken } => {
            let after = after.map_or("none".into(), place);
            let head = (head.0, head.1.map_or("none".into(), |id| id.to_string()));
            let broken = if *unbroken { "" } else { " broken" };
            format!("open {epoch} after {after} head {}-{}{broken}", head.0, head.1)
        }
        Event::Payload { id, bytes } => format!("{id}: {}", String::from_utf8_lossy(bytes)),
        Event::Faulted(error) => format!("{:?}", error.kind()),
    }
}

fn tell_entry(entry: &LogEntry) -> String {
    format!("{}-{}: {}", entry.epoch, entry.id, entry.number)
}

#[tokio::test(start_paused = true)]
async fn a_backlog_crosses_epochs_and_goes_on_live() {
    let mut bench = Bench::new(Start::Backlog { payloads: 3 });
    bench.send_all(1..=3).await;
    bench.store.new_epoch(STREAM);
    bench.send_all(4..=4).await;
    let expected = ["open 1 after none head 2-0", "1: 2", "2: 3", "open 2 after 1-2 head 2-0", "0: 4"];
    assert_eq!(bench.ready().await, expected);
    bench.send_all(5..=5).await;
    assert_eq!(bench.ready().await, ["1: 5"]);
}

#[tokio::test(start_paused = true)]
async fn latest_begins_at_the_head_and_two_nodes_see_the_same() {
    let mut bench = Bench::new(Start::Latest);
    bench.send_all(1..=2).await;
    assert_eq!(bench.ready().await, ["open 1 after none head 1-1"]);
    let mut other = bench.store.backplane().receive(STREAM, ALL);
    bench.send_all(3..=3).await;
    assert_eq!(bench.ready().await, ["2: 3"]);
    let all: Vec<_> = other.by_ref().take(4).map(|event| tell(&event)).collect().await;
    assert_eq!(all, ["open 1 after none head 1-2", "0: 1", "1: 2", "2: 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_broken_only_for_who_was_behind() {
    let mut bench = Bench::new(ALL);
    bench.send_all(1..=2).await;
    bench.ready().await;
    bench.store.flush();
    assert_eq!(bench.ready().await, ["open 2 after none head 2-none"]);
    bench.send_all(1..=2).await;
    bench.store.flush();
    assert_eq!(bench.ready().await, ["open 3 after none head 3-none broken"]);
    assert_eq!(bench.send(3, 2).await.unwrap_err().kind(), ErrorKind::Rewound { last: 0 });
    // Whoever comes later misses nothing.
    let mut late = bench.store.backplane().receive(STREAM, ALL);
    assert_eq!(tell(&late.next().await.unwrap()), "open 3 after none head 3-none");
}

#[tokio::test(start_paused = true)]
async fn a_failover_restores_the_numbers_of_what_it_kept() {
    let mut bench = Bench::new(ALL);
    bench.send_all(1..=4).await;
    bench.ready().await;
    bench.store.trim(STREAM, 3);
    bench.store.new_epoch(STREAM);
    bench.send_all(5..=5).await;
    assert_eq!(bench.store.failover(STREAM, 3), Epoch(3));
    assert_eq!(bench.contents(), ["1-1: 2"]);
    // The reader held more of epoch 1 than epoch 3 continues, and never heard of epoch 2.
    assert_eq!(bench.ready().await, ["open 3 after 1-1 head 3-none"]);
    assert_eq!(bench.send(0, 5).await.unwrap_err().kind(), ErrorKind::Rewound { last: 2 });
    bench.send(2, 1).await.unwrap();
    bench.send_all(3..=3).await;
    assert_eq!(bench.contents(), ["1-1: 2", "3-0: 3"]);
    let forgotten: Vec<_> =
        bench.store.log(STREAM).iter().map(|entry| entry.forgotten_in.is_some()).collect();
    assert_eq!(forgotten, [false, false, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn retention_drops_the_oldest_and_shows_as_a_hole() {
    let mut bench = Bench::new(ALL);
    bench.send_all(1..=1).await;
    bench.ready().await;
    bench.send_all(2..=9).await;
    bench.store.trim(STREAM, 2);
    assert_eq!(bench.ready().await, ["7: 8", "8: 9"]);
    bench.store.trim(STREAM, 0);
    assert_eq!(bench.contents(), ["1-8: 9"]);
}

#[tokio::test(start_paused = true)]
async fn without_dense_ids_a_reader_that_fell_behind_is_told() {
    let mut bench = Bench::with(ALL, |capabilities| capabilities.with_dense_ids(false));
    bench.send_all(1..=1).await;
    assert_eq!(bench.ready().await.len(), 2);
    bench.send_all(2..=9).await;
    bench.store.trim(STREAM, 2);
    let told = bench.ready().await;
    assert!(told[0].ends_with(" broken"), "{told:?}");
    assert_eq!(told.len(), 3);
    let ids: Vec<_> = bench.store.log(STREAM).iter().map(|entry| entry.id.0).collect();
    assert!(ids.is_sorted_by(|a, b| a < b) && ids[8] > 8, "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn without_replay_a_reconnect_is_broken_only_if_something_was_missed() {
    let mut bench = Bench::with(ALL, |capabilities| capabilities.with_replay(false));
    bench.send_all(1..=2).await;
    assert_eq!(bench.ready().await, ["open 1 after none head 1-1"]);
    bench.store.cut_receivers();
    assert_eq!(bench.ready().await, ["Unavailable", "open 1 after none head 1-1"]);
    bench.store.cut_receivers();
    bench.send_all(3..=3).await;
    assert_eq!(bench.ready().await, ["Unavailable", "open 1 after none head 1-2 broken"]);
    bench.send_all(4..=4).await;
    assert_eq!(bench.ready().await, ["3: 4"]);
    // What was appended meanwhile and forgotten again is no part of the history.
    bench.store.cut_receivers();
    bench.send_all(5..=5).await;
    bench.store.failover(STREAM, 1);
    assert_eq!(bench.ready().await, ["Unavailable", "open 2 after 1-3 head 2-none"]);
}

#[tokio::test(start_paused = true)]
async fn each_send_fault_does_what_it_says() {
    let bench = Bench::new(ALL);
    for fault in [SendFault::Refused, SendFault::Landed, SendFault::Lost] {
        bench.store.fail_sends(STREAM, 1, fault);
    }
    let kind = |result: Result<(), Error>| result.unwrap_err().kind();
    assert_eq!(kind(bench.send(1, 0).await), ErrorKind::Unavailable);
    bench.send(0, 0).await.unwrap();
    assert_eq!(kind(bench.send(1, 0).await), ErrorKind::Unavailable);
    assert_eq!(kind(bench.send(2, 1).await), ErrorKind::Timeout);
    assert_eq!(bench.contents(), ["1-0: 1"]);
    bench.send(1, 0).await.unwrap();
    bench.send(2, 1).await.unwrap();
    assert_eq!(bench.contents(), ["1-0: 1", "1-1: 2"]);

    bench.store.fail_sends(STREAM, 1, SendFault::Silent);
    assert!(timeout(Duration::from_secs(60), bench.send(3, 2)).await.is_err());
    bench.send(3, 2).await.unwrap();
    assert_eq!(bench.contents().len(), 3);

    bench.store.fail_sends(STREAM, 5, SendFault::Lost);
    assert_eq!(bench.store.clear_send_faults(STREAM), 5);
    bench.store.block_sends(true);
    let mut blocked = Box::pin(bench.send(4, 3));
    assert!(timeout(Duration::from_secs(60), &mut blocked).await.is_err());
    bench.store.block_sends(false);
    blocked.await.unwrap();
    bench.store.set_send_delay(Duration::from_secs(3));
    let began = Instant::now();
    bench.send(5, 4).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_late_write_adds_nothing_twice_and_nothing_of_an_old_epoch() {
    let bench = Bench::new(ALL);
    let late = async |number, after| {
        bench.store.fail_sends(STREAM, 1, SendFault::LandsLate);
        assert_eq!(bench.send(number, after).await.unwrap_err().kind(), ErrorKind::Timeout);
    };
    // Retried with success: neither way adds it again.
    late(1, 0).await;
    bench.send(1, 0).await.unwrap();
    assert_eq!(bench.store.land_late_unchecked(STREAM), 0);
    // Given up: behind a later number only a store that does not look adds it.
    late(2, 1).await;
    bench.send(3, 1).await.unwrap();
    assert_eq!(bench.store.land_late(STREAM), 0);
    late(4, 3).await;
    late(4, 3).await;
    bench.send(5, 3).await.unwrap();
    assert_eq!(bench.store.land_late_unchecked(STREAM), 1);
    assert_eq!(bench.contents(), ["1-0: 1", "1-1: 3", "1-2: 5", "1-3: 4"]);
    // First there, the late one counts, and the retry adds nothing.
    late(6, 5).await;
    assert_eq!(bench.store.land_late(STREAM), 1);
    bench.send(6, 5).await.unwrap();
    late(7, 6).await;
    bench.store.new_epoch(STREAM);
    assert_eq!(bench.store.land_late_unchecked(STREAM), 0);
    assert_eq!(bench.contents().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_rewound_sender_is_told_until_it_lowers_after() {
    let bench = Bench::new(ALL);
    bench.send_all(1..=2).await;
    for _ in 0..2 {
        assert_eq!(bench.send(5, 4).await.unwrap_err().kind(), ErrorKind::Rewound { last: 2 });
    }
    bench.send(2, 4).await.unwrap();
    bench.send(5, 2).await.unwrap();
    assert_eq!(bench.contents(), ["1-0: 1", "1-1: 2", "1-2: 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_asked_rewinds_to_nothing_in_a_new_epoch() {
    let bench = Bench::with(ALL, |capabilities| capabilities.with_asks_held(false));
    // Nothing was sent before, so that any `after` is taken as sufficient.
    bench.send(7, 6).await.unwrap();
    bench.store.new_epoch(STREAM);
    for _ in 0..2 {
        assert_eq!(bench.send(8, 7).await.unwrap_err().kind(), ErrorKind::Rewound { last: 0 });
    }
    bench.send(7, 0).await.unwrap();
    bench.send(8, 7).await.unwrap();
    assert_eq!(bench.contents(), ["1-0: 7", "2-0: 8"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_faults_once_per_attempt_until_restored() {
    let mut bench = Bench::new(ALL);
    bench.send_all(1..=1).await;
    bench.ready().await;
    bench.store.outage(bench.store.streams());
    assert_eq!(bench.send(2, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    for _ in 0..20 {
        assert!(matches!(bench.events.next().await, Some(Event::Faulted(error)) if error.is_transient()));
    }
    bench.store.restore([STREAM]);
    bench.send_all(2..=2).await;
    let began = Instant::now();
    assert_eq!(tell(&bench.events.next().await.unwrap()), "open 1 after none head 1-1");
    assert!(began.elapsed() <= Duration::from_secs(5));
    assert_eq!(bench.ready().await, ["1: 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_is_tried_again_once_a_minute() {
    let mut bench = Bench::new(ALL);
    bench.ready().await;
    bench.store.fatal(Some(ErrorKind::Unauthorized));
    assert_eq!(bench.send(0, 0).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(bench.ready().await, ["Unauthorized"]);
    let began = Instant::now();
    assert_eq!(tell(&bench.events.next().await.unwrap()), "Unauthorized");
    bench.store.fatal(None);
    assert_eq!(tell(&bench.events.next().await.unwrap()), "open 1 after none head 1-none");
    assert!((119..=121).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn redelivery_repeats_what_was_yielded_and_no_more() {
    let mut bench = Bench::new(Start::Backlog { payloads: 2 });
    bench.send_all(1..=4).await;
    bench.ready().await;
    bench.store.redeliver(STREAM, 9);
    bench.store.append_raw(STREAM, "raw");
    bench.store.append_empty(STREAM);
    assert_eq!(bench.ready().await, ["2: 3", "3: 4", "4: raw", "5: "]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_delays_payloads() {
    let mut bench = Bench::new(ALL);
    bench.store.set_receive_delay(Duration::from_secs(2));
    bench.send_all(1..=2).await;
    let began = Instant::now();
    assert_eq!(bench.events.by_ref().take(3).count().await, 3);
    assert_eq!(began.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn close_ends_what_waits_and_counts_it_out() {
    let mut bench = Bench::new(ALL);
    let dropped = bench.node.receive(STREAM, ALL);
    let other = bench.store.backplane();
    let mut unaffected = other.receive(STREAM, ALL);
    assert_eq!(bench.store.open_receptions(), 3);
    drop(dropped);
    assert_eq!(bench.store.open_receptions(), 2);
    bench.ready().await;
    bench.store.block_sends(true);
    let mut waiting = bench.node.receive(STREAM, ALL).skip(1);
    let (sent, ended, ()) = tokio::join!(bench.send(1, 0), waiting.next(), async {
        tokio::task::yield_now().await;
        bench.node.close().await.unwrap();
    });
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::Closed);
    assert!(ended.is_none());
    assert_eq!(bench.store.open_receptions(), 1);
    assert!(bench.events.next().await.is_none());
    assert!(bench.node.receive(STREAM, ALL).next().await.is_none());
    assert_eq!(bench.send(0, 0).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(unaffected.next().now_or_never().flatten().is_some());
}

#[tokio::test(start_paused = true)]
async fn payloads_are_checked_before_anything_is_sent() {
    let bench = Bench::with(ALL, |capabilities| capabilities.with_max_payload_bytes(3));
    let send = async |number, payload: &'static str| {
        let frame = FrameId { node: NODE, number, after: 0 };
        bench
            .node
            .send(STREAM, frame, Bytes::from_static(payload.as_bytes()))
            .await
            .map_err(|error| error.kind())
    };
    assert_eq!(send(1, "four").await, Err(ErrorKind::PayloadTooLarge { actual: 4, limit: 3 }));
    assert_eq!(send(1, "").await, Err(ErrorKind::Config));
    assert_eq!(send(0, "x").await, Err(ErrorKind::Config));
    assert_eq!(send(1, "yes").await, Ok(()));
    let elsewhere =
        bench.node.send(StreamIndex(1), FrameId { node: NODE, number: 0, after: 0 }, Bytes::new());
    assert_eq!(elsewhere.await.map_err(|error| error.kind()), Err(ErrorKind::Config));
}
