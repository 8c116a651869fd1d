//! `nodes`: who is there.

use std::time::Duration;

use scaleout::Bus;
use scaleout_cluster::{Cluster, ClusterConfig};
use scaleout_testkit::needs_redis;
use serde_json::Value;

use crate::support::{PATIENCE, Running, redis, scaleout};

async fn member(url: &str, label: &str) -> Cluster {
    let bus = scaleout::connect(url).await.unwrap();
    let config = ClusterConfig::default().with_label(label).with_role("web").with_version("1.2.3");
    Cluster::join(&bus, config.with_lease(Duration::from_secs(60))).await.unwrap()
}

async fn both_see_both(nodes: [&Cluster; 2]) {
    for node in nodes {
        let mut watch = node.watch();
        while watch.members().len() != 2 {
            tokio::time::timeout(PATIENCE, watch.changed()).await.expect("in time").unwrap();
        }
    }
}

#[tokio::test]
async fn members_are_shown_and_see_nobody() {
    needs_redis!();
    let (_server, url) = redis().await;
    let (one, two) = (member(&url, "web-1").await, member(&url, "web-2").await);
    both_see_both([&one, &two]).await;
    let mut watch = one.watch();

    let run = scaleout(&["nodes", &url]).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.starts_with("cluster main of app chat at "), "{run:?}");
    assert!(run.out.contains(": 2 nodes, 2 answered\n"), "{run:?}");
    for part in ["NODE", "HEADROOM", "web-1", "web-2", "1.2.3", &one.node().to_string()[..8]] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }

    let json = scaleout(&["nodes", &url, "--json"]).await.json();
    let nodes = json["nodes"].as_array().unwrap();
    let mut ids: Vec<_> = [&one, &two].map(|node| node.node().to_string()).into();
    ids.sort();
    assert_eq!(nodes.iter().map(|node| node["node"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    for node in nodes {
        assert_eq!(node["ready"], true, "{node}");
        assert_eq!((&node["role"], &node["lease_ms"]), (&"web".into(), &60_000.into()));
        assert_eq!(node["streams_up"], node["streams"]);
        // The stream of the cluster has carried something, which both have received.
        assert!(node["behind_payloads"].is_u64() && node["headroom_payloads"].is_u64(), "{node}");
        assert!(node["clock_ahead_ms"].as_i64().unwrap().abs() < 60_000, "{node}");
    }
    assert!(json["streams"].as_array().unwrap().iter().any(|stream| stream["last"].is_u64()), "{json}");
    // Whoever looks is nobody: no event came.
    assert_eq!(one.members().len(), 2);
    assert!(tokio::time::timeout(Duration::ZERO, watch.changed()).await.is_err());

    let nobody = scaleout(&["nodes", &url, "--cluster", "another", "--wait", "200ms"]).await;
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.out.contains("0 nodes"), "{nobody:?}");
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    needs_redis!();
    let (_server, url) = redis().await;
    let (one, two) = (member(&url, "web-1").await, member(&url, "web-2").await);
    both_see_both([&one, &two]).await;
    // It dies, and its lease still runs.
    Bus::close(two.bus(), Duration::ZERO).await;
    let run = scaleout(&["nodes", &url]).await;
    assert_eq!(run.code, 1, "{run:?}");
    let told = format!("no answer of {} web-2: it did not finish before the deadline", two.node());
    assert!(run.out.contains(&told), "{run:?}");
    let json = scaleout(&["nodes", &url, "--json"]).await.json();
    assert_eq!(json["missing"][0]["label"], "web-2", "{json}");
    assert_eq!(json["nodes"][0]["label"], "web-1", "{json}");
}

#[tokio::test]
async fn who_watches_sees_nodes_come_and_go() {
    needs_redis!();
    let (_server, url) = redis().await;
    let one = member(&url, "web-1").await;
    let mut watching = Running::start(&["nodes", &url, "--watch", "--json", "--interval", "100ms"]);
    wait_count(&mut watching, 1).await;
    let two = member(&url, "web-2").await;
    wait_count(&mut watching, 2).await;
    two.close(PATIENCE).await;
    wait_count(&mut watching, 1).await;
    watching.signal("TERM").await;
    while watching.line().await.is_some() {}
    assert_eq!(watching.code().await, 0);
    drop(one);
}

async fn wait_count(watching: &mut Running, count: usize) {
    loop {
        let line = watching.line().await.expect("it goes on");
        let json: Value = serde_json::from_str(&line).unwrap();
        let missing = json["missing"].as_array().unwrap();
        if json["nodes"].as_array().unwrap().len() == count && missing.is_empty() {
            return;
        }
    }
}
