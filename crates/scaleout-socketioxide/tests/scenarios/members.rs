//! Joining, leaving and disconnecting sockets of other nodes, and finding them.

use scaleout_socketioxide::{AdapterConfig, BroadcastFlags, BroadcastOptions, Partial, ScaleoutError};
use socketioxide::socket::RemoteSocket;

use super::{
    broadcasts::socket,
    client::Client,
    world::{Adapter, Node, Setup, Store, clients, nodes, nodes_with, soon, until},
};

async fn fetch(node: &Node) -> Vec<RemoteSocket<Adapter>> {
    node.io.broadcast().fetch_sockets().await.expect("all answer")
}

async fn remote(node: &Node, client: &Client) -> RemoteSocket<Adapter> {
    let sockets = fetch(node).await;
    sockets.into_iter().find(|socket| socket.data().id.as_str() == client.sid).expect("it is connected")
}

/// The sockets in a room, of all nodes, sorted.
async fn in_room(node: &Node, room: &'static str) -> Vec<String> {
    let sockets = node.io.within(room).fetch_sockets().await.expect("all answer");
    let mut sids: Vec<_> = sockets.iter().map(|socket| socket.data().id.to_string()).collect();
    sids.sort();
    sids
}

fn sorted<const N: usize>(clients: [&Client; N]) -> Vec<String> {
    let mut sids: Vec<_> = clients.iter().map(|client| client.sid.clone()).collect();
    sids.sort();
    sids
}

pub(crate) async fn all_matching_or_one_join_and_leave(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [first, second, third] = &clients(&nodes).await;
    let io = &nodes[0].io;
    io.broadcast().join(["all", "more"]).await.expect("the store has it");
    assert_eq!(in_room(&nodes[1], "all").await, sorted([first, second, third]));
    socket(&nodes[2], &third.sid).join("third");
    io.within("third").join("matching").await.expect("the store has it");
    assert_eq!(in_room(&nodes[0], "matching").await, sorted([third]));
    let one = remote(&nodes[0], second).await;
    one.join("one").await.expect("the store has it");
    assert_eq!(in_room(&nodes[2], "one").await, sorted([second]));

    one.leave("one").await.expect("the store has it");
    assert_eq!(in_room(&nodes[2], "one").await, Vec::<String>::new());
    io.within("third").leave("all").await.expect("the store has it");
    assert_eq!(in_room(&nodes[1], "all").await, sorted([first, second]));
    io.broadcast().leave("all").await.expect("the store has it");
    assert_eq!(in_room(&nodes[1], "all").await, Vec::<String>::new());
    assert_eq!(in_room(&nodes[1], "more").await, sorted([first, second, third]));
}

pub(crate) async fn all_matching_or_one_are_disconnected(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [mut first, mut second, mut third] = clients(&nodes).await;
    socket(&nodes[1], &second.sid).join("matching");
    nodes[0].io.within("matching").disconnect().await.expect("the store has it");
    second.disconnected().await;
    remote(&nodes[0], &third).await.disconnect().await.expect("the store has it");
    third.disconnected().await;
    first.expect_nothing_but(&nodes[1], "to", "all").await;
    nodes[1].io.broadcast().disconnect().await.expect("the store has it");
    first.disconnected().await;
    assert!(fetch(&nodes[0]).await.is_empty());
}

impl Client {
    /// Expects what is emitted now next.
    async fn expect_nothing_but(&mut self, node: &Node, event: &str, data: &str) {
        node.io.emit(event, data).await.expect("the store has it");
        self.expect(event, data).await;
    }
}

pub(crate) async fn rooms_are_those_of_all_nodes(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [first, second] = clients(&nodes).await;
    socket(&nodes[0], &first.sid).join(["a", "b"]);
    socket(&nodes[1], &second.sid).join(["b", "c", "d"]);
    let rooms = |mut rooms: Vec<std::borrow::Cow<'static, str>>| {
        rooms.sort();
        rooms
    };
    let all = nodes[0].io.broadcast().rooms().await.expect("all answer");
    assert_eq!(rooms(all), ["a", "b", "c", "d"]);
    let matching = nodes[0].io.within("c").rooms().await.expect("all answer");
    assert_eq!(rooms(matching), ["b", "c", "d"]);
    let one = remote(&nodes[0], &second).await.rooms().await.expect("it answers");
    assert_eq!(rooms(one), ["b", "c", "d"]);
    let none = remote(&nodes[1], &first).await;
    none.leave(["a", "b"]).await.expect("the store has it");
    assert!(none.rooms().await.expect("it answers").is_empty());
}

pub(crate) async fn all_one_or_local_sockets_are_fetched(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [first, second, third] = &clients(&nodes).await;
    let mut all: Vec<_> = fetch(&nodes[1]).await.iter().map(|socket| socket.data().id.to_string()).collect();
    all.sort();
    assert_eq!(all, sorted([first, second, third]));
    socket(&nodes[2], &third.sid).join("one");
    assert_eq!(in_room(&nodes[0], "one").await, sorted([third]));
    let local = nodes[0].io.local().broadcast().fetch_sockets().await.expect("it is here");
    assert_eq!(local.len(), 1);
    assert_eq!(local[0].data().id.as_str(), first.sid);
    assert_eq!(local[0].data().server_id, nodes[0].io.config().server_id);
}

