//! Stores that go at bad moments, nodes that send what they should not, and ends in every order.

use std::{sync::Arc, time::Duration};

use scaleout_cluster::{Caster, Target};
use scaleout_core::{Bus, BusConfig, ErrorKind};
use scaleout_socketioxide::{
    AdapterConfig, BroadcastFlags, BroadcastOptions, Confirm, Delivery, ScaleoutCtr, ScaleoutError,
};

use super::world::{Node, PATIENCE, Setup, Store, clients, nodes, nodes_with, soon, until};

pub(crate) async fn an_emit_does_not_wait_for_a_store_that_goes(store: &impl Store) {
    let config = AdapterConfig::default().with_confirm(Confirm::Stored { within: Duration::MAX });
    let nodes = nodes_with::<2>(store, &Setup { config, ..Setup::default() }).await;
    let [mut first, mut second] = clients(&nodes).await;
    store.set_away(true).await;
    let error = soon(nodes[0].io.emit("while", "away")).await.expect_err("the store is away");
    assert!(matches!(ScaleoutError::of(&error), Some(ScaleoutError::Queued)), "{error:?}");
    first.expect("while", "away").await;
    store.set_away(false).await;
    second.expect("while", "away").await;
}

/// The others get what waits for the store, and never what is told to be done here alone.
pub(crate) async fn what_is_told_of_an_emit_is_so(store: &impl Store) {
    let few = BusConfig::default().with_max_queue_messages(20);
    let first = Node::start(store.bus().config(few), &Setup::default()).await;
    let patient = AdapterConfig::default().with_confirm(Confirm::Stored { within: PATIENCE });
    let second = Node::start(store.bus(), &Setup { config: patient, ..Setup::default() }).await;
    for node in [&first, &second] {
        node.serve("/", async || ()).await;
        until("they know each other", || node.ctr.cluster().members().len() == 2).await;
    }
    let (mut here, mut there) = (first.client("/").await, second.client("/").await);
    store.set_away(true).await;
    let (mut waits, mut refused) = (Vec::new(), 0);
    for number in 0..40 {
        let text = number.to_string();
        let error = soon(first.io.emit("n", &text)).await.expect_err("the store is away");
        match ScaleoutError::of(&error) {
            Some(ScaleoutError::Queued) => waits.push(text.clone()),
            Some(ScaleoutError::LocalOnly(why)) if why.kind() == ErrorKind::QueueFull => refused += 1,
            _ => panic!("{error:?}"),
        }
        here.expect("n", &text).await;
    }
    assert!(refused > 10 && !waits.is_empty(), "{refused} refused");
    let counters = first.ctr.counters();
    assert_eq!((counters.queued, counters.local_only), (waits.len() as u64, refused));
    store.set_away(false).await;
    for text in &waits {
        there.expect("n", text).await;
    }
    first.bus.close(PATIENCE).await;
    let error = soon(first.io.emit("last", "one")).await.expect_err("the bus is closed");
    let Some(ScaleoutError::LocalOnly(why)) = ScaleoutError::of(&error) else { panic!("{error:?}") };
    assert_eq!(why.kind(), ErrorKind::Closed);
    here.expect("last", "one").await;
    until("the other one is back", || second.bus.health().ready).await;
    second.io.emit("to", "its own").await.expect("the store has it");
    there.expect("to", "its own").await;
}

const BURST: usize = 3_000;

