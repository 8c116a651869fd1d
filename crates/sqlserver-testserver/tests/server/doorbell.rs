//! Service Broker, by the procedures of the provider.

use std::time::Duration;

use sqlserver_testserver::TestServer;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{
    Connection, PATIENCE, Script, batch, call, command, connect, epoch, install, number, publish, register,
    registering, until,
};

const SCHEMA: &str = "scaleout";

async fn installed() -> (TestServer, Connection) {
    let server = TestServer::launch().await.expect("a free port");
    let mut client = connect(&server).await;
    install(&mut client, SCHEMA, "chat", 2).await;
    (server, client)
}

async fn arm(client: &mut Connection, listener: Uuid, streams: Option<Vec<u8>>) -> tiberius::Result<bool> {
    let results = call(client, command!(SCHEMA, "arm", "@listener": listener, "@streams": streams)).await?;
    assert_eq!(results.len(), 4, "the broker, and the positions");
    Ok(results[0][0].get(0).expect("a value"))
}

async fn wait(client: &mut Connection, listener: Uuid, timeout_ms: i32) -> tiberius::Result<i32> {
    let results =
        call(client, command!(SCHEMA, "wait", "@listener": listener, "@timeout_ms": timeout_ms)).await?;
    Ok(results[0][0].get(0).expect("a value"))
}

/// A time that does not run out in a test.
const LONG: i32 = 50_000;

#[tokio::test]
async fn a_publish_rings_an_armed_listener_once() {
    let (server, mut client) = installed().await;
    let mut waiter = connect(&server).await;
    let epoch = epoch(&mut client, SCHEMA).await;
    let listener = register(&mut client, SCHEMA).await;
    assert_eq!((server.listeners(), server.conversations()), (1, 2));
    assert!(arm(&mut client, listener, None).await.unwrap());
    assert_eq!(server.armed(), 1);

    let (heard, published) = tokio::join!(
        wait(&mut waiter, listener, LONG),
        call(&mut client, publish(SCHEMA, epoch, 1, vec![1])),
    );
    assert_eq!(heard.unwrap(), 1);
    published.unwrap();
    assert_eq!(server.armed(), 0);
    // Not armed any more, so nobody rings.
    call(&mut client, publish(SCHEMA, epoch, 2, vec![1])).await.unwrap();
    assert_eq!(wait(&mut waiter, listener, 1).await.unwrap(), 0);

    call(&mut client, command!(SCHEMA, "unregister", "@listener": listener)).await.unwrap();
    assert_eq!((server.listeners(), server.conversations()), (0, 0));
    assert_eq!(number(wait(&mut waiter, listener, 1).await), 50012);
    assert_eq!(number(arm(&mut client, listener, None).await), 50012);
}

#[tokio::test]
async fn only_streams_that_a_listener_wants_ring() {
    let (_server, mut client) = installed().await;
    let epoch = epoch(&mut client, SCHEMA).await;
    let listener = register(&mut client, SCHEMA).await;
    arm(&mut client, listener, Some(vec![0b10])).await.unwrap();
    call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.unwrap();
    assert_eq!(wait(&mut client, listener, 1).await.unwrap(), 0);
    arm(&mut client, listener, Some(vec![0b01])).await.unwrap();
    call(&mut client, publish(SCHEMA, epoch, 2, vec![1])).await.unwrap();
    assert_eq!(wait(&mut client, listener, LONG).await.unwrap(), 1);
}

#[tokio::test]
async fn a_listener_that_registers_again_leaves_nothing_behind() {
    let (server, mut client) = installed().await;
    let listener = register(&mut client, SCHEMA).await;
    call(&mut client, registering(SCHEMA, listener)).await.unwrap();
    assert_eq!((server.listeners(), server.conversations()), (1, 2));
}

#[tokio::test]
async fn without_the_broker_rings_pile_up_until_it_is_back() {
    let (server, mut client) = installed().await;
    let epoch = epoch(&mut client, SCHEMA).await;
    let listener = register(&mut client, SCHEMA).await;
    server.set_broker(false);
    assert!(!arm(&mut client, listener, None).await.unwrap());
    call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.unwrap();
    assert_eq!(wait(&mut client, listener, 1).await.unwrap(), 0);
    assert_eq!(server.undelivered(), 1);
    let health = call(&mut client, command!(SCHEMA, "doorbell_health")).await.unwrap().remove(0);
    let numbers: Vec<Option<i32>> = (1..5).map(|column| health[0].get(column)).collect();
    assert_eq!(health[0].get(0), Some(false));
    assert_eq!(numbers, [Some(2), Some(1), Some(2), Some(1)]);
    assert!(health[0].get::<&str, _>(5).unwrap().contains("disabled"));
    server.set_broker(true);
    assert_eq!(wait(&mut client, listener, LONG).await.unwrap(), 1);
    assert_eq!(server.undelivered(), 0);
}

