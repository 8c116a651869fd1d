//! What the conformance suite does not show of REST.
#![cfg(feature = "rest")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use scaleout_core::{Bus, ErrorKind, Event, Received, Start, StreamIndex};
use scaleout_servicebus::{Protocol, Reception, ServiceBusBackplane, ServiceBusConfig};
use servicebus_emulator::Emulator;
use tokio::time::timeout;

use self::support::{for_tests, node};

const PATIENCE: Duration = Duration::from_secs(60);

const TOPIC: &str = "scaleout-chat-0";

async fn bus(config: ServiceBusConfig) -> Bus {
    let bus = Bus::builder_from(node(config)).connect();
    timeout(PATIENCE, bus).await.expect("it is connected in time").expect("it is connected")
}

/// Publishes on one and hears on the other one.
async fn passes(from: &Bus, to: &Bus, payload: Bytes) {
    let mut subscription = to.subscribe(["room"]);
    timeout(PATIENCE, from.publish("room", payload.clone()))
        .await
        .expect("in time")
        .expect("it is published");
    let received = timeout(PATIENCE, subscription.recv()).await.expect("it is heard in time");
    assert!(matches!(received, Some(Received::Message(message)) if message.payload() == &payload));
}

fn by_amqp(emulator: &Emulator) -> ServiceBusConfig {
    for_tests(format!("{};App=chat;TopicCount=1", emulator.connection_string()).parse().expect("settings"))
}

fn by_rest(emulator: &Emulator) -> ServiceBusConfig {
    by_amqp(emulator).with_protocol(Protocol::Rest)
}

/// How many messages the subscriptions of the topic hold.
fn held(emulator: &Emulator) -> usize {
    let namespace = emulator.namespace();
    let subscriptions = namespace.subscriptions(TOPIC, 0, usize::MAX).expect("the topic is there");
    let counts = subscriptions.iter().filter_map(|subscription| namespace.counts(TOPIC, &subscription.name));
    counts.map(|counts| counts.active + counts.locked + counts.dead_letter).sum()
}

async fn becomes_empty(emulator: &Emulator) {
    let deadline = Instant::now() + PATIENCE;
    while held(emulator) > 0 {
        assert!(Instant::now() < deadline, "what was handed out is held still");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nodes_by_rest_and_by_amqp_understand_each_other() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let here = bus(by_rest(&emulator)).await;
    let there = bus(by_amqp(&emulator)).await;
    let bytes: Bytes = (0..=255).collect();
    for payload in [bytes, Bytes::from(vec![7; 150_000])] {
        passes(&here, &there, payload.clone()).await;
        passes(&there, &here, payload.clone()).await;
        passes(&here, &here, payload).await;
    }
    becomes_empty(&emulator).await;
    for bus in [here, there] {
        bus.close(PATIENCE).await;
    }
    let left = emulator.namespace().subscriptions(TOPIC, 0, usize::MAX).expect("the topic is there");
    assert_eq!(left.len(), 0);
    emulator.stop().await;
}

#[tokio::test]
async fn messages_can_be_received_and_deleted_at_once() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let here = bus(by_rest(&emulator).with_reception(Reception::ReceiveAndDelete)).await;
    for number in 0..10 {
        passes(&here, &here, Bytes::from(format!("message {number}"))).await;
    }
    becomes_empty(&emulator).await;
    here.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn a_busy_service_is_left_alone_and_loses_nothing() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let here = bus(by_rest(&emulator)).await;
    emulator.faults().server_busy(2);
    passes(&here, &here, Bytes::from_static(b"late")).await;
    here.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test]
async fn messages_whose_answer_was_lost_come_again_and_none_is_missing() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let here = bus(by_rest(&emulator)).await;
    let there = bus(by_amqp(&emulator)).await;
    let mut subscription = here.subscribe(["room"]);
    for number in 0..9 {
        if number % 3 == 0 {
            emulator.faults().cut_deliveries(1);
        }
        let published = there.publish("room", Bytes::from(vec![number]));
        timeout(PATIENCE, published).await.expect("in time").expect("it is published");
    }
    for number in 0..9 {
        let received = timeout(PATIENCE, subscription.recv()).await.expect("it is heard in time");
        let Some(Received::Message(message)) = received else { panic!("{received:?} instead of {number}") };
        assert_eq!(message.payload(), &vec![number]);
    }
    becomes_empty(&emulator).await;
    for bus in [here, there] {
        bus.close(PATIENCE).await;
    }
    emulator.stop().await;
}

#[tokio::test]
async fn a_service_that_falls_silent_is_noticed() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let config = by_rest(&emulator).with_idle_timeout(Duration::from_secs(2));
    let here = node(config);
    let mut events = here.receive(StreamIndex(0), Start::Latest);
    let mut until = async |wanted: fn(&Event) -> bool| {
        let found = async {
            while let Some(event) = events.next().await {
                if wanted(&event) {
                    return;
                }
            }
            panic!("the reception ended");
        };
        timeout(PATIENCE, found).await.expect("in time");
    };
    until(|event| matches!(event, Event::Opened { .. })).await;
    emulator.faults().freeze();
    until(|event| matches!(event, Event::Faulted(error) if error.is_transient())).await;
    emulator.faults().thaw();
    until(|event| matches!(event, Event::Opened { unbroken: true, .. })).await;
    timeout(PATIENCE, here.close()).await.expect("in time").expect("all is released");
    emulator.stop().await;
}

#[test]
fn payloads_that_rest_does_not_carry_are_refused() {
    let config: ServiceBusConfig =
        "servicebus://root:key@chat.servicebus.windows.net/?app=chat&protocol=rest&max_payload_bytes=1MiB"
            .parse()
            .expect("it carries that much");
    let error =
        ServiceBusBackplane::new(config.with_max_payload_bytes((1 << 20) + 1)).expect_err("it is too much");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("max_payload_bytes"), "{error}");
}
