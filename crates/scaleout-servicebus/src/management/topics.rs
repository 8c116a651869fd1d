//! Topics, as they are created and found.

use std::time::Duration;

use crate::{
    error::Failure,
    management::{atom, time, xml::Element},
};

/// How a topic is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSpec {
    pub(crate) message_ttl: Duration,
    pub(crate) max_megabytes: u32,
    pub(crate) duplicate_window: Duration,
    /// Premium alone knows it.
    pub(crate) max_message_kilobytes: Option<u64>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicInfo {
    pub(crate) name: String,
    /// When it was created, in microseconds since 1970.
    pub(crate) created_at_micros: u64,
    pub(crate) is_partitioned: bool,
    pub(crate) detects_duplicates: bool,
    /// For how long a message that is sent again is recognised.
    pub(crate) duplicate_window: Option<Duration>,
    /// `Active`, `Disabled`, `SendDisabled`, …
    pub(crate) status: String,
    /// How long a message may wait in a subscription, whatever that says.
    pub(crate) message_ttl: Option<Duration>,
    pub(crate) max_megabytes: Option<u64>,
    /// Told where it was asked for.
    pub(crate) contents: Contents,
}

/// What a topic has in it, as far as the service tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// All subscriptions together.
    pub(crate) bytes: Option<u64>,
    pub(crate) subscriptions: Option<u64>,
}

impl TopicSpec {
    /// The body of the request.
    pub(super) fn entry(&self) -> String {
        let mut values = vec![
            ("DefaultMessageTimeToLive", time::iso8601(self.message_ttl)),
            ("MaxSizeInMegabytes", self.max_megabytes.to_string()),
            ("RequiresDuplicateDetection", "true".into()),
            ("DuplicateDetectionHistoryTimeWindow", time::iso8601(self.duplicate_window)),
            ("EnableBatchedOperations", "true".into()),
            ("Status", "Active".into()),
            ("SupportOrdering", "true".into()),
            ("EnablePartitioning", "false".into()),
            ("EnableExpress", "false".into()),
        ];
        if let Some(kilobytes) = self.max_message_kilobytes {
            values.push(("MaxMessageSizeInKilobytes", kilobytes.to_string()));
        }
        atom::entry(DESCRIPTION, &values)
    }
}

impl TopicInfo {
    /// Of the answer to a request for the topic `name`; `None` where there is none.
    pub(super) fn read(name: &str, body: &[u8]) -> Result<Option<Self>, Failure> {
        atom::found(body, DESCRIPTION)?.map(|description| Self::of(name, &description)).transpose()
    }

    fn of(name: &str, description: &Element) -> Result<Self, Failure> {
        let wrong = |field: &str| atom::foreign(format!("the {field} of topic {name} cannot be read"));
        let flag = |field| match description.value(field) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(field)),
        };
        let created_at = description.value("CreatedAt").and_then(time::micros_since_1970);
        Ok(Self {
            name: name.to_owned(),
            created_at_micros: created_at.ok_or_else(|| wrong("CreatedAt"))?,
            is_partitioned: flag("EnablePartitioning")?,
            detects_duplicates: flag("RequiresDuplicateDetection")?,
            duplicate_window: description
                .value("DuplicateDetectionHistoryTimeWindow")
                .and_then(time::duration),
            status: description.value("Status").unwrap_or("Active").to_owned(),
            message_ttl: description.value("DefaultMessageTimeToLive").and_then(time::duration),
            max_megabytes: number(description, "MaxSizeInMegabytes"),
            contents: Contents {
                bytes: number(description, "SizeInBytes"),
                subscriptions: number(description, "SubscriptionCount"),
            },
        })
    }
}

fn number(description: &Element, field: &str) -> Option<u64> {
    description.value(field)?.parse().ok()
}

const DESCRIPTION: &str = "TopicDescription";
