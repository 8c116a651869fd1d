//! What a user can set on a cluster.

use std::time::Duration;

use scaleout_core::{Error, ErrorKind};

use crate::wire::{MAX_LEASE, MAX_TEXT_BYTES};

/// The settings of a [`Cluster`](crate::Cluster).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The name of the cluster, 1 to 64 bytes. Defaults to `main`.
    ///
    /// Nodes of one bus that join under one name are its members. Its channels are `$cluster/{name}` and those that
    /// begin with `$cluster/{name}/`: an application publishes nothing there.
    pub name: String,
    /// What people call this node, such as its host name; at most 255 bytes. Defaults to nothing.
    pub label: String,
    /// What this node is for, such as `web` or `worker`; at most 255 bytes. Defaults to nothing.
    pub role: String,
    /// The release that this node runs; at most 255 bytes. Defaults to nothing.
    pub version: String,
    /// How often this node tells that it lives. Defaults to 3 s.
    ///
    /// It costs the store one small message each time, and is also how long it takes until a lost message between
    /// members is noticed. At most a third of `lease`.
    pub heartbeat_interval: Duration,
    /// How long the others keep this node while they hear nothing of it. Defaults to 10 s.
    ///
    /// Requests wait no longer than that for a node that died. Less gives up nodes that merely paused, which then come
    /// back as new ones.
    pub lease: Duration,
    /// How long a node that starts waits for the list of members before it takes itself to be the first. Defaults to 500 ms;
    /// at most five minutes.
    ///
    /// Only a first node waits that long. Less than a round trip through the store makes a node answer for itself
    /// alone until the next heartbeats of the others.
    pub join_wait: Duration,
    /// Requests of this node that may be unanswered at a time. Defaults to 10,000; more fail at once.
    pub max_pending_requests: usize,
    /// Parts of the answers to one request that may wait to be read. Defaults to 65,536.
    ///
    /// Nodes whose parts came beyond that are reported as [`Missing::Unread`](crate::Missing::Unread).
    pub max_unread_parts: usize,
    /// Handlers given to [`serve`](crate::Cluster::serve) that may run at a time. Defaults to 1,024.
    ///
    /// Requests beyond that are refused as busy.
    pub max_running_handlers: usize,
    /// Entries that this node may track in groups. Defaults to 1,000,000.
    pub max_presence_entries: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            label: String::new(),
            role: String::new(),
            version: String::new(),
            heartbeat_interval: Duration::from_secs(3),
            lease: Duration::from_secs(10),
            join_wait: Duration::from_millis(500),
            max_pending_requests: 10_000,
            max_unread_parts: 65_536,
            max_running_handlers: 1_024,
            max_presence_entries: 1_000_000,
        }
    }
}

macro_rules! setters {
    ($($field:ident $setter:ident: $type:ty),* $(,)?) => {
        impl ClusterConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: impl Into<$type>) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

setters! {
    name with_name: String,
    label with_label: String,
    role with_role: String,
    version with_version: String,
    heartbeat_interval with_heartbeat_interval: Duration,
    lease with_lease: Duration,
    join_wait with_join_wait: Duration,
    max_pending_requests with_max_pending_requests: usize,
    max_unread_parts with_max_unread_parts: usize,
    max_running_handlers with_max_running_handlers: usize,
    max_presence_entries with_max_presence_entries: usize,
}

impl ClusterConfig {
    /// Reports settings that cannot work.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem in one line.
    pub fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: String| {
            if wrong {
                problems.push(problem);
            }
        };
        refuse(!is_name(&self.name), NAME_RULE.to_owned());
        for (field, text) in [("label", &self.label), ("role", &self.role), ("version", &self.version)] {
            refuse(text.len() > MAX_TEXT_BYTES, format!("{field} is longer than {MAX_TEXT_BYTES} bytes"));
        }
        refuse(
            self.heartbeat_interval < Duration::from_millis(10),
            "heartbeat_interval is below 10 ms".into(),
        );
        let least_lease = self.heartbeat_interval.saturating_mul(3);
        refuse(self.lease < least_lease, "lease is below three heartbeat_intervals".into());
        refuse(self.lease > MAX_LEASE, "lease is above five minutes".into());
        refuse(self.join_wait > MAX_LEASE, "join_wait is above five minutes".into());
        refuse(self.max_pending_requests == 0, "max_pending_requests is 0: nothing could be asked".into());
        refuse(self.max_unread_parts == 0, "max_unread_parts is 0: no answer could be read".into());
        refuse(self.max_running_handlers == 0, "max_running_handlers is 0: nothing could be served".into());
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("cluster settings: {}", problems.join("; "))))
    }
}

const NAME_RULE: &str = "the name is empty, longer than 64 bytes, or has a `/`";

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    match is_name(name) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Config, format!("cluster settings: {NAME_RULE}"))),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && !name.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        assert!(ClusterConfig::default().check().is_ok());
        let config = ClusterConfig::default()
            .with_name("a/b")
            .with_label("x".repeat(256))
            .with_lease(Duration::from_secs(8))
            .with_max_unread_parts(0_usize);
        let text = config.check().unwrap_err().to_string();
        for part in ["name", "label", "lease", "max_unread_parts"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn times_without_end_are_refused() {
        let forever = ClusterConfig::default()
            .with_heartbeat_interval(Duration::MAX)
            .with_lease(Duration::MAX)
            .with_join_wait(Duration::MAX);
        let text = forever.check().unwrap_err().to_string();
        assert!(text.contains("lease is above") && text.contains("join_wait"), "{text}");
        let text =
            ClusterConfig::default().with_heartbeat_interval(Duration::MAX).check().unwrap_err().to_string();
        assert!(text.contains("below three"), "{text}");
    }
}
