//! What every connection has: [`Context`].

use crate::{faults::Faults, namespace::Namespace};

/// The namespace, and what is to go wrong with it. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) namespace: Namespace,
    pub(crate) faults: Faults,
}
