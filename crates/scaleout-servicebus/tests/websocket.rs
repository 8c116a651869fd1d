//! What the conformance suite does not show of AMQP in a WebSocket.
#![cfg(feature = "websocket")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use scaleout_core::{Bus, ErrorKind, FrameId, NodeId, Received, StreamIndex};
use scaleout_servicebus::{Credential, Protocol, ServiceBusConfig};
use servicebus_emulator::Emulator;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use self::support::{for_tests, node};

const PATIENCE: Duration = Duration::from_secs(60);

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

fn config(emulator: &Emulator) -> ServiceBusConfig {
    for_tests(format!("{};App=chat;TopicCount=1", emulator.connection_string()).parse().expect("settings"))
}

fn by_websocket(emulator: &Emulator) -> ServiceBusConfig {
    config(emulator).with_protocol(Protocol::WebSocket).with_amqp_port(emulator.plain_websocket_port())
}

#[tokio::test]
async fn nodes_with_and_without_a_websocket_understand_each_other() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let here = bus(by_websocket(&emulator)).await;
    let there = bus(config(&emulator)).await;
    let bytes: Bytes = (0..=255).collect();
    // The large one is several frames, and several messages of the WebSocket.
    for payload in [bytes, Bytes::from(vec![7; 150_000])] {
        passes(&here, &there, payload.clone()).await;
        passes(&there, &here, payload).await;
    }
    for bus in [here, there] {
        bus.close(PATIENCE).await;
    }
    emulator.stop().await;
}

#[tokio::test]
async fn a_server_that_has_no_websocket_for_it_is_told() {
    let answer = |head: &str| format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\nno").into_bytes();
    let cases = [
        (answer("200 OK"), ErrorKind::Unsupported),
        (answer("403 Forbidden"), ErrorKind::Unsupported),
        (answer("404 Not Found"), ErrorKind::Unsupported),
        (answer("401 Unauthorized"), ErrorKind::Unauthorized),
        (answer("502 Bad Gateway"), ErrorKind::Unavailable),
        (answer("503 Service Unavailable"), ErrorKind::Unavailable),
        (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), ErrorKind::Unsupported),
        (Vec::new(), ErrorKind::Unavailable),
    ];
    for (answered, kind) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let shown = String::from_utf8_lossy(&answered).into_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody connects");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.expect("a request");
            }
            stream.write_all(&answered).await.expect("it listens");
            head
        });
        let credential = Credential::shared_access_key("root", "key");
        let config = ServiceBusConfig::new("chat".parse().expect("a name"), "127.0.0.1", credential)
            .with_development_emulator(true)
            .with_create_entities(false)
            .with_protocol(Protocol::WebSocket)
            .with_amqp_port(port);
        let frame = FrameId { node: NodeId::random(), number: 0, after: 0 };
        let probe = node(for_tests(config));
        let error =
            timeout(PATIENCE, probe.send(StreamIndex(0), frame, Bytes::new())).await.expect("in time");
        assert_eq!(error.expect_err("no service").kind(), kind, "{shown}");
        let head = String::from_utf8(server.await.expect("it answered"))
            .expect("a request is a text")
            .to_lowercase();
        assert!(head.starts_with("get /$servicebus/websocket http/1.1\r\n"), "{head}");
        assert!(head.contains("sec-websocket-protocol: amqpwsb10\r\n"), "{head}");
        assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{head}");
    }
}
