//! The scenarios in memory.

#[macro_use]
mod scenarios;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use scaleout_core::{Bus, BusBuilder, MemoryConfig, MemoryStore};

use self::scenarios::world::{Store, nodes, until};

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

/// What nobody can bring back is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_told_and_counted() {
    let mut capabilities = MemoryConfig::default().capabilities;
    capabilities.replay = false;
    let store = Memory(MemoryStore::new(MemoryConfig::default().with_capabilities(capabilities)));
    let nodes = nodes::<2>(&store).await;
    let told = Arc::new(AtomicU64::new(0));
    let gaps = Arc::clone(&told);
    nodes[1].ctr.on_gap(move |_| {
        gaps.fetch_add(1, Ordering::Relaxed);
    });
    let mut client = nodes[1].client("/").await;
    nodes[0].io.emit("before", "it").await.expect("the store has it");
    client.expect("before", "it").await;
    store.0.cut_receivers();
    until("it is told", || told.load(Ordering::Relaxed) > 0).await;
    nodes[0].io.emit("after", "it").await.expect("the store has it");
    client.expect("after", "it").await;
    assert_eq!(nodes[1].ctr.counters().gaps, told.load(Ordering::Relaxed));
}
