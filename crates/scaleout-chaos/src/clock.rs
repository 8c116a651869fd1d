//! One clock for all processes of a run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Nanoseconds of the machine's monotonic clock, the same in every process.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}

/// The moment that another process, or this one, read as `nanos`.
pub(crate) fn instant(nanos: u64) -> Instant {
    let ago = Duration::from_nanos(now().saturating_sub(nanos));
    Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
}
