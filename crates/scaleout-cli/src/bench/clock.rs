//! Time, as all processes of a run see it, and the processor time that this one has had.

/// Nanoseconds of a clock that all processes of a machine share.
#[cfg(unix)]
pub(super) fn now() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

/// Nanoseconds that the threads of this process have had a processor.
#[cfg(unix)]
pub(super) fn cpu() -> Option<u64> {
    Some(nanos(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)))
}

#[cfg(unix)]
fn nanos(time: rustix::time::Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds of a clock that all processes of a machine share; it may be set while a run lasts.
#[cfg(not(unix))]
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Not known here.
#[cfg(not(unix))]
pub(super) fn cpu() -> Option<u64> {
    None
}

/// How many processes wanted a processor, in the mean of the last minute; `None` where the system does not tell.
pub(super) fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
