//! Broadcasts, and what they reach.

use bytes::Bytes;
use scaleout_socketioxide::{AdapterConfig, Delivery};
use socketioxide::extract::SocketRef;

use super::{
    client::Got,
    world::{Adapter, Node, Setup, Store, clients, nodes, nodes_with, soon},
};

pub(crate) async fn all_sockets_of_all_nodes_get_text_and_binary(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let mut clients = clients(&nodes).await;
    nodes[0].io.emit("text", "wörld").await.expect("the store has it");
    nodes[0].io.emit("binary", &Bytes::from_static(&[0, 255, 1])).await.expect("the store has it");
    for client in &mut clients {
        client.expect("text", "wörld").await;
        let head = r#"51-["binary",{"_placeholder":true,"num":0}]"#;
        assert_eq!(client.raw().await, Got::Text(head.to_owned()));
        assert_eq!(client.raw().await, Got::Bytes(Bytes::from_static(&[0, 255, 1])));
    }
    let counters = nodes.map(|node| node.ctr.counters());
    assert_eq!(counters.map(|count| (count.published, count.received)), [(2, 0), (0, 2), (0, 2)]);
}

pub(crate) async fn a_namespace_is_reached_and_no_other(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    for node in &nodes {
        node.serve("/chat", async || ()).await;
    }
    let mut root = nodes[1].client("/").await;
    let mut chat = nodes[1].client("/chat").await;
    let to_chat = nodes[0].io.of("/chat").expect("it is there");
    to_chat.emit("to", "chat").await.expect("the store has it");
    nodes[0].io.emit("to", "root").await.expect("the store has it");
    chat.expect("to", "chat").await;
    root.expect("to", "root").await;
}

pub(crate) async fn a_room_is_reached_wherever_its_sockets_are(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [mut first, mut second, mut third] = clients(&nodes).await;
    for (node, client) in nodes.iter().zip([&first, &second]) {
        socket(node, &client.sid).join("red");
    }
    nodes[2].io.to("red").emit("to", "red").await.expect("the store has it");
    nodes[2].io.emit("to", "all").await.expect("the store has it");
    for client in [&mut first, &mut second] {
        client.expect("to", "red").await;
        client.expect("to", "all").await;
    }
    third.expect("to", "all").await;
    // The sender is left out, and nobody else.
    let sender = socket(&nodes[0], &first.sid);
    sender.to("red").emit("to", "others").await.expect("the store has it");
    sender.within("red").emit("to", "each").await.expect("the store has it");
    second.expect("to", "others").await;
    second.expect("to", "each").await;
    first.expect("to", "each").await;
}

pub(crate) async fn those_in_an_excepted_room_get_nothing(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [mut first, mut second, mut third] = clients(&nodes).await;
    socket(&nodes[1], &second.sid).join("blue");
    nodes[0].io.except("blue").emit("to", "others").await.expect("the store has it");
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    second.expect("to", "all").await;
    for client in [&mut first, &mut third] {
        client.expect("to", "others").await;
        client.expect("to", "all").await;
    }
}

pub(crate) async fn a_socket_in_two_rooms_gets_it_once(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [mut first, mut second] = clients(&nodes).await;
    let mut both = nodes[1].client("/").await;
    socket(&nodes[0], &first.sid).join(["a", "b"]);
    socket(&nodes[1], &second.sid).join(["a", "b", "c"]);
    socket(&nodes[1], &both.sid).join(["a", "b"]);
    nodes[0].io.to(["a", "b"]).except("c").emit("to", "rooms").await.expect("the store has it");
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    second.expect("to", "all").await;
    for client in [&mut first, &mut both] {
        client.expect("to", "rooms").await;
        client.expect("to", "all").await;
    }
}

pub(crate) async fn a_local_broadcast_stays_on_its_node(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [mut first, mut second] = clients(&nodes).await;
    nodes[0].io.local().emit("to", "here").await.expect("nothing can fail");
    assert_eq!(nodes[0].ctr.counters().published, 0, "it does not travel");
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    first.expect("to", "here").await;
    first.expect("to", "all").await;
    second.expect("to", "all").await;
}

pub(crate) async fn one_socket_is_reached_by_its_id(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [_first, mut one] = clients(&nodes).await;
    let mut other = nodes[1].client("/").await;
    // As in JS, where each socket is in a room of its own.
    for client in [&one, &other] {
        socket(&nodes[1], &client.sid).join(client.sid.clone());
    }
    nodes[0].io.to(one.sid.clone()).emit("to", "one").await.expect("the store has it");
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    one.expect("to", "one").await;
    one.expect("to", "all").await;
    other.expect("to", "all").await;
}

