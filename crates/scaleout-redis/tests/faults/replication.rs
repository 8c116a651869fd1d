//! A server whose replication history changes while nodes are connected.

use std::sync::Arc;

use bytes::Bytes;
use scaleout_core::{Backplane, FrameId, NodeId, StreamIndex};
use scaleout_testkit::servers::RedisServer;

use super::Scene;

/// Sends a frame by a node that may have to look at the streams first.
async fn send(node: &Arc<dyn Backplane>, id: NodeId, number: u64) {
    let frame = FrameId { node: id, number, after: number - 1 };
    node.send(StreamIndex(0), frame, Bytes::from_static(b"frame")).await.expect("the store takes it");
}

/// How many epochs the server has opened on stream 0.
async fn epochs(scene: &Scene) -> usize {
    scene.log(StreamIndex(0)).await.iter().filter(|held| held.bytes.is_empty()).count()
}

#[tokio::test]
async fn a_first_replica_costs_one_epoch_and_not_one_for_every_node() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let nodes = [(); 3].map(|()| (scene.node(), NodeId::random()));
    for (node, id) in &nodes {
        send(node, *id, 1).await;
    }
    assert_eq!(epochs(&scene).await, 1);

    let history = scene.server.info("master_replid").await.expect("it answers");
    let _replica = RedisServer::builder().replica_of(&scene.server).start().await.expect("a replica starts");
    assert_ne!(scene.server.info("master_replid").await.expect("it answers"), history);

    // Who connects now cannot tell that from a server that lost something.
    send(&scene.node(), NodeId::random(), 1).await;
    for number in 2..6 {
        for (node, id) in &nodes {
            send(node, *id, number).await;
        }
    }
    assert_eq!(epochs(&scene).await, 2);
}
