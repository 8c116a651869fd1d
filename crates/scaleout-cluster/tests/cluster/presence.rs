//! Who is in which group.

use std::{collections::BTreeSet, time::Duration};

use scaleout::BusConfig;
use scaleout_cluster::{Cluster, Presence, PresenceEvent, PresenceWatch, Target};

use crate::{
    config, die, join, over_every_store,
    stores::{Memory, Store, soon},
    together,
};

over_every_store!(
    what_one_node_tracks_all_see,
    a_node_that_starts_late_gets_everything,
    a_node_that_goes_takes_its_members_along_in_one_event,
    what_is_tracked_while_the_store_is_away_is_told_when_it_is_back,
);

async fn what_one_node_tracks_all_see(store: &impl Store) {
    let nodes = together(store, 3).await;
    let (one, two, other) = (nodes[0].presence(), nodes[1].presence(), nodes[2].presence());
    let mut watch = other.watch();
    one.track("room", "ann", "1").unwrap();
    assert!(one.contains("room", "ann"), "it is seen here at once");
    let PresenceEvent::Joined(entry) = next(&mut watch).await else { panic!("not `Joined`") };
    assert_eq!((&*entry.group, &*entry.member, &*entry.value), ("room", "ann", &b"1"[..]));
    assert_eq!(entry.node, nodes[0].node());

    one.track("room", "ann", "2").unwrap();
    let PresenceEvent::Updated(entry) = next(&mut watch).await else { panic!("not `Updated`") };
    assert_eq!(&*entry.value, b"2");
    assert_eq!(other.list("room"), [entry]);

    // Two nodes that track one member: it is one member, and there until both untrack it.
    two.track("room", "ann", "3").unwrap();
    assert!(matches!(next(&mut watch).await, PresenceEvent::Joined(_)));
    assert_eq!((other.count("room"), other.list("room").len(), other.find("room", "ann").len()), (1, 2, 2));
    assert!(one.untrack("room", "ann") && !one.untrack("room", "ann"));
    let PresenceEvent::Left(entry) = next(&mut watch).await else { panic!("not `Left`") };
    assert_eq!((&*entry.value, entry.node), (&b"2"[..], nodes[0].node()));
    assert!(other.contains("room", "ann"));

    two.track("hall", "ann", "").unwrap();
    two.track("hall", "bob", "").unwrap();
    until(other, "hall", 2).await;
    assert_eq!(two.untrack_all("ann"), 2);
    until(other, "hall", 1).await;
    until(other, "room", 0).await;
    assert_eq!(other.groups().iter().map(|name| &**name).collect::<Vec<_>>(), ["hall"]);
}

async fn a_node_that_starts_late_gets_everything(store: &impl Store) {
    let nodes = together(store, 2).await;
    for (number, node) in nodes.iter().enumerate() {
        fill(node, number, 3_000);
    }
    until(nodes[0].presence(), "lobby", 6_000).await;
    let late = join(store).await;
    soon("the entries of others", late.presence().ready()).await;
    assert_eq!(names(late.presence()), names(nodes[0].presence()));
    // It is told of what changes from then on, and tells.
    late.presence().track("lobby", "late", "").unwrap();
    nodes[1].presence().untrack("lobby", "1-0");
    for node in nodes.iter().chain([&late]) {
        soon("the last changes", async {
            let mut watch = node.presence().watch();
            while !node.presence().contains("lobby", "late") || node.presence().contains("lobby", "1-0") {
                next(&mut watch).await;
            }
        })
        .await;
        assert_eq!(node.presence().count("lobby"), 6_000);
    }
}

async fn a_node_that_goes_takes_its_members_along_in_one_event(store: &impl Store) {
    let mut nodes = together(store, 3).await;
    for (number, node) in nodes.iter().enumerate() {
        fill(node, number, 100);
    }
    for node in &nodes {
        until(node.presence(), "lobby", 300).await;
    }
    let mut watch = nodes[0].presence().watch();
    let leaving = nodes.pop().unwrap();
    leaving.close(Duration::from_secs(5)).await;
    assert_eq!(node_left(&mut watch).await, (leaving.node(), 100));
    assert_eq!(nodes[0].presence().count("lobby"), 200);
    assert!(leaving.presence().groups().is_empty());
    assert!(leaving.presence().track("lobby", "x", "").is_err());

    // Its bus joins again, and is another member.
    let back = soon("it joins again", Cluster::join(leaving.bus(), config())).await.unwrap();
    back.presence().track("lobby", "back", "").unwrap();
    until(nodes[0].presence(), "lobby", 201).await;
    soon("the entries of others", back.presence().ready()).await;
    until(back.presence(), "lobby", 201).await;

    let mut watch = nodes[0].presence().watch();
    let dying = nodes.pop().unwrap();
    let id = dying.node();
    die(dying).await;
    assert_eq!(node_left(&mut watch).await, (id, 100));
    assert_eq!(nodes[0].presence().count("lobby"), 101);
    until(back.presence(), "lobby", 101).await;
}

