//! What links are given and refused.

use std::time::{Duration, SystemTime};

use servicebus_emulator::{
    Right, SubscriptionProperties, codec::Value, message::Message, shared_access_token,
};

use crate::{
    raw::{
        ACCEPTED, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, MODIFIED, Mode, Peer, REJECTED,
        RELEASED, TRANSFER, bytes_of, code, data, outcome,
    },
    support::{KEY, POLICY, start, token},
};

const SUBSCRIPTION: &str = "orders/Subscriptions/all";

/// What is delivered next, and its delivery-id.
async fn delivery(peer: &mut Peer) -> (Message, u32) {
    let frame = peer.expect(TRANSFER).await;
    let id = u32::try_from(frame.number(1)).expect("a delivery-id");
    (Message::decode(frame.payload).expect("a message"), id)
}

fn annotation<'a>(message: &'a Message, name: &str) -> &'a Value {
    let found = message.annotations.iter().find(|(key, _)| key.as_str() == Some(name));
    &found.unwrap_or_else(|| panic!("no {name}: {message:?}")).1
}

#[tokio::test]
async fn what_is_missing_or_not_claimed_is_attached_to_nothing_and_detached() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    for (n, address) in (0..).zip(["missing", "orders/Subscriptions/missing", "what/ever", ""]) {
        peer.attach_receiver(0, n, address, "", Mode::PeekLock).await;
        let detach = peer.expect(DETACH).await;
        assert_eq!(detach.condition(2), "amqp:not-found", "{address}");
        assert_eq!(detach.field(1), &Value::Bool(true));
    }
    let detach = peer.attach_sender(0, 10, "missing").await;
    assert_eq!((detach.code, detach.condition(2)), (DETACH, "amqp:not-found"));
    let attached = peer.attach_receiver(0, 11, "missing", "", Mode::PeekLock).await;
    assert!(attached.field(5).is_null() && attached.field(6).is_null());
    // A topic is not received from, nor a subscription sent to.
    peer.attach_receiver(0, 12, "orders", "", Mode::PeekLock).await;
    for condition in ["amqp:not-found", "amqp:not-allowed"] {
        assert_eq!(peer.expect(DETACH).await.condition(2), condition);
    }
    assert_eq!(peer.attach_sender(0, 13, SUBSCRIPTION).await.condition(2), "amqp:not-allowed");
    assert_eq!(emulator.faults().figures().links, 0);
}

#[tokio::test]
async fn claims_hold_for_what_they_were_put_for() {
    let emulator = start().await;
    let namespace = emulator.namespace();
    namespace.create_topic("other", Default::default()).unwrap();
    namespace.add_policy("listen", "key", servicebus_emulator::Rights::of(&[Right::Listen]));
    let mut peer = Peer::connect(&emulator).await;
    peer.open(vec![]).await;
    peer.begin(0, 5000).await;
    let refused = "amqp:unauthorized-access";
    assert_eq!(peer.attach_sender(0, 0, "orders").await.condition(2), refused);
    assert_eq!(peer.put_token("amqp://localhost/orders", &token()).await, 202);
    assert_eq!(peer.attach_sender(0, 1, "orders").await.code, FLOW);
    assert_eq!(peer.attach_sender(0, 2, "/other").await.condition(2), refused);

    let expires = SystemTime::now() + Duration::from_secs(60);
    let listens = shared_access_token("sb://localhost/", "listen", "key", expires);
    let mut peer = Peer::connect(&emulator).await;
    peer.open(vec![]).await;
    peer.begin(0, 5000).await;
    assert_eq!(peer.put_token("sb://localhost/", &listens).await, 202);
    assert_eq!(peer.attach_sender(0, 1, "orders").await.condition(2), refused);
    let attached = peer.attach_receiver(0, 2, SUBSCRIPTION, "", Mode::PeekLock).await;
    assert!(!attached.field(5).is_null());

    let wrong = shared_access_token("sb://localhost/", POLICY, "wrong", expires);
    assert_eq!(peer.put_token("sb://localhost/", &wrong).await, 401);
    let over =
        shared_access_token("sb://localhost/", POLICY, KEY, SystemTime::now() - Duration::from_secs(1));
    assert_eq!(peer.put_token("sb://localhost/", &over).await, 401);
}

