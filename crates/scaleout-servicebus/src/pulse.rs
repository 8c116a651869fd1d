//! Keeping a silent stream alive.
//!
//! Service Bus deletes subscriptions that nobody receives from, and whether a link on which nothing comes counts is nowhere
//! said; it detaches links that are idle; and a peer that is gone is not noticed by waiting. So whoever receives a stream
//! on which nothing came for a while appends an empty payload, which comes to all nodes, and has to come back.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Epoch, Error};
use tokio::time::{Instant, sleep_until};

use crate::{config::ServiceBusConfig, error::Failure, sender::Sends};

/// When to append, and until when it has to be back.
pub(crate) struct Pulse<'a> {
    /// How long nothing may come.
    silence: Duration,
    /// How long what was appended may take to come back.
    limit: Duration,
    state: State<'a>,
}

enum State<'a> {
    /// Something came lately.
    Quiet {
        until: Instant,
    },
    Appending {
        append: BoxFuture<'a, Result<Epoch, Error>>,
        /// Something came meanwhile, which may be what is appended: it may be back before it is answered.
        was_heard: bool,
    },
    Expecting {
        until: Instant,
    },
}

impl<'a> Pulse<'a> {
    pub(crate) fn new(config: &ServiceBusConfig) -> Self {
        let mut pulse = Self {
            silence: config.keep_alive,
            limit: config.operation_timeout,
            state: State::Quiet { until: Instant::now() },
        };
        pulse.be_quiet();
        pulse
    }

    /// Something came.
    pub(crate) fn heard(&mut self) {
        match &mut self.state {
            State::Appending { was_heard, .. } => *was_heard = true,
            State::Quiet { .. } | State::Expecting { .. } => self.be_quiet(),
        }
    }

    fn be_quiet(&mut self) {
        // Not all nodes at once: what the first one appends is heard by all.
        let silence = self.silence.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.state = State::Quiet { until: Instant::now() + silence };
    }

    /// Nothing was received for a while, since nobody took it.
    pub(crate) fn pause_is_over(&mut self) {
        if let State::Expecting { until } = &mut self.state {
            *until = Instant::now() + self.limit;
        }
    }

    /// Waits until something has to be done, and does it.
    ///
    /// # Errors
    /// What was appended did not come back.
    ///
    /// # Cancel safety
    /// It goes on with the next call.
    pub(crate) async fn beat(&mut self, sends: &'a Sends) -> Result<(), Failure> {
        match &mut self.state {
            State::Quiet { until } => {
                sleep_until(*until).await;
                let append = sends.opening(crate::reader::opening_id()).boxed();
                self.state = State::Appending { append, was_heard: false };
            }
            State::Appending { append, was_heard } => {
                let appended = append.await;
                let was_heard = *was_heard;
                if let Err(error) = &appended {
                    // It is told to whoever sends; what is received here may come all the same.
                    tracing::debug!(%error, "a silent stream could not be kept alive");
                }
                match appended.is_err() || was_heard {
                    true => self.be_quiet(),
                    false => self.state = State::Expecting { until: Instant::now() + self.limit },
                }
            }
            State::Expecting { until } => {
                sleep_until(*until).await;
                return Err(Failure::TimedOut { after: self.limit });
            }
        }
        Ok(())
    }
}
