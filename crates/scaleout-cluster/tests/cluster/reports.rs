//! What nodes are up to, asked by members and from outside.

use std::time::Duration;

use scaleout::BusConfig;
use scaleout_cluster::{Cluster, Missing, Observer};

use crate::{
    config, die, members, over_every_store,
    stores::{PATIENCE, Store, soon},
    together,
};

over_every_store!(
    every_member_reports_how_far_it_is,
    who_observes_is_nobody_and_sees_all,
    a_node_that_died_is_named,
    a_node_of_an_earlier_release_says_so,
);

async fn every_member_reports_how_far_it_is(store: &impl Store) {
    let bus = store.bus().await;
    let about = config().with_label("first").with_role("web").with_version("1.2");
    let first = soon("a first node joins", Cluster::join(&bus, about)).await.unwrap();
    let others = together_with(&first, store).await;
    let mut heard = others[0].bus().subscribe(["room:42"]);
    soon("a message is stored", bus.publish("room:42", "hello")).await.unwrap();
    soon("a message", heard.recv()).await.unwrap();

    let all = soon("the reports", others[1].reports(PATIENCE)).await.unwrap();
    assert!(all.missing.is_empty() && all.members_known, "{all:?}");
    let mut nodes: Vec<_> = others.iter().chain([&first]).map(Cluster::node).collect();
    nodes.sort();
    assert_eq!(all.reports.iter().map(|(member, _)| member.node()).collect::<Vec<_>>(), nodes);
    let of = |node| all.reports.iter().find(|(member, _)| member.node() == node).expect("it answered");
    let (member, report) = of(first.node());
    assert_eq!((member.label(), member.role(), member.version()), ("first", "web", "1.2"));
    assert_eq!(member.lease(), config().lease);
    assert_eq!(Some(member.started_at()), others[0].members().get(first.node()).map(|m| m.started_at()));
    assert!(report.ready && report.published >= 1 && report.library_version == env!("CARGO_PKG_VERSION"));
    assert_eq!(report.gaps, 0);
    assert_eq!(report.streams.len(), usize::from(bus.stream_count().get()));
    assert!(report.streams.iter().all(|stream| stream.up), "{report:?}");
    let (_, heard) = of(others[0].node());
    assert!(heard.received >= 1 && heard.delivered >= 1, "{heard:?}");
    // The message was received there before the question was asked.
    let stream = bus.stream_of("room:42").index();
    let position = heard.streams[stream].position.expect("it is received");
    assert!(others[0].bus().positions()[stream] >= Some(position), "{position:?}");
}

async fn together_with(first: &Cluster, store: &impl Store) -> Vec<Cluster> {
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(crate::join(store).await);
    }
    for node in others.iter().chain([first]) {
        members(node, 3).await;
    }
    others
}

async fn who_observes_is_nobody_and_sees_all(store: &impl Store) {
    let nodes = together(store, 3).await;
    let mut watch = nodes[0].watch();
    let bus = store.bus().await;
    let mut observer = Observer::new(&bus, &config().name).unwrap();
    // More than once, as whoever watches does.
    for _ in 0..2 {
        let all = soon("the answers", observer.observe(PATIENCE)).await.unwrap();
        assert!(all.missing.is_empty(), "{all:?}");
        let seen: Vec<_> = all.seen.iter().map(|seen| seen.member.node()).collect();
        let known = nodes[0].members();
        assert_eq!(seen, known.iter().map(|member| member.node()).collect::<Vec<_>>());
        for seen in &all.seen {
            let half = i64::try_from(seen.round_trip.as_millis()).unwrap() / 2;
            assert!(seen.clock_ahead_ms.abs() <= half + 1_000, "it is the same clock: {seen:?}");
        }
    }
    assert_eq!(nodes[0].members().len(), 3);
    let changed = tokio::time::timeout(Duration::ZERO, watch.changed()).await;
    assert!(changed.is_err(), "{changed:?}");

    let mut nowhere = Observer::new(&bus, "another").unwrap();
    let nobody = soon("the deadline", nowhere.observe(Duration::from_millis(300))).await.unwrap();
    assert!(nobody.seen.is_empty() && nobody.missing.is_empty(), "{nobody:?}");

    let mute = store.bus_with(BusConfig::default().with_role(scaleout::Role::PublishOnly)).await;
    assert!(Observer::new(&mute, "main").unwrap_err().to_string().contains("only publishes"));
    assert!(Observer::new(&bus, "a/b").is_err());
}

async fn a_node_that_died_is_named(store: &impl Store) {
    let nodes = together(store, 2).await;
    let bus = store.bus().await;
    let about = config().with_label("web-3").with_lease(Duration::from_secs(60));
    let last = soon("a node joins", Cluster::join(&bus, about)).await.unwrap();
    for node in &nodes {
        members(node, 3).await;
    }
    let dead = last.node();
    die(last).await;

    let mut observer = Observer::new(&store.bus().await, &config().name).unwrap();
    let all = soon("the deadline", observer.observe(Duration::from_secs(3))).await.unwrap();
    assert_eq!(all.seen.len(), 2);
    let [(node, label, Missing::Deadline)] = &all.missing[..] else { panic!("{:?}", all.missing) };
    assert_eq!((*node, label.as_str()), (dead, "web-3"));

    let of_member = soon("the deadline", nodes[0].reports(Duration::from_secs(3))).await.unwrap();
    assert_eq!(of_member.reports.len(), 2);
    assert!(matches!(&of_member.missing[..], [(node, Missing::Deadline)] if *node == dead), "{of_member:?}");
}

async fn a_node_of_an_earlier_release_says_so(store: &impl Store) {
    let nodes = together(store, 2).await;
    // As one that knows of no reports: the handler is taken away.
    drop(nodes[1].handle("$report", |_| {}));
    let mut observer = Observer::new(&store.bus().await, &config().name).unwrap();
    let all = soon("the answers", observer.observe(PATIENCE)).await.unwrap();
    let earlier = nodes[1].node();
    assert!(matches!(&all.missing[..], [(node, _, Missing::NoHandler)] if *node == earlier), "{all:?}");
    assert_eq!(all.seen.len(), 1);
    let of_member = soon("the answers", nodes[0].reports(PATIENCE)).await.unwrap();
    assert!(
        matches!(&of_member.missing[..], [(node, Missing::NoHandler)] if *node == earlier),
        "{of_member:?}"
    );
}
