//! Telling and asking nodes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use scaleout::{BusConfig, ErrorKind, Interest, NodeId};
use scaleout_cluster::{Cluster, Incoming, Missing, Registration, RequestError, Target};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    config, die, over_every_store,
    stores::{Memory, PATIENCE, Store, soon},
    together,
};

over_every_store!(
    everyone_who_is_asked_answers,
    casts_and_requests_come_in_the_order_of_the_calls,
    an_answer_may_come_in_many_parts,
    a_request_does_not_wait_for_a_node_that_left,
    a_request_does_not_wait_for_a_node_that_died,
    every_way_not_to_answer_is_told,
    a_request_that_cannot_be_sent_ends_at_its_deadline,
    requests_are_bounded_and_end_with_their_replies,
    a_request_in_the_first_moment_reaches_those_who_were_there,
);

/// Answers with the number of the node.
fn serve_numbers(nodes: &[Cluster]) -> Vec<Registration> {
    let serve = |(number, node): (usize, &Cluster)| {
        node.serve("number", move |_, _| async move { Ok(Bytes::from(number.to_string())) })
    };
    nodes.iter().enumerate().map(serve).collect()
}

/// Takes what comes, and answers nothing.
fn hold(node: &Cluster, subject: &str) -> (Registration, UnboundedReceiver<Incoming>) {
    let (sender, receiver) = unbounded_channel();
    (node.handle(subject, move |incoming| drop(sender.send(incoming))), receiver)
}

async fn everyone_who_is_asked_answers(store: &impl Store) {
    let nodes = together(store, 3).await;
    let _serving = serve_numbers(&nodes);
    for (target, expected) in [
        (Target::All, vec!["0", "1", "2"]),
        (Target::Others, vec!["1", "2"]),
        (Target::Node(nodes[2].node()), vec!["2"]),
        (Target::Node(nodes[0].node()), vec!["0"]),
    ] {
        let replies = nodes[0].request("number", b"", target, PATIENCE).unwrap();
        assert_eq!(replies.asked(), expected.len());
        let collected = soon("the answers", replies.collect()).await;
        assert!(collected.complete && collected.missing.is_empty(), "{collected:?}");
        let mut numbers: Vec<_> = collected.replies.iter().map(|reply| reply.payload.clone()).collect();
        numbers.sort();
        assert_eq!(numbers, expected, "{target:?}");
    }
    let answer = soon("an answer", nodes[1].ask(nodes[2].node(), "number", b"", PATIENCE)).await.unwrap();
    assert_eq!(answer, "2");
}

async fn casts_and_requests_come_in_the_order_of_the_calls(store: &impl Store) {
    let nodes = together(store, 3).await;
    let (_here, mut here) = hold(&nodes[0], "news");
    let (_there, mut there) = hold(&nodes[1], "news");
    let mut requests = Vec::new();
    for number in 0..100_u8 {
        if number % 10 == 0 {
            requests.push(nodes[0].request("news", &[number], Target::All, PATIENCE).unwrap());
        } else {
            let target = if number % 2 == 0 { Target::All } else { Target::Node(nodes[1].node()) };
            drop(nodes[0].cast("news", &[number], target));
        }
    }
    for number in 0..100_u8 {
        let incoming = soon("a message", there.recv()).await.unwrap();
        assert_eq!((incoming.node, &incoming.payload[..]), (nodes[0].node(), &[number][..]));
        assert_eq!(incoming.wants_reply(), number % 10 == 0);
        if number % 2 == 0 {
            assert_eq!(soon("a message", here.recv()).await.unwrap().payload[..], [number]);
        }
    }
}

async fn an_answer_may_come_in_many_parts(store: &impl Store) {
    let nodes = together(store, 2).await;
    let _counting = nodes[1].handle("count", |incoming| {
        let (payload, mut responder) = incoming.into_parts();
        for part in 0..payload[0] {
            responder.part(&[part]);
        }
        if payload[0] % 2 == 0 { responder.finish() } else { responder.reply(b"last") }
    });
    for count in [0, 1, 100, 101_u8] {
        let mut replies = nodes[0].request("count", &[count], Target::Others, PATIENCE).unwrap();
        let mut parts: Vec<Bytes> = (0..count).map(|part| Bytes::copy_from_slice(&[part])).collect();
        parts.extend((count % 2 == 1).then(|| Bytes::from_static(b"last")));
        for part in parts {
            assert_eq!(soon("a part", replies.next()).await.unwrap().payload, part);
        }
        assert_eq!(soon("the end", replies.next()).await, None);
        assert!(replies.missing().is_empty());
    }
    let whole = soon("an answer", nodes[0].ask(nodes[1].node(), "count", &[2], PATIENCE)).await.unwrap();
    assert_eq!(whole[..], [0, 1]);
}

