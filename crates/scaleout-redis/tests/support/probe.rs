//! Asking whether a node can send.

use std::sync::Arc;

use bytes::Bytes;
use scaleout_core::{Backplane, Error, FrameId, NodeId, StreamIndex};

/// What a send comes to that adds nothing.
pub(crate) async fn probe(node: &Arc<dyn Backplane>) -> Result<(), Error> {
    let frame = FrameId { node: NodeId::random(), number: 0, after: 0 };
    node.send(StreamIndex(0), frame, Bytes::new()).await
}
