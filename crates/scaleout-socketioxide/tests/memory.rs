//! The scenarios in memory.

#[macro_use]
mod scenarios;

use scaleout_core::{Bus, BusBuilder, MemoryStore};

use self::scenarios::world::Store;

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
