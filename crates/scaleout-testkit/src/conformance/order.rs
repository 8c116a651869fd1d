//! Rules 3, 4 and 5: ids, and the one order that all nodes see.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::{
    conformance::{
        Outcome,
        tools::{EVERYTHING, Got, Reader, Sender, bytes_of, inject, require},
    },
    fixture::{Fault, Fixture, Need},
};

/// Rule 3: ids strictly increase, and are the same on all nodes.
pub async fn rule_03_ids_strictly_increase(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let mut here = Reader::open(fixture, &node).await;
    let mut there = Reader::open(fixture, &other).await;
    let mut senders = [Sender::new(fixture, &node), Sender::new(fixture, &other)];
    for _ in 0..20 {
        for sender in &mut senders {
            sender.send().await;
        }
    }
    let marker = senders[0].send().await;
    let seen_here = here.entries_until(&marker, "a marker here").await;
    let seen_there = there.entries_until(&marker, "a marker there").await;
    expect_increase(&seen_here);
    expect_increase(&seen_there);
    assert_eq!(carrying(&seen_here), carrying(&seen_there), "two nodes disagree about ids");
    Ok(())
}

fn carrying(entries: &[Got]) -> Vec<&Got> {
    entries.iter().filter(|entry| !entry.bytes.is_empty()).collect()
}

fn expect_increase(entries: &[Got]) {
    for pair in entries.windows(2) {
        let (before, behind) = (pair[0].position(), pair[1].position());
        assert!(before < behind, "{behind:?} follows {before:?}");
    }
}

/// Rule 3: dense ids begin at 0 and have no holes.
pub async fn rule_03_dense_ids_have_no_holes(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::DenseIds)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut next = reader.openings[0].head.1.map_or(0, |id| id.0 + 1);
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(20).await;
    let marker = sender.send().await;
    for entry in reader.entries_until(&marker, "a marker").await {
        assert_eq!(entry.id.0, next, "an id is left out");
        next += 1;
    }
    Ok(())
}

/// Rule 3: dense ids begin at 0 in every epoch.
pub async fn rule_03_dense_ids_begin_at_0_in_every_epoch(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::DenseIds)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    for fault in [Fault::Restart, Fault::Flush] {
        let known = reader.openings.last().map(|opening| opening.epoch);
        inject(fixture, fault).await?;
        let mut sender = Sender::new(fixture, &node);
        sender.send_many(2).await;
        let marker = sender.send().await;
        let mut entries = reader.entries_until(&marker, "a marker in a new epoch").await;
        entries.retain(|entry| Some(entry.epoch) > known);
        let ids: Vec<u64> = entries.iter().map(|entry| entry.id.0).collect();
        let expected: Vec<u64> = (0..).take(ids.len()).collect();
        assert!(ids.len() >= 2, "a new epoch did not show after {fault:?}");
        assert_eq!(ids, expected, "after {fault:?}");
    }
    Ok(())
}

/// Rule 3: a position names one payload, on all nodes, whatever happens to the store.
pub async fn rule_03_a_position_names_one_payload_for_ever(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut steady = Reader::open(fixture, &node).await;
    let mut named = BTreeMap::new();
    for fault in [None, Some(Fault::Flush), Some(Fault::Restart), Some(Fault::Flush)] {
        if let Some(fault) = fault {
            inject(fixture, fault).await?;
            steady.is_back(fixture).await;
        }
        let mut fresh = Reader::open(fixture, &fixture.node()).await;
        let mut sender = Sender::new(fixture, &node);
        sender.send_many(4).await;
        let marker = sender.send().await;
        for got in steady.entries_until(&marker, "a marker").await {
            let before = named.insert(got.position(), got.bytes);
            assert_eq!(before, None, "{:?} came out twice", (got.epoch, got.id));
        }
        for got in fresh.entries_until(&marker, "a marker at a fresh node").await {
            let known = named.get(&got.position());
            assert_eq!(known, Some(&got.bytes), "two nodes disagree about {:?}", (got.epoch, got.id));
        }
    }
    Ok(())
}

/// Rule 3: no payload comes out twice, also not after a reconnect.
pub async fn rule_03_no_payload_comes_out_twice(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut entries = Vec::new();
    for _ in 0..4 {
        sender.send_many(3).await;
        let marker = sender.send().await;
        entries.extend(reader.entries_until(&marker, "a marker before the link breaks").await);
        inject(fixture, Fault::CutLinks).await?;
        entries.extend(reader.until_opened("Opened after a broken link").await);
    }
    let marker = sender.send().await;
    entries.extend(reader.entries_until(&marker, "a last marker").await);
    expect_increase(&entries);
    Ok(())
}

/// Rule 4: all nodes see the same order of what many nodes send at once.
pub async fn rule_04_all_nodes_see_one_order(fixture: &dyn Fixture) -> Outcome {
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(Reader::open(fixture, node).await);
    }
    let sends = nodes.iter().map(|node| {
        let mut sender = Sender::new(fixture, node);
        async move { sender.send_many(PER_NODE).await }
    });
    let sent = join_all(sends).await.concat();
    let orders =
        join_all(readers.iter_mut().map(|reader| reader.payloads(sent.len(), "every payload"))).await;
    for order in &orders[1..] {
        assert_eq!(bytes_of(order), bytes_of(&orders[0]), "two nodes see two orders");
    }
    let mut seen = bytes_of(&orders[0]);
    let mut sent = sent;
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent, "what was seen is not what was sent");
    Ok(())
}

/// Payloads that each of several nodes sends at once.
const PER_NODE: usize = 40;

/// Rule 4: a node receives its own payloads, in the same place as everybody else.
pub async fn rule_04_a_node_receives_its_own_payloads(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let mut reader = Reader::open(fixture, &node).await;
    let (mut own, mut foreign) = (Sender::new(fixture, &node), Sender::new(fixture, &other));
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(own.send().await);
        sent.push(foreign.send().await);
    }
    // Only what is there is waited for, so a payload that is left out shows as a wrong one.
    let seen = reader.payloads(sent.len(), "own and foreign payloads").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 5: a stream holds the frames of a node in the order of their numbers, over broken links too.
pub async fn rule_05_frames_of_a_node_keep_their_order(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &fixture.node()).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.extend(sender.send_many(10).await);
    }
    let seen = reader.payloads(sent.len(), "every frame").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 5: retried frames keep their place in the order.
pub async fn rule_05_retried_frames_keep_their_order(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &fixture.node()).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent: Vec<Bytes> = Vec::new();
    for fault in [Fault::LoseAnswer, Fault::LoseSend, Fault::LoseAnswer, Fault::LoseSend] {
        sent.extend(sender.send_many(2).await);
        inject(fixture, fault).await?;
    }
    sent.extend(sender.send_many(2).await);
    let seen = reader.payloads(sent.len(), "every frame").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 5: what the store retains of a node is in the order of its numbers too.
pub async fn rule_05_a_late_node_sees_the_same_order(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let mut sender = Sender::new(fixture, &fixture.node());
    let sent = sender.send_many(12).await;
    let mut late = Reader::start(fixture, &fixture.node(), EVERYTHING);
    let seen = late.payloads(sent.len(), "every frame").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}
