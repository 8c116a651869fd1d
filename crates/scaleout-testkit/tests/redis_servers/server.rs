//! A standalone server.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    panic,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use redis::Value;
use scaleout_testkit::{needs_redis, servers::RedisServer};
use tokio::time::timeout;

use crate::{MOMENT, connect, eventually, run, runs, text};

#[tokio::test]
async fn a_server_is_gone_with_its_value() {
    needs_redis!();
    let server = RedisServer::builder().start().await.unwrap();
    let (pid, folder) = (server.pid().unwrap(), server.folder().to_owned());
    assert!(runs(pid) && folder.exists());
    server.freeze().unwrap();
    drop(server);
    assert!(!runs(pid) && !folder.exists());
}

#[tokio::test]
async fn a_server_is_gone_after_a_panic() {
    needs_redis!();
    let server = RedisServer::builder().start().await.unwrap();
    let (pid, folder) = (server.pid().unwrap(), server.folder().to_owned());
    let test = tokio::spawn(async move {
        let _server = server;
        // Not `panic!`, whose message would stand in the output as if this test had failed.
        panic::resume_unwind(Box::new(()));
    });
    assert!(test.await.unwrap_err().is_panic());
    assert!(!runs(pid) && !folder.exists());
}

/// Makes this test binary hold a server, for [`a_server_is_gone_with_its_process`].
const HOLD: &str = "SCALEOUT_TEST_HOLD_A_SERVER";