#[tokio::test]
async fn a_claim_that_is_over_takes_its_links_along() {
    let emulator = start().await;
    let mut peer = Peer::connect(&emulator).await;
    peer.open(vec![]).await;
    peer.begin(0, 5000).await;
    // Tokens say seconds: this one holds for one or two.
    let soon =
        shared_access_token("sb://localhost/", POLICY, KEY, SystemTime::now() + Duration::from_secs(2));
    assert_eq!(peer.put_token("sb://localhost/", &soon).await, 202);
    assert_eq!(peer.attach_sender(0, 1, "orders").await.code, FLOW);
    assert_eq!(peer.expect(DETACH).await.condition(2), "amqp:unauthorized-access");
    // The connection goes on.
    assert_eq!(peer.put_token("sb://localhost/", &token()).await, 202);
    assert_eq!(peer.attach_sender(0, 2, "orders").await.code, FLOW);
}

#[tokio::test]
async fn messages_carry_what_the_service_adds() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    let sent = Message {
        ttl: Some(60_000),
        annotations: vec![(Value::symbol("x-opt-partition-key"), "key".into())],
        properties: servicebus_emulator::message::Properties {
            message_id: Some("id".into()),
            subject: Some("label".to_owned()),
            ..Default::default()
        },
        application_properties: vec![("k".into(), Value::Long(5))],
        body: servicebus_emulator::message::Body::Data(vec![b"body".to_vec().into()]),
        ..Message::default()
    };
    let id = peer.send(0, 0, &sent.encode(), false).await;
    assert_eq!(peer.expect(DISPOSITION).await.number(1), u64::from(id));
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::PeekLock).await;
    peer.credit(0, 1, 0, 10).await;
    let frame = peer.expect(TRANSFER).await;
    let message = Message::decode(frame.payload.clone()).unwrap();
    assert_eq!(message.properties, sent.properties);
    assert_eq!(message.application_properties, sent.application_properties);
    assert_eq!(message.body, sent.body);
    assert_eq!((message.ttl, message.delivery_count), (Some(60_000), 0));
    assert_eq!(annotation(&message, "x-opt-partition-key"), &Value::from("key"));
    assert_eq!(annotation(&message, "x-opt-sequence-number"), &Value::Long(1));
    assert_eq!(annotation(&message, "x-opt-enqueue-sequence-number"), &Value::Long(1));
    assert!(matches!(annotation(&message, "x-opt-enqueued-time"), Value::Timestamp(_)));
    assert!(matches!(annotation(&message, "x-opt-locked-until"), Value::Timestamp(_)));
    // The lock is the tag, in the order of a Guid of .NET, and an annotation.
    let Value::Uuid(lock) = message.delivery_annotations[0].1 else { panic!("{message:?}") };
    assert_eq!(frame.field(2), &Value::Binary(lock.to_bytes_le().to_vec().into()));
    assert_eq!(frame.field(4), &Value::Bool(false));
}

#[tokio::test]
async fn every_outcome_does_what_it_says_and_is_answered_with_itself() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.send(0, 0, &data(b"one"), true).await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::PeekLock).await;
    peer.credit(0, 1, 0, 10).await;
    let failed = Value::described(MODIFIED, Value::List(vec![Value::Bool(true), Value::Bool(false)]));
    for (count, outcome) in [(0, outcome(RELEASED)), (0, failed.clone()), (1, failed), (2, outcome(REJECTED))]
    {
        let (message, id) = delivery(&mut peer).await;
        assert_eq!(message.delivery_count, count);
        let code = code(&outcome);
        peer.dispose(0, (id, id), false, outcome).await;
        let answer = peer.expect(DISPOSITION).await;
        assert_eq!((answer.field(0), answer.number(1)), (&Value::Bool(false), id.into()));
        assert_eq!(answer.field(3), &Value::Bool(true));
        assert_eq!(answer.field(4), &crate::raw::outcome(code));
    }
    let counts = emulator.namespace().counts("orders", "all").unwrap();
    assert_eq!((counts.active, counts.locked, counts.dead_letter), (0, 0, 1));
    // Settled by the receiver alone; then the lock is over.
    peer.attach_receiver(0, 2, "orders/subscriptions/all/$DeadLetterQueue", "", Mode::PeekLock).await;
    peer.credit(0, 2, 0, 1).await;
    let (message, id) = delivery(&mut peer).await;
    assert_eq!(message.body.bytes().unwrap().as_ref(), b"one");
    peer.dispose(0, (id, id), true, outcome(ACCEPTED)).await;
    assert!(peer.rest(0).await.is_empty());
    assert_eq!(emulator.namespace().counts("orders", "all").unwrap().dead_letter, 0);
}

