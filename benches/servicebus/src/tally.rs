//! What a receiver counts, and what a publisher writes into messages so that it can.

use serde::{Deserialize, Serialize};

/// Bytes of a payload that are ours: its number and when it was sent.
const HEADER: usize = 16;

/// The number of messages that are for warming up.
pub const UNCOUNTED: u64 = u64::MAX;

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

/// A payload of `size` bytes.
pub fn payload(size: usize, number: u64, sent: u64) -> Vec<u8> {
    let mut payload = vec![b'x'; size.max(HEADER)];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload[8..HEADER].copy_from_slice(&sent.to_le_bytes());
    payload
}

/// Whether a payload is to be counted.
pub fn counts(payload: &[u8]) -> bool {
    word(payload, 0) != UNCOUNTED
}

fn word(payload: &[u8], at: usize) -> u64 {
    let bytes = payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// What came of a publisher's part. Times in ns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Published {
    /// Messages that were confirmed.
    pub sent: u64,
    /// Messages that failed, and may be in the store or not.
    pub errors: u64,
    /// Messages of Service Bus that it took.
    pub frames: u64,
    pub first: u64,
    pub cpu: u64,
    /// From a publish to its confirmation.
    pub confirmed: Spread,
}

/// What came of a receiver's part. Times in ns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Received {
    /// Different messages.
    pub received: u64,
    pub duplicates: u64,
    /// Gaps that were told.
    pub gaps: u64,
    pub last: u64,
    pub cpu: u64,
    /// From a publish to its reception.
    pub latency: Spread,
    /// From each fault to the first message after it.
    pub recovered: Vec<u64>,
}

/// Of times in ns.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Spread {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Spread {
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or(0)
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Counts messages.
#[derive(Debug, Default)]
pub struct Tally {
    /// A bit for each number.
    seen: Vec<u64>,
    latencies: Vec<u64>,
    sum: Received,
}

impl Tally {
    /// Counts a message; the answer is when it was sent.
    pub fn take(&mut self, payload: &[u8]) -> u64 {
        let (number, sent, now) = (word(payload, 0), word(payload, 8), now());
        let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
        if index >= self.seen.len() {
            self.seen.resize(index + 1, 0);
        }
        if self.seen[index] & bit != 0 {
            self.sum.duplicates += 1;
            return sent;
        }
        self.seen[index] |= bit;
        self.sum.received += 1;
        self.sum.last = now;
        self.latencies.push(now.saturating_sub(sent));
        sent
    }

    pub fn gap(&mut self) {
        self.sum.gaps += 1;
    }

    pub fn received(&self) -> u64 {
        self.sum.received
    }

    pub fn recovered(&mut self, after: u64) {
        self.sum.recovered.push(after);
    }

    pub fn finish(self, cpu: u64) -> Received {
        Received { cpu, latency: Spread::of(self.latencies), ..self.sum }
    }
}