pub(crate) async fn rooms_named_by_numbers_are_rooms(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [_first, mut second] = clients(&nodes).await;
    socket(&nodes[1], &second.sid).join("1");
    nodes[0].io.to("01").emit("to", "another").await.expect("the store has it");
    nodes[0].io.to("1").emit("to", "one").await.expect("the store has it");
    second.expect("to", "one").await;
}

pub(crate) async fn what_is_sent_before_a_disconnect_arrives_before_it(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let mut clients = clients(&nodes).await;
    nodes[0].io.emit("bye", "all").await.expect("the store has it");
    nodes[0].io.broadcast().disconnect().await.expect("the store has it");
    for client in &mut clients {
        client.expect("bye", "all").await;
        client.disconnected().await;
    }
}

pub(crate) async fn what_follows_a_join_reaches_those_who_joined(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let mut clients = clients(&nodes).await;
    for round in 0..50 {
        let room = format!("room-{round}");
        // Not awaited one by one: the order of the calls is what counts.
        let join = nodes[0].io.broadcast().join(room.clone());
        let emit = nodes[0].io.to(room.clone()).emit("to", &room);
        let leave = nodes[0].io.broadcast().leave(room.clone());
        let late = nodes[0].io.to(room.clone()).emit("to", "nobody");
        let (joined, emitted, left, late) = soon(async { tokio::join!(join, emit, leave, late) }).await;
        joined.expect("the store has it");
        emitted.expect("the store has it");
        left.expect("the store has it");
        late.expect("the store has it");
        for client in &mut clients {
            client.expect("to", &room).await;
        }
    }
}

pub(crate) async fn packets_of_many_sizes_arrive_as_they_are(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let mut clients = clients(&nodes).await;
    for size in [0, 8 * 1024, 1024 * 1024] {
        if size + 4096 > store.max_message_bytes() {
            continue;
        }
        let text: String = "é1".chars().cycle().take(size).collect();
        nodes[0].io.emit("text", &text).await.expect("the store has it");
        let bytes: Bytes = (0..size).map(|byte| byte as u8).collect();
        nodes[0].io.emit("bytes", &bytes).await.expect("the store has it");
        for client in &mut clients {
            client.expect("text", &text).await;
            client.raw().await;
            assert_eq!(client.raw().await, Got::Bytes(bytes.clone()));
        }
    }
}

pub(crate) async fn a_volatile_packet_reaches_other_nodes(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let mut clients = clients(&nodes).await;
    nodes[0].io.volatile().broadcast().emit("may", "vanish").await.expect("the store has it");
    for client in &mut clients {
        client.expect("may", "vanish").await;
    }
}

pub(crate) async fn another_parser_works_too(store: &impl Store) {
    let setup = Setup { msgpack: true, ..Setup::default() };
    let nodes = nodes_with::<2>(store, &setup).await;
    let mut clients = [nodes[0].msgpack_client().await, nodes[1].msgpack_client().await];
    nodes[0].io.emit("text", "hello").await.expect("the store has it");
    nodes[0].io.emit("bytes", &Bytes::from_static(&[1, 2, 3])).await.expect("the store has it");
    let mut seen = Vec::new();
    for client in &mut clients {
        seen.push([client.raw().await, client.raw().await]);
    }
    assert_eq!(seen[0], seen[1], "the same on both nodes");
    let Got::Bytes(text) = &seen[0][0] else { panic!("it is MessagePack") };
    assert!(text.windows(10).any(|part| part == b"text\xA5hello"), "{text:?}");
    let Got::Bytes(bytes) = &seen[0][1] else { panic!("it is MessagePack") };
    assert!(bytes.windows(5).any(|part| part == b"\xC4\x03\x01\x02\x03"), "{bytes:?}");
}

pub(crate) async fn an_ordered_delivery_is_the_same_on_all_nodes(store: &impl Store) {
    let config = AdapterConfig::default().with_delivery(Delivery::Ordered);
    let setup = Setup { config, buffer: Some(1024), ..Setup::default() };
    let nodes = nodes_with::<3>(store, &setup).await;
    let mut clients = clients(&nodes).await;
    let emit = async |index: usize| {
        for number in 0..50 {
            let text = format!("{index}-{number}");
            nodes[index].io.emit("at", &text).await.expect("the store has it");
        }
    };
    soon(async { tokio::join!(emit(0), emit(1), emit(2)) }).await;
    let mut orders = Vec::new();
    for client in &mut clients {
        let mut order = Vec::new();
        for _ in 0..150 {
            order.push(client.event().await);
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
}

/// A socket of a node.
pub(crate) fn socket(node: &Node, sid: &str) -> SocketRef<Adapter> {
    node.io.get_socket(sid.parse().expect("an id")).expect("it is connected")
}