#[tokio::test]
async fn a_dead_letter_says_why() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.send(0, 0, &data(b"one"), true).await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::PeekLock).await;
    peer.credit(0, 1, 0, 1).await;
    let (_, id) = delivery(&mut peer).await;
    let info = vec![
        (Value::symbol("DeadLetterReason"), "bad".into()),
        (Value::symbol("DeadLetterErrorDescription"), "very".into()),
    ];
    let error = Value::List(vec![Value::symbol("com.microsoft:dead-letter"), Value::Null, Value::Map(info)]);
    let rejected = Value::described(REJECTED, Value::List(vec![Value::described(0x1d, error)]));
    peer.dispose(0, (id, id), false, rejected).await;
    assert_eq!(peer.expect(DISPOSITION).await.field(4), &outcome(REJECTED));
    peer.attach_receiver(0, 2, "orders/subscriptions/all/$DeadLetterQueue", "", Mode::ReceiveAndDelete).await;
    peer.credit(0, 2, 0, 1).await;
    let (message, _) = delivery(&mut peer).await;
    let property = |name| message.application_property(name).and_then(Value::as_str);
    assert_eq!(property("DeadLetterReason"), Some("bad"));
    assert_eq!(property("DeadLetterErrorDescription"), Some("very"));
}

#[tokio::test]
async fn a_row_of_deliveries_is_settled_at_once() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::PeekLock).await;
    for n in 0..10u8 {
        peer.send(0, 0, &data(&[n]), true).await;
    }
    peer.credit(0, 1, 0, 10).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(delivery(&mut peer).await.1);
    }
    // Of a range of all numbers that there are, those count that exist.
    peer.dispose(0, (ids[0], ids[0].wrapping_sub(1)), false, outcome(ACCEPTED)).await;
    let answer = peer.expect(DISPOSITION).await;
    assert_eq!((answer.number(1), answer.number(2)), (ids[0].into(), ids[9].into()));
    assert_eq!(emulator.namespace().counts("orders", "all").unwrap().locked, 0);
    assert_eq!(emulator.faults().figures().settled, 10);
}

#[tokio::test]
async fn a_lock_that_is_over_cannot_be_settled() {
    let emulator = start().await;
    let properties =
        SubscriptionProperties { lock_duration: Duration::from_secs(5), ..SubscriptionProperties::default() };
    emulator.namespace().create_subscription("orders", "short", properties).unwrap();
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.send(0, 0, &data(b"one"), true).await;
    peer.attach_receiver(0, 1, "orders/Subscriptions/short", "", Mode::PeekLock).await;
    peer.credit(0, 1, 0, 10).await;
    let (_, id) = delivery(&mut peer).await;
    // It comes again when its lock is over.
    let (again, again_id) = delivery(&mut peer).await;
    assert_eq!(again.delivery_count, 1);
    peer.dispose(0, (id, id), false, outcome(ACCEPTED)).await;
    let answer = peer.expect(DISPOSITION).await;
    assert_eq!(code(answer.field(4)), REJECTED);
    let Value::Described(state) = answer.field(4) else { panic!("{answer:?}") };
    assert_eq!(crate::raw::condition(&state.1.elements()[0]), "com.microsoft:message-lock-lost");
    peer.dispose(0, (again_id, again_id), false, outcome(ACCEPTED)).await;
    assert_eq!(peer.expect(DISPOSITION).await.field(4), &outcome(ACCEPTED));
}