async fn a_request_does_not_wait_for_a_node_that_left(store: &impl Store) {
    let nodes = together(store, 3).await;
    let _serving = serve_numbers(&nodes[..2]);
    let (_silent, mut asked) = hold(&nodes[2], "number");
    let replies = nodes[0].request("number", b"", Target::All, PATIENCE * 10).unwrap();
    let held = soon("the request", asked.recv()).await.unwrap();
    nodes[2].close(PATIENCE).await;
    let collected = soon("the end of the request", replies.collect()).await;
    assert_eq!((collected.replies.len(), collected.complete), (2, false));
    assert!(matches!(collected.missing[..], [(node, Missing::Left)] if node == nodes[2].node()));
    drop(held);
}

async fn a_request_does_not_wait_for_a_node_that_died(store: &impl Store) {
    let mut nodes = together(store, 3).await;
    let _serving = serve_numbers(&nodes[..2]);
    let dead = nodes.pop().unwrap();
    let id = dead.node();
    die(dead).await;
    let replies = nodes[0].request("number", b"", Target::Others, PATIENCE * 10).unwrap();
    assert_eq!(replies.asked(), 2, "its lease has not ended");
    let collected = soon("the end of the request", replies.collect()).await;
    assert_eq!((collected.replies.len(), collected.complete), (1, false));
    assert!(matches!(collected.missing[..], [(node, Missing::Expired)] if node == id), "{collected:?}");
    let gone = nodes[0].request("number", b"", Target::Node(id), PATIENCE).unwrap_err();
    assert!(matches!(gone, RequestError::NoSuchNode(node) if node == id), "{gone}");
}

async fn every_way_not_to_answer_is_told(store: &impl Store) {
    let nodes = together(store, 2).await;
    let _failing = nodes[1].serve("fail", |_, _| async { Err("no such room".to_owned()) });
    let _dropping = nodes[1].handle("drop", drop);
    let _panicking = nodes[1].handle("panic", |_| panic!("a handler of a test"));
    let (_silent, _held) = hold(&nodes[1], "silent");
    let why = async |subject: &str, deadline| {
        let replies = nodes[0].request(subject, b"", Target::Others, deadline).unwrap();
        let collected = soon("the end", replies.collect()).await;
        assert!(!collected.complete && collected.replies.is_empty());
        let [(node, why)] = &collected.missing[..] else { panic!("{collected:?}") };
        assert_eq!(*node, nodes[1].node());
        why.clone()
    };
    assert!(matches!(why("nobody", PATIENCE).await, Missing::NoHandler));
    assert!(matches!(why("fail", PATIENCE).await, Missing::Failed(why) if why == "no such room"));
    assert!(matches!(why("drop", PATIENCE).await, Missing::Dropped));
    assert!(matches!(why("panic", PATIENCE).await, Missing::Dropped));
    assert_eq!(nodes[1].counters().panics, 1);
    assert!(matches!(why("silent", Duration::from_secs(2)).await, Missing::Deadline));
    let failed = nodes[0].ask(nodes[1].node(), "fail", b"", PATIENCE).await.unwrap_err();
    assert!(failed.to_string().contains("no such room"), "{failed}");
    let late = nodes[0].ask(nodes[1].node(), "silent", b"", Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(late, RequestError::Deadline(_)), "{late}");
    let invalid = nodes[0].request("", b"", Target::All, PATIENCE).unwrap_err();
    assert!(matches!(invalid, RequestError::InvalidSubject), "{invalid}");
    nodes[0].close(PATIENCE).await;
    let closed = nodes[0].request("fail", b"", Target::All, PATIENCE).unwrap_err();
    assert!(matches!(closed, RequestError::Closed), "{closed}");
}

async fn a_request_that_cannot_be_sent_ends_at_its_deadline(store: &impl Store) {
    let nodes = together(store, 2).await;
    let _serving = serve_numbers(&nodes);
    store.stop().await;
    let asked = nodes[0].ask(nodes[1].node(), "number", b"", config().heartbeat_interval).await.unwrap_err();
    let RequestError::NotSent(error) = asked else { panic!("{asked}") };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    store.start().await;
    let answer = soon("an answer", async {
        loop {
            match nodes[0].ask(nodes[1].node(), "number", b"", PATIENCE).await {
                Ok(answer) => return answer,
                Err(error) => assert!(matches!(error, RequestError::NotSent(_)), "{error}"),
            }
        }
    });
    assert_eq!(answer.await, "1");
}

