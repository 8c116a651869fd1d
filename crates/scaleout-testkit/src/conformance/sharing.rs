//! Rules 10 to 13: what streams, nodes and apps share, and what a node leaves behind.

use bytes::Bytes;
use scaleout_core::{ErrorKind, FrameId, NodeId, Start, StreamIndex};

use crate::{
    conformance::{
        Missing, Outcome,
        tools::{Reader, STREAM, Sender, bytes_of, inject, require, within},
    },
    fixture::{Fault, Fixture, Need},
};

/// Rule 10: each stream carries what was sent on it, and nothing else.
pub async fn rule_10_streams_are_independent(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Streams)?;
    let node = fixture.node();
    let streams: Vec<_> = (0..node.stream_count().get()).map(StreamIndex).collect();
    let mut lanes = Vec::new();
    for &stream in &streams {
        let reader = Reader::open_on(fixture, &node, stream).await;
        lanes.push((reader, Sender::new_on(fixture, &node, stream), Vec::new()));
    }
    for _ in 0..5 {
        for (_, sender, sent) in &mut lanes {
            sent.push(sender.send().await);
        }
    }
    for (reader, _, sent) in &mut lanes {
        let seen = reader.payloads(sent.len(), "the payloads of a stream").await;
        assert_eq!(bytes_of(&seen), *sent);
    }
    Ok(())
}

/// Rule 10: a reception that nobody reads holds up neither other streams nor other nodes nor senders.
pub async fn rule_10_a_slow_receiver_disturbs_nobody(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Streams)?;
    let node = fixture.node();
    let mut slow = Reader::open(fixture, &node).await;
    let mut same_stream = Reader::open(fixture, &fixture.node()).await;
    let mut same_node = Reader::open_on(fixture, &node, StreamIndex(1)).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sender_beside = Sender::new_on(fixture, &node, StreamIndex(1));
    let body = vec![b'x'; 2_000];
    for index in 0..UNREAD {
        sender.send_bytes(Bytes::from(body.clone())).await;
        same_stream.payload("a payload of the same stream at another node").await;
        if index % 10 == 0 {
            let sent = sender_beside.send().await;
            let got = same_node.payload("a payload of another stream at the same node").await;
            assert_eq!(got.bytes, sent);
        }
    }
    let first = slow.payload("what waits for the slow reception").await;
    assert_eq!(first.bytes.len(), body.len());
    Ok(())
}

/// Payloads that a slow reception leaves unread.
const UNREAD: usize = 300;

/// Rule 11: nodes of one app agree on the stream count, and each of these streams can be received.
pub async fn rule_11_nodes_agree_on_the_stream_count(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let count = node.stream_count();
    assert_eq!(other.stream_count(), count);
    let last = StreamIndex(count.get() - 1);
    let mut reader = Reader::open_on(fixture, &other, last).await;
    let sent = Sender::new_on(fixture, &node, last).send().await;
    assert_eq!(reader.payload("a payload on the last stream").await.bytes, sent);
    Ok(())
}

/// Rule 11: a node that is set to another stream count is refused, and has sent nothing.
pub async fn rule_11_a_node_that_differs_is_refused(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    sender.send().await;
    reader.payload("a payload of a node that fits").await;
    let Some(mismatched) = fixture.mismatched_node() else { return Err(Missing(Need::MismatchedNode)) };
    assert_ne!(mismatched.stream_count(), node.stream_count(), "the fixture's node does not differ");
    let refused = Sender::new(fixture, &mismatched);
    let kind = refused.attempt_named(1, 0).await.expect_err("its stream count differs").kind();
    assert_eq!(kind, ErrorKind::Config);
    let mut refused = Reader::start(fixture, &mismatched, Start::Latest);
    assert_eq!(refused.fault("a refused reception").await.kind(), ErrorKind::Config);
    let marker = sender.send().await;
    assert_eq!(reader.until(&marker, "a marker").await, [], "a node that differs has sent");
    Ok(())
}

/// Rule 12: two apps in one store never see each other's payloads, nor each other's numbers.
pub async fn rule_12_two_apps_never_meet(fixture: &dyn Fixture) -> Outcome {
    let (node, stranger) = (fixture.node(), fixture.node_of_another_app());
    let mut here = Reader::open(fixture, &node).await;
    let mut there = Reader::open(fixture, &stranger).await;
    let frame = FrameId { node: NodeId::random(), number: 1, after: 0 };
    for (backplane, payload) in [(&node, "here"), (&stranger, "there")] {
        let send = backplane.send(STREAM, frame, Bytes::from(payload));
        within(fixture.patience(), "an answer to a send", send).await.expect("each app takes its own");
    }
    let (marker_here, marker_there) =
        (Sender::new(fixture, &node).send().await, Sender::new(fixture, &stranger).send().await);
    let seen = here.until(&marker_here, "a marker here").await;
    assert_eq!(bytes_of(&seen), ["here"]);
    let seen = there.until(&marker_there, "a marker there").await;
    assert_eq!(bytes_of(&seen), ["there"]);
    Ok(())
}

/// Rule 12: what happened in one app before another begins does not show there either.
pub async fn rule_12_a_backlog_is_of_one_app(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    Sender::new(fixture, &fixture.node()).send_many(5).await;
    let stranger = fixture.node_of_another_app();
    let sent = Sender::new(fixture, &stranger).send().await;
    let mut reader = Reader::start(fixture, &stranger, crate::conformance::tools::EVERYTHING);
    assert_eq!(reader.payload("the only payload of this app").await.bytes, sent);
    Ok(())
}

/// Rule 13: `close` releases what the node registered, though its receptions are still held.
pub async fn rule_13_close_releases_registrations(fixture: &dyn Fixture) -> Outcome {
    let before = registrations(fixture).await?;
    let node = fixture.node();
    let reader = Reader::open(fixture, &node).await;
    Sender::new(fixture, &node).send().await;
    within(fixture.patience(), "close", node.close()).await.expect("close releases everything");
    assert_eq!(registrations(fixture).await?, before, "close left registrations");
    drop(reader);
    Ok(())
}

/// Rule 13: a dropped reception ends, and takes its registration with it.
pub async fn rule_13_a_dead_node_leaves_nothing_for_ever(fixture: &dyn Fixture) -> Outcome {
    let before = registrations(fixture).await?;
    let node = fixture.node();
    let reader = Reader::open(fixture, &node).await;
    drop((reader, node));
    inject(fixture, Fault::Aging).await?;
    assert_eq!(registrations(fixture).await?, before, "a dead node left registrations");
    Ok(())
}

async fn registrations(fixture: &dyn Fixture) -> Result<usize, Missing> {
    fixture.registrations().await.ok_or(Missing(Need::Registrations))
}

/// Rule 13: a closed node sends nothing more, and says why; closing again does no harm.
pub async fn rule_13_a_closed_node_is_closed(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let mut reader = Reader::open(fixture, &other).await;
    let mut sender = Sender::new(fixture, &node);
    let first = sender.send().await;
    for _ in 0..2 {
        within(fixture.patience(), "close", node.close()).await.expect("close releases everything");
    }
    for answer in [sender.attempt_named(2, 1).await, sender.probe(1).await] {
        assert_eq!(answer.expect_err("the node is closed").kind(), ErrorKind::Closed);
    }
    let marker = Sender::new(fixture, &other).send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), [first]);
    Ok(())
}
