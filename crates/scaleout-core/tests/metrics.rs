//! What a recorder of `metrics` is told of a bus. With feature `metrics`, which `cargo xtask test` has.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use scaleout_core::{
    Backplane, Bus, BusConfig, Capabilities, CounterSource, CounterValue, Error, Event, FrameId,
    MemoryBackplane, MemoryConfig, MemoryStore, Received, Retained, SendFault, Start, StreamIndex,
    Subscription,
};
use tokio::time::{sleep, timeout};

/// What a recorder was told so far, by name and labels: `scaleout_gaps_total{app="shop",reason="lost"}`.
struct Told {
    snapshotter: Snapshotter,
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    histograms: BTreeMap<String, Vec<f64>>,
    labels: BTreeSet<(String, String)>,
}

impl Told {
    fn look(&mut self) -> &mut Self {
        for (key, _, description, value) in self.snapshotter.snapshot().into_vec() {
            let key = key.key();
            assert!(description.is_some(), "{key} is not described");
            let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
            self.labels.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            let labels: Vec<_> = labels
                .iter()
                .filter(|(name, _)| *name != "app")
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            match value {
                // A snapshot takes what it shows.
                DebugValue::Counter(value) => *self.counters.entry(name).or_default() += value,
                DebugValue::Gauge(value) => {
                    self.gauges.insert(name, value.into_inner());
                }
                DebugValue::Histogram(values) => {
                    let values = values.into_iter().map(|value| value.into_inner());
                    self.histograms.entry(name).or_default().extend(values);
                }
            }
        }
        self
    }

    fn counter(&self, name: &str) -> u64 {
        *self.counters.get(name).unwrap_or_else(|| panic!("there is no counter {name}"))
    }

    fn gauge(&self, name: &str) -> f64 {
        *self.gauges.get(name).unwrap_or_else(|| panic!("there is no gauge {name}"))
    }
}

/// Starts a bus that has a recorder of its own.
fn start(backplane: impl Backplane, config: BusConfig) -> (Bus, Told) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let bus = metrics::with_local_recorder(&recorder, || Bus::builder(backplane).config(config).start());
    let told = Told {
        snapshotter,
        counters: BTreeMap::new(),
        gauges: BTreeMap::new(),
        histograms: BTreeMap::new(),
        labels: BTreeSet::new(),
    };
    (bus.unwrap(), told)
}

fn config() -> BusConfig {
    BusConfig::default().with_app("shop".parse().unwrap())
}

fn one_stream() -> MemoryStore {
    MemoryStore::new(MemoryConfig::default().with_streams(NonZeroU16::MIN))
}

