//! Delays between attempts: at once, then exponential with full jitter, capped.

use std::time::Duration;

/// The delays between the attempts of one operation.
///
/// The first retry is at once; then each delay is drawn evenly from zero to a bound that doubles from `min` to
/// `max` ("full jitter"), so that nodes that failed together do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Delays from `min` to `max`, jittered from `seed`.
    #[must_use]
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, attempts: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// The delay before the next attempt; counts the attempt.
    pub fn next_delay(&mut self) -> Duration {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        let Some(doublings) = attempt.checked_sub(1) else { return Duration::ZERO };
        let bound = self.min.saturating_mul(1 << doublings.min(20)).min(self.max);
        bound.mul_f64(self.random.f64())
    }

    /// Failed attempts since the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_at_once_and_later_ones_stay_below_a_doubling_bound() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max, 7);
        assert_eq!(backoff.next_delay(), Duration::ZERO);
        for doublings in 0..100 {
            let bound = min.saturating_mul(1 << doublings.min(20)).min(max);
            assert!(backoff.next_delay() <= bound);
        }
        assert_eq!(backoff.attempts(), 101);
        backoff.reset();
        assert_eq!(backoff.next_delay(), Duration::ZERO);
    }

    #[test]
    fn two_seeds_do_not_move_together() {
        let delays = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), seed);
            (0..20).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_ne!(delays(1), delays(2));
        assert_eq!(delays(1), delays(1));
    }
}