#[tokio::test]
async fn no_more_is_sent_than_credit_and_window_allow() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    for n in 0..6u8 {
        peer.send(0, 0, &data(&[n]), true).await;
    }
    peer.begin(1, 2).await;
    peer.attach_receiver(1, 0, SUBSCRIPTION, "", Mode::ReceiveAndDelete).await;
    // Credit for five, a window of two.
    peer.flow(1, 0, 2, Some((0, 0, 5, false))).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), [0]);
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), [1]);
    assert!(peer.rest(0).await.is_empty());
    // The window opens for one: a flow that is older than a delivery does not open it further.
    peer.flow(1, 1, 2, None).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), [2]);
    assert!(peer.rest(0).await.is_empty());
    peer.flow(1, 3, 100, None).await;
    for n in 3..5u8 {
        assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), [n]);
    }
    assert!(peer.rest(0).await.is_empty(), "the credit is used up");
    // Six in all, of which it has seen five.
    peer.flow(1, 5, 100, Some((0, 4, 2, false))).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), [5]);
}

#[tokio::test]
async fn a_long_message_waits_for_the_window_frame_by_frame() {
    let emulator = start().await;
    let mut peer = Peer::connect(&emulator).await;
    // Frames of 512 bytes.
    peer.open(vec![Value::Uint(512)]).await;
    peer.begin(0, 5000).await;
    assert_eq!(peer.put_token("sb://localhost/", &token()).await, 202);
    peer.attach_sender(0, 0, "orders").await;
    let long: Vec<u8> = (0..2000u32).map(|n| (n % 251) as u8).collect();
    peer.send(0, 0, &data(&long), true).await;
    peer.begin(1, 1).await;
    peer.attach_receiver(1, 0, SUBSCRIPTION, "", Mode::PeekLock).await;
    peer.flow(1, 0, 1, Some((0, 0, 5, false))).await;
    let mut whole = Vec::new();
    for n in 1.. {
        let frame = peer.expect(TRANSFER).await;
        assert!(frame.payload.len() < 512);
        whole.extend_from_slice(&frame.payload);
        if frame.field(5) != &Value::Bool(true) {
            break;
        }
        assert!(peer.rest(0).await.is_empty(), "the window is full");
        peer.flow(1, n, 1, None).await;
    }
    assert_eq!(bytes_of(whole.into()).as_ref(), long);
}

#[tokio::test]
async fn a_drain_gives_back_what_cannot_be_used() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.send(0, 0, &data(b"one"), true).await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::ReceiveAndDelete).await;
    peer.flow(0, 0, 5000, Some((1, 0, 10, true))).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), b"one");
    let flow = peer.expect(FLOW).await;
    assert_eq!((flow.number(4), flow.number(5), flow.number(6)), (1, 10, 0));
    assert_eq!(flow.field(8), &Value::Bool(true));
    peer.send(0, 0, &data(b"two"), true).await;
    assert!(peer.rest(0).await.is_empty());
    peer.credit(0, 1, 10, 1).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), b"two");
}

#[tokio::test]
async fn batches_long_messages_and_settled_ones_come_in() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    let batch = Message {
        body: servicebus_emulator::message::Body::Data(vec![data(b"one"), data(b"two")]),
        ..Message::default()
    };
    let id = peer.send_part(0, 0, &batch.encode(), 0x8001_3700, false, false).await;
    assert_eq!(peer.expect(DISPOSITION).await.number(1), u64::from(id));
    let long = data(&[7; 1000]);
    peer.send_part(0, 0, &long[..300], 0, false, true).await;
    peer.send_part(0, 0, &long[300..900], 0, false, true).await;
    peer.send_part(0, 0, &long[900..], 0, false, false).await;
    // What is aborted was never sent.
    peer.send_part(0, 0, &long[..300], 0, false, true).await;
    let aborted = [vec![Value::Uint(0)], vec![Value::Null; 8], vec![Value::Bool(true)]].concat();
    peer.say(0, TRANSFER, aborted).await;
    peer.send(0, 0, &data(b"last"), true).await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::ReceiveAndDelete).await;
    peer.credit(0, 1, 0, 10).await;
    for expected in [b"one".as_slice(), b"two", &[7; 1000], b"last"] {
        let frame = peer.expect(TRANSFER).await;
        assert_eq!(frame.field(4), &Value::Bool(true));
        assert_eq!(bytes_of(frame.payload).as_ref(), expected);
    }
    assert_eq!(emulator.faults().figures().sends, 4);
}

