//! Messages of others.

use bytes::Bytes;
use servicebus_emulator::{
    Incoming,
    codec::Value,
    message::{Body, Message},
};

use crate::{Scene, eventually, expect_no_gap};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_no_frames_are_counted_and_passed_over() {
    let scene = Scene::new().await;
    let load = scene.quiet(2).await;
    let bodies = [
        Body::Data(vec![Bytes::from_static(b"hello")]),
        Body::Data(vec![Bytes::from_static(b"he"), Bytes::from_static(b"llo")]),
        Body::Value(Value::String("hello".into())),
        Body::Value(Value::Null),
        Body::Value(Value::Map(vec![(Value::String("hello".into()), Value::Uint(1))])),
        Body::Sequence(vec![Value::List(vec![Value::Bool(true)])]),
        Body::Data(vec![Bytes::new()]),
        Body::Empty,
    ];
    for body in bodies {
        // Those of nodes are between them.
        scene.say(&load).await;
        let message = Message { body, ..Message::default() };
        let incoming = Incoming::decode(message.encode()).expect("it is well formed");
        scene.namespace().publish(&scene.topic(0), vec![incoming]).expect("the topic is there");
    }
    eventually("all are counted", async || {
        (0..2)
            .map(|node| load.bus(node).counters())
            .all(|counters| counters.foreign == 6 && counters.empty >= 2)
    })
    .await;
    assert!(load.bus(0).health().ready);
    expect_no_gap(&scene.settle(load).await);
}
