//! What a user can set.

use std::time::Duration;

use scaleout_core::{Error, ErrorKind};

/// How an adapter delivers, what its answers stand for, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterConfig {
    /// Whether sockets of this node wait for the backplane. Defaults to [`Delivery::LocalFirst`].
    pub delivery: Delivery,

    /// What the outcome of an emit stands for. Defaults to [`Confirm::Stored`] within one second.
    pub confirm: Confirm,

    /// What becomes of an answer in which nodes are missing. Defaults to [`Partial::Error`].
    pub partial: Partial,

    /// How long other nodes may take to answer. Defaults to 5 s.
    ///
    /// For acknowledgements it counts on top of their own time-out. Nodes that leave, or whose lease ends, are not
    /// waited for; too little makes answers of busy nodes missing, too much lets requests wait for frozen ones.
    pub request_timeout: Duration,
}

/// Whether sockets of this node wait for the backplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// Sockets of this node get a packet at once, whatever the backplane does; those of other nodes when it arrives there.
    ///
    /// Each node sees what one node emits in the order of its calls. What two nodes emit at the same time may reach
    /// their own sockets in different orders.
    #[default]
    LocalFirst,
    /// Every socket gets a packet when it arrives by the backplane: one order on all nodes.
    ///
    /// Sockets of this node then wait for the backplane as all others do, and get nothing while it is away.
    Ordered,
}

/// What the outcome of an emit, join, leave or disconnect stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirm {
    /// `Ok` means that the store has the operation, so that every other node gets it.
    ///
    /// Where the backplane is away, or did not confirm it in time, the outcome is
    /// [`ScaleoutError::Queued`](crate::ScaleoutError::Queued): it is sent when the backplane is back.
    Stored {
        /// How long to wait for that.
        within: Duration,
    },
    /// `Ok` means that the operation waits to be sent. Nothing tells whether it ever is.
    Queued,
}

/// What becomes of an answer in which nodes are missing that still are members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Partial {
    /// It is [`ScaleoutError::Incomplete`](crate::ScaleoutError::Incomplete).
    #[default]
    Error,
    /// It is what there is; a warning is logged and counted.
    Accept,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            delivery: Delivery::default(),
            confirm: Confirm::default(),
            partial: Partial::default(),
            request_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Confirm {
    fn default() -> Self {
        Self::Stored { within: Duration::from_secs(1) }
    }
}

impl AdapterConfig {
    /// Sets [`delivery`](Self::delivery).
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Sets [`confirm`](Self::confirm).
    #[must_use]
    pub fn with_confirm(mut self, confirm: Confirm) -> Self {
        self.confirm = confirm;
        self
    }

    /// Sets [`partial`](Self::partial).
    #[must_use]
    pub fn with_partial(mut self, partial: Partial) -> Self {
        self.partial = partial;
        self
    }

    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Checks that the settings can be worked with.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where no time is left to answer.
    pub fn check(&self) -> Result<(), Error> {
        if self.request_timeout.is_zero() {
            return Err(Error::new(ErrorKind::Config, "`request_timeout` leaves no time to answer"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_to_answer_is_refused() {
        assert!(AdapterConfig::default().check().is_ok());
        let config = AdapterConfig::default().with_request_timeout(Duration::ZERO);
        assert_eq!(config.check().unwrap_err().kind(), ErrorKind::Config);
    }
}