async fn what_is_tracked_while_the_store_is_away_is_told_when_it_is_back(store: &impl Store) {
    let nodes = together(store, 2).await;
    fill(&nodes[0], 0, 50);
    until(nodes[1].presence(), "lobby", 50).await;
    store.stop().await;
    let mut watch = nodes[0].watch();
    for round in 0..20 {
        fill(&nodes[0], round, 50);
        nodes[0].presence().untrack("lobby", "0-0");
        nodes[1].presence().track("lobby", &format!("other-{round}"), "").unwrap();
    }
    let changed = tokio::time::timeout(config().lease, watch.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
    store.start().await;
    for node in &nodes {
        until(node.presence(), "lobby", 20 * 50 - 1 + 20).await;
    }
    assert_eq!(names(nodes[0].presence()), names(nodes[1].presence()));
}

/// Eight nodes with 12,500 members each, which all of them see.
async fn crowd(store: &Memory) -> Vec<Cluster> {
    let nodes = together(store, 8).await;
    for (number, node) in nodes.iter().enumerate() {
        fill(node, number, 12_500);
    }
    for node in &nodes {
        until(node.presence(), "lobby", 100_000).await;
        assert_eq!(node.presence().list("lobby").len(), 100_000);
    }
    nodes
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_members_and_a_node_that_leaves_and_one_that_comes() {
    let store = Memory::start(3);
    let mut nodes = crowd(&store).await;
    let late = join(&store).await;
    soon("the entries of others", late.presence().ready()).await;
    assert_eq!(late.presence().count("lobby"), 100_000);
    nodes.push(late);

    let leaving = nodes.remove(3);
    let mut watches: Vec<_> = nodes.iter().map(|node| node.presence().watch()).collect();
    leaving.close(Duration::from_secs(5)).await;
    for (node, watch) in nodes.iter().zip(&mut watches) {
        assert_eq!(node_left(watch).await, (leaving.node(), 12_500));
        assert_eq!(node.presence().count("lobby"), 87_500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_members_and_a_node_that_dies() {
    let store = Memory::start(1);
    let mut nodes = crowd(&store).await;
    let dying = nodes.remove(5);
    let id = dying.node();
    let mut watches: Vec<_> = nodes.iter().map(|node| node.presence().watch()).collect();
    die(dying).await;
    for (node, watch) in nodes.iter().zip(&mut watches) {
        assert_eq!(node_left(watch).await, (id, 12_500));
        assert_eq!(node.presence().count("lobby"), 87_500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_in_a_gap_is_asked_for() {
    let store = Memory::start(1);
    let nodes = together(&store, 2).await;
    let small = store.bus_with(BusConfig::default().with_max_ring_bytes(100_000)).await;
    let slow = soon("a node joins", Cluster::join(&small, config())).await.unwrap();
    fill(&nodes[0], 0, 1_000);
    until(slow.presence(), "lobby", 1_000).await;

    // It does not read on until it is let, and its ring holds little.
    let (hold, held) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel());
    let hold_on = std::sync::Mutex::new(hold.1);
    let _registration = slow.handle("hold", move |_| {
        held.0.send(()).unwrap();
        // The other tasks of this thread go on.
        let _ended = tokio::task::block_in_place(|| hold_on.lock().unwrap().recv());
    });
    soon("a cast", nodes[0].cast("hold", b"", Target::Node(slow.node()))).await.unwrap();
    tokio::task::spawn_blocking(move || held.1.recv()).await.unwrap().unwrap();
    for name in 0..500 {
        assert!(nodes[0].presence().untrack("lobby", &format!("0-{name}")));
    }
    fill(&nodes[1], 1, 20_000);
    until(nodes[0].presence(), "lobby", 20_500).await;
    until(nodes[1].presence(), "lobby", 20_500).await;
    let mut last = small.subscribe(["last"]);
    soon("a publish", nodes[1].bus().publish("last", "")).await.unwrap();
    soon("the last message", last.recv()).await.unwrap();
    assert_eq!(slow.presence().count("lobby"), 1_000);
    drop(hold.0);
    until(slow.presence(), "lobby", 20_500).await;
    assert_eq!(names(slow.presence()), names(nodes[0].presence()));
    assert!(slow.counters().gaps > 0, "it missed nothing, and this test shows nothing");
}

/// Tracks that many members of the lobby, with the node's number in their names.
fn fill(node: &Cluster, number: usize, count: usize) {
    for member in 0..count {
        node.presence().track("lobby", &format!("{number}-{member}"), "").unwrap();
    }
}

fn names(presence: &Presence) -> BTreeSet<String> {
    presence.list("lobby").iter().map(|entry| entry.member.to_string()).collect()
}

/// Waits until a node sees that many members of a group.
async fn until(presence: &Presence, group: &str, count: usize) {
    let mut watch = presence.watch();
    while presence.count(group) != count {
        next(&mut watch).await;
    }
}

async fn next(watch: &mut PresenceWatch) -> PresenceEvent {
    soon("a change of presence", watch.recv()).await.expect("the cluster is open")
}

/// The node that left and how many entries it had, where that is all that happened.
async fn node_left(watch: &mut PresenceWatch) -> (scaleout::NodeId, usize) {
    match next(watch).await {
        PresenceEvent::NodeLeft { node, entries } => (node, entries.len()),
        other => panic!("{other:?}"),
    }
}
