//! TLS, WebSocket, and SASL.

use std::sync::Arc;

use fe2o3_amqp::types::messaging::Outcome;
use servicebus_emulator::{Emulator, Mode};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    library::{Client, message, next},
    raw::{AMQP_HEADER, FLOW, Peer, SASL_HEADER},
    support::{KEY, POLICY, start, within},
    websocket::WebSocket,
};

async fn tls(emulator: &Emulator, port: u16) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).expect("PEM"))
        .expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    within(TlsConnector::from(Arc::new(config)).connect(name, socket)).await.expect("it is trusted")
}

async fn round_trip(client: &mut Client) {
    let mut sender = client.sender("orders").await;
    let mut receiver = client.receiver("orders/Subscriptions/all", Mode::PeekLock).await;
    for bytes in [vec![1; 10], vec![2; 150_000], vec![3; 10]] {
        let outcome = within(sender.send(message(&bytes))).await.expect("an outcome");
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
        assert_eq!(next(&mut receiver).await.0, bytes);
    }
}

#[tokio::test]
async fn messages_go_under_tls() {
    let emulator = start().await;
    let mut client = Client::over(tls(&emulator, emulator.amqps_port()).await).await;
    round_trip(&mut client).await;
}

#[tokio::test]
async fn messages_go_inside_of_websocket() {
    let emulator = start().await;
    let socket =
        TcpStream::connect(("127.0.0.1", emulator.plain_websocket_port())).await.expect("it listens");
    let stream = WebSocket::connect(socket, "ws://localhost/$servicebus/websocket").await;
    round_trip(&mut Client::over(stream).await).await;

    let stream = tls(&emulator, emulator.websocket_port()).await;
    let stream = WebSocket::connect(stream, "wss://localhost/$servicebus/websocket").await;
    round_trip(&mut Client::over(stream).await).await;
}

#[tokio::test]
async fn a_websocket_is_for_amqp_and_in_its_place() {
    let emulator = start().await;
    let refused = async |path: &str, protocol: &'static str| {
        let socket =
            TcpStream::connect(("127.0.0.1", emulator.plain_websocket_port())).await.expect("it listens");
        let mut request = format!("ws://localhost{path}").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
        match within(client_async(request, socket)).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("/$servicebus/websocket", "chat").await, 400);
    assert_eq!(refused("/elsewhere", "AMQPWSB10").await, 404);
}

#[tokio::test]
async fn a_key_is_a_password() {
    let emulator = start().await;
    for (key, code) in [(KEY, 0), ("wrong", 1)] {
        let mut peer = Peer::connect(&emulator).await;
        let response = format!("\0{POLICY}\0{key}");
        assert_eq!(peer.sasl("PLAIN", response.as_bytes()).await, code);
        if code == 0 {
            peer.open(vec![]).await;
            peer.begin(0, 100).await;
            assert_eq!(peer.attach_sender(0, 0, "orders").await.code, FLOW);
        } else {
            peer.end().await;
        }
    }
    let mut peer = Peer::connect(&emulator).await;
    assert_eq!(peer.sasl("SCRAM-SHA-1", b"").await, 1);
    peer.end().await;
}

#[tokio::test]
async fn whoever_speaks_another_protocol_is_told_which() {
    let emulator = start().await;
    for header in [b"GET / HTTP/1.1\r\n".as_slice(), b"AMQP\x00\x00\x09\x01", b"AMQP\x02\x01\x00\x00"] {
        let mut peer = Peer::connect(&emulator).await;
        peer.write(header).await;
        assert_eq!(peer.read(8).await.as_ref(), AMQP_HEADER);
        peer.end().await;
    }
    let mut peer = Peer::connect(&emulator).await;
    peer.write(SASL_HEADER).await;
    assert_eq!(peer.read(8).await.as_ref(), SASL_HEADER);
    peer.write(&[0xff; 64]).await;
    peer.end().await;
}
