//! When the streams are looked at next, as a plain value.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::SqlServerConfig;

/// Polls follow each other closely after traffic, and ever more slowly without it.
#[derive(Debug)]
pub(crate) struct Pace {
    min: Duration,
    max: Duration,
    max_armed: Duration,
    delay: Duration,
    polled: Instant,
    /// When something was found last.
    found: Instant,
    /// The doorbell rings if anything is appended.
    is_armed: bool,
    /// The next poll does not wait longer than `min`.
    is_hurried: bool,
}

impl Pace {
    pub(crate) fn new(config: &SqlServerConfig) -> Self {
        let now = Instant::now();
        Self {
            min: config.min_poll,
            max: config.max_poll,
            max_armed: config.max_poll_with_broker,
            delay: config.min_poll,
            polled: now,
            found: now,
            is_armed: false,
            is_hurried: false,
        }
    }

    /// A new link.
    pub(crate) fn begin(&mut self) {
        self.woken();
    }

    /// The streams are being looked at.
    pub(crate) fn polled(&mut self) {
        self.polled = Instant::now();
        self.is_hurried = false;
    }

    /// A poll found so many rows.
    pub(crate) fn found(&mut self, rows: usize) {
        if rows > 0 {
            self.woken();
        } else {
            self.delay = (self.delay * 2).min(self.max);
        }
    }

    /// There is something, or soon will be.
    pub(crate) fn woken(&mut self) {
        self.found = Instant::now();
        self.delay = self.min;
        self.is_armed = false;
    }

    /// This node has appended something.
    pub(crate) fn appended(&mut self) {
        self.is_hurried = true;
    }

    /// Whether the next poll was hurried.
    pub(crate) fn is_hurried(&self) -> bool {
        self.is_hurried
    }

    /// When the next poll is due.
    pub(crate) fn due(&self) -> Instant {
        let delay = match (self.is_hurried, self.is_armed) {
            (true, _) => self.min,
            (false, true) => self.max_armed,
            (false, false) => self.delay,
        };
        self.polled + delay
    }

    /// Whether the streams have been quiet for so long that the doorbell may be armed, again if need be.
    pub(crate) fn may_arm(&self) -> bool {
        Instant::now() >= self.found + QUIET && !self.is_hurried
    }

    /// The doorbell is armed, and the streams were looked at.
    pub(crate) fn armed(&mut self) {
        self.polled();
        self.is_armed = true;
    }

    /// It is not. Whoever found that out has told the task that listens, which sets it up anew before the next try.
    pub(crate) fn not_armed(&mut self) {
        self.is_armed = false;
    }

    /// Whether it rings if anything is appended.
    pub(crate) fn is_armed(&self) -> bool {
        self.is_armed
    }
}

/// How long streams must have been quiet before the doorbell is armed: it bounds how often it rings.
const QUIET: Duration = Duration::from_millis(200);
