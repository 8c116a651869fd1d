//! What is asked on `$management` links.

use bytes::Bytes;
use servicebus_emulator::{
    codec::Value,
    message::{Body, Message},
};

use crate::{
    raw::{ACCEPTED, DISPOSITION, MODIFIED, Mode, Peer, TRANSFER, bytes_of, code, data, outcome},
    support::start,
};

const SUBSCRIPTION: &str = "orders/Subscriptions/all";
const NODE: &str = "orders/Subscriptions/all/$management";

/// What an operation answers: its status, and the map in its body.
async fn ask(peer: &mut Peer, operation: &'static str, body: Vec<(Value, Value)>) -> (i64, Value) {
    let request = Message {
        application_properties: vec![("operation".into(), operation.into())],
        body: Body::Value(Value::Map(body)),
        ..Message::default()
    };
    let reply = peer.request(NODE, request).await;
    let status = reply.application_property("statusCode").and_then(Value::as_i64).expect("a status");
    let Body::Value(body) = reply.body else { panic!("{reply:?}") };
    (status, body)
}

/// The content of the messages in an answer, and their locks.
fn messages(body: &Value) -> Vec<(Bytes, Option<Value>)> {
    let messages = body.entry("messages").map(Value::elements).unwrap_or_default();
    let one = |entry: &Value| match entry.entry("message") {
        Some(Value::Binary(message)) => (bytes_of(message.clone()), entry.entry("lock-token").cloned()),
        other => panic!("{other:?}"),
    };
    messages.iter().map(one).collect()
}

/// A peer with the message `one` delivered and locked; the delivery-id, and the lock in the order of its tag.
async fn locked(peer: &mut Peer) -> (u32, Value) {
    peer.attach_sender(0, 0, "orders").await;
    peer.send(0, 0, &data(b"one"), true).await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::PeekLock).await;
    peer.credit(0, 1, 0, 1).await;
    let frame = peer.expect(TRANSFER).await;
    let Value::Binary(tag) = frame.field(2) else { panic!("{frame:?}") };
    let bytes = tag.as_ref().try_into().expect("sixteen bytes");
    let id = u32::try_from(frame.number(1)).expect("a delivery-id");
    (id, Value::Uuid(uuid::Uuid::from_bytes(bytes)))
}

#[tokio::test]
async fn locks_are_renewed_in_either_order_of_their_bytes() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    let (id, lock) = locked(&mut peer).await;
    let Value::Uuid(tag) = lock else { panic!("{lock:?}") };
    for token in [tag, uuid::Uuid::from_bytes(tag.to_bytes_le())] {
        let tokens = Value::Array(vec![Value::Uuid(token)]);
        let (status, body) =
            ask(&mut peer, "com.microsoft:renew-lock", vec![("lock-tokens".into(), tokens)]).await;
        assert_eq!(status, 200);
        let expirations = body.entry("expirations").expect("times");
        assert!(matches!(expirations.elements(), [Value::Timestamp(_)]), "{expirations:?}");
    }
    peer.dispose(0, (id, id), false, outcome(ACCEPTED)).await;
    assert_eq!(code(peer.expect(DISPOSITION).await.field(4)), ACCEPTED);
    let tokens = Value::Array(vec![Value::Uuid(tag)]);
    let (status, _) = ask(&mut peer, "com.microsoft:renew-lock", vec![("lock-tokens".into(), tokens)]).await;
    assert_eq!(status, 410);
}

#[tokio::test]
async fn messages_can_be_looked_at_without_taking_them() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    let first =
        vec![("from-sequence-number".into(), Value::Long(0)), ("message-count".into(), Value::Int(10))];
    assert_eq!(ask(&mut peer, "com.microsoft:peek-message", first.clone()).await.0, 204);
    peer.attach_sender(0, 0, "orders").await;
    for n in 0..3u8 {
        peer.send(0, 0, &data(&[n]), true).await;
    }
    for _ in 0..2 {
        let (status, body) = ask(&mut peer, "com.microsoft:peek-message", first.clone()).await;
        assert_eq!(status, 200);
        let contents: Vec<_> = messages(&body).into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(contents, [vec![0], vec![1], vec![2]]);
    }
    assert_eq!(emulator.namespace().counts("orders", "all").unwrap().active, 3);
}

#[tokio::test]
async fn deferred_messages_are_asked_for_by_number() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    let (id, _) = locked(&mut peer).await;
    let defer = Value::described(MODIFIED, Value::List(vec![Value::Bool(true), Value::Bool(true)]));
    peer.dispose(0, (id, id), false, defer).await;
    peer.expect(DISPOSITION).await;
    let numbers = |number| {
        vec![
            ("sequence-numbers".into(), Value::Array(vec![Value::Long(number)])),
            ("receiver-settle-mode".into(), Value::Uint(1)),
        ]
    };
    let (status, _) = ask(&mut peer, "com.microsoft:receive-by-sequence-number", numbers(9)).await;
    assert_eq!(status, 404);
    let (status, body) = ask(&mut peer, "com.microsoft:receive-by-sequence-number", numbers(1)).await;
    assert_eq!(status, 200);
    let [(bytes, Some(lock))] = &messages(&body)[..] else { panic!("{body:?}") };
    assert_eq!(bytes.as_ref(), b"one");
    let settle = vec![
        ("disposition-status".into(), "completed".into()),
        ("lock-tokens".into(), Value::Array(vec![lock.clone()])),
    ];
    assert_eq!(ask(&mut peer, "com.microsoft:update-disposition", settle.clone()).await.0, 200);
    assert_eq!(ask(&mut peer, "com.microsoft:update-disposition", settle).await.0, 410);
    let counts = emulator.namespace().counts("orders", "all").unwrap();
    assert_eq!((counts.deferred, counts.locked), (0, 0));
}

#[tokio::test]
async fn what_the_emulator_cannot_do_is_said() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    for operation in
        ["com.microsoft:schedule-message", "com.microsoft:add-rule", "com.microsoft:get-session-state"]
    {
        assert_eq!(ask(&mut peer, operation, vec![]).await.0, 501);
    }
}
