//! What goes wrong, and is told.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use futures_util::StreamExt;
use scaleout_cluster::{Caster, Missing, Target};
use scaleout_core::ErrorKind;
use scaleout_socketioxide::{
    AdapterConfig, BroadcastFlags, BroadcastOptions, Confirm, Delivery, Partial, ScaleoutError,
};
use socketioxide::BroadcastError;

use super::world::{Apart, Node, PATIENCE, Setup, Store, clients, nodes, nodes_with, soon, until};

pub(crate) async fn an_operation_of_a_later_release_is_skipped_and_counted(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [_first, mut second] = clients(&nodes).await;
    let later = Caster::new(&nodes[0].bus, "socketio").expect("a name");
    for operation in [&b"\x02\x00\x01/"[..], b"\x01\x63\x01/", b"\x01\x00\x01/\x02", b""] {
        later.cast("io", operation, Target::Others).await.expect("the store has it");
    }
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    second.expect("to", "all").await;
    let counters = nodes[1].ctr.counters();
    assert_eq!((counters.newer, counters.unreadable, counters.received), (2, 2, 1));
    // Who asks is told why there is no answer.
    let cluster = nodes[0].ctr.cluster();
    let asked = cluster.ask(nodes[1].bus.node(), "io", b"\x02\x06\x01/", PATIENCE).await;
    assert!(asked.expect_err("it cannot be done").to_string().contains("version 2"));
}

fn cause(error: &BroadcastError) -> &ScaleoutError {
    ScaleoutError::of(error).unwrap_or_else(|| panic!("it is not the adapter's: {error}"))
}

pub(crate) async fn sockets_here_do_not_wait_for_the_backplane(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [mut first, mut second] = clients(&nodes).await;
    store.set_away(true).await;
    for number in 0..10 {
        let text = number.to_string();
        let error = nodes[0].io.emit("while", &text).await.expect_err("the store is away");
        assert!(matches!(cause(&error), ScaleoutError::Queued), "{error:?}");
        first.expect("while", &text).await;
    }
    // A namespace that is added meanwhile works at once, here.
    nodes[0].serve("/new", async || ()).await;
    let mut new = nodes[0].client("/new").await;
    let of = nodes[0].io.of("/new").expect("it is there");
    of.emit("to", "new").await.expect_err("the store is away");
    new.expect("to", "new").await;
    assert_eq!(nodes[0].ctr.counters().queued, 11);
    store.set_away(false).await;
    for number in 0..10 {
        second.expect("while", &number.to_string()).await;
    }
    until("the store is confirmed to be back", || nodes[0].bus.health().ready).await;
    let mut back = nodes[0].io.emit("back", "again").await;
    while let Err(error) = back {
        // As long as the outage is not known to be over.
        assert!(matches!(cause(&error), ScaleoutError::Queued), "{error:?}");
        first.expect("back", "again").await;
        second.expect("back", "again").await;
        back = nodes[0].io.emit("back", "again").await;
    }
    first.expect("back", "again").await;
    second.expect("back", "again").await;
}

pub(crate) async fn an_ordered_delivery_waits_for_the_backplane(store: &impl Store) {
    let config = AdapterConfig::default().with_delivery(Delivery::Ordered);
    let nodes = nodes_with::<2>(store, &Setup { config, ..Setup::default() }).await;
    let mut clients = clients(&nodes).await;
    store.set_away(true).await;
    let error = nodes[0].io.emit("while", "away").await.expect_err("the store is away");
    assert!(matches!(cause(&error), ScaleoutError::Queued), "{error:?}");
    nodes[0].io.local().emit("to", "here").await.expect("it does not travel");
    clients[0].expect("to", "here").await;
    store.set_away(false).await;
    for client in &mut clients {
        client.expect("while", "away").await;
    }
}

pub(crate) async fn a_queued_confirmation_does_not_wait(store: &impl Store) {
    let config = AdapterConfig::default().with_confirm(Confirm::Queued);
    let nodes = nodes_with::<2>(store, &Setup { config, ..Setup::default() }).await;
    let mut clients = clients(&nodes).await;
    store.set_away(true).await;
    nodes[0].io.emit("while", "away").await.expect("it waits to be sent");
    clients[0].expect("while", "away").await;
    store.set_away(false).await;
    clients[1].expect("while", "away").await;
}

pub(crate) async fn a_frozen_node_is_told(store: &impl Store) {
    let error = AdapterConfig::default().with_request_timeout(Duration::from_millis(500));
    let accept = error.clone().with_partial(Partial::Accept);
    let strict = Node::start(store.bus(), &Setup { config: error, ..Setup::default() }).await;
    let lenient = Node::start(store.bus(), &Setup { config: accept, ..Setup::default() }).await;
    let frozen = Apart::start(store.bus(), Setup::default()).await;
    let nodes = [strict, lenient];
    for node in &nodes {
        node.serve("/", async || ()).await;
        until("all nodes know each other", || node.ctr.cluster().members().len() == 3).await;
    }
    let _clients = clients(&nodes).await;
    let [strict, lenient] = &nodes;
    assert_eq!(strict.io.broadcast().fetch_sockets().await.expect("all answer").len(), 3);

    strict.ctr.server_emit("hold", &()).await.expect("the store has it");
    let error = strict.io.broadcast().fetch_sockets().await.expect_err("one does not answer");
    let ScaleoutError::Incomplete { missing } = &error else { panic!("{error:?}") };
    assert!(matches!(missing[..], [(_, Missing::Deadline)]), "{missing:?}");
    assert!(!nodes.iter().any(|node| node.bus.node() == missing[0].0));
    let found = lenient.io.broadcast().fetch_sockets().await.expect("what there is");
    assert_eq!(found.len(), 2);
    assert_eq!(nodes.each_ref().map(|node| node.ctr.counters().partial_answers), [1, 1]);
    frozen.end().await;
}

