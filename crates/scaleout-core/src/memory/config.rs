//! What a user can set on a memory store.

use std::{num::NonZeroU16, time::SystemTime};

use crate::{Capabilities, Epoch};

/// The settings of a [`MemoryStore`](crate::MemoryStore).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// How many streams there are. Defaults to 4.
    pub streams: NonZeroU16,
    /// What the store can do. Defaults to payloads of 1 MiB and all that there is.
    ///
    /// Less serves to test against a store that can do less; `asks_held: false` forgets nothing, but answers like a
    /// store that cannot be asked.
    pub capabilities: Capabilities,
    /// Payloads that each stream keeps for replay. Defaults to 65,536.
    ///
    /// The newest payload of a stream always stays, since a reader learns from it that it has reached the head.
    pub retained_payloads: usize,
    /// Bytes of payloads that each stream keeps for replay. Defaults to 64 MiB.
    pub retained_bytes: usize,
    /// The epoch that every stream begins with. Defaults to the milliseconds since 1970.
    ///
    /// So that a client that comes back after the process was started again is told: its cursor is of an earlier epoch.
    pub first_epoch: Epoch,
    /// Whether [`MemoryStore::log`](crate::MemoryStore::log) is kept. Defaults to `false`.
    ///
    /// It is for tests: that log grows without bound.
    pub keep_log: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        const STREAMS: NonZeroU16 = NonZeroU16::new(4).expect("4 is not 0");
        Self {
            streams: STREAMS,
            capabilities: Capabilities::default().with_replay(true).with_dense_ids(true).with_asks_held(true),
            retained_payloads: 65_536,
            retained_bytes: 64 << 20,
            first_epoch: Epoch(now_millis()),
            keep_log: false,
        }
    }
}

impl MemoryConfig {
    /// Sets [`streams`](Self::streams).
    #[must_use]
    pub fn with_streams(mut self, streams: NonZeroU16) -> Self {
        self.streams = streams;
        self
    }

    /// Sets [`capabilities`](Self::capabilities).
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Sets [`retained_payloads`](Self::retained_payloads).
    #[must_use]
    pub fn with_retained_payloads(mut self, payloads: usize) -> Self {
        self.retained_payloads = payloads;
        self
    }

    /// Sets [`retained_bytes`](Self::retained_bytes).
    #[must_use]
    pub fn with_retained_bytes(mut self, bytes: usize) -> Self {
        self.retained_bytes = bytes;
        self
    }

    /// Sets [`first_epoch`](Self::first_epoch).
    #[must_use]
    pub fn with_first_epoch(mut self, epoch: Epoch) -> Self {
        self.first_epoch = epoch;
        self
    }

    /// Sets [`keep_log`](Self::keep_log).
    #[must_use]
    pub fn with_keep_log(mut self, keep: bool) -> Self {
        self.keep_log = keep;
        self
    }
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> 1)
}
