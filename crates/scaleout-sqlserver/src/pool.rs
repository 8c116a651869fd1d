//! The connections that sends share.

use std::{
    ops::{Deref, DerefMut},
    sync::Weak,
};

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use scaleout_core::{Error, ErrorKind};

use crate::{
    config::SqlServerConfig,
    link::Link,
    node::{Node, closed},
};

/// Connections that are clean, and over which the store was looked at.
#[derive(Debug)]
pub(crate) struct Pool(managed::Pool<Connector>);

/// Makes connections for a pool.
#[derive(Debug)]
pub(crate) struct Connector(Weak<Node>);

/// A connection out of the pool. It goes back if it is clean when this is dropped, else it ends.
#[derive(Debug)]
pub(crate) struct Lease(Option<Object<Connector>>);

impl managed::Manager for Connector {
    type Type = Link;
    type Error = Error;

    async fn create(&self) -> Result<Link, Error> {
        let node = self.0.upgrade().ok_or_else(closed)?;
        Ok(node.connect().await?.0)
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<Error> {
        if link.is_clean() {
            return Ok(());
        }
        Err(RecycleError::message("the connection was given up"))
    }
}

impl Pool {
    pub(crate) fn new(config: &SqlServerConfig, node: Weak<Node>) -> Self {
        let size = usize::from(config.max_connections.get());
        let pool = managed::Pool::builder(Connector(node)).max_size(size).build();
        // Only time-outs need a runtime to be named, and there are none.
        Self(pool.expect("a pool without time-outs can be built"))
    }

    /// The next free connection, or a new one.
    ///
    /// # Cancel safety
    /// An attempt to connect goes on where this is dropped, for whoever comes next: a server that takes longer to log
    /// in than a send may take would else never be reached.
    pub(crate) async fn lease(&self) -> Result<Lease, Error> {
        let pool = self.0.clone();
        // The task ends before it is done only with the runtime.
        match tokio::spawn(async move { pool.get().await }).await.map_err(|_| closed())? {
            Ok(object) => Ok(Lease(Some(object))),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Closed) => Err(closed()),
            Err(error) => {
                Err(Error::new(ErrorKind::Unavailable, "no connection for a send").with_source(error))
            }
        }
    }

    /// Ends the connections that nobody uses: one of them failed, so the others have, too.
    pub(crate) fn end_idle(&self) {
        self.0.retain(|_, _| false);
    }

    /// Ends them all, once whoever has one is done.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Deref for Lease {
    type Target = Link;

    fn deref(&self) -> &Link {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Link {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take().filter(|object| !object.is_clean()) {
            drop(Object::take(object));
        }
    }
}
