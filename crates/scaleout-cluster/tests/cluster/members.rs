//! Who is there.

use std::time::Duration;

use scaleout::BusConfig;
use scaleout_cluster::{Caster, Cluster, ClusterConfig, MemberEvent, Target};

use crate::{
    config, die, join, members, over_every_store,
    stores::{Store, soon},
    together,
};

over_every_store!(
    a_node_that_joins_knows_all_and_all_know_it,
    a_goodbye_is_told_at_once,
    a_node_that_died_expires,
    an_outage_of_the_store_makes_nobody_go,
    a_saturated_stream_starves_nobody,
    a_caster_is_nobody,
);

async fn a_node_that_joins_knows_all_and_all_know_it(store: &impl Store) {
    let bus = store.bus().await;
    let about = config().with_label("first").with_role("web").with_version("1.2");
    let first = soon("a first node joins", Cluster::join(&bus, about.clone())).await.unwrap();
    let mut watch = first.watch();
    let second = join(store).await;
    assert_eq!(second.members().len(), 2, "they are known when it has joined");
    let events = soon("somebody joins", watch.changed()).await.unwrap();
    let [MemberEvent::Joined(member)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(member.node(), second.node());
    let members = second.members();
    let member = members.get(first.node()).expect("the first node");
    assert_eq!((member.label(), member.role(), member.version()), ("first", "web", "1.2"));
    assert_eq!(member.lease(), config().lease);

    let again = Cluster::start(&bus, about).unwrap_err();
    assert!(again.to_string().contains("already"), "{again}");
    let other = config().with_name("other");
    let alone = soon("it joins another one", Cluster::join(&bus, other)).await.unwrap();
    assert_eq!(alone.members().len(), 1);
}

async fn a_goodbye_is_told_at_once(store: &impl Store) {
    let nodes = together(store, 3).await;
    let mut watch = nodes[0].watch();
    nodes[1].close(Duration::from_secs(5)).await;
    let events = soon("somebody goes", watch.changed()).await.unwrap();
    assert!(
        matches!(&events[..], [MemberEvent::Left(member)] if member.node() == nodes[1].node()),
        "{events:?}"
    );
    // The last handle says it too.
    let mut nodes = nodes.into_iter();
    let (first, _closed, last) = (nodes.next().unwrap(), nodes.next(), nodes.next().unwrap());
    let bus = last.bus().clone();
    drop(last);
    let events = soon("somebody goes", watch.changed()).await.unwrap();
    assert!(matches!(&events[..], [MemberEvent::Left(member)] if member.node() == bus.node()), "{events:?}");
    let again = soon("it joins again", Cluster::join(&bus, config())).await.unwrap();
    members(&again, 2).await;
    first.close(Duration::from_secs(5)).await;
    members(&again, 1).await;
    while let Some(events) = soon("the end", watch.changed()).await {
        assert!(matches!(&events[..], [MemberEvent::Joined(_)]), "{events:?}");
    }
    assert!(first.members().is_empty());
}

async fn a_node_that_died_expires(store: &impl Store) {
    let mut nodes = together(store, 3).await;
    let mut watch = nodes[0].watch();
    let dead = nodes.pop().unwrap();
    let id = dead.node();
    die(dead).await;
    let events = soon("somebody goes", watch.changed()).await.unwrap();
    assert!(matches!(&events[..], [MemberEvent::Expired(member)] if member.node() == id), "{events:?}");
    members(&nodes[1], 2).await;
}

async fn an_outage_of_the_store_makes_nobody_go(store: &impl Store) {
    let nodes = together(store, 3).await;
    let mut watches: Vec<_> = nodes.iter().map(Cluster::watch).collect();
    store.stop().await;
    for node in &nodes {
        hears(node, |ago| ago > config().lease * 2).await;
    }
    store.start().await;
    for node in &nodes {
        hears(node, |ago| ago < config().heartbeat_interval * 2).await;
    }
    for (node, watch) in nodes.iter().zip(&mut watches) {
        assert_eq!(node.members().len(), 3);
        let changed = tokio::time::timeout(Duration::ZERO, watch.changed()).await;
        assert!(changed.is_err(), "{changed:?}");
        assert_eq!(node.counters().expelled, 0);
    }
    // They still hear each other.
    for node in &nodes {
        let others = node.members();
        for member in others.iter() {
            soon("a sign of life", async {
                while node.bus().heard_ago(member.node()).is_none_or(|ago| ago > config().lease) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
    }
}

/// Waits until a node has last heard itself that long ago.
async fn hears(node: &Cluster, is_so: impl Fn(Duration) -> bool) {
    soon("a node hears itself, or does not", async {
        while !node.bus().heard_ago(node.node()).is_some_and(&is_so) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn a_saturated_stream_starves_nobody(store: &impl Store) {
    let small = BusConfig::default().with_max_queue_messages(500);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bus = store.bus_with(small.clone()).await;
        nodes.push(soon("a node joins", Cluster::join(&bus, config())).await.unwrap());
    }
    members(&nodes[0], 3).await;
    let mut watch = nodes[0].watch();
    let serving = nodes[1].serve("echo", |_, payload| async { Ok(payload) });
    // A channel on the stream of the cluster.
    let bus = nodes[0].bus().clone();
    let stream = bus.stream_of("$cluster/main");
    let busy = (0..).map(|n| format!("busy:{n}")).find(|name| bus.stream_of(name) == stream).unwrap();
    let flood = tokio::spawn(async move {
        let mut refused = 0_u64;
        loop {
            // As fast as the queue gives room, and faster.
            for _ in 0..200 {
                refused += u64::from(bus.enqueue(&busy, "x".repeat(100)).is_err());
            }
            if refused > 1_000_000 {
                refused = 0;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    for _ in 0..3 {
        hears(&nodes[2], |ago| ago < Duration::from_secs(1)).await;
        // Its request stands behind what waits already.
        let asked = nodes[0].ask(nodes[1].node(), "echo", b"still there?", Duration::from_secs(60)).await;
        match asked {
            Ok(answer) => assert_eq!(answer, "still there?"),
            // The queue was full at the call, which the caller is told.
            Err(scaleout_cluster::RequestError::NotSent(error)) => {
                assert_eq!(error.kind(), scaleout::ErrorKind::QueueFull);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let changed = tokio::time::timeout(config().lease, watch.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
    flood.abort();
    drop(serving);
}

async fn a_caster_is_nobody(store: &impl Store) {
    let nodes = together(store, 2).await;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let _registration = nodes[0].handle("news", move |incoming| {
        drop(sender.send((incoming.node, incoming.payload)));
    });
    let config = BusConfig::default().with_role(scaleout::Role::PublishOnly);
    let bus = store.bus_with(config).await;
    let refused = Cluster::start(&bus, crate::config()).unwrap_err();
    assert!(refused.to_string().contains("Caster"), "{refused}");
    let caster = Caster::new(&bus, &ClusterConfig::default().name).unwrap();
    soon("a cast", caster.cast("news", b"hello", Target::All)).await.unwrap();
    let (node, payload) = soon("the news", received.recv()).await.unwrap();
    assert_eq!((node, &payload[..]), (bus.node(), &b"hello"[..]));
    assert_eq!(nodes[0].members().len(), 2);
}
