//! Rule 7: what a store that replays yields of the past.

use std::sync::Arc;

use scaleout_core::{Backplane, Retained, Start};

use crate::{
    conformance::{
        Missing, Outcome,
        tools::{EVERYTHING, Reader, STREAM, Sender, bytes_of, inject, require, within},
    },
    fixture::{Fault, Fixture, Need, RETAINED},
};

/// Rule 7: `Backlog` yields as many payloads as asked for, the last ones, then the live ones.
pub async fn rule_07_the_backlog_is_the_last_payloads(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    let sent = sender.send_many(10).await;
    let mut reader = Reader::start(fixture, &fixture.node(), Start::Backlog { payloads: 4 });
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(reader.entry("the backlog").await);
    }
    assert_eq!(bytes_of(&seen), sent[6..], "not the last four");
    let live = sender.send().await;
    assert_eq!(reader.payload("a live payload").await.bytes, live);
    Ok(())
}

/// Rule 7: a backlog larger than what there is yields all of it, from the first payload on.
pub async fn rule_07_a_large_backlog_is_all_there_is(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    let mut sent = sender.send_many(10).await;
    let mut reader = Reader::start(fixture, &fixture.node(), EVERYTHING);
    let mut seen = reader.payloads(10, "the backlog").await;
    sent.extend(sender.send_many(3).await);
    seen.extend(reader.payloads(3, "live payloads").await);
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 7: a node that drops a reception and asks for another one gets the backlog again, also what it had before.
pub async fn rule_07_a_reception_that_was_dropped_begins_anew(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    let (mut sent, mut before) = (Vec::new(), Vec::new());
    // Other receptions of the node go on meanwhile.
    let mut stays = Reader::open(fixture, &node).await;
    for round in 0..3 {
        sent.extend(sender.send_many(2).await);
        let mut reader = Reader::start(fixture, &node, EVERYTHING);
        let mut seen = reader.payloads(sent.len(), "the backlog").await;
        assert_eq!(bytes_of(&seen), sent, "round {round}");
        let is_same = before.iter().zip(&seen).all(|(before, now)| before == now);
        assert!(is_same, "what came before has another place: {before:?}, {seen:?}");
        sent.push(sender.send().await);
        seen.push(reader.payload("a live payload").await);
        assert_eq!(seen.last().map(|got| &got.bytes), sent.last());
        before = seen;
        drop(reader);
    }
    let seen = stays.payloads(sent.len(), "what was sent meanwhile").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 7: no payload is left out or comes twice where the backlog ends and the live ones begin.
pub async fn rule_07_backlog_and_live_join_without_a_hole(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    let mut history = sender.send_many(4).await;
    for _ in 0..5 {
        let mut reader = Reader::start(fixture, &fixture.node(), Start::Backlog { payloads: 3 });
        let sending = async {
            let mut sent = Vec::new();
            for _ in 0..10 {
                sent.push(sender.send().await);
                tokio::task::yield_now().await;
            }
            sent
        };
        // Both at once, so that the reception opens somewhere among the sends.
        let (first, sent) = tokio::join!(reader.payload("a first payload"), sending);
        history.extend(sent);
        let marker = sender.send().await;
        let mut seen = vec![first];
        seen.extend(reader.until(&marker, "a marker").await);
        let place = history.iter().position(|bytes| *bytes == seen[0].bytes);
        let place = place.expect("the backlog begins with something that was sent");
        assert_eq!(bytes_of(&seen), history[place..], "the backlog and the live payloads do not join");
        history.push(marker);
    }
    Ok(())
}

/// Rule 7: `Latest` yields nothing of the past.
pub async fn rule_07_latest_yields_nothing_of_the_past(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(5).await;
    let mut reader = Reader::open(fixture, &fixture.node()).await;
    let live = sender.send().await;
    assert_eq!(reader.payload("a live payload").await.bytes, live);
    Ok(())
}

/// Rule 7: earlier epochs that the store still has are part of the backlog, each behind its own `Opened`.
pub async fn rule_07_the_backlog_reaches_into_earlier_epochs(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut witness = Reader::open(fixture, &node).await;
    let mut seen = Vec::new();
    for round in 0..3 {
        if round > 0 {
            inject(fixture, Fault::Restart).await?;
        }
        Sender::new(fixture, &node).send_many(3).await;
        seen.extend(witness.payloads(3, "payloads as they are sent").await);
    }
    let mut late = Reader::start(fixture, &fixture.node(), EVERYTHING);
    let backlog = late.payloads(seen.len(), "the payloads of all epochs").await;
    assert_eq!(backlog, seen, "the backlog is not what was seen live");
    let newest = seen.last().map(|got| got.epoch);
    let heads: Vec<_> = late.openings.iter().map(|opening| Some(opening.head.0)).collect();
    assert!(heads.iter().all(|head| *head == newest), "heads {heads:?} of the epoch {newest:?}");
    let opened: Vec<_> = late.openings.iter().map(|opening| opening.epoch).collect();
    assert!(opened.is_sorted(), "epochs open in the order {opened:?}");
    Ok(())
}

/// Rule 7: after a reconnect reception goes on where it stood.
pub async fn rule_07_reception_goes_on_where_it_stood(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let (node, other) = (fixture.node(), fixture.node());
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &other);
    let mut sent = sender.send_many(2).await;
    let mut seen = reader.payloads(2, "payloads before").await;
    for _ in 0..3 {
        // Sent on both sides of the break, before the reception is polled again.
        sent.extend(sender.send_many(3).await);
        inject(fixture, Fault::CutLinks).await?;
        sent.extend(sender.send_many(3).await);
        seen.extend(reader.payloads(6, "payloads around a broken link").await);
    }
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 7: the backlog ends where retention does.
pub async fn rule_07_the_backlog_is_what_is_retained(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    let mut sent = sender.send_many(10).await;
    inject(fixture, Fault::Trim).await?;
    let mut reader = Reader::start(fixture, &fixture.node(), EVERYTHING);
    let mut seen = reader.payloads(RETAINED, "what is retained").await;
    sent.push(sender.send().await);
    seen.push(reader.payload("a live payload").await);
    assert_eq!(bytes_of(&seen), sent[10 - RETAINED..]);
    Ok(())
}

/// Rule 7: what retention dropped before a reception came to it shows: by ids where these are dense, else by the link.
pub async fn rule_07_what_retention_dropped_shows(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let dense = node.capabilities().dense_ids;
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    sender.send().await;
    let mut last = reader.payload("a payload before").await;
    let sent = sender.send_many(10).await;
    inject(fixture, Fault::Trim).await?;
    let marker = sender.send().await;
    let mut left_out = 0;
    let seen = reader.entries_until(&marker, "a marker").await;
    for got in &seen {
        left_out += got.id.0 - last.id.0 - 1;
        last = got.clone();
    }
    let is_missing = sent.iter().filter(|bytes| !seen.iter().any(|got| got.bytes == **bytes)).count();
    let is_told = reader.openings.iter().skip(1).any(|opening| !opening.unbroken);
    let shows = if dense { left_out as usize == is_missing } else { is_missing == 0 || is_told };
    assert!(shows, "{is_missing} payloads are missing, {left_out} ids are left out, told: {is_told}");
    Ok(())
}

/// Rule 7: a store that tells what it retains of a stream tells what there is of the newest epoch.
pub async fn rule_07_what_is_retained_is_told(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let ask = async |node: &Arc<dyn Backplane>| {
        let answer = within(fixture.patience(), "what is retained", node.retained(STREAM)).await;
        answer.expect("a store that can be asked what it retains")
    };
    let Some(empty) = ask(&node).await else { return Err(Missing(Need::Retained)) };
    let opened = reader.openings.last().expect("it is open").epoch;
    assert_eq!(empty, Retained { epoch: opened, first: None, last: None }, "where nothing was sent");

    let mut sender = Sender::new(fixture, &node);
    let sent = sender.send_many(10).await.len();
    let seen = reader.payloads(sent, "what was sent").await;
    // A node that sends nothing is told the same.
    let other = fixture.node();
    let mut late = Reader::open(fixture, &other).await;
    for node in [&node, &other] {
        let told = ask(node).await.expect("it was told before");
        let (first, last) = (seen[0].position(), seen[sent - 1].position());
        assert_eq!((told.epoch, told.last), (last.0, Some(last.1)), "the newest payload, behind {first:?}");
        assert!(told.first.is_some_and(|told| told <= first.1), "nothing was dropped, and {told:?} is told");
    }

    inject(fixture, Fault::Trim).await?;
    let told = ask(&other).await.expect("it was told before");
    let oldest = &seen[sent - RETAINED];
    assert_eq!(told.last, Some(seen[sent - 1].id), "retention took the newest payload");
    assert_eq!(told.first, Some(oldest.id), "of {sent} payloads retention left {RETAINED}");

    // What is told of goes on with the epoch.
    inject(fixture, Fault::Restart).await?;
    late.is_back(fixture).await;
    Sender::new(fixture, &node).send().await;
    let newest = late.payload("a payload of the new epoch").await;
    let told = ask(&node).await.expect("it was told before");
    assert_eq!((told.epoch, told.last), (newest.epoch, Some(newest.id)), "in a new epoch");
    Ok(())
}

/// Rule 7: what was kept over a failover is still to be had, and what follows joins it.
pub async fn rule_07_a_reception_crosses_epochs_without_loss(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.extend(Sender::new(fixture, &node).send_many(3).await);
        inject(fixture, Fault::Restart).await?;
    }
    sent.extend(Sender::new(fixture, &node).send_many(3).await);
    let seen = reader.payloads(sent.len(), "payloads of four epochs").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}
