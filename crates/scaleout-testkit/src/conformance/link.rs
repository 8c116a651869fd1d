//! Rules 1, 6 and 14: how receptions open, break, come back and end.

use std::time::Duration;

use scaleout_core::Start;
use tokio::time::Instant;

use crate::{
    conformance::{
        Outcome,
        tools::{EVERYTHING, Reader, Sender, inject, require, within},
    },
    fixture::{Fault, Fixture, Need},
};

/// Rule 1: a node is constructed while the store is out of reach; only its reception notices.
pub async fn rule_01_construction_does_no_io(fixture: &dyn Fixture) -> Outcome {
    inject(fixture, Fault::Outage).await?;
    let node = fixture.node();
    assert!(node.stream_count().get() > 0);
    let mut reader = Reader::start(fixture, &node, Start::Latest);
    reader.fault("a failed attempt").await;
    inject(fixture, Fault::Restored).await?;
    reader.opening("Opened after the outage").await;
    Ok(())
}

/// Rule 1: a reception comes back after every fault.
pub async fn rule_01_a_reception_outlives_every_fault(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    for round in 0..3 {
        inject(fixture, Fault::CutLinks).await?;
        reader.opening("Opened after a broken link").await;
        let sent = sender.send().await;
        assert_eq!(reader.payload("a payload after a broken link").await.bytes, sent, "round {round}");
        inject(fixture, Fault::Outage).await?;
        reader.fault("the fault of an outage").await;
        inject(fixture, Fault::Restored).await?;
        reader.opening("Opened after an outage").await;
        let sent = sender.send().await;
        assert_eq!(reader.payload("a payload after an outage").await.bytes, sent, "round {round}");
    }
    Ok(())
}

/// Rule 1: attempts are spaced by back-off, which is capped, so that a store that is back is soon found.
pub async fn rule_01_attempts_are_spaced_and_never_given_up(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    inject(fixture, Fault::Outage).await?;
    let watched_until = Instant::now() + WATCHED;
    while let Ok(_fault) = tokio::time::timeout_at(watched_until, reader.fault("a failed attempt")).await {
        assert!(reader.faults.len() < 100, "100 attempts in less than {WATCHED:?}");
    }
    inject(fixture, Fault::Restored).await?;
    reader.opening("Opened soon after the outage").await;
    Ok(())
}

/// How long failed attempts are counted.
const WATCHED: Duration = Duration::from_secs(2);

/// Rule 1: `close` ends every reception of the node, and of no other.
pub async fn rule_01_a_reception_ends_at_close(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let mut first = Reader::open(fixture, &node).await;
    let mut second = Reader::open(fixture, &node).await;
    let mut stays = Reader::open(fixture, &other).await;
    within(fixture.patience(), "close", node.close()).await.expect("close releases everything");
    first.end("the end of the first reception").await;
    second.end("the end of the second reception").await;
    let sent = Sender::new(fixture, &other).send().await;
    assert_eq!(stays.payload("a payload at the node that is not closed").await.bytes, sent);
    Ok(())
}

/// Rule 6: no payload comes before `Opened`, which names the newest epoch as its head.
pub async fn rule_06_opened_comes_first(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    Sender::new(fixture, &node).send_many(3).await;
    for start in [Start::Latest, EVERYTHING] {
        let mut reader = Reader::start(fixture, &fixture.node(), start);
        let opening = reader.opening("a first Opened").await;
        assert!(opening.epoch <= opening.head.0, "epoch {} is beyond the head", opening.epoch);
    }
    Ok(())
}

/// Rule 6: `Opened` follows a broken link, before any further payload, and the link's fault is told.
pub async fn rule_06_opened_follows_every_reconnect(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    for _ in 0..3 {
        let faults = reader.faults.len();
        inject(fixture, Fault::CutLinks).await?;
        reader.opening("Opened after a broken link").await;
        assert!(reader.faults.len() > faults, "a broken link was not told");
        let sent = sender.send().await;
        assert_eq!(reader.payload("a payload after a broken link").await.bytes, sent);
    }
    Ok(())
}

/// Rule 6: every failed attempt comes out as `Faulted`, with an error that says whether waiting helps.
pub async fn rule_06_every_failed_attempt_is_told(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    inject(fixture, Fault::Outage).await?;
    for attempt in 0..4 {
        let error = reader.fault("a failed attempt").await;
        assert!(error.is_transient(), "attempt {attempt}: an outage is told as {error:?}");
    }
    assert_eq!(reader.openings.len(), 1, "Opened came during an outage");
    inject(fixture, Fault::Restored).await?;
    reader.opening("Opened after the outage").await;
    Ok(())
}

/// Rule 6: `head` is the last id that the store has when the link opens.
pub async fn rule_06_head_is_the_last_id(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut witness = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let sent = sender.send_many(3).await;
    let last = witness.payloads(sent.len(), "the first payloads").await.pop().expect("three came");
    let mut late = Reader::start(fixture, &fixture.node(), Start::Latest);
    let opening = late.opening("a late Opened").await;
    assert_eq!(opening.head.0, last.epoch);
    assert!(opening.head.1 >= Some(last.id), "the head {:?} is before {}", opening.head.1, last.id);
    sender.send().await;
    let next = late.payload("a payload after the late Opened").await;
    assert!(opening.head.1 < Some(next.id), "the head {:?} is not before what came later", opening.head.1);
    Ok(())
}

