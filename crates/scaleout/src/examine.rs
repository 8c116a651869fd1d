//! What is wrong with a store, and what an app left there.

use scaleout_core::{Error, Finding, Remnant};

use crate::{BackplaneConfig, config::Kind};

impl BackplaneConfig {
    /// Looks at the store as a node of this app would find it: whether it answers, what it is, what this login may do,
    /// and what is there already.
    ///
    /// Nothing is changed. The findings come in the order in which they were made; after a
    /// [problem](scaleout_core::Severity::Problem) that hides the rest, such as a wrong password, no more follow.
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use scaleout::{BackplaneConfig, Severity};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), scaleout::Error> {
    /// let backplane: BackplaneConfig = "memory:?app=chat".parse()?;
    /// for finding in backplane.examine().await {
    ///     println!("{finding}");
    ///     assert_eq!(finding.severity, Severity::Ok);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn examine(&self) -> Vec<Finding> {
        match &self.kind {
            Kind::Memory(_) => vec![Finding::ok("store", "memory of this process: nothing can be missing")],
            #[cfg(feature = "redis")]
            Kind::Redis(config) => config.examine().await,
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(config) => config.examine().await,
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(config) => config.examine().await,
        }
    }

    /// What this app has in the store, whether its nodes run or not; nothing is changed.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn remnants(&self) -> Result<Vec<Remnant>, Error> {
        match &self.kind {
            Kind::Memory(_) => Ok(Vec::new()),
            #[cfg(feature = "redis")]
            Kind::Redis(config) => config.remnants().await,
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(config) => config.remnants().await,
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(config) => config.remnants().await,
        }
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
        match &self.kind {
            Kind::Memory(_) => Ok(Vec::new()),
            #[cfg(feature = "redis")]
            Kind::Redis(config) => config.remove_remnants().await,
            #[cfg(feature = "servicebus")]
            Kind::ServiceBus(config) => config.remove_remnants().await,
            #[cfg(feature = "sqlserver")]
            Kind::SqlServer(config) => config.remove_remnants().await,
        }
    }
}
