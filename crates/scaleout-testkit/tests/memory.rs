//! The in-memory backplane passes the conformance suite, with all capabilities and with fewer.

use scaleout_core::{Capabilities, MemoryConfig};
use scaleout_testkit::{conformance_tests, fixture::MemoryFixture};

conformance_tests!(MemoryFixture::new(), start_paused = true);

/// As a store that keeps nothing: what was sent while a link was away is gone.
mod without_replay {
    use super::*;

    conformance_tests!(MemoryFixture::with_capabilities(all().with_replay(false)), start_paused = true);
}

/// As a store whose ids have holes of their own.
mod without_dense_ids {
    use super::*;

    conformance_tests!(MemoryFixture::with_capabilities(all().with_dense_ids(false)), start_paused = true);
}

/// As a store that cannot be asked which frames it holds.
mod without_asking {
    use super::*;

    conformance_tests!(MemoryFixture::with_capabilities(all().with_asks_held(false)), start_paused = true);
}

fn all() -> Capabilities {
    MemoryConfig::default().capabilities
}
