//! From publishing to receiving through the memory backplane, beside `tokio::sync::broadcast`.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::Criterion;
use scaleout_core::{Bus, ErrorKind, MemoryStore, Subscription};
use support::{Figures, criterion, multi_thread, read, single_thread};
use tokio::{runtime::Runtime, sync::broadcast};

/// Messages of one repetition.
const MESSAGES: usize = 20_000;

fn main() {
    let mut criterion = criterion();
    for payload_bytes in [64, 256] {
        through_memory(&mut criterion, "one thread", single_thread, payload_bytes);
    }
    through_memory(&mut criterion, "two threads", multi_thread, 64);
    criterion.final_summary();
}

fn through_memory(criterion: &mut Criterion, threads: &str, runtime: fn() -> Runtime, payload_bytes: usize) {
    let title = format!("publish to receive, {threads}, {payload_bytes} B messages, per message");
    let mut group = criterion.benchmark_group(&title);
    let mut figures = Figures::default();
    let payload = Bytes::from(vec![0x5a; payload_bytes]);

    for publishers in [1, 1_024] {
        let name = format!("broadcast, {publishers} publishers");
        let (sender, _) = broadcast::channel::<(Arc<str>, Bytes)>(MESSAGES);
        let runtime = runtime();
        figures.measure(&mut group, &name, MESSAGES, |repetitions| {
            let mut took = Duration::ZERO;
            for _ in 0..repetitions {
                took += runtime.block_on(broadcast_all(&sender, &payload, publishers));
            }
            took
        });
    }
    for publishers in [0, 64, 1_024] {
        let name = match publishers {
            0 => "bus, enqueue".to_owned(),
            publishers => format!("bus, {publishers} awaiting publishers"),
        };
        let runtime = runtime();
        let store = MemoryStore::default();
        let (publisher, receiver) = runtime.block_on(async {
            let connect = async || Bus::builder(store.backplane()).connect().await;
            (connect().await.expect("memory opens"), connect().await.expect("memory opens"))
        });
        let mut subscription = Some(receiver.subscribe(["room:1"]));
        figures.measure(&mut group, &name, MESSAGES, |repetitions| {
            let start = Instant::now();
            for _ in 0..repetitions {
                let reader = subscription.take().expect("it was given back");
                let work = publish_all(&publisher, reader, &payload, publishers);
                subscription = Some(runtime.block_on(work));
            }
            start.elapsed()
        });
    }
    figures.print(&title);
}

async fn publish_all(
    bus: &Bus,
    mut reader: Subscription,
    payload: &Bytes,
    publishers: usize,
) -> Subscription {
    let reading = tokio::spawn(async move {
        read(&mut reader, MESSAGES).await;
        reader
    });
    if publishers == 0 {
        let (bus, payload) = (bus.clone(), payload.clone());
        let writing = tokio::spawn(async move {
            for index in 0..MESSAGES {
                while let Err(error) = bus.enqueue("room:1", payload.clone()) {
                    assert_eq!(error.kind(), ErrorKind::QueueFull);
                    tokio::task::yield_now().await;
                }
                if index % 1_000 == 999 {
                    tokio::task::yield_now().await;
                }
            }
        });
        writing.await.expect("it does not panic");
    }
    for publisher in 0..publishers {
        let (bus, payload) = (bus.clone(), payload.clone());
        tokio::spawn(async move {
            for _ in (publisher..MESSAGES).step_by(publishers) {
                bus.publish("room:1", payload.clone()).await.expect("memory takes everything");
            }
        });
    }
    reading.await.expect("it does not panic")
}

async fn broadcast_all(
    sender: &broadcast::Sender<(Arc<str>, Bytes)>,
    payload: &Bytes,
    publishers: usize,
) -> Duration {
    let mut reader = sender.subscribe();
    let start = Instant::now();
    let reading = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            drop(std::hint::black_box(reader.recv().await.expect("the channel has room for all of them")));
        }
    });
    let channel: Arc<str> = "room:1".into();
    for publisher in 0..publishers {
        let (sender, channel, payload) = (sender.clone(), Arc::clone(&channel), payload.clone());
        tokio::spawn(async move {
            for index in (publisher..MESSAGES).step_by(publishers) {
                drop(sender.send((Arc::clone(&channel), payload.clone())));
                // One of many publishers waits for its turn after every message, a single one now and then.
                if publishers > 1 || index % 1_000 == 999 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    reading.await.expect("it does not panic");
    start.elapsed()
}
