//! Namespaces that come and go.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::world::{Store, clients, nodes, soon, until};

pub(crate) async fn a_thousand_dynamic_namespaces_work(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    for node in &nodes {
        node.io.dyn_ns("/room/{id}", async || ()).expect("a pattern");
    }
    let mut clients = Vec::new();
    for number in 0..1_000 {
        clients.push(nodes[1].client(&format!("/room/{number}")).await);
    }
    // The first node has some of them, too: it is from there that they are emitted to.
    let mut senders = Vec::new();
    for number in (0..1_000).step_by(100) {
        senders.push(nodes[0].client(&format!("/room/{number}")).await);
    }
    assert_eq!(nodes[1].ctr.namespaces(), 1_001);
    for number in (0..1_000).step_by(100) {
        let path = format!("/room/{number}");
        let of = nodes[0].io.of(&path).expect("it is there");
        of.emit("to", &path).await.expect("the store has it");
        clients[number].expect("to", &path).await;
    }
}

pub(crate) async fn a_deleted_namespace_leaves_nothing(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    for node in &nodes {
        node.serve("/gone", async || ()).await;
    }
    let _client = nodes[1].client("/gone").await;
    assert_eq!(nodes[1].ctr.namespaces(), 2);
    nodes[1].io.delete_ns("/gone");
    assert_eq!(nodes[1].ctr.namespaces(), 1, "at once");
    let skipped = nodes[1].ctr.counters().skipped;
    let of = nodes[0].io.of("/gone").expect("it is there");
    of.emit("to", "nobody").await.expect("the store has it");
    until("it is skipped", || nodes[1].ctr.counters().skipped == skipped + 1).await;
    // And again, under the same name.
    nodes[1].serve("/gone", async || ()).await;
    let mut client = nodes[1].client("/gone").await;
    nodes[0].io.of("/gone").expect("it is there").emit("to", "it").await.expect("the store has it");
    client.expect("to", "it").await;
}

/// socketioxide makes a namespace for each of them, of which one remains visible.
pub(crate) async fn first_connections_at_the_same_time_lose_nobody(store: &impl Store) {
    let nodes = Arc::new(nodes::<2>(store).await);
    for node in &*nodes {
        node.io.dyn_ns("/room/{id}", async || ()).expect("a pattern");
    }
    for round in 0..10 {
        let path = format!("/room/{round}");
        let connections = (0..8).map(|index| {
            let (nodes, path) = (Arc::clone(&nodes), path.clone());
            tokio::spawn(async move { nodes[index % 2].client(&path).await })
        });
        let connected = soon(join_all(connections)).await;
        let mut clients: Vec<_> = connected.into_iter().map(|client| client.expect("it connects")).collect();
        let emitting = nodes[0].io.of(&path).expect("it is there");
        emitting.emit("to", "all").await.expect("the store has it");
        for client in &mut clients {
            client.expect("to", "all").await;
        }
        let fetched = nodes[1].io.of(&path).expect("it is there").fetch_sockets().await;
        assert_eq!(fetched.expect("all answer").len(), 8);
        let asking = nodes[1].io.of(&path).expect("it is there").timeout(Duration::from_secs(5));
        let acks = asking.emit_with_ack::<_, String>("who", "you").await.expect("it can be asked");
        for client in &mut clients {
            let (id, _) = client.question().await;
            client.answer(&id, r#"["me"]"#).await;
        }
        let acks: Vec<_> = soon(futures_util::StreamExt::collect(acks)).await;
        // Where two threads met in the same moment, socketioxide serves sockets of two namespaces of that path, and takes
        // packets for one only: the others are asked, and their answers do not come through.
        assert_eq!(acks.len(), 8);
        assert!(acks.iter().any(|(_, answer)| answer.is_ok()), "{acks:?}");
    }
}

pub(crate) async fn a_namespace_that_others_do_not_have_is_skipped(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    nodes[0].serve("/mine", async || ()).await;
    let mut mine = nodes[0].client("/mine").await;
    let [_first, mut other] = clients(&nodes).await;
    let of = || nodes[0].io.of("/mine").expect("it is there");
    of().emit("to", "me").await.expect("the store has it");
    mine.expect("to", "me").await;
    assert_eq!(of().fetch_sockets().await.expect("all answer").len(), 1);
    assert!(of().rooms().await.expect("all answer").is_empty());
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    other.expect("to", "all").await;
    assert_eq!(nodes[1].ctr.counters().skipped, 3);
}