/// What the local half of an adapter has recorded of those in `room`, be they connected or not.
async fn recorded(node: &Node, room: &str) -> usize {
    node.io.local().within(room.to_owned()).rooms().await.expect("it is here").len()
}

/// socketioxide calls the adapter of the caller, where the socket is not.
pub(crate) async fn a_join_elsewhere_leaves_nothing_here(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [_first, second] = clients(&nodes).await;
    let there = remote(&nodes[0], &second).await;
    for number in 0..100 {
        there.join(format!("room-{number}")).await.expect("the store has it");
    }
    assert_eq!(there.rooms().await.expect("it answers").len(), 100);
    for number in 0..100 {
        assert_eq!(recorded(&nodes[0], &format!("room-{number}")).await, 0);
        assert_eq!(recorded(&nodes[1], &format!("room-{number}")).await, 100);
    }
}

/// Of a socket that is gone, socketioxide would keep the rooms for ever.
pub(crate) async fn a_join_of_nobody_leaves_nothing(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [first, mut second] = clients(&nodes).await;
    let (here, there) = (remote(&nodes[0], &first).await, remote(&nodes[0], &second).await);
    let gone = there.clone();
    there.disconnect().await.expect("the store has it");
    second.disconnected().await;
    gone.join("room").await.expect("the store has it");
    assert_eq!(gone.rooms().await.expect("its server answers"), Vec::<String>::new());
    assert_eq!(recorded(&nodes[1], "room").await, 0);

    let gone = here.clone();
    here.disconnect().await.expect("it is here");
    gone.join("room").await.expect("it is here");
    assert_eq!(recorded(&nodes[0], "room").await, 0);
}

pub(crate) async fn servers_are_counted(store: &impl Store) {
    let [first, second, third] = nodes::<3>(store).await;
    let count = async |node: &Node| node.ctr.cluster().members().len();
    assert_eq!(count(&first).await, 3);
    third.leave().await;
    until("who left is not counted", || first.ctr.cluster().members().len() == 2).await;
    drop(second);
}

pub(crate) async fn a_socket_of_a_server_that_is_gone_is_told(store: &impl Store) {
    let [first, second] = nodes::<2>(store).await;
    let client = second.client("/").await;
    let socket = remote(&first, &client).await;
    let server = socket.data().server_id;
    second.leave().await;
    until("it is known that it left", || first.ctr.cluster().members().len() == 1).await;
    let error = socket.join("room").await.expect_err("nobody has it");
    assert!(matches!(error, ScaleoutError::NoSuchServer(uid) if uid == server), "{error}");
    let error = socket.rooms().await.expect_err("nobody has it");
    assert!(matches!(error, ScaleoutError::NoSuchServer(uid) if uid == server), "{error}");
    let error = socket.emit("to", "one").await.expect_err("nobody has it");
    assert!(error.to_string().contains(server.as_str()), "{error}");
}

pub(crate) async fn a_fetch_without_a_node_that_left_is_complete(store: &impl Store) {
    let config = AdapterConfig::default().with_partial(Partial::Error);
    let [first, second, third] = nodes_with::<3>(store, &Setup { config, ..Setup::default() }).await;
    let _clients = [second.client("/").await, third.client("/").await];
    let mut options = BroadcastOptions::default();
    options.add_flag(BroadcastFlags::Broadcast);
    let fetched = first.ctr.fetch("/", &options).await.expect("all can be asked");
    assert_eq!((fetched.sockets.len(), fetched.complete), (2, true));

    let mut watch = first.ctr.cluster().watch();
    let left = async {
        third.leave().await;
        soon(watch.changed()).await.expect("it is told");
    };
    let (fetched, ()) = tokio::join!(first.ctr.fetch("/", &options), left);
    let fetched = fetched.expect("all can be asked");
    assert!(fetched.complete && fetched.missing.is_empty(), "{fetched:?}");
    assert_eq!(fetch(&first).await.len(), 1);
}

pub(crate) async fn a_server_that_is_not_known_yet_is_found(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [_first, second, _third] = clients(&nodes).await;
    let mut options = BroadcastOptions::default();
    options.add_flag(BroadcastFlags::Broadcast);
    options.server_id = Some(nodes[1].io.config().server_id);
    let fetched = nodes[0].ctr.fetch("/", &options).await.expect("all can be asked");
    let sids: Vec<_> = fetched.sockets.iter().map(|socket| socket.id.to_string()).collect();
    assert_eq!(sids, [second.sid]);

    let nobody = Default::default();
    options.server_id = Some(nobody);
    let error = nodes[0].ctr.fetch("/", &options).await.expect_err("nobody is that server");
    assert!(matches!(error, ScaleoutError::NoSuchServer(server) if server == nobody), "{error}");
}
