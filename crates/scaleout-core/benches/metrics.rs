//! What feature `metrics` costs: the same work without it, with it, and with a recorder of Prometheus.
//!
//! Fixed work in one thread, so that instructions can be counted as well as time:
//!
//! ```sh
//! cargo bench -p scaleout-core --bench metrics -- frames 500000
//! cargo bench -p scaleout-core --bench metrics --features metrics -- frames 500000 prometheus
//! ```
//!
//! `frames`: messages of 64 bytes as fast as they go, in full frames; `lone`: each is awaited, and is a frame of its
//! own. `docs/performance.md` has the figures.

use std::time::Instant;

use bytes::Bytes;
use scaleout_core::{Bus, ErrorKind, MemoryStore, Received, Subscription};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let of = |index: usize| arguments.get(index).map(String::as_str);
    let lone = of(0) == Some("lone");
    let count: usize = of(1).map_or(100_000, |count| count.parse().expect("a number of messages"));
    let recorder = of(2).is_some_and(|recorder| recorder == "prometheus");
    #[cfg(feature = "metrics")]
    let handle = recorder.then(|| {
        // Buckets, as an application has them.
        let builder = metrics_exporter_prometheus::PrometheusBuilder::new().set_buckets(&BUCKETS);
        builder.expect("there are buckets").install_recorder().expect("nobody installed another one")
    });
    #[cfg(not(feature = "metrics"))]
    assert!(!recorder, "without feature `metrics` a recorder is told nothing");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let took = runtime.block_on(async {
        let store = MemoryStore::default();
        let bus = Bus::builder(store.backplane()).connect().await.expect("memory opens");
        let subscription = bus.subscribe(["room:1"]);
        let start = Instant::now();
        let reading = tokio::spawn(read(subscription, count));
        write(&bus, count, lone).await;
        reading.await.expect("it does not panic");
        start.elapsed()
    });
    println!("{:.1} ns per message", took.as_nanos() as f64 / count.max(1) as f64);
    #[cfg(feature = "metrics")]
    if let Some(handle) = handle {
        assert!(handle.render().contains("scaleout_frame_bytes_count"), "the recorder was told");
    }
}

#[cfg(feature = "metrics")]
const BUCKETS: [f64; 12] =
    [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 1_000.0, 100_000.0];

async fn write(bus: &Bus, count: usize, lone: bool) {
    let payload = Bytes::from(vec![0x5a; 64]);
    for index in 0..count {
        if lone {
            bus.publish("room:1", payload.clone()).await.expect("memory takes everything");
            continue;
        }
        while let Err(error) = bus.enqueue("room:1", payload.clone()) {
            assert_eq!(error.kind(), ErrorKind::QueueFull);
            tokio::task::yield_now().await;
        }
        if index % 1_000 == 999 {
            tokio::task::yield_now().await;
        }
    }
}

async fn read(mut subscription: Subscription, count: usize) {
    for _ in 0..count {
        match subscription.recv().await {
            Some(Received::Message(message)) => drop(message),
            other => panic!("not a message: {other:?}"),
        }
    }
}