#[tokio::test]
async fn a_queue_that_is_off_fails_waits_at_once() {
    let (server, mut client) = installed().await;
    let mut waiter = connect(&server).await;
    let listener = register(&mut client, SCHEMA).await;
    let off = async {
        until(|| server.requests_of("wait") > 0).await;
        server.set_queue(false);
    };
    let (heard, ()) = tokio::join!(wait(&mut waiter, listener, LONG), off);
    assert_eq!(number(heard), 9617);
    assert_eq!(number(wait(&mut waiter, listener, LONG).await), 9617);
    server.set_queue(true);
    assert_eq!(wait(&mut waiter, listener, 1).await.unwrap(), 0);
}

#[tokio::test]
async fn the_end_of_a_conversation_says_register_again() {
    let (server, mut client) = installed().await;
    let listener = register(&mut client, SCHEMA).await;
    server.end_conversations();
    assert_eq!(wait(&mut client, listener, LONG).await.unwrap(), 2);
    assert_eq!((server.listeners(), server.conversations()), (0, 0));
    let listener = register(&mut client, SCHEMA).await;
    assert!(arm(&mut client, listener, None).await.unwrap());
}

#[tokio::test]
async fn the_janitor_takes_the_dead_out() {
    let (server, mut client) = installed().await;
    let (dead, alive) = (register(&mut client, SCHEMA).await, register(&mut client, SCHEMA).await);
    server.age(Duration::from_secs(600));
    arm(&mut client, alive, None).await.unwrap();
    assert_eq!((server.listeners(), server.conversations()), (2, 4));
    let removed = call(&mut client, command!(SCHEMA, "janitor", "@lease_seconds": 300_i32)).await.unwrap();
    assert_eq!(removed[0][0].get(0), Some(1_i32));
    assert_eq!((server.listeners(), server.conversations()), (1, 2));
    assert_eq!(number(arm(&mut client, dead, None).await), 50012);
}

#[tokio::test]
async fn an_attention_ends_a_wait_and_the_connection_goes_on() {
    let (server, mut client) = installed().await;
    let mut waiter = connect(&server).await;
    let listener = register(&mut client, SCHEMA).await;
    {
        let waiting = wait(&mut waiter, listener, LONG);
        let come = until(|| server.requests_of("wait") > 0);
        tokio::select! {
            _ = waiting => panic!("nobody rang"),
            () = come => (),
        }
    }
    timeout(PATIENCE, waiter.cancel_query()).await.expect("it ends at once").unwrap();
    assert_eq!(call(&mut waiter, command!(SCHEMA, "positions")).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_connection_that_breaks_ends_its_wait() {
    let (server, mut client) = installed().await;
    let mut waiter = connect(&server).await;
    let listener = register(&mut client, SCHEMA).await;
    let (heard, ()) = tokio::join!(wait(&mut waiter, listener, LONG), async {
        until(|| server.requests_of("wait") > 0).await;
        server.cut_all();
    });
    assert!(heard.is_err());
}

#[tokio::test]
async fn the_probe_tells_what_is_there() {
    let script = Script { schema: SCHEMA, app: "chat", tables: 2 };
    let probe = script.once("doorbell/probe");
    let (_server, mut client) = installed().await;
    let row = batch(&mut client, &probe).await.unwrap().remove(0).remove(0);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (Some(true), Some(3_i32), Some(1_i32)));

    let server = TestServer::builder().without_service_broker().start().await.unwrap();
    let mut client = connect(&server).await;
    let row = batch(&mut client, &probe).await.unwrap().remove(0).remove(0);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (Some(false), Some(5_i32), Some(0_i32)));

    let server = TestServer::builder().broker(false).start().await.unwrap();
    let mut client = connect(&server).await;
    let second = connect(&server).await;
    let enable = script.once("dba/enable_broker");
    assert_eq!(number(batch(&mut client, &enable).await), 5070);
    drop(second);
    until(|| server.connections() == 1).await;
    batch(&mut client, &enable).await.unwrap();
    let row = batch(&mut client, &probe).await.unwrap().remove(0).remove(0);
    assert_eq!(row.get(0), Some(true));
}
