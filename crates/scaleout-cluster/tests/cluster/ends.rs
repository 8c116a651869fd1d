//! What handles keep alive, in which orders things may end, and what handlers may do.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use scaleout::{MemoryConfig, MemoryStore};
use scaleout_cluster::{Cluster, Incoming, Missing, PresenceError, RequestError, Target};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    config, members,
    stores::{Memory, PATIENCE, Store, soon},
    together,
};

fn memory() -> Memory {
    Memory::start(1)
}

/// Runs what may never end on a thread of its own, so that a test fails where it does not.
async fn on_a_thread(what: &str, run: impl FnOnce() + Send + 'static) {
    let (done, is_done) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _context = runtime.enter();
        run();
        let _ = done.send(());
    });
    soon(what, is_done).await.expect("it does not panic");
}

#[tokio::test]
async fn a_handler_may_use_its_cluster_and_end_it() {
    let nodes = together(&memory(), 2).await;
    let _echo = nodes[1].serve("echo", |_, payload| async move { Ok(payload) });
    let (told, mut tells) = unbounded_channel();
    let cluster = Mutex::new(Some(nodes[1].clone()));
    let registration = nodes[1].handle("all", move |incoming: Incoming| {
        let Some(cluster) = cluster.lock().unwrap().take() else { return };
        drop(cluster.cast("news", b"x", Target::All));
        cluster.presence().track("group", "member", "").unwrap();
        cluster.handle("another", drop).forever();
        drop(cluster.handle("all", drop));
        let replies = cluster.request("echo", b"", Target::All, PATIENCE).unwrap();
        assert_eq!((replies.asked(), cluster.members().len()), (2, 2));
        drop(replies);
        told.send(()).unwrap();
        drop(incoming);
        drop(cluster);
    });
    let _news = nodes[0].handle("news", drop);
    drop(nodes[0].cast("all", b"", Target::Others));
    soon("the handler", tells.recv()).await.unwrap();
    assert_eq!(nodes[1].counters().panics, 0);
    drop(registration);
}

#[tokio::test]
async fn the_last_handle_may_go_in_a_handler() {
    let store = memory();
    let mut nodes = together(&store, 2).await;
    let last = nodes.pop().unwrap();
    let held = Arc::new(Mutex::new(None));
    let place = Arc::clone(&held);
    last.handle("end", move |_| drop(place.lock().unwrap().take())).forever();
    *held.lock().unwrap() = Some(last);
    drop(nodes[0].cast("end", b"", Target::Others));
    members(&nodes[0], 1).await;
}

/// Held by what a handler holds, a registration is dropped where the handler is.
#[tokio::test]
async fn a_handler_may_hold_registrations() {
    let nodes = together(&memory(), 1).await;
    let cluster = nodes[0].clone();
    on_a_thread("handlers go with what they hold", move || {
        let inner = cluster.handle("inner", drop);
        let outer = cluster.handle("outer", move |_| drop(Arc::new(&inner)));
        drop(outer);
        let inner = cluster.handle("inner", drop);
        let replaced = cluster.handle("outer", move |_| drop(Arc::new(&inner)));
        let outer = cluster.handle("outer", drop);
        drop((replaced, outer));
        let gap = cluster.on_gap(|_| {});
        drop(cluster.on_gap(move |_| drop(Arc::new(&gap))));
    })
    .await;
}

