//! What a socket counts.

use crate::words::{Arrival, Received};

/// Messages of a run as fast as it goes of which one is stamped, so that looking at the clock does not slow it down.
pub const STAMP_EVERY: u64 = 64;

/// Nanoseconds of a clock that all processes of a machine share.
pub fn now() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

/// Nanoseconds that the threads of this process have had a processor.
pub fn cpu() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime))
}

fn nanos(time: rustix::time::Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Counts messages.
#[derive(Debug)]
pub struct Tally {
    seen: Vec<u64>,
    received: u64,
    duplicates: u64,
    reordered: u64,
    /// The greatest number so far.
    greatest: u64,
    last: u64,
    latencies: Vec<u64>,
    /// Where somebody will ask for it.
    times: Option<Vec<Arrival>>,
}

impl Tally {
    pub fn new(keep: bool) -> Self {
        Self {
            // Touched here, so that the run does not pay for it.
            seen: (0..1 << 16).map(|_| std::hint::black_box(0)).collect(),
            received: 0,
            duplicates: 0,
            reordered: 0,
            greatest: 0,
            last: 0,
            latencies: Vec::with_capacity(1 << 16),
            times: keep.then(Vec::new),
        }
    }

    /// `sent` is 0 where it is not stamped.
    pub fn message(&mut self, number: u64, sent: u64) {
        if let Some(times) = &mut self.times {
            times.push(Arrival { number, sent, came: now() });
        }
        let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
        if index >= self.seen.len() {
            self.seen.resize((index + 1).next_power_of_two(), 0);
        }
        if self.seen[index] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[index] |= bit;
        self.received += 1;
        if number < self.greatest {
            self.reordered += 1;
        } else {
            self.greatest = number;
        }
        if sent != 0 {
            self.last = now();
            self.latencies.push(self.last.saturating_sub(sent));
        } else if self.received.is_multiple_of(STAMP_EVERY) {
            self.last = now();
        }
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    pub fn times(&self) -> &[Arrival] {
        self.times.as_deref().unwrap_or_default()
    }

    /// The sum; `cpu` is what it took.
    pub fn sum(&mut self, cpu: u64) -> Received {
        self.latencies.sort_unstable();
        let at = |part: f64| {
            let index =
                ((self.latencies.len() as f64 * part) as usize).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).copied().unwrap_or(0)
        };
        let Self { received, duplicates, reordered, last, .. } = *self;
        Received {
            received,
            duplicates,
            gaps: 0,
            reordered,
            last,
            cpu,
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}
