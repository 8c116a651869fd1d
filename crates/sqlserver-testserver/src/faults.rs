//! What tests may put the server through: [`Faults`].

use std::{collections::BTreeSet, time::Duration};

/// What becomes of a publish on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server does it, and its connection breaks before the answer.
    LoseAnswer,
    /// The server does not get it, and its connection breaks.
    LoseSend,
    /// It is held back until [`TestServer::release`](crate::TestServer::release), and done then, also where its client
    /// is gone.
    Delay,
}

/// What requests and logins meet.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// How much longer a request takes: half of it before it is done, half of it after.
    pub(crate) latency: Duration,
    /// Publishes that are still to be chosen as victims.
    pub(crate) deadlocks: usize,
    /// Requests that are still to be turned away.
    pub(crate) throttled: usize,
    /// What the next publish on stream 0 meets.
    pub(crate) fate: Option<Fate>,
    pub(crate) refuses_logins: bool,
    /// Where logins are sent instead.
    pub(crate) routing: Option<(String, u16)>,
    /// Procedures that nobody may execute.
    pub(crate) denied: BTreeSet<String>,
    /// Permissions that nobody has, as `CREATE TABLE`.
    pub(crate) without: BTreeSet<String>,
    /// What the server does not know, in statements that have it.
    pub(crate) unknown: BTreeSet<String>,
    /// What statements have in them that are not answered.
    pub(crate) stalled: BTreeSet<String>,
    /// The user sees no table in the catalogue, as one does who may execute and nothing else.
    pub(crate) hides_tables: bool,
    /// How much later than it is the server says it were, in microseconds.
    pub(crate) clock_ahead: i64,
    /// `READ_COMMITTED_SNAPSHOT` is off.
    pub(crate) locks_readers: bool,
}

impl Faults {
    /// Whether the user has a permission on the database and the schemas.
    pub(crate) fn permits(&self, permission: &str) -> bool {
        !self.without.contains(permission)
    }

    pub(crate) fn denies(&self, procedure: &str) -> bool {
        self.denied.iter().any(|denied| is_named(procedure, denied))
    }
}

/// Whether a procedure is the one of this name, or one of those of a single stream: `publish_3` is a `publish`.
pub(crate) fn is_named(procedure: &str, name: &str) -> bool {
    match procedure.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('_')
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn procedures_of_streams_have_a_common_name() {
        assert!(is_named("publish_12", "publish"));
        assert!(is_named("publish_12", "publish_12"));
        assert!(is_named("read", "read"));
        assert!(!is_named("publish_12", "publish_1"));
        assert!(!is_named("open_epoch", "open"));
        assert!(!is_named("publish_", "publish"));
    }
}
