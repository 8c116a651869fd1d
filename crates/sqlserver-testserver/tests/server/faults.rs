//! What tests can put the server through.

use std::time::Duration;

use sqlserver_testserver::{Fate, TestServer};

use crate::support::{
    Connection, call, command, config, connect, connect_with, epoch, install, node, number, publish, until,
};

const SCHEMA: &str = "scaleout";

async fn installed() -> (TestServer, Connection, i64) {
    let server = TestServer::launch().await.expect("a free port");
    let mut client = connect(&server).await;
    install(&mut client, SCHEMA, "chat", 2).await;
    let epoch = epoch(&mut client, SCHEMA).await;
    (server, client, epoch)
}

/// How many frames stream 0 holds.
fn frames(server: &TestServer) -> usize {
    server.log(SCHEMA, 0).iter().filter(|row| row.id > 0).count()
}

#[tokio::test]
async fn what_it_holds_outlives_an_outage() {
    let (server, mut client, epoch) = installed().await;
    call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.unwrap();
    server.stop().await;
    assert!(call(&mut client, command!(SCHEMA, "positions")).await.is_err());
    assert!(tokio::net::TcpStream::connect(server.address()).await.is_err());
    server.start().await.unwrap();
    let mut client = connect(&server).await;
    assert_eq!(crate::support::epoch(&mut client, SCHEMA).await, epoch);
    assert_eq!(frames(&server), 1);
}

#[tokio::test]
async fn a_lost_answer_is_a_frame_a_lost_send_is_none() {
    let (server, mut client, epoch) = installed().await;
    server.next_publish(Fate::LoseSend);
    assert!(call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.is_err());
    assert_eq!(frames(&server), 0);
    let mut client = connect(&server).await;
    server.next_publish(Fate::LoseAnswer);
    assert!(call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.is_err());
    assert_eq!(frames(&server), 1);
    assert!(!server.is_fate_pending());
}

#[tokio::test]
async fn a_delayed_publish_arrives_after_its_client_has_gone() {
    let (server, mut client, epoch) = installed().await;
    server.next_publish(Fate::Delay);
    tokio::select! {
        _ = call(&mut client, publish(SCHEMA, epoch, 1, vec![1])) => panic!("it is held"),
        () = server.wait_held() => (),
    }
    drop(client);
    let mut client = connect(&server).await;
    let ahead = call(&mut client, publish(SCHEMA, epoch, 2, vec![2])).await.unwrap();
    assert_eq!(ahead[0][0].get(0), Some(2_i32), "frame 1 is not there");
    assert!(server.release().await);
    assert_eq!(frames(&server), 1);
    assert!(!server.release().await);
    call(&mut client, publish(SCHEMA, epoch, 2, vec![2])).await.unwrap();
    let payloads: Vec<_> = server.log(SCHEMA, 0).into_iter().map(|row| row.payload.to_vec()).collect();
    assert_eq!(payloads, [vec![], vec![1], vec![2]]);
}

#[tokio::test]
async fn a_request_that_has_arrived_is_done_without_its_client() {
    let (server, mut client, epoch) = installed().await;
    server.freeze();
    tokio::select! {
        _ = call(&mut client, publish(SCHEMA, epoch, 1, vec![1])) => panic!("it is frozen"),
        () = until(|| server.requests_of("publish") > 0) => (),
    }
    server.cut_all();
    drop(client);
    assert_eq!(frames(&server), 0);
    server.thaw();
    until(|| frames(&server) == 1).await;
}

#[tokio::test]
async fn deadlocks_and_throttling_pass() {
    let (server, mut client, epoch) = installed().await;
    server.deadlocks(1);
    assert_eq!(number(call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await), 1205);
    assert_eq!(frames(&server), 0);
    call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.unwrap();

    server.throttle(3);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(number(call(&mut client, command!(SCHEMA, "positions")).await));
        client = connect(&server).await;
    }
    assert_eq!(numbers, [10928, 49918, 40501]);
    call(&mut client, command!(SCHEMA, "positions")).await.unwrap();
}

#[tokio::test]
async fn logins_are_refused_and_redirected() {
    let server = TestServer::launch().await.unwrap();
    let mut wrong = config(&server);
    wrong.authentication(tiberius::AuthMethod::sql_server(server.user(), "wrong"));
    assert_eq!(number(connect_with(wrong).await), 18456);
    let mut elsewhere = config(&server);
    elsewhere.database("elsewhere");
    assert_eq!(number(connect_with(elsewhere).await), 4060);
    server.refuse_logins(true);
    assert_eq!(number(connect_with(config(&server)).await), 18456);
    server.refuse_logins(false);
    server.route_logins(Some(("example.invalid", 1234)));
    match connect_with(config(&server)).await {
        Err(tiberius::error::Error::Routing { host, port }) => {
            assert_eq!((host.as_str(), port), ("example.invalid", 1234));
        }
        other => panic!("a redirection was expected, not {other:?}"),
    }
    server.route_logins(None);
    connect(&server).await;
}

