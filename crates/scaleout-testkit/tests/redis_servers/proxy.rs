//! A proxy before a server.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use redis::{RedisError, Value, aio::MultiplexedConnection};
use scaleout_testkit::servers::{Fate, RedisServer, TcpProxy, redis_is_there};
use tokio::time::timeout;

use crate::{MOMENT, connect, eventually, run};

const STREAM: &str = "scaleout:{chat:0}:stream:0";

#[tokio::test]
async fn open_links_can_be_cut() {
    let Some((_server, proxy)) = start("open_links_can_be_cut").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    run(&mut connection, "PING").await.unwrap();
    proxy.cut_all();
    eventually("the link breaks", async || run(&mut connection, "PING").await.is_err()).await;
    run(&mut connect(url(&proxy)).await.unwrap(), "PING").await.unwrap();
}

#[tokio::test]
async fn new_links_can_be_refused() {
    let Some((_server, proxy)) = start("new_links_can_be_refused").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.refuse().await;
    assert!(connect(url(&proxy)).await.unwrap_err().is_connection_refusal());
    run(&mut connection, "PING").await.unwrap();
    proxy.accept().await.unwrap();
    run(&mut connect(url(&proxy)).await.unwrap(), "PING").await.unwrap();
}

#[tokio::test]
async fn a_stalled_link_stays_open_and_says_nothing() {
    let Some((_server, proxy)) = start("a_stalled_link_stays_open_and_says_nothing").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.stall();
    let mut ping = pin!(run(&mut connection, "PING"));
    assert!(timeout(MOMENT, &mut ping).await.is_err());
    proxy.flow();
    ping.await.unwrap();
}

#[tokio::test]
async fn a_link_can_be_slow() {
    let Some((_server, proxy)) = start("a_link_can_be_slow").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.set_delay(Duration::from_millis(40));
    let began = Instant::now();
    run(&mut connection, "PING").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn the_target_can_change() {
    let Some((server, proxy)) = start("the_target_can_change").await else { return };
    let other = RedisServer::builder().start().await.unwrap();
    server.command(&["SET", "name", "first"]).await.unwrap();
    other.command(&["SET", "name", "second"]).await.unwrap();
    proxy.set_target(([127, 0, 0, 1], other.port()).into());
    let name = run(&mut connect(url(&proxy)).await.unwrap(), "GET name").await.unwrap();
    assert_eq!(name, Value::BulkString(b"second".to_vec()));
}

#[tokio::test]
async fn an_answer_can_be_lost() {
    let Some((server, proxy)) = start("an_answer_can_be_lost").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.next_frame(Fate::LoseAnswer);
    run(&mut connection, "PING").await.unwrap();
    assert!(proxy.is_fate_pending());
    assert!(append(&mut connection).await.is_err());
    assert!(!proxy.is_fate_pending());
    // The link breaks only after the server has done it.
    assert_eq!(length(&server).await, 1);
    append(&mut connect(url(&proxy)).await.unwrap()).await.unwrap();
    assert_eq!(length(&server).await, 2);
}

#[tokio::test]
async fn a_frame_can_be_lost() {
    let Some((server, proxy)) = start("a_frame_can_be_lost").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.next_frame(Fate::LoseSend);
    assert!(append(&mut connection).await.is_err());
    append(&mut connect(url(&proxy)).await.unwrap()).await.unwrap();
    assert_eq!(length(&server).await, 1);
}

#[tokio::test]
async fn a_large_frame_is_met_as_well() {
    let Some((server, proxy)) = start("a_large_frame_is_met_as_well").await else { return };
    let mut connection = connect(url(&proxy)).await.unwrap();
    let payload = "x".repeat(3_000_000);
    append_all(&mut connection, &payload).await.unwrap();
    proxy.next_frame(Fate::LoseSend);
    assert!(append_all(&mut connection, &payload).await.is_err());
    assert_eq!(length(&server).await, 1);
}

#[tokio::test]
async fn a_delayed_frame_arrives_after_its_client_gave_up() {
    let Some((server, proxy)) = start("a_delayed_frame_arrives_after_its_client_gave_up").await else {
        return;
    };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.next_frame(Fate::Delay);
    assert!(timeout(MOMENT, append(&mut connection)).await.is_err());
    proxy.wait_held().await;
    drop(connection);
    assert_eq!(length(&server).await, 0);
    append(&mut connect(url(&proxy)).await.unwrap()).await.unwrap();
    assert!(proxy.release().await);
    eventually("the late frame", async || length(&server).await == 2).await;
    assert!(!proxy.release().await);
}

#[tokio::test]
async fn a_delayed_frame_is_answered_where_somebody_waits() {
    let Some((server, proxy)) = start("a_delayed_frame_is_answered_where_somebody_waits").await else {
        return;
    };
    let mut connection = connect(url(&proxy)).await.unwrap();
    proxy.next_frame(Fate::Delay);
    let mut same = connection.clone();
    let mut sends = pin!(append(&mut same));
    assert!(timeout(MOMENT, &mut sends).await.is_err());
    assert!(proxy.release().await);
    sends.await.unwrap();
    append(&mut connection).await.unwrap();
    assert_eq!(length(&server).await, 2);
}

#[tokio::test]
async fn a_delayed_frame_dies_with_its_connection_at_the_server() {
    let Some((server, proxy)) = start("a_delayed_frame_dies_with_its_connection_at_the_server").await else {
        return;
    };
    let mut connection = connect(url(&proxy)).await.unwrap();
    let Value::Int(id) = run(&mut connection, "CLIENT ID").await.unwrap() else { panic!("an id") };
    proxy.next_frame(Fate::Delay);
    assert!(timeout(MOMENT, append(&mut connection)).await.is_err());
    proxy.wait_held().await;
    server.command(&["CLIENT", "KILL", "ID", &id.to_string()]).await.unwrap();
    eventually("nothing is held", async || !proxy.release().await).await;
    assert_eq!(length(&server).await, 0);
}

async fn start(test: &str) -> Option<(RedisServer, TcpProxy)> {
    if !redis_is_there(test) {
        return None;
    }
    let server = RedisServer::builder().start().await.expect("a server");
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    Some((server, proxy))
}

fn url(proxy: &TcpProxy) -> String {
    format!("redis://{}", proxy.address())
}

async fn append(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    append_all(connection, "payload").await
}

async fn append_all(connection: &mut MultiplexedConnection, payload: &str) -> Result<(), RedisError> {
    let mut frame = redis::pipe();
    frame.atomic();
    frame.cmd("XADD").arg(STREAM).arg("5-*").arg("f").arg(payload);
    frame.cmd("HSET").arg("scaleout:{chat:0}:last:0:5").arg("node").arg(1);
    frame.query_async(connection).await
}

async fn length(server: &RedisServer) -> i64 {
    match server.command(&["XLEN", STREAM]).await.expect("a length") {
        Value::Int(length) => length,
        other => panic!("{other:?} is no length"),
    }
}
