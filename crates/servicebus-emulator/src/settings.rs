//! What a namespace is like: [`Settings`].

use std::time::Duration;

/// Limits and times of a namespace; those of the Standard tier unless another is given.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The longest message, and the longest batch, in bytes: 256 KiB.
    pub max_message_bytes: usize,
    /// Topics that there may be: 10,000.
    pub max_topics: usize,
    /// Subscriptions that a topic may have: 2,000.
    pub max_subscriptions: usize,
    /// What a topic may hold, in bytes, however much it was created with. `None`: only that.
    pub max_topic_bytes: Option<u64>,
    /// After how long without a transfer a link is detached: 10 min.
    pub link_idle: Duration,
    /// How long a peer may be silent, as connections are told; after twice that they are closed: 4 min.
    pub idle_time_out: Duration,
    /// Credits per second; one for each message sent, for each subscription that it goes to, and for each received, ten for
    /// a management call. `None`, the default: never throttled. The Standard tier has 1,000.
    pub throttle_credits_per_second: Option<u64>,
    /// Whether everything that topics took is kept for tests to look at, without bounds: not.
    pub keep_log: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message_bytes: 256 * 1024,
            max_topics: 10_000,
            max_subscriptions: 2_000,
            max_topic_bytes: None,
            link_idle: Duration::from_secs(600),
            idle_time_out: Duration::from_secs(240),
            throttle_credits_per_second: None,
            keep_log: false,
        }
    }
}
