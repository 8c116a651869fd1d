//! What a namespace of the Standard tier may do in a second: [`Throttle`].

use std::time::Duration;

use tokio::time::Instant;

/// How long a budget lasts.
const PERIOD: Duration = Duration::from_secs(1);

/// Credits of a management operation; one message sent, received or put into a subscription costs one.
pub(crate) const MANAGEMENT_CREDITS: u64 = 10;

/// A budget of credits, new every second.
#[derive(Debug)]
pub(crate) struct Throttle {
    credits_per_second: Option<u64>,
    spent: u64,
    since: Instant,
}

impl Throttle {
    /// `None` never throttles.
    pub(crate) fn new(credits_per_second: Option<u64>, now: Instant) -> Self {
        Self { credits_per_second, spent: 0, since: now }
    }

    /// Another budget, from now on.
    pub(crate) fn set(&mut self, credits_per_second: Option<u64>) {
        self.credits_per_second = credits_per_second;
    }

    /// Spends, or says that it cannot. One operation more than the budget is done, however dear: else what costs more
    /// than a second's budget could never be done.
    pub(crate) fn spend(&mut self, credits: u64, now: Instant) -> bool {
        let Some(budget) = self.credits_per_second else { return true };
        if now.duration_since(self.since) >= PERIOD {
            self.since = now;
            self.spent = 0;
        }
        if self.spent >= budget {
            return false;
        }
        self.spent = self.spent.saturating_add(credits);
        true
    }

    /// Whether [`spend`](Self::spend) could.
    pub(crate) fn has_credits(&self, now: Instant) -> bool {
        self.credits_per_second
            .is_none_or(|budget| self.spent < budget || now.duration_since(self.since) >= PERIOD)
    }
}
