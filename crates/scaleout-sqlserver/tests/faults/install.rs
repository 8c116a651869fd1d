//! Nodes that come to an empty server, to one that is another app's, or to one that has them not do what they must.

use bytes::Bytes;
use scaleout_core::{Bus, ErrorKind, FrameId, NodeId, StreamIndex, StreamState};
use scaleout_sqlserver::{Install, Notifications, SqlServerConfig};
use scaleout_testkit::load::Load;

use crate::{SCHEMA, Scene, bus_config, channels, expect_no_gap, settings, support, trouble};

/// A bus that is not part of the run.
fn bus(config: SqlServerConfig) -> Bus {
    Bus::builder_from(support::node(config)).config(bus_config()).start().expect("settings that work")
}

async fn is_up(bus: &Bus) {
    crate::eventually("all streams are up", async || bus.health().streams.iter().all(StreamState::is_up))
        .await;
}

/// Fails unless what is wrong is what `kind` says, is fatal and names all of these.
async fn is_refused(bus: &Bus, kind: ErrorKind, named: &[&str]) {
    let error = trouble(bus, kind).await;
    let text = error.to_string();
    assert!(error.is_fatal(), "{error:?}");
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
}

async fn close(bus: Bus) {
    bus.close(crate::PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_that_start_at_once_make_one_schema() {
    const NODES: usize = 10;
    for notifications in [Notifications::Auto, Notifications::PollOnly] {
        let scene = Scene::woken().await.with(|config| config.with_notifications(notifications));
        let mut load = Load::new();
        for _ in 0..NODES {
            load.start(scene.node(), bus_config());
        }
        for node in 0..NODES {
            let mut states = load.bus(node).state();
            let watched = tokio::spawn(async move {
                let mut current = states.current();
                while !current.iter().all(StreamState::is_up) {
                    for state in &current {
                        assert!(!matches!(state, StreamState::Degraded { .. }), "{state:?}");
                    }
                    current = states.changed().await.expect("the bus is open");
                }
            });
            tokio::time::timeout(crate::PATIENCE, watched).await.expect("in time").expect("no error");
        }
        assert_eq!(scene.server.schemas(), [SCHEMA]);
        assert_eq!(scene.server.table_count(SCHEMA), 4);
        for node in 0..NODES {
            load.listen(node, &channels());
        }
        if notifications == Notifications::Auto {
            scene.all_are_armed(NODES).await;
            assert_eq!((scene.server.listeners(), scene.server.conversations()), (NODES, 2 * NODES));
        }
        scene.say_to_all(&load, NODES).await;
        expect_no_gap(&scene.settle(load).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_number_of_tables_or_another_app_is_refused() {
    let scene = Scene::woken().await;
    let load = scene.quiet(1).await;
    let five = 5.try_into().expect("not 0");
    let other = bus(scene.config.clone().with_table_count(five));
    is_refused(&other, ErrorKind::Config, &["4 message tables", "set to 5"]).await;
    close(other).await;
    let config: SqlServerConfig = scene.server.url("another").parse().expect("its own URL");
    let other = bus(support::for_tests(config));
    is_refused(&other, ErrorKind::Config, &["the app app", "of another"]).await;
    close(other).await;
    // In a schema of its own it is welcome.
    let config: SqlServerConfig = scene.server.url("another").parse().expect("its own URL");
    let other = bus(support::for_tests(config).with_schema("another"));
    is_up(&other).await;
    close(other).await;
    assert_eq!(scene.server.schemas(), ["another", SCHEMA]);
    scene.say_to_all(&load, 1).await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_lived_through_by_nodes_that_it_is_compatible_with() {
    let scene = Scene::woken().await;
    let load = scene.quiet(1).await;
    assert!(scene.server.set_version(SCHEMA, 99, 1));
    // Nodes that are running, ones that connect again, and fresh ones.
    scene.say_to_all(&load, 1).await;
    scene.server.cut_all();
    scene.say_to_all(&load, 1).await;
    for install in [Install::Create, Install::Verify, Install::None] {
        let fresh = bus(scene.config.clone().with_install(install));
        is_up(&fresh).await;
        close(fresh).await;
    }
    assert!(scene.server.set_version(SCHEMA, 99, 99));
    for install in [Install::Create, Install::Verify, Install::None] {
        let fresh = bus(scene.config.clone().with_install(install));
        is_refused(&fresh, ErrorKind::Unsupported, &["version 99", "update scaleout-sqlserver"]).await;
        close(fresh).await;
    }
    scene.server.cut_all();
    is_refused(load.bus(0), ErrorKind::Unsupported, &["version 99"]).await;
    assert!(scene.server.set_version(SCHEMA, 1, 1));
    load.is_up(0).await;
    scene.say_to_all(&load, 1).await;
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_verifies_names_what_is_missing_and_goes_on_when_it_is_there() {
    let scene = Scene::woken().await;
    for install in [Install::Verify, Install::None] {
        let verifies = bus(scene.config.clone().with_install(install));
        is_refused(&verifies, ErrorKind::Config, &["scaleout", "install"]).await;
        assert!(scene.server.schemas().is_empty());
        let creates = bus(scene.config.clone());
        is_up(&verifies).await;
        close(creates).await;
        close(verifies).await;
        scene.server.flush(SCHEMA);
    }
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_not_execute_names_the_grant_and_goes_on_when_it_is_given() {
    let scene = Scene::woken().await;
    let load = scene.quiet(2).await;
    for procedure in ["read", "positions"] {
        scene.server.deny(procedure);
        scene.server.cut_all();
        for node in 0..2 {
            is_refused(load.bus(node), ErrorKind::Unauthorized, &["GRANT EXECUTE ON ", procedure]).await;
        }
        scene.server.allow(procedure);
        for node in 0..2 {
            load.is_up(node).await;
        }
        scene.say_to_all(&load, 2).await;
    }
    expect_no_gap(&scene.settle(load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_may_not_execute_names_the_grant() {
    let scene = Scene::polled().await;
    let backplane = support::node(scene.config.clone());
    let frame = FrameId { node: NodeId(7), number: 1, after: 0 };
    let send = || backplane.send(StreamIndex(0), frame, Bytes::from_static(b"frame"));
    backplane.send(StreamIndex(1), frame, Bytes::from_static(b"frame")).await.expect("it is permitted");
    scene.server.deny("publish");
    let error = send().await.expect_err("it is not permitted");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let text = error.to_string();
    assert!(text.contains("GRANT EXECUTE ON ") && text.contains("publish_0"), "{text}");
    scene.server.allow("publish");
    send().await.expect("it is permitted");
    backplane.close().await.expect("nothing was registered");
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_let_in_says_so_and_goes_on_when_it_is() {
    let scene = Scene::woken().await;
    let load = scene.quiet(1).await;
    scene.server.refuse_logins(true);
    scene.server.cut_all();
    is_refused(load.bus(0), ErrorKind::Unauthorized, &["sa"]).await;
    let fresh = bus(settings(&scene.server));
    is_refused(&fresh, ErrorKind::Unauthorized, &["sa"]).await;
    scene.server.refuse_logins(false);
    is_up(&fresh).await;
    close(fresh).await;
    load.is_up(0).await;
    scene.say_to_all(&load, 1).await;
    expect_no_gap(&scene.settle(load).await);
}