#[tokio::test]
async fn a_failover_forgets_and_has_another_identity() {
    let (server, mut client, epoch) = installed().await;
    for number in 1..=5 {
        call(&mut client, publish(SCHEMA, epoch, number, vec![number as u8])).await.unwrap();
    }
    server.fail_over(2);
    assert!(call(&mut client, command!(SCHEMA, "positions")).await.is_err());
    assert_eq!(frames(&server), 3);
    assert_eq!(server.senders(SCHEMA), [(0, [1; 16], 3)]);
    let mut client = connect(&server).await;
    let results = call(&mut client, command!(SCHEMA, "positions")).await.unwrap();
    assert_eq!(results[0][0].get(5), Some(0_i32), "another store");

    let opening = |old: i64| command!(SCHEMA, "open_epoch", "@old": old, "@seen": epoch + 10_000_000_000, "@after_known": true);
    call(&mut client, opening(epoch)).await.unwrap();
    let opened = crate::support::epoch(&mut client, SCHEMA).await;
    assert_eq!(opened, epoch + 10_000_000_001);
    call(&mut client, opening(epoch)).await.unwrap();
    assert_eq!(crate::support::epoch(&mut client, SCHEMA).await, opened, "somebody else was first");
    let results = call(&mut client, command!(SCHEMA, "positions")).await.unwrap();
    assert_eq!(results[0][0].get(5), Some(1_i32));
    let last = results[2].iter().find(|row| row.get(1) == Some(opened)).unwrap();
    assert_eq!((last.get(0), last.get(3), last.get(4)), (Some(0_i16), Some(epoch), Some(3_i64)));
    assert_eq!(number(call(&mut client, publish(SCHEMA, epoch, 4, vec![4])).await), 50010);
    call(&mut client, publish(SCHEMA, opened, 4, vec![4])).await.unwrap();

    // A restore to a moment before the epoch: it is gone from all streams.
    server.roll_back(2);
    let mut client = connect(&server).await;
    let results = call(&mut client, command!(SCHEMA, "positions")).await.unwrap();
    assert_eq!((results[0][0].get(4), results[0][0].get(5)), (Some(epoch), Some(0_i32)));
    assert_eq!(results[2].len(), 2);
    assert_eq!(frames(&server), 3);
}

#[tokio::test]
async fn retention_and_age_are_made_to_pass() {
    let (server, mut client, epoch) = installed().await;
    for number in 1..=9 {
        call(&mut client, publish(SCHEMA, epoch, number, vec![0; 100])).await.unwrap();
    }
    let trim = |rows: i64, seconds: i32, bytes: i64, batch: i32, batches: i32| {
        command!(SCHEMA, "trim_0", "@keep_rows": rows, "@keep_seconds": seconds, "@keep_bytes": bytes,
            "@batch": batch, "@max_batches": batches)
    };
    let row = call(&mut client, trim(i64::MAX, 600, i64::MAX, 10, 1)).await.unwrap().remove(0).remove(0);
    assert_eq!((row.get(0), row.get(1)), (Some(0_i64), Some(false)));
    let row = call(&mut client, trim(7, 600, i64::MAX, 2, 1)).await.unwrap().remove(0).remove(0);
    assert_eq!((row.get(0), row.get(1)), (Some(2_i64), Some(true)));
    let row = call(&mut client, trim(100, 600, 500, 100, 9)).await.unwrap().remove(0).remove(0);
    assert_eq!((row.get(0), row.get(1)), (Some(3_i64), Some(false)));
    assert_eq!(server.log(SCHEMA, 0)[0].seq, 5);
    server.trim(3);
    assert_eq!(server.log(SCHEMA, 0).len(), 3);
    server.age_messages(Duration::from_secs(3600));
    call(&mut client, trim(100, 600, i64::MAX, 100, 9)).await.unwrap();
    assert_eq!(server.log(SCHEMA, 0).len(), 1, "the last row stays");

    let renew = || command!(SCHEMA, "renew", "@node": node(2), "@keep_seconds": 3600_i32);
    assert_eq!(call(&mut client, renew()).await.unwrap()[0][0].get(0), Some(0_i32));
    server.age(Duration::from_secs(4000));
    assert_eq!(call(&mut client, renew()).await.unwrap()[0][0].get(0), Some(1_i32));
    assert!(server.senders(SCHEMA).is_empty());
}

#[tokio::test]
async fn grants_versions_and_objects_go() {
    let (server, mut client, epoch) = installed().await;
    server.deny("publish");
    assert_eq!(number(call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await), 229);
    server.allow("publish");
    call(&mut client, publish(SCHEMA, epoch, 1, vec![1])).await.unwrap();
    assert!(server.set_version(SCHEMA, 7, 5));
    let results = call(&mut client, command!(SCHEMA, "positions")).await.unwrap();
    assert_eq!((results[0][0].get(0), results[0][0].get(1)), (Some(7_i32), Some(5_i32)));
    server.flush(SCHEMA);
    assert_eq!(number(call(&mut client, command!(SCHEMA, "positions")).await), 2812);
    assert!(!server.set_version(SCHEMA, 7, 5));
}