/// Rule 6: a new epoch is opened before its first payload.
pub async fn rule_06_opened_comes_before_a_new_epoch(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    Sender::new(fixture, &node).send().await;
    let before = reader.payload("a payload before").await;
    inject(fixture, Fault::Restart).await?;
    Sender::new(fixture, &node).send().await;
    let behind = reader.payload("a payload of the new epoch").await;
    assert!(behind.epoch > before.epoch, "epoch {} follows {}", behind.epoch, before.epoch);
    Ok(())
}

/// Rule 6: payloads that a broken link missed come later, or the link says that it is not unbroken.
pub async fn rule_06_nothing_is_missed_in_silence(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &other);
    let before = sender.send().await;
    assert_eq!(reader.payload("a payload before").await.bytes, before);
    inject(fixture, Fault::CutLinks).await?;
    let mut sent = sender.send_many(3).await;
    // Only what is sent once the link is back is sure to come.
    let mut got = reader.until_opened("Opened after a broken link").await;
    let marker = sender.send().await;
    got.extend(reader.until(&marker, "a marker").await);
    let told = reader.openings.iter().skip(1).any(|opening| !opening.unbroken);
    sent.retain(|bytes| !got.iter().any(|got| got.bytes == *bytes));
    assert!(sent.is_empty() || told, "{} payloads were missed in silence", sent.len());
    Ok(())
}

/// Rule 6: payloads that a flush took before they were received are told as a broken link.
pub async fn rule_06_what_a_flush_took_is_told(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sent = Sender::new(fixture, &node).send_many(5).await;
    inject(fixture, Fault::Flush).await?;
    // Some stores open the new epoch with the first send; and without replay only what is sent after that is sure to
    // come.
    let mut sender = Sender::new(fixture, &node);
    sender.send().await;
    let mut got = reader.until_opened("Opened of the new epoch").await;
    let marker = sender.send().await;
    got.extend(reader.until(&marker, "a marker in the new epoch").await);
    let told = reader.openings.iter().skip(1).any(|opening| !opening.unbroken);
    sent.retain(|bytes| !got.iter().any(|got| got.bytes == *bytes));
    assert!(sent.is_empty() || told, "a flush took {} payloads in silence", sent.len());
    Ok(())
}

/// Rule 6: with replay, a broken link misses nothing, and says so.
pub async fn rule_06_replay_leaves_no_broken_link(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    sender.send().await;
    reader.payload("a payload before").await;
    inject(fixture, Fault::CutLinks).await?;
    sender.send().await;
    reader.payload("a payload after a broken link").await;
    let unbroken = reader.openings.iter().all(|opening| opening.unbroken);
    assert!(unbroken, "a link that replay mended is told as broken: {:?}", reader.openings);
    Ok(())
}

/// Rule 14: refused credentials come out as a fatal error, of receptions, sends and probes.
pub async fn rule_14_a_fatal_error_is_told_as_fatal(fixture: &dyn Fixture) -> Outcome {
    inject(fixture, Fault::Refuse).await?;
    let node = fixture.node();
    let mut reader = Reader::start(fixture, &node, Start::Latest);
    let error = reader.fault("a refused reception").await;
    assert!(error.is_fatal(), "a reception tells refused credentials as {error:?}");
    let sender = Sender::new(fixture, &node);
    for answer in [sender.attempt_named(1, 0).await, sender.probe(0).await] {
        let error = answer.expect_err("refused credentials refuse a send");
        assert!(error.is_fatal(), "a send tells refused credentials as {error:?}");
    }
    Ok(())
}

/// Rule 14: what was fatal is tried again within a minute or two, since secrets are rotated and grants are given.
pub async fn rule_14_a_fatal_error_heals(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    inject(fixture, Fault::Refuse).await?;
    inject(fixture, Fault::CutLinks).await?;
    while !reader.fault("a refused reception").await.is_fatal() {
        assert!(reader.faults.len() < 1_000, "refused credentials are never told as fatal");
    }
    inject(fixture, Fault::Accept).await?;
    let healing = async {
        // Its own patience is shorter than the minute between two attempts.
        reader.be_patient(HEALING);
        reader.opening("Opened once the credentials are accepted").await;
    };
    within(HEALING, "a reception that heals", healing).await;
    let sent = Sender::new(fixture, &node).send().await;
    assert_eq!(reader.payload("a payload once healed").await.bytes, sent);
    Ok(())
}

/// Rule 14: refused credentials are not tried again and again, lest the account be locked.
pub async fn rule_14_a_fatal_error_is_tried_seldom(fixture: &dyn Fixture) -> Outcome {
    inject(fixture, Fault::Refuse).await?;
    let mut reader = Reader::start(fixture, &fixture.node(), Start::Latest);
    let watched_until = Instant::now() + WATCHED;
    while let Ok(_fault) = tokio::time::timeout_at(watched_until, reader.fault("a refused attempt")).await {
        assert!(reader.faults.len() < 5, "5 attempts in less than {WATCHED:?}");
    }
    Ok(())
}

/// The minute between attempts, and as much again.
const HEALING: Duration = Duration::from_secs(120);
