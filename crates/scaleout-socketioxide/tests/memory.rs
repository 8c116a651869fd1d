//! The scenarios in memory.

#[macro_use]
mod scenarios;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use scaleout_core::{Bus, BusBuilder, BusConfig, MemoryStore};

use self::scenarios::world::{Node, PATIENCE, Setup, Store, until};

scenarios!(super::open);

async fn open(_test: &str) -> Option<Memory> {
    Some(Memory(MemoryStore::default()))
}

struct Memory(MemoryStore);

impl Store for Memory {
    fn bus(&self) -> BusBuilder {
        Bus::builder(self.0.backplane())
    }

    async fn set_away(&self, away: bool) {
        match away {
            true => self.0.outage(self.0.streams()),
            false => self.0.restore(self.0.streams()),
        }
    }

    fn max_message_bytes(&self) -> usize {
        self.0.config().capabilities.max_payload_bytes
    }
}

/// What a node could not keep, while it stood still, is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_told_and_counted() {
    let store = Memory(MemoryStore::default());
    let first = Node::start(store.bus(), &Setup::default()).await;
    let little = BusConfig::default().with_max_ring_bytes(100_000);
    let slow = Node::start(store.bus().config(little), &Setup::default()).await;
    for node in [&first, &slow] {
        node.serve("/", async || ()).await;
        until("all nodes know each other", || node.ctr.cluster().members().len() == 2).await;
    }
    let mut client = slow.client("/").await;
    let told = Arc::new(AtomicU64::new(0));
    let gaps = Arc::clone(&told);
    slow.ctr.on_gap(move |_| {
        gaps.fetch_add(1, Ordering::Relaxed);
    });
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let _handler = slow.ctr.on_server_event("hold", move |_| {
        let _ = tokio::task::block_in_place(|| held.lock().expect("whole").recv_timeout(PATIENCE));
    });
    first.ctr.server_emit("hold", &()).await.expect("the store has it");
    for _ in 0..50 {
        first.io.to("nobody").emit("large", &"x".repeat(10_000)).await.expect("the store has it");
    }
    assert_eq!(told.load(Ordering::Relaxed), 0);
    until("it has received more than it keeps", || slow.bus.counters().received >= 50).await;
    release.send(()).expect("it is held");
    until("it is told", || told.load(Ordering::Relaxed) > 0).await;
    first.io.emit("after", "it").await.expect("the store has it");
    client.expect("after", "it").await;
    assert_eq!(slow.ctr.counters().gaps, told.load(Ordering::Relaxed));
}
