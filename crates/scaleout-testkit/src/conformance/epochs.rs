//! Rule 8: a store that may have lost or replaced payloads begins a new epoch.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use scaleout_core::Epoch;

use crate::{
    conformance::{
        Missing, Outcome,
        tools::{EVERYTHING, Got, Reader, STREAM, Sender, inject, require},
    },
    fixture::{FORGOTTEN, Fault, Fixture, Need},
};

/// Rule 8: a flush begins a greater epoch that continues nothing.
pub async fn rule_08_a_flush_begins_a_new_epoch(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    Sender::new(fixture, &node).send_many(3).await;
    let before = reader.payloads(3, "payloads before").await;
    inject(fixture, Fault::Flush).await?;
    let behind = first_of_the_new_epoch(fixture, &mut reader).await;
    assert!(behind.epoch > before[2].epoch, "epoch {} follows {}", behind.epoch, before[2].epoch);
    let opening = reader.openings.last().expect("it is open");
    assert_eq!(opening.after, None, "an epoch after a flush continues something");
    Ok(())
}

/// Rule 8: a failover begins a greater epoch that continues what was kept.
pub async fn rule_08_a_failover_begins_a_new_epoch(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    Sender::new(fixture, &node).send_many(5).await;
    let before = reader.payloads(5, "payloads before").await;
    inject(fixture, Fault::Failover).await?;
    let behind = first_of_the_new_epoch(fixture, &mut reader).await;
    assert!(behind.epoch > before[4].epoch, "epoch {} follows {}", behind.epoch, before[4].epoch);
    Ok(())
}

/// Rule 8: the store records what a new epoch continues, for the nodes that are there and for those to come.
pub async fn rule_08_a_new_epoch_says_what_it_continues(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    for (fault, forgotten) in [(Fault::Restart, 0), (Fault::Failover, FORGOTTEN)] {
        let node = fixture.node();
        let mut reader = Reader::open(fixture, &node).await;
        Sender::new(fixture, &node).send_many(5).await;
        let before = reader.payloads(5, "payloads before").await;
        let kept = &before[4 - forgotten];
        inject(fixture, fault).await?;
        let behind = first_of_the_new_epoch(fixture, &mut reader).await;
        let mut late = Reader::start(fixture, &fixture.node(), EVERYTHING);
        while late.payload("the payloads that were kept").await != behind {}
        for reader in [&reader, &late] {
            let opening = reader.openings.iter().find(|opening| opening.epoch == behind.epoch);
            let after = opening.and_then(|opening| opening.after);
            assert_eq!(after, Some(kept.position()), "after {fault:?}");
        }
    }
    Ok(())
}

async fn first_of_the_new_epoch(fixture: &dyn Fixture, reader: &mut Reader) -> Got {
    reader.is_back(fixture).await;
    let sent = Sender::new(fixture, &fixture.node()).send().await;
    let got = reader.payload("a payload of the new epoch").await;
    assert_eq!(got.bytes, sent, "something else came first in the new epoch");
    got
}

/// Rule 8: what a failover forgot comes out no more, and what it kept comes out as it was.
pub async fn rule_08_what_was_kept_keeps_its_position(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    Sender::new(fixture, &node).send_many(5).await;
    let before = reader.payloads(5, "payloads before").await;
    inject(fixture, Fault::Failover).await?;
    let marker = Sender::new(fixture, &node).send().await;
    let mut late = Reader::start(fixture, &fixture.node(), EVERYTHING);
    let kept = late.until(&marker, "a marker of the new epoch").await;
    assert_eq!(kept, before[..5 - FORGOTTEN]);
    Ok(())
}

/// Rule 8: many nodes that find a changed store at once agree on one new epoch.
pub async fn rule_08_one_node_opens_the_new_epoch(fixture: &dyn Fixture) -> Outcome {
    let nodes = [fixture.node(), fixture.node(), fixture.node()];
    let mut readers = Vec::new();
    for node in &nodes {
        readers.push(Reader::open(fixture, node).await);
    }
    inject(fixture, Fault::Flush).await?;
    join_all(readers.iter_mut().map(|reader| reader.is_back(fixture))).await;
    let sends = nodes.iter().map(|node| {
        let mut sender = Sender::new(fixture, node);
        async move { sender.send_many(3).await }
    });
    let sent = join_all(sends).await.concat();
    let seen = join_all(readers.iter_mut().map(|reader| reader.payloads(sent.len(), "every payload"))).await;
    let epochs: BTreeSet<Epoch> = seen.iter().flatten().map(|got| got.epoch).collect();
    assert_eq!(epochs.len(), 1, "a flush that three nodes noticed opened the epochs {epochs:?}");
    assert!(seen.iter().all(|other| *other == seen[0]), "nodes see the new epoch in two ways");
    Ok(())
}

/// Rule 8: a node that has not noticed yet appends nothing to the epoch before.
pub async fn rule_08_an_older_epoch_takes_no_appends(fixture: &dyn Fixture) -> Outcome {
    let (node, idle) = (fixture.node(), fixture.node());
    let mut stale = Sender::new(fixture, &idle);
    stale.send().await;
    for fault in [Fault::Restart, Fault::Flush] {
        inject(fixture, fault).await?;
        Sender::new(fixture, &node).send().await;
        // This node has sent nothing since, and may still be connected as before.
        let mut stale_again = Sender::new(fixture, &idle);
        stale_again.send().await;
        let Some(log) = fixture.log(STREAM).await else { return Err(Missing(Need::Log)) };
        let epochs: Vec<Epoch> = log.iter().map(|held| held.epoch).collect();
        assert!(epochs.is_sorted(), "after {fault:?} the store holds the epochs {epochs:?}");
        let newest = epochs.iter().filter(|epoch| Some(*epoch) == epochs.last()).count();
        assert!(newest >= 2, "after {fault:?} two nodes appended to two epochs: {epochs:?}");
    }
    Ok(())
}
