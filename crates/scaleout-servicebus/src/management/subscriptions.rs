//! Subscriptions, as they are created and found.

use std::time::Duration;

use crate::{
    error::Failure,
    management::{atom, time, xml::Element},
};

/// How a subscription is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionSpec {
    pub(crate) lock_duration: Duration,
    pub(crate) message_ttl: Duration,
    pub(crate) max_delivery_count: u32,
    pub(crate) idle_expiry: Duration,
}

/// A subscription as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionInfo {
    /// `Active`, `Disabled`, `ReceiveDisabled`, …
    pub(crate) status: String,
    pub(crate) lock_duration: Option<Duration>,
    pub(crate) requires_session: bool,
    /// Those that wait, and those that were put aside; told where it was asked for.
    pub(crate) messages: Option<u64>,
}

impl SubscriptionSpec {
    /// The body of the request.
    pub(super) fn entry(&self) -> String {
        atom::entry(
            DESCRIPTION,
            &[
                ("LockDuration", time::iso8601(self.lock_duration)),
                ("RequiresSession", "false".into()),
                ("DefaultMessageTimeToLive", time::iso8601(self.message_ttl)),
                ("DeadLetteringOnMessageExpiration", "false".into()),
                ("DeadLetteringOnFilterEvaluationExceptions", "false".into()),
                ("MaxDeliveryCount", self.max_delivery_count.to_string()),
                ("EnableBatchedOperations", "true".into()),
                ("Status", "Active".into()),
                ("AutoDeleteOnIdle", time::iso8601(self.idle_expiry)),
            ],
        )
    }
}

impl SubscriptionInfo {
    /// Of the answer to a request for a subscription; `None` where there is none.
    pub(super) fn read(body: &[u8]) -> Result<Option<Self>, Failure> {
        Ok(atom::found(body, DESCRIPTION)?.as_ref().map(Self::of))
    }

    /// Of a list of subscriptions: their names, and how they are.
    pub(super) fn read_all(body: &[u8]) -> Result<Vec<(String, Self)>, Failure> {
        let entries = atom::described_entries(body, DESCRIPTION)?;
        Ok(entries.into_iter().map(|(name, description)| (name, Self::of(&description))).collect())
    }

    fn of(description: &Element) -> Self {
        Self {
            status: description.value("Status").unwrap_or("Active").to_owned(),
            lock_duration: description.value("LockDuration").and_then(time::duration),
            requires_session: description.value("RequiresSession") == Some("true"),
            messages: description.value("MessageCount").and_then(|count| count.parse().ok()),
        }
    }
}

const DESCRIPTION: &str = "SubscriptionDescription";
