//! What travels with a message beside its payload.

use super::*;
use crate::{Extensions, MemoryConfig, Traceparent};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn traced() -> Extensions {
    Extensions::default().with_traceparent(TRACE.parse().unwrap())
}

fn trace_of(message: &Message) -> Option<String> {
    message.traceparent().as_ref().map(Traceparent::to_string)
}

#[tokio::test(start_paused = true)]
async fn a_trace_reaches_every_node_with_its_message_alone() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let mut there = two.subscribe(["c"]);
    let extensions = traced();
    let sent = [
        one.publish("c", "before"),
        one.publish_with("c", "traced", &extensions),
        one.publish_with("c", "nothing", &Extensions::default()),
    ];
    for sent in sent {
        sent.await.unwrap();
    }
    one.enqueue_with("c", "again", &extensions).unwrap().await.unwrap();
    for (text, trace) in
        [("before", None), ("traced", Some(TRACE)), ("nothing", None), ("again", Some(TRACE))]
    {
        let message = message(&mut there).await;
        assert_eq!(message.payload(), text);
        assert_eq!(trace_of(&message).as_deref(), trace);
        // It does not need its frame.
        assert_eq!(trace_of(&message.detach()).as_deref(), trace);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_still_there_when_a_client_resumes() {
    let store = MemoryStore::default();
    let (one, two) = (bus(&store).await, bus(&store).await);
    let mut here = one.subscribe(["c"]);
    one.publish("c", "seen").await.unwrap();
    let cursor = message(&mut here).await.cursor();
    one.publish_with("c", "missed", &traced()).await.unwrap();
    let fresh = bus(&store).await;
    for node in [&one, &two, &fresh] {
        let mut client = node.resume(["c"], &cursor);
        let message = message(&mut client).await;
        assert_eq!(
            (message.payload().as_ref(), trace_of(&message).as_deref()),
            (&b"missed"[..], Some(TRACE))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_counts_among_the_bytes_of_a_message() {
    let capabilities = MemoryConfig::default().capabilities.with_max_payload_bytes(1_000);
    let store = MemoryStore::new(MemoryConfig::default().with_capabilities(capabilities));
    let one = bus(&store).await;
    let extensions = traced();
    let most = one.max_message_bytes("c");
    one.publish("c", vec![0; most]).await.unwrap();
    let refused = one.publish_with("c", vec![0; most], &extensions).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::PayloadTooLarge { limit: 1_000, .. }));
    one.publish_with("c", vec![0; most - extensions.encoded_len()], &extensions).await.unwrap();
    assert_eq!(one.counters().too_large, 1);
}
