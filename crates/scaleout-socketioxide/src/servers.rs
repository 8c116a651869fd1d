//! Which node holds the sockets of a server, as socketioxide calls the two sides.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use scaleout_cluster::Members;
use scaleout_core::NodeId;
use socketioxide_core::{Sid, Uid};

/// What is known of the servers of other nodes.
///
/// It is learnt where a fetch is answered, which is the only way to get a socket of another server to begin with. Who
/// is not known is found by asking all others, so nothing is kept of nodes that are no members.
#[derive(Debug, Default)]
pub(crate) struct Servers(RwLock<HashMap<Sid, NodeId>>);

impl Servers {
    pub(crate) fn find(&self, server: Uid) -> Option<NodeId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&*server).copied()
    }

    pub(crate) fn learn(&self, server: Uid, node: NodeId, members: &Members) {
        if self.find(server) == Some(node) {
            return;
        }
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, node| members.contains(*node));
        servers.insert(*server, node);
    }
}