async fn requests_are_bounded_and_end_with_their_replies(store: &impl Store) {
    let mut nodes = together(store, 1).await;
    let bus = store.bus().await;
    let few = config().with_max_pending_requests(2_usize).with_max_unread_parts(3_usize);
    let asking = soon("a node joins", Cluster::join(&bus, few)).await.unwrap();
    let (_silent, _held) = hold(&nodes[0], "silent");
    let to: NodeId = nodes[0].node();
    let ask = || asking.request("silent", b"", Target::Node(to), PATIENCE);
    let held = [ask().unwrap(), ask().unwrap()];
    let refused = ask().unwrap_err();
    assert!(matches!(refused, RequestError::TooMany { limit: 2 }), "{refused}");
    drop(held);
    let again = ask().unwrap();
    drop(again);

    let done = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&done);
    let _many = nodes[0].handle("many", move |incoming| {
        let (_, mut responder) = incoming.into_parts();
        (0..10).for_each(|part| responder.part(&[part]));
        responder.finish();
        told.notify_one();
    });
    let replies = asking.request("many", b"", Target::Node(to), PATIENCE).unwrap();
    soon("the answer is on its way", done.notified()).await;
    // It comes behind all parts, which nobody has read until then.
    let (_after, mut after) = hold(&asking, "after");
    drop(nodes[0].cast("after", b"", Target::Others));
    soon("what came after", after.recv()).await.unwrap();
    let collected = soon("the end", replies.collect()).await;
    assert_eq!(collected.replies.len(), 3);
    assert!(matches!(collected.missing[..], [(_, Missing::Unread)]), "{collected:?}");
    nodes.clear();
}

async fn a_request_in_the_first_moment_reaches_those_who_were_there(store: &impl Store) {
    let nodes = together(store, 2).await;
    let _serving = serve_numbers(&nodes);
    let bus = store.bus().await;
    let new = Cluster::start(&bus, config()).unwrap();
    let replies = new.request("number", b"", Target::Others, PATIENCE).unwrap();
    let collected = soon("the answers", replies.collect()).await;
    assert_eq!((collected.replies.len(), collected.complete), (2, true), "{collected:?}");
}

/// Not on Service Bus, which does not replay, and so has no streams on demand.
#[tokio::test(start_paused = true)]
async fn where_streams_open_on_demand_the_first_request_is_answered() {
    let store = crate::stores::Memory::start(16);
    let nodes = together(&store, 2).await;
    let _serving = serve_numbers(&nodes);
    for _ in 0..20 {
        let on_demand = BusConfig::default().with_interest(Interest::OnDemand);
        let new = Cluster::start(&store.bus_with(on_demand).await, config()).unwrap();
        let replies = new.request("number", b"", Target::Others, PATIENCE).unwrap();
        let collected = soon("the answers", replies.collect()).await;
        assert_eq!((collected.replies.len(), collected.complete), (2, true), "{collected:?}");
        assert_eq!(store.0.open_receptions(), 2 * 16 + 1, "a cluster is on one stream");
        new.close(PATIENCE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_ends_at_the_deadline() {
    let nodes = together(&Memory::start(1), 2).await;
    let _endless = nodes[1].handle("endless", |incoming| {
        let (_, mut responder) = incoming.into_parts();
        tokio::spawn(async move {
            loop {
                responder.part(b"more");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    });
    let mut replies =
        nodes[0].request("endless", b"", Target::Others, Duration::from_secs(1)).expect("somebody is there");
    let mut parts = 0;
    while replies.next().await.is_some() {
        parts += 1;
        assert!(parts < 150, "more than came before the deadline");
        // Slower than they come, so that there always is one to read.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(replies.missing(), [(_, Missing::Deadline)]), "{:?}", replies.missing());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_an_earlier_life_on_the_bus_answers_nothing_of_this_one() {
    let nodes = together(&Memory::start(1), 2).await;
    let (_held, mut held) = hold(&nodes[1], "late");
    let ask = |asking: &Cluster| {
        asking.request("late", b"", Target::Others, Duration::from_secs(5)).expect("somebody is there")
    };
    // Many, so that some had the same number if each life counted anew.
    let take = async |held: &mut UnboundedReceiver<Incoming>| {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(soon("a request", held.recv()).await.expect("the handler is registered"));
        }
        all
    };
    let (bus, before) = (nodes[0].bus().clone(), (0..20).map(|_| ask(&nodes[0])).collect::<Vec<_>>());
    let first = take(&mut held).await;
    nodes[0].close(PATIENCE).await;
    drop(before);
    let again = soon("a node joins", Cluster::join(&bus, config())).await.expect("it has left before");
    let replies: Vec<_> = (0..20).map(|_| ask(&again)).collect();
    let second = take(&mut held).await;
    first.into_iter().for_each(|incoming| incoming.into_parts().1.reply(b"first"));
    second.into_iter().for_each(|incoming| incoming.into_parts().1.reply(b"second"));
    for replies in replies {
        let collected = soon("the answer", replies.collect()).await;
        assert_eq!(collected.replies[0].payload, "second");
    }
}