#[tokio::test]
async fn a_server_is_gone_with_its_process() {
    needs_redis!();
    if env::var_os(HOLD).is_some() {
        let server = RedisServer::builder().start().await.unwrap();
        eprintln!("\nserver {} {}", server.pid().unwrap(), server.folder().display());
        return std::future::pending().await;
    }
    let mut holder = Command::new(env::current_exe().unwrap());
    holder.args(["--exact", "server::a_server_is_gone_with_its_process", "--nocapture"]).env(HOLD, "1");
    let mut holder = holder.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    let line = lines.find_map(|line| line.unwrap().strip_prefix("server ").map(str::to_owned)).unwrap();
    let (pid, folder) = line.split_once(' ').unwrap();
    let (pid, folder) = (pid.parse().unwrap(), Path::new(folder));
    assert!(runs(pid) && folder.exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("the server and its folder are gone", async || !runs(pid) && !folder.exists()).await;
}

#[tokio::test]
async fn many_servers_start_at_once() {
    needs_redis!();
    let starts = (0..8).map(|_| RedisServer::builder().start());
    for server in futures_util::future::join_all(starts).await {
        let server = server.unwrap();
        let mut connection = connect(server.url()).await.unwrap();
        run(&mut connection, &format!("SET port {}", server.port())).await.unwrap();
        assert_eq!(server.command(&["GET", "port"]).await.unwrap(), text(&server.port().to_string()));
        let pid = server.info("process_id").await.unwrap().unwrap();
        assert_eq!(pid, server.pid().unwrap().to_string());
    }
}

#[tokio::test]
async fn data_survive_a_kill_only_with_an_append_only_file() {
    needs_redis!();
    for keeps in [true, false] {
        let builder = RedisServer::builder();
        let builder = if keeps { builder.appendonly() } else { builder };
        let server = builder.start().await.unwrap();
        let (port, pid) = (server.port(), server.pid());
        server.command(&["SET", "key", "value"]).await.unwrap();
        server.kill();
        assert!(server.pid().is_none() && connect(server.url()).await.is_err());
        server.start().await.unwrap();
        assert_eq!(server.port(), port);
        assert_ne!(server.pid(), pid);
        let expected = if keeps { text("value") } else { Value::Nil };
        assert_eq!(server.command(&["GET", "key"]).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_restart_keeps_or_loses_what_it_is_told_to() {
    needs_redis!();
    let server = RedisServer::builder().appendonly().start().await.unwrap();
    server.command(&["SET", "key", "value"]).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(server.command(&["GET", "key"]).await.unwrap(), text("value"));
    server.restart_empty().await.unwrap();
    assert_eq!(server.command(&["GET", "key"]).await.unwrap(), Value::Nil);
}

#[tokio::test]
async fn a_frozen_server_answers_when_it_is_thawed() {
    needs_redis!();
    let server = RedisServer::builder().start().await.unwrap();
    let mut connection = connect(server.url()).await.unwrap();
    server.freeze().unwrap();
    let mut ping = std::pin::pin!(run(&mut connection, "PING"));
    assert!(timeout(MOMENT, &mut ping).await.is_err());
    server.thaw().unwrap();
    ping.await.unwrap();
}

#[tokio::test]
async fn credentials_are_asked_for() {
    needs_redis!();
    let lines = ["user alice on >wonder ~app:* +@all", "ACL SETUSER bob on >builder ~* +get"];
    let server = RedisServer::builder().requirepass("secret").acl(lines).start().await.unwrap();
    let with = |credentials: &str| format!("redis://{credentials}127.0.0.1:{}", server.port());
    let error = |result: Result<Value, redis::RedisError>| result.unwrap_err().code().unwrap().to_owned();

    assert_eq!(error(run(&mut connect(with("")).await.unwrap(), "PING").await), "NOAUTH");
    assert!(connect(with(":wrong@")).await.is_err());
    run(&mut connect(with(":secret@")).await.unwrap(), "PING").await.unwrap();
    let mut alice = connect(with("alice:wonder@")).await.unwrap();
    run(&mut alice, "SET app:1 x").await.unwrap();
    assert_eq!(error(run(&mut alice, "SET other x").await), "NOPERM");
    let mut bob = connect(with("bob:builder@")).await.unwrap();
    assert_eq!(error(run(&mut bob, "SET app:1 x").await), "NOPERM");
}

#[tokio::test]
async fn the_default_user_can_be_switched_off() {
    needs_redis!();
    let server = RedisServer::builder().acl(["default off"]).start().await.unwrap();
    assert!(run(&mut connect(server.url()).await.unwrap(), "PING").await.is_err());
    server.command(&["PING"]).await.unwrap();
}

#[tokio::test]
async fn a_server_listens_on_a_unix_socket() {
    needs_redis!();
    let server = RedisServer::builder().start().await.unwrap();
    let url = format!("redis+unix://{}", server.unix_socket_path().display());
    run(&mut connect(url).await.unwrap(), "PING").await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    needs_redis!();
    let error = RedisServer::builder().config("maxmemory", "some").start().await.unwrap_err();
    assert!(error.to_string().contains("maxmemory some"), "{error}");
}

#[tokio::test]
async fn settings_reach_the_server() {
    needs_redis!();
    let server = RedisServer::builder().config("maxmemory", "3mb").start().await.unwrap();
    assert_eq!(server.info("maxmemory").await.unwrap().unwrap(), (3 * 1024 * 1024).to_string());
    // Tests may use `DEBUG`.
    server.command(&["DEBUG", "SLEEP", "0"]).await.unwrap();
}

#[tokio::test]
async fn the_control_connection_is_made_anew() {
    needs_redis!();
    let server = RedisServer::builder().start().await.unwrap();
    server.command(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "NO"]).await.unwrap();
    server.command(&["PING"]).await.unwrap();
}

#[tokio::test]
async fn the_last_frames_are_forgotten() {
    needs_redis!();
    let server = RedisServer::builder().appendonly().start().await.unwrap();
    let mut connection = connect(server.url()).await.unwrap();
    let (stream, last, meta) =
        ("scaleout:{chat:0}:stream:0", "scaleout:{chat:0}:last:0:5", "scaleout:{chat:0}:meta");
    // As a script does it.
    let open = "redis.call('XADD', KEYS[1], '5-0', 'o', 'x') redis.call('HSET', KEYS[2], '0', 'run')";
    let opening = redis::cmd("EVAL").arg(open).arg(2).arg(stream).arg(meta).to_owned();
    opening.query_async::<()>(&mut connection).await.unwrap();
    for number in 1..=5 {
        let mut frame = redis::pipe();
        frame.atomic();
        let xadd = ["XADD", stream, "NOMKSTREAM", "MINID", "~", "4-0", "5-*", "f", "payload"];
        xadd.iter().skip(1).fold(frame.cmd(xadd[0]), |command, word| command.arg(word));
        frame.cmd("HSET").arg(last).arg("node").arg(number);
        frame.query_async::<()>(&mut connection).await.unwrap();
    }
    server.command(&["SET", "other", "kept"]).await.unwrap();

    assert_eq!(server.forget_last(2).await.unwrap(), 2);
    let mut connection = connect(server.url()).await.unwrap();
    // The opening and three frames.
    assert_eq!(run(&mut connection, &format!("XLEN {stream}")).await.unwrap(), Value::Int(4));
    assert_eq!(run(&mut connection, &format!("HGET {last} node")).await.unwrap(), text("3"));
    assert_eq!(run(&mut connection, &format!("HGET {meta} 0")).await.unwrap(), text("run"));
    assert_eq!(run(&mut connection, "GET other").await.unwrap(), text("kept"));
    // The server goes on where the cut file ends.
    let next = run(&mut connection, &format!("XADD {stream} 5-* f x")).await.unwrap();
    assert_eq!(next, text("5-4"));

    assert_eq!(server.forget_last(9).await.unwrap(), 4);
    assert_eq!(server.command(&["XLEN", stream]).await.unwrap(), Value::Int(1));
}

#[tokio::test]
async fn a_stopped_server_ends_by_itself() {
    needs_redis!();
    let server = RedisServer::builder().start().await.unwrap();
    timeout(Duration::from_secs(20), server.stop()).await.unwrap().unwrap();
    let log = fs::read_to_string(server.folder().join("log")).unwrap();
    assert!(log.contains("SIGTERM"), "{log}");
    eventually("it starts again", async || server.start().await.is_ok()).await;
}
