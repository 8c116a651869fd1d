//! Processes without sockets.

use scaleout_core::Role;
use scaleout_socketioxide::Emitter;

use super::world::{Store, clients, nodes, soon};

pub(crate) async fn a_process_without_sockets_emits(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    for node in &nodes {
        node.serve("/chat", async || ()).await;
    }
    let mut clients = clients(&nodes).await;
    let mut chat = nodes[1].client("/chat").await;
    let bus = store.bus().role(Role::PublishOnly).connect().await.expect("the store is there");
    let emitter = Emitter::new(&bus).expect("settings that work");
    soon(emitter.of("/").emit("to", "all")).await.expect("the store has it");
    soon(emitter.of("/chat").emit("to", "chat")).await.expect("the store has it");
    soon(emitter.of("/").emit("two", &("a", 1))).await.expect("the store has it");
    for client in &mut clients {
        client.expect("to", "all").await;
        assert_eq!(client.event().await, r#"["two","a",1]"#);
    }
    chat.expect("to", "chat").await;
}

pub(crate) async fn a_process_without_sockets_moves_sockets(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [mut first, mut second] = clients(&nodes).await;
    let bus = store.bus().role(Role::PublishOnly).connect().await.expect("the store is there");
    let emitter = Emitter::new(&bus).expect("settings that work");
    super::broadcasts::socket(&nodes[1], &second.sid).join("b");
    // On their way in this order, whether somebody waits or not.
    let sent = [
        emitter.of("/").to("b").join("c"),
        emitter.of("/").to("c").emit("to", "c"),
        emitter.of("/").except("c").emit("to", "others"),
        emitter.of("/").leave("c"),
        emitter.of("/").to("c").emit("to", "nobody"),
        emitter.of("/").to(["a", "b"]).disconnect(),
        emitter.of("/").emit("to", "all"),
    ];
    for sent in sent {
        soon(sent).await.expect("the store has it");
    }
    second.expect("to", "c").await;
    second.disconnected().await;
    first.expect("to", "others").await;
    first.expect("to", "all").await;
}

pub(crate) async fn an_emitter_is_no_server(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let _clients = clients(&nodes).await;
    let bus = store.bus().role(Role::PublishOnly).connect().await.expect("the store is there");
    let emitter = Emitter::new(&bus).expect("settings that work");
    soon(emitter.server_emit("tick", &1)).await.expect("the store has it");
    assert_eq!(nodes[0].ctr.cluster().members().len(), 2);
    let sockets =
        nodes[0].io.broadcast().fetch_sockets().await.expect("all answer, and nobody else is waited for");
    assert_eq!(sockets.len(), 2);
}
