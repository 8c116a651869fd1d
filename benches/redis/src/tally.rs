//! What a receiver counts, and what a publisher writes into messages so that it can.

use serde::{Deserialize, Serialize};

/// Bytes of a payload that are ours: its number and when it was sent.
pub const HEADER: usize = 16;

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

/// A payload of `size` bytes; `sent` is 0 where it is not stamped.
pub fn payload(size: usize, number: u64, sent: u64) -> Vec<u8> {
    let mut payload = vec![b'x'; size];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload[8..HEADER].copy_from_slice(&sent.to_le_bytes());
    payload
}

/// What came of a receiver's part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Received {
    /// Different messages.
    pub received: u64,
    pub duplicates: u64,
    /// Gaps that were told.
    pub gaps: u64,
    pub last: u64,
    pub cpu: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    /// For each time that was asked about: when the first message that was sent after it came, in ns later.
    pub live_after: Vec<Option<u64>>,
}

/// Counts messages.
#[derive(Debug)]
pub struct Tally {
    seen: Vec<u64>,
    planned: u64,
    received: u64,
    duplicates: u64,
    pub gaps: u64,
    last: u64,
    latencies: Vec<u64>,
    /// When stamped messages were sent and came, where somebody will ask about it.
    times: Option<Vec<(u64, u64)>>,
}

impl Tally {
    pub fn new(planned: u64, keep_times: bool) -> Self {
        let words = planned.div_ceil(64) as usize;
        Self {
            // Touched here, so that the run does not pay for it.
            seen: (0..words).map(|word| std::hint::black_box(word as u64 & 0)).collect(),
            planned,
            received: 0,
            duplicates: 0,
            gaps: 0,
            last: 0,
            latencies: Vec::with_capacity(planned.div_ceil(STAMP_EVERY) as usize),
            times: keep_times.then(Vec::new),
        }
    }

    pub fn take(&mut self, payload: &[u8]) {
        let word = |at: usize| {
            payload
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(u64::MAX, u64::from_le_bytes)
        };
        self.message(word(0), word(8));
    }

    pub fn message(&mut self, number: u64, sent: u64) {
        let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
        if index >= self.seen.len() {
            self.seen.resize(index + 1, 0);
        }
        if self.seen[index] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[index] |= bit;
        self.received += 1;
        if sent != 0 {
            let now = now();
            self.last = now;
            match &mut self.times {
                Some(times) => times.push((sent, now)),
                None => self.latencies.push(now.saturating_sub(sent)),
            }
        } else if self.received.is_multiple_of(STAMP_EVERY) || self.received == self.planned {
            self.last = now();
        }
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    /// The sum; `cpu` is what it took.
    pub fn finish(mut self, cpu: u64, asked: &[u64]) -> Received {
        self.latencies.sort_unstable();
        let at = |part: f64| {
            let index =
                ((self.latencies.len() as f64 * part) as usize).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).copied().unwrap_or(0)
        };
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        let times = self.times.unwrap_or_default();
        let live_after = asked
            .iter()
            .map(|back| {
                let came = times.iter().filter(|(sent, _)| sent >= back).map(|(_, came)| *came).min();
                came.map(|came| came.saturating_sub(*back))
            })
            .collect();
        Received {
            received: self.received,
            duplicates: self.duplicates,
            gaps: self.gaps,
            last: self.last,
            cpu,
            p50,
            p99,
            max,
            live_after,
        }
    }
}

/// What came of a publisher's part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Published {
    /// Messages that were published without an error.
    pub sent: u64,
    pub errors: u64,
    pub first: u64,
    pub last: u64,
    pub cpu: u64,
    /// Of `publish` until it is confirmed, in paced runs.
    pub confirm_p50: u64,
}
