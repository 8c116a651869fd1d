//! The backplane on a server that answers as no real one would: with errors, late, or from elsewhere.
//!
//! It answers one result to every call, so that a node never gets further than the first one of a connection. The rest is
//! tested on `sqlserver-testserver`.

use std::{error::Error as _, time::Duration};

use bytes::Bytes;
use mssql_mock_tds::{QueryResponse, RPC_DELAY_KEY, TerminalError};
use scaleout_core::{Backplane, Error, ErrorKind, FrameId, NodeId, StreamIndex};
use scaleout_sqlserver::{
    Authentication, Encryption, Install, Notifications, SqlServerBackplane, SqlServerConfig,
};

use crate::support::{Mock, PATIENCE, Wire, number};

/// In capitals, as the mock looks for it in a call by name.
const SCHEMA: &str = "TRAPS";

/// Every procedure of the schema.
const EVERY_CALL: &str = "[TRAPS].[";

fn config(port: u16) -> SqlServerConfig {
    let login = Authentication::sql_login("chat", "secret");
    SqlServerConfig::new("chat".parse().expect("a name"), "127.0.0.1", "app", login)
        .with_port(port)
        .with_encryption(Encryption::NotSupported)
        .with_schema(SCHEMA)
        .with_install(Install::None)
        .with_notifications(Notifications::PollOnly)
        .with_command_timeout(PATIENCE)
        .with_connect_timeout(PATIENCE)
}

fn node(config: SqlServerConfig) -> SqlServerBackplane {
    SqlServerBackplane::new(config).expect("settings that fit")
}

async fn send(node: &SqlServerBackplane) -> Result<(), Error> {
    let frame = FrameId { node: NodeId(1), number: 1, after: 0 };
    node.send(StreamIndex(0), frame, Bytes::from_static(b"x")).await
}

fn failure(number: u32, class: u8, text: &str) -> QueryResponse {
    QueryResponse::error_only(TerminalError::new(number, class, text))
}

#[tokio::test]
async fn an_error_keeps_its_meaning_and_its_connection_ends() {
    let mock = Mock::start().await;
    let wire = Wire::to(mock.address).await;
    let node = node(config(wire.port));
    let denied =
        "The EXECUTE permission was denied on the object 'positions', database 'app', schema 'TRAPS'.";
    let answers = [
        (1205, 13, "You were chosen as the deadlock victim.", ErrorKind::Unavailable),
        (2627, 14, "Violation of PRIMARY KEY constraint.", ErrorKind::Unavailable),
        (9617, 16, "The service queue \"ears\" is currently disabled.", ErrorKind::Unavailable),
        (40501, 20, "The service is currently busy.", ErrorKind::Unavailable),
        (2812, 16, "Could not find stored procedure 'TRAPS.positions'.", ErrorKind::Config),
        (229, 14, denied, ErrorKind::Unauthorized),
    ];
    for (attempt, (number, class, text, kind)) in answers.into_iter().enumerate() {
        mock.answer(EVERY_CALL, failure(number, class, text)).await;
        let error = send(&node).await.expect_err("the server answers with an error");
        assert_eq!(error.kind(), kind, "{number}: {error}");
        wire.has(attempt + 1, 0).await;
    }
    let error = send(&node).await.expect_err("the last answer stays");
    assert!(error.to_string().contains("GRANT EXECUTE ON SCHEMA::[TRAPS] TO [chat]"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_none_of_ours_is_no_answer() {
    let mock = Mock::start().await;
    let wire = Wire::to(mock.address).await;
    mock.answer(EVERY_CALL, number(1)).await;
    let error = send(&node(config(wire.port))).await.expect_err("there is no such result");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    wire.has(1, 0).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_ends_its_connection() {
    let mock = Mock::start().await;
    let wire = Wire::to(mock.address).await;
    mock.answer(RPC_DELAY_KEY, number(1).with_delay(2 * PATIENCE)).await;
    let node = node(config(wire.port).with_command_timeout(Duration::from_millis(100)));
    for attempt in 1..=3 {
        let error = send(&node).await.expect_err("there is no answer");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        wire.has(attempt, 0).await;
    }
}

/// Connecting outlives the send that asked for it, for the next one, but not for ever.
#[tokio::test]
async fn a_send_that_is_dropped_while_it_connects_leaves_no_connection_for_long() {
    let mock = Mock::start().await;
    let wire = Wire::to(mock.address).await;
    mock.answer(EVERY_CALL, number(1).with_delay(2 * PATIENCE)).await;
    let node = node(config(wire.port).with_command_timeout(Duration::from_secs(2)));
    for attempt in 1..=2 {
        tokio::select! {
            result = send(&node) => panic!("it was answered: {result:?}"),
            () = mock.was_asked(attempt) => {}
        }
        wire.has(attempt, 0).await;
    }
    mock.answer(EVERY_CALL, failure(1205, 13, "You were chosen as the deadlock victim.")).await;
    let error = send(&node).await.expect_err("the server answers with an error");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    wire.has(3, 0).await;
}

#[tokio::test]
async fn a_server_that_sends_elsewhere_is_followed() {
    let there = Mock::start().await;
    there.answer(EVERY_CALL, failure(229, 14, "You may not.")).await;
    let wire = Wire::to(there.address).await;
    let here = Mock::that_redirects_to(wire.port).await;
    let error =
        send(&node(config(here.address.port()))).await.expect_err("the other one answers with an error");
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    wire.has(1, 0).await;
}

#[tokio::test]
async fn servers_that_send_in_a_circle_are_given_up() {
    let listener = Wire::listen().await;
    let port = listener.local_addr().expect("it listens").port();
    let mock = Mock::that_redirects_to(port).await;
    let wire = Wire::forward(listener, mock.address);
    let error = send(&node(config(port))).await.expect_err("it ends nowhere");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let source = error.source().expect("a source").to_string();
    assert!(source.contains("circle"), "{source}");
    wire.has(5, 0).await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let mock = Mock::start().await;
    let wire = Wire::to(mock.address).await;
    let config = config(wire.port);
    let error =
        send(&node(config.clone().with_encryption(Encryption::Required))).await.expect_err("it has none");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    wire.has(1, 0).await;
    // The client waits for ever for a handshake of TLS, which nobody begins: our time-out ends it.
    let config =
        config.with_encryption(Encryption::LoginOnly).with_connect_timeout(Duration::from_millis(200));
    let error = send(&node(config)).await.expect_err("it has none");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    wire.has(2, 0).await;
}
