//! Which nodes there are, for pages that go on at another.

use scaleout::NodeId;
use serde_json::{Value, json};

/// Where clients find a node.
#[derive(Debug, Clone)]
pub struct NodeAddress {
    /// `host:port`.
    pub address: String,
    /// Its id, where that is known: a node of this process.
    pub node: Option<NodeId>,
}

/// `{"node":"…","nodes":[{"address":"127.0.0.1:8081","node":"…"|null},…]}`.
pub(crate) fn told(node: NodeId, nodes: &[NodeAddress]) -> Value {
    let known = |known: &NodeAddress| json!({ "address": known.address, "node": known.node.as_ref().map(NodeId::to_string) });
    json!({ "node": node.to_string(), "nodes": nodes.iter().map(known).collect::<Vec<_>>() })
}
