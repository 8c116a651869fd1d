//! What servers tell and ask each other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use scaleout_cluster::Missing;
use scaleout_socketioxide::ServerAnswers;

use super::world::{Node, PATIENCE, Store, nodes, soon, until};

/// Everything that arrives of an event.
fn listen(
    node: &Node,
    event: &str,
) -> (scaleout_socketioxide::EventRegistration, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let registration = node.ctr.on_server_event(event, move |event| {
        let _ = sender.send(event.data::<String>().expect("text"));
    });
    (registration, receiver)
}

pub(crate) async fn an_event_reaches_the_other_servers_alone(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let mut ears: Vec<_> = nodes.iter().map(|node| listen(node, "news")).collect();
    nodes[0].ctr.server_emit("other", "unheard").await.expect("the store has it");
    nodes[0].ctr.server_emit("news", "first").await.expect("the store has it");
    nodes[1].ctr.server_emit("news", "second").await.expect("the store has it");
    assert_eq!(soon(ears[2].1.recv()).await.as_deref(), Some("first"));
    assert_eq!(soon(ears[2].1.recv()).await.as_deref(), Some("second"));
    assert_eq!(soon(ears[0].1.recv()).await.as_deref(), Some("second"), "not its own");
    assert_eq!(soon(ears[1].1.recv()).await.as_deref(), Some("first"));
    drop(ears);
    let unheard = nodes[0].ctr.server_emit_with_ack::<_, String>("news", "third", PATIENCE).await;
    assert_eq!(unheard.expect("it can be asked").missing.len(), 2, "who stopped listening says so");
}

fn by_node<T: Clone>(answers: &ServerAnswers<T>) -> BTreeMap<scaleout_core::NodeId, T> {
    answers.answers.iter().cloned().collect()
}

pub(crate) async fn answers_of_all_servers_are_collected(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let _handlers: Vec<_> = nodes
        .iter()
        .zip(1_u32..)
        .map(|(node, factor)| {
            node.ctr.on_server_event("multiply", move |event| {
                assert!(event.wants_answer());
                let number: u32 = event.data().expect("a number");
                // Later, from a task.
                tokio::spawn(async move { event.answer(&(number * factor)).expect("it has JSON") });
            })
        })
        .collect();
    let answers = nodes[0].ctr.server_emit_with_ack::<_, u32>("multiply", &7, PATIENCE).await;
    let answers = answers.expect("it can be asked");
    assert!(answers.complete, "{answers:?}");
    let expected = [(nodes[1].bus.node(), 14), (nodes[2].bus.node(), 21)];
    assert_eq!(by_node(&answers), expected.into_iter().collect());
}

pub(crate) async fn a_silent_server_is_told(store: &impl Store) {
    let nodes = nodes::<4>(store).await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&kept);
    let _handlers = [
        nodes[1].ctr.on_server_event("ask", move |event| keeps.lock().expect("whole").push(event)),
        nodes[2].ctr.on_server_event("ask", drop),
        nodes[3].ctr.on_server_event("ask", |event| event.answer("here").expect("it has JSON")),
    ];
    let wait = Duration::from_millis(500);
    let answers = nodes[0].ctr.server_emit_with_ack::<_, String>("ask", &(), wait).await;
    let answers = answers.expect("it can be asked");
    assert!(!answers.complete);
    assert_eq!(by_node(&answers), [(nodes[3].bus.node(), "here".to_owned())].into_iter().collect());
    let why = |node: &Node| {
        let found = answers.missing.iter().find(|(id, _)| *id == node.bus.node());
        &found.expect("it is missing").1
    };
    assert!(matches!(why(&nodes[1]), Missing::Deadline), "{:?}", answers.missing);
    assert!(matches!(why(&nodes[2]), Missing::Dropped), "{:?}", answers.missing);
    assert_eq!(nodes[0].ctr.counters().partial_answers, 1);
    assert_eq!(kept.lock().expect("whole").len(), 1);
}

pub(crate) async fn a_server_that_leaves_does_not_matter(store: &impl Store) {
    let [first, second, third] = nodes::<3>(store).await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&kept);
    let _handlers = [
        second.ctr.on_server_event("ask", |event| event.answer("here").expect("it has JSON")),
        third.ctr.on_server_event("ask", move |event| keeps.lock().expect("whole").push(event)),
    ];
    let leaves = async {
        until("it is asked", || !kept.lock().expect("whole").is_empty()).await;
        // What it leaves behind is no answer either.
        third.leave().await;
    };
    let asked = first.ctr.server_emit_with_ack::<_, String>("ask", &(), PATIENCE * 10);
    let (answers, ()) = soon(async { tokio::join!(asked, leaves) }).await;
    let answers = answers.expect("it can be asked");
    assert!(answers.complete, "{answers:?}");
    assert_eq!(by_node(&answers), [(second.bus.node(), "here".to_owned())].into_iter().collect());
}

pub(crate) async fn events_and_packets_keep_their_order(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let there = nodes[1].ctr.clone();
    let _handler = nodes[1].ctr.on_server_event("mark", move |_| {
        let _ = sender.send(there.counters().received);
    });
    for _ in 0..20 {
        let (emitted, marked) =
            tokio::join!(nodes[0].io.emit("before", &()), nodes[0].ctr.server_emit("mark", &()));
        emitted.expect("the store has it");
        marked.expect("the store has it");
    }
    for number in 1..=20 {
        assert_eq!(soon(received.recv()).await, Some(2 * number), "each after its packet");
    }
}
