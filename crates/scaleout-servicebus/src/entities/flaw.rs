//! What may be wrong with the topics of an app, and what mends it.

use scaleout_core::{Error, ErrorKind};

use crate::{commands, config::ServiceBusConfig, entities::names, management::TopicInfo};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) what: String,
    pub(crate) fix: String,
}

impl Flaw {
    /// Of the topics that there are, by their indices: there are more or fewer than the settings say.
    pub(crate) fn of_count(config: &ServiceBusConfig, indices: &[usize]) -> Option<Self> {
        let prefix = names::topic_prefix(config);
        let count = usize::from(config.topic_count.get());
        let highest = indices.iter().max().filter(|highest| **highest + 1 != count)?;
        let there = highest + 1;
        Some(Self {
            what: format!(
                "{prefix}{highest} is the last one, so the app {} has {there} topics, and topic_count is {count}",
                config.app
            ),
            fix: format!(
                "set it to {there} on all nodes, or stop all nodes and delete the topics {prefix}* (if {prefix}{} was \
                 deleted alone, create it)",
                count - 1
            ),
        })
    }

    /// Of a topic that is of no use.
    pub(crate) fn refused(config: &ServiceBusConfig, info: &TopicInfo) -> Option<Self> {
        let name = &info.name;
        if info.is_partitioned {
            return Some(Self {
                what: format!("topic {name} is partitioned, which gives its messages no common order"),
                fix: format!(
                    "delete it, and create it without partitions, or in a namespace without them: {} && {}",
                    commands::delete_topic(config, name),
                    commands::create_topic(config, name),
                ),
            });
        }
        matches!(info.status.as_str(), "Disabled" | "SendDisabled").then(|| Self {
            what: format!("topic {name} is disabled"),
            fix: commands::update_topic(config, name, "--status Active"),
        })
    }

    /// Of a topic that takes a message twice.
    pub(crate) fn of_duplicates(config: &ServiceBusConfig, info: &TopicInfo) -> Option<Self> {
        let name = &info.name;
        (!info.detects_duplicates).then(|| Self {
            what: format!(
                "topic {name} does not detect duplicates, so that a message that is sent again may come twice"
            ),
            fix: format!(
                "stop all nodes, delete it, and let a node create it, or: {} && {}",
                commands::delete_topic(config, name),
                commands::create_topic(config, name),
            ),
        })
    }

    /// `doing` says what was being done; it may be empty.
    pub(super) fn into_error(self, doing: &str) -> Error {
        let colon = if doing.is_empty() { "" } else { ": " };
        Error::new(ErrorKind::Config, format!("{doing}{colon}{}: {}", self.what, self.fix))
    }
}
