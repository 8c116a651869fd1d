//! Rule 9: `send` is idempotent, and the store knows what it holds of whom.

use bytes::Bytes;
use scaleout_core::{ErrorKind, FrameId, NodeId};

use crate::{
    conformance::{
        Outcome,
        tools::{Reader, STREAM, Sender, bytes_of, inject, require, within},
    },
    fixture::{FORGOTTEN, Fault, Fixture, Need},
};

/// Rule 9: a frame that the store holds is added no second time.
pub async fn rule_09_a_frame_sent_twice_is_held_once(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let first = sender.send().await;
    for _ in 0..3 {
        sender.attempt_named(1, 0).await.expect("a held frame is answered Ok");
    }
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), [first]);
    Ok(())
}

/// Rule 9: a number up to the greatest one held adds nothing.
pub async fn rule_09_an_older_number_adds_nothing(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let sent = sender.send_many(5).await;
    for number in [3, 1, 5] {
        sender.attempt_named(number, number - 1).await.expect("a held frame is answered Ok");
    }
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: a frame whose answer was lost is added no second time.
pub async fn rule_09_a_lost_answer_does_not_double_a_frame(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = vec![sender.send().await];
    inject(fixture, Fault::LoseAnswer).await?;
    let error = sender.attempt_named(2, 1).await.expect_err("the answer is lost");
    assert!(error.is_transient(), "a lost answer is told as {error:?}");
    sent.push(sender.send().await);
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: a frame that was lost on its way is added when it is sent again.
pub async fn rule_09_a_lost_frame_is_added_by_a_retry(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = vec![sender.send().await];
    inject(fixture, Fault::LoseSend).await?;
    let error = sender.attempt_named(2, 1).await.expect_err("the frame is lost");
    assert!(error.is_transient(), "a lost frame is told as {error:?}");
    sent.push(sender.send().await);
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: a copy of a frame that arrives behind its retry adds nothing, nor does one behind later frames.
pub async fn rule_09_a_late_copy_adds_nothing(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = vec![sender.send().await];
    for number in [2, 4] {
        inject(fixture, Fault::DelaySend).await?;
        let error = sender.attempt_named(number, number - 1).await.expect_err("it is still on its way");
        assert!(error.is_transient(), "a time-out is told as {error:?}");
        sent.extend(sender.send_many(2).await);
        inject(fixture, Fault::Arrival).await?;
    }
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: a send whose future is dropped may be repeated safely.
pub async fn rule_09_a_dropped_send_may_be_repeated(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = vec![sender.send().await];
    for number in 2..10 {
        sender.begin_and_drop(number, number - 1);
        sent.push(sender.send().await);
    }
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: a number may be left out; a frame that was given up leaves a hole.
pub async fn rule_09_a_number_may_be_left_out(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = vec![sender.send().await];
    sender.go_on_from(4, 1);
    sent.push(sender.send().await);
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: numbers of two nodes, and of two streams, have nothing to do with each other.
pub async fn rule_09_numbers_are_counted_per_node(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let (mut one, mut two) = (Sender::new(fixture, &node), Sender::new(fixture, &node));
    let mut sent = one.send_many(3).await;
    sent.extend(two.send_many(3).await);
    let seen = reader.payloads(6, "the frames of both nodes").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: after a flush a node is told, every time, that the store holds nothing of it, until it goes back.
pub async fn rule_09_a_flush_rewinds_to_nothing(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(3).await;
    reader.payloads(3, "payloads before").await;
    inject(fixture, Fault::Flush).await?;
    reader.is_back(fixture).await;
    for attempt in 0..3 {
        let answer = sender.answer(4, 3, sender.name(4)).await;
        let kind = answer.expect_err("the store forgot what was confirmed").kind();
        assert_eq!(kind, ErrorKind::Rewound { last: 0 }, "attempt {attempt}");
    }
    sender.answer(4, 0, sender.name(4)).await.expect("a lowered `after` is accepted");
    sender.go_on_from(4, 4);
    let marker = sender.send().await;
    let seen = reader.until(&marker, "a marker").await;
    assert_eq!(bytes_of(&seen), [sender.name(4)], "Rewound and yet added");
    Ok(())
}

/// Rule 9: after a failover a node is told the last number that was kept, and repairs from there.
pub async fn rule_09_a_failover_rewinds_to_what_was_kept(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let asks = node.capabilities().asks_held;
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(5).await;
    reader.payloads(5, "payloads before").await;
    inject(fixture, Fault::Failover).await?;
    let kept = 5 - FORGOTTEN as u64;
    let last = if asks { kept } else { 0 };
    let kind = sender.answer(6, 5, sender.name(6)).await.expect_err("two frames are forgotten").kind();
    assert_eq!(kind, ErrorKind::Rewound { last });
    let mut repaired = Vec::new();
    for number in kept + 1..=6 {
        let after = if number == kept + 1 { last } else { number - 1 };
        sender.answer(number, after, sender.name(number)).await.expect("a repair is accepted");
        repaired.push(sender.name(number));
    }
    let seen = reader.payloads(repaired.len(), "the repair").await;
    assert_eq!(bytes_of(&seen), repaired);
    Ok(())
}

/// Rule 9: a restart that forgot nothing rewinds nobody.
pub async fn rule_09_a_restart_that_forgot_nothing_rewinds_nobody(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::AsksHeld)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let mut sent = sender.send_many(3).await;
    inject(fixture, Fault::Restart).await?;
    sender.answer(3, 2, sender.name(3)).await.expect("a held frame is answered Ok");
    sent.push(sender.send().await);
    let seen = reader.payloads(sent.len(), "payloads of both epochs").await;
    assert_eq!(bytes_of(&seen), sent);
    Ok(())
}

/// Rule 9: an `after` that the store never held is `Rewound`, every time, and adds nothing.
pub async fn rule_09_an_after_that_is_not_held_is_rewound(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::AsksHeld)?;
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let (frame_node, payload) = (NodeId::random(), Bytes::from_static(b"after a frame that never was"));
    for after in [6, 6, 1] {
        let frame = FrameId { node: frame_node, number: 7, after };
        let send = node.send(STREAM, frame, payload.clone());
        let answer = within(fixture.patience(), "an answer to a send", send).await;
        let kind = answer.expect_err("the store holds nothing of this node").kind();
        assert_eq!(kind, ErrorKind::Rewound { last: 0 }, "after {after}");
    }
    let marker = Sender::new(fixture, &node).send().await;
    assert_eq!(reader.until(&marker, "a marker").await, [], "Rewound and yet added");
    Ok(())
}