async fn until(bus: &Bus, holds: impl Fn(&Bus) -> bool) {
    let wait = async {
        while !holds(bus) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("within a minute");
}

async fn next(subscription: &mut Subscription) -> Received {
    timeout(Duration::from_secs(60), subscription.recv()).await.expect("within a minute").unwrap()
}

#[tokio::test(start_paused = true)]
async fn counters_end_as_those_of_the_bus() {
    let store = one_stream();
    let (bus, mut told) = start(store.backplane(), config());
    let mut client = bus.subscribe(["c"]);
    for n in 0..5 {
        bus.publish("c", n.to_string()).await.unwrap();
    }
    assert!(bus.publish("c", vec![0; 2 << 20]).await.is_err());
    next(&mut client).await;
    store.append_raw(StreamIndex(0), "somebody else's");
    until(&bus, |bus| bus.counters().foreign > 0).await;
    store.flush();
    bus.publish("c", "last").await.unwrap();
    bus.resume(["c"], &bus.subscribe(["c"]).cursor());
    bus.close(Duration::from_secs(5)).await;
    assert!(bus.publish("c", "late").await.is_err());
    // What is read after the end counts as well.
    while client.recv().await.is_some() {}
    drop(client);
    let counters = bus.counters();
    drop(bus);
    sleep(Duration::from_secs(2)).await;
    told.look();

    let by_name = [
        ("published_messages_total{}", counters.published),
        ("received_messages_total{}", counters.received),
        ("delivered_messages_total{}", counters.delivered),
        ("dropped_messages_total{reason=refused}", counters.refused),
        ("dropped_messages_total{reason=unavailable}", counters.unavailable),
        ("dropped_messages_total{reason=expired}", counters.expired),
        ("dropped_messages_total{reason=dropped}", counters.dropped),
        ("dropped_messages_total{reason=closed}", counters.closed),
        ("dropped_messages_total{reason=too_large}", counters.too_large),
        ("unconfirmed_messages_total{}", counters.unconfirmed),
        ("duplicate_payloads_total{}", counters.duplicates),
        ("skipped_payloads_total{reason=foreign}", counters.foreign),
        ("skipped_payloads_total{reason=unreadable}", counters.unreadable),
        ("skipped_payloads_total{reason=mislaid}", counters.mislaid),
        ("skipped_payloads_total{reason=empty}", counters.empty),
        ("skipped_payloads_total{reason=refused}", counters.refused_payloads),
        ("rewinds_total{}", counters.rewound),
        ("repaired_frames_total{}", counters.repaired),
        ("holes_total{}", counters.holes),
        ("gaps_total{reason=lost}", counters.gaps_lost),
        ("gaps_total{reason=reset}", counters.gaps_reset),
        ("gaps_total{reason=expired}", counters.gaps_expired),
        ("gaps_total{reason=lagged}", counters.gaps_lagged),
        ("cursor_lookups_total{reason=in_ring}", counters.lookups_in_ring),
        ("cursor_lookups_total{reason=older}", counters.lookups_older),
        ("cursor_lookups_total{reason=expired}", counters.lookups_expired),
        ("cursor_lookups_total{reason=ahead}", counters.lookups_ahead),
        ("cursor_lookups_total{reason=reset}", counters.lookups_reset),
        ("cursor_lookups_total{reason=absent}", counters.lookups_absent),
        ("cursor_lookups_total{reason=unpositioned}", counters.lookups_unpositioned),
        ("faults_total{}", counters.faults),
        ("reconnects_total{}", counters.reconnects),
    ];
    for (name, value) in by_name {
        assert_eq!(told.counter(&format!("scaleout_{name}")), value, "{name}");
    }
    assert_eq!(told.counters.len(), by_name.len());
    // Each of these happened, so that nothing is compared with nothing.
    for (name, value) in [
        ("published", counters.published),
        ("delivered", counters.delivered),
        ("duplicates", counters.duplicates),
        ("foreign", counters.foreign),
        ("repaired", counters.repaired),
        ("too_large", counters.too_large),
        ("lookups_in_ring", counters.lookups_in_ring),
    ] {
        assert!(value > 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_shows_within_seconds_and_so_does_its_end() {
    let store = one_stream();
    let (bus, mut told) = start(store.backplane(), config());
    bus.publish("c", "before").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    told.look();
    assert_eq!((told.gauge("scaleout_stream_state{stream=0}"), told.gauge("scaleout_ready{}")), (1.0, 1.0));
    assert_eq!(
        (told.counter("scaleout_faults_total{}"), told.counter("scaleout_reconnects_total{}")),
        (0, 0)
    );

    store.outage(store.streams());
    let waits = bus.enqueue("c", "during").unwrap();
    sleep(Duration::from_secs(5)).await;
    told.look();
    assert!(told.counter("scaleout_faults_total{}") > 0);
    assert_eq!(told.gauge("scaleout_stream_state{stream=0}"), 2.0);
    assert_eq!(told.gauge("scaleout_queue_messages{}"), 1.0);
    assert!(told.gauge("scaleout_queue_bytes{}") > 0.0);

    store.restore(store.streams());
    waits.await.unwrap();
    until(&bus, |bus| bus.health().ready && bus.health().streams[0].is_up()).await;
    sleep(Duration::from_secs(1)).await;
    told.look();
    assert_eq!(told.gauge("scaleout_stream_state{stream=0}"), 1.0);
    assert_eq!(told.counter("scaleout_reconnects_total{}"), 1);
    assert_eq!(told.gauge("scaleout_queue_messages{}"), 0.0);

    bus.close(Duration::ZERO).await;
    told.look();
    assert_eq!((told.gauge("scaleout_stream_state{stream=0}"), told.gauge("scaleout_ready{}")), (3.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn what_is_missed_shows_with_its_reason() {
    let store = one_stream();
    let (bus, mut told) = start(store.backplane(), config().with_max_ring_bytes(4_000));
    let mut slow = bus.subscribe(["c"]);
    for n in 0..100 {
        bus.publish("c", n.to_string()).await.unwrap();
    }
    assert!(matches!(next(&mut slow).await, Received::Gap(_)));
    // A payload that cannot be read is a loss.
    while timeout(Duration::from_secs(1), slow.recv()).await.is_ok() {}
    store.append_raw(StreamIndex(0), &b"SO\x01\x00of no use"[..]);
    assert!(matches!(next(&mut slow).await, Received::Gap(_)));
    store.fail_sends(StreamIndex(0), 1, SendFault::Landed);
    bus.publish("c", "twice").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    told.look();
    assert_eq!(told.counter("scaleout_gaps_total{reason=lagged}"), 1);
    assert_eq!(told.counter("scaleout_gaps_total{reason=lost}"), 1);
    assert_eq!(told.counter("scaleout_holes_total{}"), 1);
    assert_eq!(told.counter("scaleout_skipped_payloads_total{reason=unreadable}"), 1);
    assert_eq!(told.counter("scaleout_faults_total{}"), 1);
    assert!((1.0..=4_000.0).contains(&told.gauge("scaleout_ring_bytes{}")));
    assert!(told.gauge("scaleout_tail_bytes{}") > 0.0);
    assert_eq!(told.gauge("scaleout_readers{}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn frames_are_measured_once_each() {
    let store = one_stream();
    store.set_send_delay(Duration::from_millis(20));
    let (bus, mut told) = start(store.backplane(), config());
    bus.publish_many((0..10).map(|n| ("c", n.to_string()))).await.unwrap();
    bus.publish("c", "alone").await.unwrap();
    bus.close(Duration::from_secs(5)).await;
    told.look();
    let of = |name: &str| told.histograms[&format!("scaleout_{name}{{}}")].clone();
    let messages = of("frame_messages");
    assert_eq!(messages.iter().sum::<f64>(), 11.0);
    assert_eq!(of("frame_bytes").len(), messages.len());
    assert!(of("frame_bytes").iter().all(|bytes| *bytes > 30.0));
    assert!(
        of("send_seconds").iter().all(|seconds| (0.02..1.0).contains(seconds)),
        "{:?}",
        of("send_seconds")
    );
    assert_eq!(of("latency_seconds").len(), messages.len());
    assert!(of("latency_seconds").iter().all(|seconds| (0.0..60.0).contains(seconds)));
}

#[tokio::test(start_paused = true)]
async fn labels_never_hold_a_channel() {
    let store = MemoryStore::default();
    let (bus, mut told) = start(store.backplane(), config());
    let mut client = bus.subscribe(["secret-room"]);
    bus.publish("secret-room", "x").await.unwrap();
    next(&mut client).await;
    bus.close(Duration::from_secs(1)).await;
    told.look();
    let names: BTreeSet<_> = told.labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["app", "reason", "stream"]));
    assert!(told.labels.iter().all(|(_, value)| !value.contains("secret")));
    assert!(told.labels.contains(&("app".into(), "shop".into())));
}

#[tokio::test(start_paused = true)]
async fn buses_of_one_app_add_up_and_may_follow_each_other() {
    let store = one_stream();
    let recorder = DebuggingRecorder::new();
    let start =
        || metrics::with_local_recorder(&recorder, || Bus::builder(store.backplane()).start().unwrap());
    let (one, two) = (start(), start());
    for bus in [&one, &two] {
        bus.publish("c", "x").await.unwrap();
        bus.close(Duration::from_secs(1)).await;
    }
    let after = start();
    after.publish("c", "x").await.unwrap();
    after.close(Duration::from_secs(1)).await;
    let told = recorder.snapshotter().snapshot().into_vec();
    let published = told.into_iter().find_map(|(key, _, _, value)| match value {
        DebugValue::Counter(value) if key.key().name() == "scaleout_published_messages_total" => Some(value),
        _ => None,
    });
    assert_eq!(published, Some(3));
}

#[tokio::test(start_paused = true)]
async fn lag_and_headroom_follow_the_store() {
    let store = one_stream();
    let (bus, mut told) = start(store.backplane(), config());
    assert!(told.look().gauge("scaleout_lag_payloads{stream=0}").is_nan(), "nobody knows yet");
    assert!(told.gauge("scaleout_headroom_seconds{stream=0}").is_nan());
    // Two in a second, for a minute; the last half of them are kept.
    for _ in 0..120 {
        bus.publish("c", "x").await.unwrap();
        sleep(Duration::from_millis(500)).await;
    }
    store.trim(StreamIndex(0), 60);
    for _ in 0..40 {
        bus.publish("c", "x").await.unwrap();
        sleep(Duration::from_millis(500)).await;
    }
    told.look();
    assert_eq!(told.gauge("scaleout_lag_payloads{stream=0}"), 0.0);
    let payloads = told.gauge("scaleout_headroom_payloads{stream=0}");
    let seconds = told.gauge("scaleout_headroom_seconds{stream=0}");
    assert!((60.0..=100.0).contains(&payloads), "{payloads}");
    assert!((payloads / 2.2..=payloads / 1.8).contains(&seconds), "{payloads} last {seconds} s");
    // Nothing more comes, so that there is nothing to lose.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(told.look().gauge("scaleout_headroom_seconds{stream=0}"), f64::INFINITY);

    // Others publish, and this node gets nothing.
    store.set_receive_delay(Duration::from_secs(3_600));
    let other = Bus::builder(store.backplane()).config(config()).start().unwrap();
    for _ in 0..10 {
        drop(other.enqueue("c", "x").unwrap());
    }
    bus.publish("c", "its own").await.unwrap();
    sleep(Duration::from_secs(20)).await;
    assert!(told.look().gauge("scaleout_lag_payloads{stream=0}") > 0.0);
    bus.close(Duration::ZERO).await;
    assert!(told.look().gauge("scaleout_lag_payloads{stream=0}").is_nan(), "no alert fires for ever");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_idles_asks_the_store_nothing() {
    let store = one_stream();
    let asked = Arc::new(AtomicUsize::new(0));
    let (bus, _told) = start(Asked { inner: store.backplane(), asked: Arc::clone(&asked) }, config());
    bus.publish("c", "x").await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let after_a_minute = asked.load(Relaxed);
    assert!((1..=2).contains(&after_a_minute), "{after_a_minute}");
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(asked.load(Relaxed), after_a_minute);
    // Under load, every 15 seconds.
    for _ in 0..120 {
        bus.publish("c", "x").await.unwrap();
        sleep(Duration::from_millis(500)).await;
    }
    let asked = asked.load(Relaxed) - after_a_minute;
    assert!((3..=5).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_recorder_asks_the_store_nothing() {
    let store = one_stream();
    let asked = Arc::new(AtomicUsize::new(0));
    let backplane = Asked { inner: store.backplane(), asked: Arc::clone(&asked) };
    let bus = Bus::builder(backplane).config(config()).start().unwrap();
    for _ in 0..60 {
        bus.publish("c", "x").await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(asked.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn counters_of_others_are_exported_as_long_as_they_live() {
    struct Door(AtomicUsize);
    impl CounterSource for Door {
        fn counters(&self) -> Vec<CounterValue> {
            let value = self.0.load(Relaxed) as u64;
            vec![CounterValue { name: "door_opened_total", description: "Openings.", reason: None, value }]
        }
    }
    let store = one_stream();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let door = Arc::new(Door(AtomicUsize::new(2)));
    let bus = metrics::with_local_recorder(&recorder, || {
        let bus = Bus::builder(store.backplane()).start().unwrap();
        bus.export_counters(door.clone());
        bus
    });
    let opened = || {
        let counters = snapshotter.snapshot().into_vec();
        let door = counters.into_iter().find(|(key, ..)| key.key().name() == "door_opened_total").unwrap();
        match door.3 {
            DebugValue::Counter(value) => value,
            other => panic!("{other:?}"),
        }
    };
    sleep(Duration::from_secs(2)).await;
    assert_eq!(opened(), 2);
    door.0.fetch_add(3, Relaxed);
    let weak = Arc::downgrade(&door);
    drop(door);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(opened(), 3, "what it counted last is told too");
    assert!(weak.upgrade().is_none());
    drop(bus);
}

/// A backplane that counts how often it is asked what it retains.
#[derive(Debug)]
struct Asked {
    inner: MemoryBackplane,
    asked: Arc<AtomicUsize>,
}

impl Backplane for Asked {
    fn stream_count(&self) -> NonZeroU16 {
        self.inner.stream_count()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.send(stream, frame, payload)
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        self.inner.receive(stream, start)
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        self.asked.fetch_add(1, Relaxed);
        self.inner.retained(stream)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}
