//! What the client library does when a request does not end as it should.
//!
//! `crates/scaleout-sqlserver/src/link.rs` relies on these, line by line. They hold for the version that it pins: where one
//! fails after an update, that file is to be read again.

use mssql_mock_tds::{LeadingError, QueryResponse, TerminalError};
use tiberius::{AuthMethod, Client, Command, Config, EncryptionLevel, Row, error::Error};
use tokio::{
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::support::{Mock, PATIENCE, number};

type Connection = Client<Compat<TcpStream>>;

/// What a request is given that must not be answered.
const MOMENT: Duration = Duration::from_millis(500);

async fn connect(mock: &Mock) -> Connection {
    let mut config = Config::new();
    config.host("127.0.0.1");
    config.port(mock.address.port());
    config.authentication(AuthMethod::sql_server("sa", "secret"));
    config.encryption(EncryptionLevel::NotSupported);
    let socket = TcpStream::connect(mock.address).await.expect("the mock listens");
    Client::connect(config, socket.compat_write()).await.expect("a login")
}

async fn batch(client: &mut Connection, text: &str) -> tiberius::Result<Vec<Row>> {
    let results = client.simple_query(text).await?.into_results().await?;
    Ok(results.into_iter().flatten().collect())
}

async fn call(client: &mut Connection, procedure: &str) -> tiberius::Result<Vec<Row>> {
    let results = Command::new(procedure.to_owned()).exec(client).await?.into_command_result().await?;
    Ok(results.into_iter().flatten().collect())
}

/// The numbers that an answer holds.
fn numbers(answer: tiberius::Result<Vec<Row>>) -> Vec<i32> {
    let rows = answer.expect("an answer");
    rows.iter().map(|row| row.get(0).expect("a number")).collect()
}

fn error_number<T: std::fmt::Debug>(answer: tiberius::Result<T>) -> u32 {
    match answer.expect_err("the server answers with an error") {
        Error::Server(error) => error.code(),
        other => panic!("not an answer of the server: {other}"),
    }
}

/// `answered`: an error of the server below class 20 leaves the connection clean.
#[tokio::test]
async fn an_error_of_the_server_leaves_the_connection_usable() {
    let mock = Mock::start().await;
    mock.answer("EXEC DEADLOCK", QueryResponse::error_only(TerminalError::new(1205, 13, "victim"))).await;
    mock.answer("[T].[DUPLICATE]", QueryResponse::error_only(TerminalError::new(2627, 14, "key"))).await;
    mock.answer("SELECT 7", number(7)).await;
    let mut client = connect(&mock).await;
    for _ in 0..3 {
        assert_eq!(error_number(batch(&mut client, "EXEC DEADLOCK").await), 1205);
        assert_eq!(error_number(call(&mut client, "[T].[DUPLICATE]").await), 2627);
        assert_eq!(numbers(batch(&mut client, "SELECT 7").await), [7]);
    }
}

/// `answered`: what is left of an answer after an error in it is read before the next request.
#[tokio::test]
async fn what_follows_an_error_is_no_part_of_the_next_answer() {
    let mock = Mock::start().await;
    let failing = number(1).with_leading_error(LeadingError::new(9617, 16, "the queue is off"));
    mock.answer("[T].[WAIT]", failing.clone()).await;
    mock.answer("EXEC WAIT", failing).await;
    mock.answer("SELECT 7", number(7)).await;
    let mut client = connect(&mock).await;
    for _ in 0..3 {
        assert_eq!(error_number(call(&mut client, "[T].[WAIT]").await), 9617);
        assert_eq!(numbers(batch(&mut client, "SELECT 7").await), [7]);
        assert_eq!(error_number(batch(&mut client, "EXEC WAIT").await), 9617);
        assert_eq!(numbers(batch(&mut client, "SELECT 7").await), [7]);
    }
}

/// `answered` marks the connection as given up before it asks: a request that was dropped is not over, and whoever asks
/// next waits for its answer first.
#[tokio::test]
async fn a_request_that_was_dropped_goes_on_and_the_next_one_waits_for_it() {
    let mock = Mock::start().await;
    // Far longer than the next request is given.
    mock.answer("WAIT", number(1).with_delay(2 * PATIENCE)).await;
    mock.answer("SELECT 7", number(7)).await;
    let mut client = connect(&mock).await;
    send_and_drop(&mut client, "WAIT").await;
    assert!(timeout(MOMENT, batch(&mut client, "SELECT 7")).await.is_err(), "it was answered at once");
}

/// Why nothing in `link.rs` cancels a request: where the answer was on its way already, the client takes that for the
/// acknowledgement, and what is asked next gets answers of something else.
#[tokio::test]
async fn a_cancel_that_comes_too_late_shifts_all_later_answers() {
    let mock = Mock::start().await;
    for value in [1, 2, 3] {
        mock.answer(&format!("SELECT {value}"), number(value)).await;
    }
    let mut client = connect(&mock).await;
    send_and_drop(&mut client, "SELECT 1").await;
    let cancelled = timeout(PATIENCE, client.cancel_query()).await.expect("it ends");
    assert!(cancelled.is_err(), "the client has learnt to tell an answer from an acknowledgement");
    assert_eq!(numbers(batch(&mut client, "SELECT 2").await), [0; 0]);
    assert_eq!(numbers(batch(&mut client, "SELECT 3").await), [2]);
}

/// Sends a batch and does not wait for the answer: nothing else runs meanwhile that could send it.
async fn send_and_drop(client: &mut Connection, text: &str) {
    tokio::select! {
        biased;
        _ = client.simple_query(text) => panic!("it was answered at once"),
        () = async {} => {}
    }
}