#[tokio::test]
async fn a_sender_that_would_settle_second_hears_that_it_is_settled() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender_settling(0, 0, "orders", 1).await;
    let id = peer.send(0, 0, &data(b"one"), false).await;
    let answer = peer.expect(DISPOSITION).await;
    assert_eq!((answer.number(1), answer.field(3)), (id.into(), &Value::Bool(true)));
    assert_eq!(answer.field(4), &outcome(ACCEPTED));
}

#[tokio::test]
async fn what_is_no_message_is_rejected_and_what_is_too_long_takes_its_link_along() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.send(0, 0, b"garbage", false).await;
    assert_eq!(code(peer.expect(DISPOSITION).await.field(4)), REJECTED);
    for n in 0..5 {
        peer.send_part(0, 0, &vec![n; 60_000], 0, false, true).await;
    }
    assert_eq!(peer.expect(DETACH).await.condition(2), "amqp:link:message-size-exceeded");
    let attach = peer.attach_sender(0, 1, "orders").await;
    assert_eq!(attach.code, FLOW);
}

#[tokio::test]
async fn what_is_to_come_later_is_refused() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    let message = Message {
        annotations: vec![(Value::symbol("x-opt-scheduled-enqueue-time"), Value::Timestamp(i64::MAX))],
        body: servicebus_emulator::message::Body::Data(vec![b"body".to_vec().into()]),
        ..Message::default()
    };
    peer.send(0, 0, &message.encode(), false).await;
    assert_eq!(code(peer.expect(DISPOSITION).await.field(4)), REJECTED);
}

#[tokio::test]
async fn credit_is_renewed_while_it_is_used() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    let mut credit = peer.attach_sender(0, 0, "orders").await.number(6);
    let first = credit;
    for _ in 0..2 {
        for _ in 0..first {
            peer.send(0, 0, &data(b"x"), true).await;
        }
        credit = 0;
        while credit == 0 {
            credit = peer.expect(FLOW).await.number(6);
        }
    }
    assert_eq!(credit, first);
}

#[tokio::test]
async fn handles_and_channels_that_are_wrong_end_the_session_or_the_connection() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_sender(0, 0, "orders").await;
    peer.attach_sender_again(0).await;
    assert_eq!(peer.expect(END).await.condition(0), "amqp:session:handle-in-use");
    assert_eq!(emulator.faults().figures().links, 0);
    // What is sent before the peer knows is passed over; then the channel is free.
    peer.send(0, 0, &data(b"x"), true).await;
    peer.say(0, END, vec![]).await;
    peer.begin(0, 10).await;
    peer.send(0, 5, &data(b"x"), true).await;
    assert_eq!(peer.expect(END).await.condition(0), "amqp:session:unattached-handle");
    peer.say(9, FLOW, vec![Value::Uint(0), Value::Uint(1), Value::Uint(1), Value::Uint(1)]).await;
    assert_eq!(peer.expect(CLOSE).await.condition(0), "amqp:not-allowed");
    peer.end().await;
}

#[tokio::test]
async fn frames_may_come_before_the_answers_to_those_before_them() {
    let emulator = start().await;
    let mut peer = Peer::connect(&emulator).await;
    peer.write(crate::raw::AMQP_HEADER).await;
    peer.queue(0, crate::raw::OPEN, vec!["test".into()], &[]);
    peer.queue(0, BEGIN, vec![Value::Null, Value::Uint(0), Value::Uint(10), Value::Uint(10)], &[]);
    for (handle, address) in (0..).zip(["$cbs", "orders"]) {
        let target = Value::described(0x29, Value::List(vec![address.into()]));
        let name = Value::string(address);
        let fields = vec![
            name,
            Value::Uint(handle),
            Value::Bool(false),
            Value::Null,
            Value::Null,
            Value::Null,
            target,
        ];
        peer.queue(0, ATTACH, fields, &[]);
    }
    peer.queue(0, CLOSE, vec![], &[]);
    peer.flush().await;
    peer.read(8).await;
    for code in [crate::raw::OPEN, BEGIN, ATTACH, FLOW, ATTACH, DETACH, CLOSE] {
        assert_eq!(peer.next().await.expect("a frame").code, code);
    }
    peer.end().await;
}
