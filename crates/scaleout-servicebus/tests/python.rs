//! Microsoft's SDK for Python and a bus on the same namespace, by `interop.py` of the emulator.

mod support;

use std::{num::NonZeroU16, path::Path, time::Duration};

use scaleout_core::{
    AppName, Bus, Received, Subscription,
    frame::{Frame, Layout},
};
use scaleout_servicebus::ServiceBusConfig;
use scaleout_testkit::servers::PythonScripts;
use servicebus_emulator::{Emulator, SubscriptionProperties};
use tokio::time::timeout;

use crate::support::{for_tests, node};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const TOPIC: &str = "scaleout-app-0";

const ONE: NonZeroU16 = NonZeroU16::MIN;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_reads_a_frame_byte_for_byte() {
    let Some(scripts) = scripts("the_sdk_reads_a_frame_byte_for_byte") else {
        return;
    };
    let emulator = Emulator::builder().keep_log(true).start().await.expect("free ports");
    let bus = bus(&emulator).await;
    let properties = SubscriptionProperties::default();
    emulator.namespace().create_subscription(TOPIC, "sdk", properties).expect("a topic");
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    bus.publish("room", payload.clone()).await.expect("a store that works");

    let said = interop(&scripts, &emulator, &["receive", TOPIC, "sdk"]).await;
    let [number, id, body] = said.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("it said: {said}");
    };
    let bytes = unhex(body);
    let log = emulator.namespace().log(TOPIC);
    let logged = log.iter().find(|logged| logged.enqueued_sequence_number.to_string() == number);
    assert_eq!(logged.and_then(|logged| logged.data()).as_deref(), Some(&bytes[..]));
    let layout = Layout { app: app().hash(), stream_count: ONE };
    let frame = Frame::decode(&bytes, &layout).expect("a frame");
    assert_eq!(frame.messages.len(), 1);
    let message = &frame.messages[0];
    let range = message.payload.start as usize..message.payload.end as usize;
    assert_eq!(message.channel, "room");
    assert!(bytes[range] == payload, "another payload");
    assert_eq!(id, format!("{}-{}", bus.node(), frame.head.number));
    bus.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sdk_publishes_that_is_no_frame_is_counted_and_skipped() {
    let Some(scripts) = scripts("what_the_sdk_publishes_that_is_no_frame_is_counted_and_skipped") else {
        return;
    };
    let emulator = Emulator::builder().start().await.expect("free ports");
    let bus = bus(&emulator).await;
    let mut subscription = bus.subscribe(["room"]);
    bus.publish("room", "before").await.expect("a store that works");
    assert_eq!(next(&mut subscription).await, "before");
    interop(&scripts, &emulator, &["publish", TOPIC, "--count", "3"]).await;
    // They come before this one, since a topic has one order.
    bus.publish("room", "after").await.expect("a store that works");
    assert_eq!(next(&mut subscription).await, "after", "and no gap before it");
    assert_eq!(bus.counters().foreign, 3);
    assert!(bus.health().ready);
    bus.close(PATIENCE).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_the_sdk_carries_to_another_namespace_is_delivered_there() {
    let Some(scripts) = scripts("a_frame_that_the_sdk_carries_to_another_namespace_is_delivered_there")
    else {
        return;
    };
    let here = Emulator::builder().start().await.expect("free ports");
    let there = Emulator::builder().start().await.expect("free ports");
    let (sender, receiver) = (bus(&here).await, bus(&there).await);
    let mut subscription = receiver.subscribe(["room"]);
    here.namespace().create_subscription(TOPIC, "sdk", SubscriptionProperties::default()).expect("a topic");
    sender.publish("room", "carried").await.expect("a store that works");
    let said = interop(&scripts, &here, &["receive", TOPIC, "sdk"]).await;
    let body = said.split_whitespace().nth(2).expect("a body");
    // Once more with the same id: the topics of a bus detect duplicates.
    let publish = ["publish", TOPIC, "--hex", body, "--message-id", "carried", "--count", "2"];
    interop(&scripts, &there, &publish).await;
    assert_eq!(next(&mut subscription).await, "carried");
    receiver.publish("room", "after").await.expect("a store that works");
    assert_eq!(next(&mut subscription).await, "after");
    let counters = receiver.counters();
    assert_eq!((counters.foreign, counters.duplicates), (0, 0));
    for bus in [sender, receiver] {
        bus.close(PATIENCE).await;
    }
    for emulator in [here, there] {
        emulator.stop().await;
    }
}

fn scripts(test: &str) -> Option<PythonScripts> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../servicebus-emulator/tests/python");
    PythonScripts::of_servicebus(test, folder)
}

fn app() -> AppName {
    "app".parse().expect("a name")
}

async fn bus(emulator: &Emulator) -> Bus {
    let text = format!("{};App=app", emulator.connection_string());
    let config: ServiceBusConfig = text.parse().expect("its own connection string");
    let builder = Bus::builder_from(node(for_tests(config).with_topic_count(ONE))).app(app());
    timeout(PATIENCE, builder.connect()).await.expect("in time").expect("an emulator that works")
}

/// The next message of a subscription; a gap is a fault.
async fn next(subscription: &mut Subscription) -> String {
    match timeout(PATIENCE, subscription.recv()).await.expect("in time") {
        Some(Received::Message(message)) => String::from_utf8_lossy(message.payload()).into_owned(),
        other => panic!("no message, but {other:?}"),
    }
}

/// What the script printed.
async fn interop(scripts: &PythonScripts, emulator: &Emulator, arguments: &[&str]) -> String {
    let mut command = scripts.command("interop.py");
    command.arg(emulator.connection_string()).args(arguments);
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("Python");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}