pub(crate) async fn a_dead_node_is_waited_for_as_long_as_its_lease(store: &impl Store) {
    let config = AdapterConfig::default().with_request_timeout(PATIENCE * 10);
    let setup = Setup { config, lease: Some(Duration::from_secs(2)), ..Setup::default() };
    let nodes = nodes_with::<2>(store, &setup).await;
    let _clients = clients(&nodes).await;
    let dead = Apart::start(store.bus(), setup).await;
    until("it is known", || nodes[0].ctr.cluster().members().len() == 3).await;
    nodes[0].ctr.server_emit("hold", &()).await.expect("the store has it");
    dead.end().await;
    let mut options = BroadcastOptions::default();
    options.add_flag(BroadcastFlags::Broadcast);
    let fetched = soon(nodes[0].ctr.fetch("/", &options)).await.expect("it can be asked");
    assert_eq!((fetched.sockets.len(), fetched.complete), (2, true), "{fetched:?}");
}

pub(crate) async fn what_is_too_large_is_told(store: &impl Store) {
    let limit = store.max_message_bytes();
    if limit > 64 * 1024 * 1024 {
        return;
    }
    let nodes = nodes::<2>(store).await;
    let [mut first, mut second] = clients(&nodes).await;
    let text = "x".repeat(limit + 1);
    let error = nodes[0].io.emit("large", &text).await.expect_err("it is too large");
    let ScaleoutError::LocalOnly(why) = cause(&error) else { panic!("{error:?}") };
    assert!(matches!(why.kind(), ErrorKind::PayloadTooLarge { .. }), "{why:?}");
    first.expect("large", &text).await;
    nodes[0].io.emit("small", "one").await.expect("the store has it");
    second.expect("small", "one").await;
    assert_eq!(nodes[0].ctr.counters().local_only, 1);
}

const BURST: usize = 100_000;

pub(crate) async fn a_burst_to_a_slow_node_arrives_whole(store: &impl Store) {
    let config = AdapterConfig::default().with_confirm(Confirm::Stored { within: PATIENCE });
    let setup = Setup { config, buffer: Some(BURST + 100), ..Setup::default() };
    let [first] = nodes_with::<1>(store, &setup).await;
    let (connected, is_connected) = tokio::sync::oneshot::channel();
    let (release, held) = mpsc::channel::<()>();
    let (bus, held) = (store.bus(), Mutex::new(held));
    // A process of its own, as it were: it stands still for as long as the burst takes.
    let slow = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let node = Node::start(bus, &setup).await;
            node.serve("/", async || ()).await;
            let _handler = node.ctr.on_server_event("hold", move |_| {
                let _ = held.lock().expect("whole").recv_timeout(PATIENCE);
            });
            let mut client = node.client("/").await;
            connected.send(()).expect("it is waited for");
            for number in 0..BURST {
                assert_eq!(client.event().await, format!(r#"["n",{number}]"#));
            }
            node.ctr.counters()
        })
    });
    soon(is_connected).await.expect("it is connected");
    first.ctr.server_emit("hold", &()).await.expect("the store has it");
    let emits = futures_util::stream::iter(0..BURST);
    let mut emits = pin!(emits.map(async |number| first.io.emit("n", &number).await).buffered(1_000));
    while let Some(outcome) = soon(emits.next()).await {
        outcome.expect("the store has it");
    }
    release.send(()).expect("it is held");
    let counters = tokio::task::spawn_blocking(|| slow.join()).await.expect("it ends").expect("all arrived");
    assert_eq!((counters.gaps, counters.unreadable), (0, 0));
}

pub(crate) async fn emits_of_many_tasks_arrive_whole(store: &impl Store) {
    let setup = Setup { buffer: Some(10_000), ..Setup::default() };
    let nodes = Arc::new(nodes_with::<2>(store, &setup).await);
    let mut client = nodes[1].client("/").await;
    let tasks = (0..8).map(|task| {
        let nodes = Arc::clone(&nodes);
        tokio::spawn(async move {
            for number in 0..200 {
                nodes[0].io.emit("n", &(task, number)).await.expect("the store has it");
            }
        })
    });
    soon(futures_util::future::join_all(tasks)).await;
    let mut next = [0; 8];
    for _ in 0..1_600 {
        let (event, task, number): (String, usize, usize) =
            serde_json::from_str(&client.event().await).expect("an event");
        assert_eq!((event.as_str(), number), ("n", next[task]), "each task's in its order");
        next[task] += 1;
    }
}