#[tokio::test]
async fn a_closed_cluster_holds_nothing_of_its_handlers() {
    let nodes = together(&memory(), 1).await;
    let (cluster, probe) = (nodes[0].clone(), Arc::new(()));
    let held = (cluster.clone(), Arc::clone(&probe));
    cluster.handle("keeps", move |_| drop(Bytes::from(format!("{held:?}")))).forever();
    let held = Arc::clone(&probe);
    cluster.on_gap(move |_| drop(Arc::clone(&held))).forever();
    cluster.close(PATIENCE).await;
    let held = Arc::clone(&probe);
    cluster.handle("late", move |_| drop(Arc::clone(&held))).forever();
    assert_eq!(Arc::strong_count(&probe), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_cluster_leaves_and_lets_go_of_the_bus() {
    let store = memory();
    let nodes = together(&store, 1).await;
    let bus = store.bus().await;
    for _ in 0..3 {
        let cluster = soon("it joins", Cluster::join(&bus, config())).await.unwrap();
        members(&nodes[0], 2).await;
        cluster.presence().track("group", "member", "").unwrap();
        drop(cluster);
        members(&nodes[0], 1).await;
        while bus.usage().readers > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(nodes[0].presence().count("group"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_closed_cluster_ends_every_time() {
    let nodes = together(&memory(), 1).await;
    let mut before = nodes[0].watch();
    nodes[0].close(PATIENCE).await;
    let mut after = nodes[0].watch();
    for _ in 0..2 {
        assert_eq!(soon("the end", before.changed()).await, None);
        assert_eq!(soon("the end", after.changed()).await, None);
    }
    soon("it is as ready as it will be", nodes[0].ready()).await;
    soon("so is presence", nodes[0].presence().ready()).await;
    assert_eq!(soon("the end", nodes[0].presence().watch().recv()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_closed_first_ends_the_cluster() {
    let nodes = together(&memory(), 2).await;
    let mut watch = nodes[1].watch();
    let _silent = nodes[0].handle("silent", std::mem::forget);
    let replies = nodes[1].request("silent", b"", Target::Others, PATIENCE * 10).unwrap();
    nodes[1].bus().close(PATIENCE).await;
    while soon("the end", watch.changed()).await.is_some() {}
    let collected = soon("the end of the request", replies.collect()).await;
    assert!(matches!(collected.missing[..], [(_, Missing::Closed)]), "{collected:?}");
    let closed = nodes[1].request("silent", b"", Target::All, PATIENCE).unwrap_err();
    assert!(matches!(closed, RequestError::Closed), "{closed}");
    assert_eq!(nodes[1].presence().track("group", "member", ""), Err(PresenceError::Closed));
    soon("a second end", nodes[1].close(PATIENCE)).await;
}

#[test]
fn a_runtime_may_end_before_its_cluster() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = memory();
    let bus = first.block_on(store.bus());
    // Where there is none, nothing is left behind.
    let start = std::panic::AssertUnwindSafe(|| Cluster::start(&bus, config()));
    assert!(std::panic::catch_unwind(start).is_err());
    let cluster = second.block_on(Cluster::join(&bus, config())).unwrap();
    let _echo = cluster.serve("echo", |_, payload| async move { Ok(payload) });
    // The bus and who asks are of other runtimes.
    let answer = first.block_on(cluster.ask(cluster.node(), "echo", b"x", PATIENCE)).unwrap();
    assert_eq!(answer, "x");
    drop(second);
    let silent = cluster.ask(cluster.node(), "echo", b"x", Duration::from_millis(50));
    assert!(first.block_on(silent).is_err(), "nobody is there to answer");
    first.block_on(cluster.close(Duration::from_millis(50)));
    drop(first);
    drop((cluster, bus));
}

#[tokio::test(start_paused = true)]
async fn deadlines_may_be_zero_and_endless() {
    let nodes = together(&memory(), 2).await;
    let _echo = nodes[1].serve("echo", |_, payload| async move { Ok(payload) });
    let answer = soon("an answer", nodes[0].ask(nodes[1].node(), "echo", b"x", Duration::MAX)).await;
    assert_eq!(answer.unwrap(), "x");
    let none = soon("no answer", nodes[0].ask(nodes[1].node(), "nobody", b"x", Duration::ZERO)).await;
    drop(none.unwrap_err());
    let again = soon("an answer", nodes[0].ask(nodes[1].node(), "echo", b"y", PATIENCE)).await;
    assert_eq!(again.unwrap(), "y");
    assert_eq!(nodes[1].counters().panics, 0);
    nodes[0].close(Duration::MAX).await;
    nodes[1].close(Duration::ZERO).await;
}

/// Else whoever asks in an outage would take itself to be alone.
#[tokio::test(start_paused = true)]
async fn an_answer_without_the_members_is_not_complete() {
    let store = memory();
    let bus = store.bus().await;
    store.stop().await;
    let cluster = Cluster::start(&bus, config()).unwrap();
    for target in [Target::Others, Target::All] {
        let replies = cluster.request("number", b"", target, Duration::from_secs(1)).unwrap();
        let collected = soon("the end", replies.collect()).await;
        assert!(!collected.complete && !collected.members_known, "{collected:?}");
    }
    store.start().await;
    soon("it joins", cluster.ready()).await;
    let replies = cluster.request("number", b"", Target::Others, PATIENCE).unwrap();
    let collected = soon("the end", replies.collect()).await;
    assert!(collected.complete && collected.members_known, "{collected:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_counts_no_longer() {
    let store = memory();
    let nodes = together(&store, 1).await;
    let _echo = nodes[0].serve("echo", |_, payload| async move { Ok(payload) });
    let one = config().with_max_pending_requests(1_usize);
    let asking = soon("it joins", Cluster::join(&store.bus().await, one)).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut replies = asking.request("echo", b"", Target::Node(nodes[0].node()), PATIENCE).unwrap();
        while soon("a part", futures_util::StreamExt::next(&mut replies)).await.is_some() {}
        kept.push(replies);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_large_for_the_store_is_told() {
    let capabilities = MemoryConfig::default().capabilities.with_max_payload_bytes(64 << 10);
    let small = MemoryConfig::default().with_capabilities(capabilities);
    let nodes = together(&Memory(MemoryStore::new(small)), 2).await;
    let _large = nodes[1].serve("large", |_, _| async { Ok(Bytes::from(vec![0; 1 << 20])) });
    let _long = nodes[1].serve("long", |_, _| async { Err("é".repeat(1 << 20)) });
    for subject in ["large", "long"] {
        let replies = nodes[0].request(subject, b"", Target::Others, PATIENCE * 10).unwrap();
        let collected = soon("the end of the request", replies.collect()).await;
        assert!(matches!(collected.missing[..], [(_, Missing::Failed(_))]), "{collected:?}");
    }
}