/// Its own sockets get everything at once, the others everything, in its order, and once.
pub(crate) async fn a_store_that_restarts_within_a_burst_loses_nothing(store: &impl Store) {
    let config = AdapterConfig::default().with_confirm(Confirm::Queued);
    let nodes =
        nodes_with::<2>(store, &Setup { config, buffer: Some(BURST + 100), ..Setup::default() }).await;
    let [mut first, mut second] = clients(&nodes).await;
    let emits = async {
        for number in 0..BURST {
            nodes[0].io.emit("n", &number).await.expect("there is room");
            // Some are on their way whenever the store goes.
            tokio::task::yield_now().await;
            if number == BURST / 3 {
                store.set_away(true).await;
            }
        }
        for number in 0..BURST {
            assert_eq!(first.event().await, format!(r#"["n",{number}]"#), "here, while the store is away");
        }
        store.set_away(false).await;
    };
    let receives = async {
        for number in 0..BURST {
            assert_eq!(second.event().await, format!(r#"["n",{number}]"#));
        }
    };
    tokio::join!(emits, receives);
    assert_eq!(nodes[1].ctr.counters().gaps, 0);
}

pub(crate) async fn who_knows_no_members_yet_has_no_complete_answer(store: &impl Store) {
    let [there] = nodes::<1>(store).await;
    let _client = there.client("/").await;
    let bus: Bus = store.bus().connect().await.expect("the store is there");
    store.set_away(true).await;
    let config = AdapterConfig::default().with_request_timeout(Duration::from_millis(300));
    let ctr = ScaleoutCtr::with_config(&bus, config).expect("settings that work");
    let mut options = BroadcastOptions::default();
    options.add_flag(BroadcastFlags::Broadcast);
    let fetched = soon(ctr.fetch("/", &options)).await.expect("what there is, is told");
    assert!(!fetched.complete && fetched.sockets.is_empty(), "{fetched:?}");
    let timeout = Duration::from_millis(300);
    let answers = soon(ctr.server_emit_with_ack::<_, ()>("who", &(), timeout)).await.expect("it is told");
    assert!(!answers.complete, "{answers:?}");
    assert_eq!(ctr.counters().partial_answers, 2);
    store.set_away(false).await;
    soon(ctr.cluster().ready()).await;
    until("all is there", || ctr.cluster().members().len() == 2).await;
    let mut found = 0;
    while found == 0 {
        // What was asked in the outage may still be on its way.
        found = soon(ctr.fetch("/", &options)).await.expect("they are asked").sockets.len();
    }
    assert_eq!(found, 1);
}

pub(crate) async fn a_packet_that_no_parser_here_takes_is_refused(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [_first, mut second] = clients(&nodes).await;
    let caster = Caster::new(&nodes[0].bus, "socketio").expect("a name");
    // A binary event, with an ack and without; what opens a connection, with data in bytes; an ack; what ends it.
    let packets: [&[u8]; 5] =
        [b"\x02\x02\x01\xFF", b"\x0A\x02\x02\x01\xFF", b"\x08\x02\x01\xFF", b"\x03\x01\x00\x01x", b"\x01"];
    for packet in packets {
        let operation = [b"\x01\x00\x01/\x02\x00\x00\x00", packet].concat();
        caster.cast("io", &operation, Target::Others).await.expect("the store has it");
    }
    nodes[0].io.emit("to", "all").await.expect("the store has it");
    second.expect("to", "all").await;
    let counters = nodes[1].ctr.counters();
    assert_eq!((counters.unreadable, counters.received), (5, 1));
    assert_eq!(nodes[1].ctr.cluster().counters().panics, 0);
}

pub(crate) async fn who_drops_everything_leaves_nothing(store: &impl Store) {
    let [stays, goes] = nodes::<2>(store).await;
    let clients = [goes.client("/").await, goes.client("/").await];
    goes.serve("/other", async || ()).await;
    assert_eq!(goes.ctr.namespaces(), 2);
    let bus = goes.bus.clone();
    drop((goes, clients));
    until("the others see it go", || stays.ctr.cluster().members().len() == 1).await;
    until("nothing of it reads the bus", || bus.usage().readers == 0).await;
    let ctr = ScaleoutCtr::new(&bus).expect("the name is free again");
    soon(ctr.cluster().ready()).await;
    drop(ctr);
    until("nothing of it reads the bus", || bus.usage().readers == 0).await;
}

/// As documented; socketioxide itself keeps namespaces whose sockets were connected then.
pub(crate) async fn who_closes_in_order_leaves_nothing(store: &impl Store) {
    let [stays, goes] = nodes::<2>(store).await;
    let _clients = [goes.client("/").await, goes.client("/").await];
    goes.serve("/other", async || ()).await;
    goes.io.close().await;
    assert_eq!(goes.ctr.namespaces(), 0);
    soon(goes.ctr.close(Duration::MAX)).await;
    until("the others see it go", || stays.ctr.cluster().members().len() == 1).await;
    until("nothing of it reads the bus", || goes.bus.usage().readers == 0).await;
    assert_eq!(goes.bus.usage().queue_messages, 0);
}

pub(crate) async fn a_handler_of_events_may_hold_registrations(store: &impl Store) {
    let [node] = nodes::<1>(store).await;
    let ctr = node.ctr.clone();
    let (done, is_done) = tokio::sync::oneshot::channel();
    // On a thread of its own: where it waits for itself, the test fails.
    std::thread::spawn(move || {
        let hold = |event| {
            let held = Arc::new(ctr.on_server_event("held", drop));
            ctr.on_server_event(event, move |_| drop(Arc::clone(&held)))
        };
        drop(hold("dropped"));
        let (earlier, later) = (hold("replaced"), hold("replaced"));
        drop((earlier, later));
        done.send(()).expect("it is waited for");
    });
    soon(is_done).await.expect("it does not panic");
}

pub(crate) async fn an_ordered_volatile_packet_reaches_all(store: &impl Store) {
    let config = AdapterConfig::default().with_delivery(Delivery::Ordered);
    let nodes: [Node; 2] = nodes_with(store, &Setup { config, ..Setup::default() }).await;
    let mut clients = clients(&nodes).await;
    nodes[0].io.volatile().emit("to", "all").await.expect("the store has it");
    for client in &mut clients {
        client.expect("to", "all").await;
    }
    nodes[1].io.local().volatile().emit("to", "one").await.expect("it does not travel");
    clients[1].expect("to", "one").await;
}
