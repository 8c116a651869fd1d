//! Rules 2 and 15: what payloads carry, and what empty ones do not.

use bytes::Bytes;
use scaleout_core::ErrorKind;

use crate::{
    conformance::{
        Outcome,
        tools::{EVERYTHING, Reader, STREAM, Sender, inject, require},
    },
    fixture::{Fault, Fixture, Need},
};

/// Rule 2: bytes arrive as they were sent, whatever they are.
pub async fn rule_02_bytes_arrive_unchanged(fixture: &dyn Fixture) -> Outcome {
    let (node, other) = (fixture.node(), fixture.node());
    let mut readers = [Reader::open(fixture, &node).await, Reader::open(fixture, &other).await];
    let mut sender = Sender::new(fixture, &node);
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut random = fastrand::Rng::with_seed(2);
    let noise: Vec<u8> = (0..70_000).map(|_| random.u8(..)).collect();
    let payloads: [&[u8]; 8] =
        [&[0], &[255], b"\r\n", b"<&\"'>]]>", "größe 日本".as_bytes(), b"SO\x01\x00", &every_byte, &noise];
    for payload in payloads {
        sender.send_bytes(Bytes::copy_from_slice(payload)).await;
        for reader in &mut readers {
            let got = reader.payload("a payload").await.bytes;
            assert!(got == payload, "{} bytes came as {} others", payload.len(), got.len());
        }
    }
    Ok(())
}

/// Rule 2: a payload as large as the limit arrives.
pub async fn rule_02_the_largest_payload_arrives(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut random = fastrand::Rng::with_seed(3);
    let largest: Bytes = (0..node.capabilities().max_payload_bytes).map(|_| random.u8(..)).collect();
    Sender::new(fixture, &node).send_bytes(largest.clone()).await;
    let got = reader.payload("the largest payload").await.bytes;
    assert!(got == largest, "{} bytes came as {} others", largest.len(), got.len());
    Ok(())
}

/// Rule 2: a payload above the limit is refused with both sizes, and its number is still free.
pub async fn rule_02_a_larger_payload_is_refused(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    let limit = node.capabilities().max_payload_bytes;
    let actual = limit + 1;
    let error = sender.attempt(1, 0, Bytes::from(vec![7; actual])).await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge { actual, limit });
    let sent = sender.send().await;
    assert_eq!(reader.payload("the next payload").await.bytes, sent);
    Ok(())
}

/// Rule 15: a probe is answered `Ok`, connects by itself, and adds nothing.
pub async fn rule_15_a_probe_adds_nothing(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &fixture.node());
    sender.probe(0).await.expect("a probe of a new node");
    let first = sender.send().await;
    let before = reader.entries_until(&first, "a payload after a probe").await;
    for _ in 0..3 {
        sender.probe(1).await.expect("a probe of a node that is held");
    }
    let second = sender.send().await;
    let between = reader.entries_until(&second, "a payload after three probes").await;
    // A provider may append empty payloads for itself when it connects, and so before the first answer.
    assert!(before.iter().all(|entry| entry.bytes.is_empty()), "a probe carried something: {before:?}");
    assert_eq!(between, [], "probes added payloads");
    Ok(())
}

/// Rule 15: a probe adds nothing to what the store holds either.
pub async fn rule_15_a_probe_leaves_the_log_as_it_is(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    sender.send().await;
    let Some(before) = fixture.log(STREAM).await else {
        return Err(crate::conformance::Missing(Need::Log));
    };
    for _ in 0..3 {
        sender.probe(1).await.expect("a probe of a node that is held");
    }
    assert_eq!(fixture.log(STREAM).await, Some(before));
    Ok(())
}

/// Rule 15: a probe answers what a send would about the frames that the store holds.
pub async fn rule_15_a_probe_tells_what_is_rewound(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let mut reader = Reader::open(fixture, &node).await;
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(3).await;
    reader.payloads(3, "payloads before a flush").await;
    inject(fixture, Fault::Flush).await?;
    let error = sender.answer(0, 3, Bytes::new()).await.expect_err("the store forgot all three");
    assert_eq!(error.kind(), ErrorKind::Rewound { last: 0 });
    Ok(())
}

/// Rule 15: a probe fails where the store cannot be reached, and works again when it can.
pub async fn rule_15_a_probe_proves_the_link(fixture: &dyn Fixture) -> Outcome {
    let node = fixture.node();
    let sender = Sender::new(fixture, &node);
    sender.probe(0).await.expect("a probe of a new node");
    inject(fixture, Fault::Outage).await?;
    let error = sender.probe(0).await.expect_err("the store is out of reach");
    assert!(error.is_transient(), "an outage is told as {error:?}");
    inject(fixture, Fault::Restored).await?;
    sender.answer(0, 0, Bytes::new()).await.expect("a probe after the outage");
    Ok(())
}

/// Rule 15: empty payloads that a provider appended for itself take ids in order, as any other.
pub async fn rule_15_empty_payloads_take_ids_in_order(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let node = fixture.node();
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(3).await;
    inject(fixture, Fault::Restart).await?;
    let mut sender = Sender::new(fixture, &node);
    sender.send_many(2).await;
    let marker = sender.send().await;
    let mut reader = Reader::start(fixture, &fixture.node(), EVERYTHING);
    let entries = reader.entries_until(&marker, "the last payload").await;
    let increase = entries.windows(2).all(|pair| pair[0].position() < pair[1].position());
    assert!(increase, "ids do not increase: {entries:?}");
    Ok(())
}
