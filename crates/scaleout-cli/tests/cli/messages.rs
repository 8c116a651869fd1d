//! `tail` and `publish`, of several processes.

use scaleout_testkit::needs_redis;
use serde_json::Value;

use servicebus_emulator::Right;
use sqlserver_testserver::TestServer;

use crate::support::{PATIENCE, Running, SECRET, redis, redis_url, scaleout, scaleout_with, service_bus};

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn what_one_process_publishes_another_shows() {
    needs_redis!();
    let (_server, url) = redis().await;
    publish_and_tail(&url).await;
}

#[tokio::test]
async fn what_one_process_publishes_another_shows_over_sql_server() {
    let server = TestServer::builder().broker(true).start().await.unwrap();
    publish_and_tail(&server.url("chat")).await;
}

#[tokio::test]
async fn what_one_process_publishes_another_shows_over_service_bus() {
    let (_emulator, url) = service_bus(&[Right::Manage]).await;
    publish_and_tail(&url).await;
}

async fn publish_and_tail(url: &str) {
    let mut tail = Running::start(&["tail", "--json", "--log", "info", url, "room:42", "room:43"]);
    let mut text = Running::start(&["tail", "--count", "3", url, "room:42", "room:43"]);
    text.wait_told("listening").await;
    // With --json nothing but errors is on stderr, and what --log asks for: a first message shows that it listens.
    let mut heard = None;
    while heard.is_none() {
        assert_eq!(scaleout(&["publish", url, "room:43", "is anybody there?"]).await.code, 0);
        heard = tokio::time::timeout(PATIENCE / 30, tail.line()).await.ok();
    }
    let run = scaleout(&["publish", url, "room:42", "hello"]).await;
    assert_eq!((run.code, run.out.as_str()), (0, "the store has 1 message to room:42\n"), "{run:?}");
    let mut line = parsed(&heard.flatten().expect("it goes on"));
    while line["payload"] != "hello" {
        line = parsed(&tail.line().await.expect("it goes on"));
    }
    assert_eq!((&line["type"], &line["channel"]), (&"message".into(), &"room:42".into()), "{line}");
    for field in ["cursor", "node", "sent_at"] {
        assert!(line[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {line}");
    }
    assert!(line["stream"].is_u64() && line["position"]["id"].is_u64(), "{line}");
    tail.signal("INT").await;
    let end = parsed(&tail.line().await.expect("its end is told"));
    assert_eq!(end["type"], "end");
    assert!(end["cursor"].is_string() && end["messages"].as_u64() >= Some(2), "{end}");
    assert_eq!((tail.line().await, tail.code().await), (None, 0));

    drop(scaleout(&["publish", url, "room:42", "the last"]).await);
    let line = text.line().await.unwrap();
    assert!(line.ends_with(" room:43 is anybody there?"), "{line}");
}

#[tokio::test]
async fn a_store_that_goes_away_and_comes_back_is_told() {
    needs_redis!();
    let (server, url) = redis().await;
    let mut tail = Running::start(&["tail", "--json", &url, "room:42"]);
    let mut text = Running::start(&["tail", "--count", "1", &url, "room:42"]);
    text.wait_told("listening").await;
    let mut heard = None;
    while heard.is_none() {
        assert_eq!(scaleout(&["publish", &url, "room:42", "is anybody there?"]).await.code, 0);
        heard = tokio::time::timeout(PATIENCE / 30, tail.line()).await.ok();
    }
    server.stop().await.unwrap();
    let state = async |tail: &mut Running| {
        loop {
            let line = parsed(&tail.line().await.expect("it goes on"));
            if line["type"] == "state" {
                return line;
            }
        }
    };
    let down = state(&mut tail).await;
    assert_eq!(down["up"], false);
    assert!(
        down["error"].as_str().is_some_and(|error| !error.is_empty() && !error.contains(SECRET)),
        "{down}"
    );
    server.start().await.unwrap();
    let up = state(&mut tail).await;
    assert!(up["up"] == true && up["error"].is_null(), "{up}");
}

#[tokio::test]
async fn a_cursor_goes_on_where_an_earlier_run_ended() {
    needs_redis!();
    let (_server, url) = redis().await;
    let publish = scaleout_with(&["publish", &url, "room:42", "-"], &[], "one\ntwo\r\nthree").await;
    assert_eq!(publish.out, "the store has 3 messages to room:42\n", "{publish:?}");

    let first = scaleout(&["tail", &url, "room:42", "--from", "start", "--count", "2"]).await;
    assert_eq!(first.code, 0, "{first:?}");
    let lines: Vec<_> = first.out.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(lines, ["one", "two"]);
    let (_, cursor) = first.err.trim_end().rsplit_once("--from ").expect("a cursor is told");

    let publish = scaleout(&["publish", &url, "room:42", "four", "--json"]).await.json();
    assert_eq!((&publish["messages"], &publish["bytes"]), (&1.into(), &4.into()));
    let second = scaleout(&["tail", &url, "room:42", "--from", cursor, "--count", "2", "--json"]).await;
    let lines: Vec<_> = second.out.lines().map(parsed).collect();
    assert_eq!(lines.len(), 3, "{second:?}");
    assert_eq!((&lines[0]["payload"], &lines[1]["payload"]), (&"three".into(), &"four".into()));
    // Each line has where to go on as well.
    let cursor = lines[0]["cursor"].as_str().unwrap();
    let third = scaleout(&["tail", &url, "room:42", "--from", cursor, "--count", "1", "--raw"]).await;
    assert_eq!(third.out, "four\n");
}

#[tokio::test]
async fn what_is_no_longer_there_is_told_as_a_gap() {
    needs_redis!();
    let (server, url) = redis().await;
    assert_eq!(scaleout(&["publish", &url, "room:42", "one"]).await.code, 0);
    let first = scaleout(&["tail", &url, "room:42", "--from", "start", "--count", "1", "--json"]).await;
    let cursor = parsed(first.out.lines().next().unwrap())["cursor"].as_str().unwrap().to_owned();
    // Another history: the store was emptied.
    server.restart_empty().await.unwrap();
    let mut tail = Running::start(&["tail", &url, "room:42", "--from", &cursor, "--json", "--count", "1"]);
    let gap = parsed(&tail.line().await.expect("a gap"));
    assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"reset".into()), "{gap}");
    assert!(gap["cursor"].is_string(), "{gap}");
    assert_eq!(scaleout(&["publish", &url, "room:42", "two"]).await.code, 0);
    assert_eq!(parsed(&tail.line().await.unwrap())["payload"], "two");
}

#[tokio::test]
async fn payloads_are_shown_as_they_can_be() {
    needs_redis!();
    let (_server, url) = redis().await;
    let variables = [("SCALEOUT_URL", url.as_str())];
    let run = scaleout_with(&["publish", "--whole", "room:42"], &variables, "two\nlines\x1b[31m\n").await;
    assert_eq!((run.code, run.out.as_str()), (0, "the store has 1 message to room:42\n"), "{run:?}");
    // Bytes that are no text, as only a library can send here.
    let bus = scaleout::connect(&url).await.unwrap();
    bus.publish("room:42", &[0xFF, 0x00][..]).await.unwrap();
    bus.close(PATIENCE).await;

    let args = ["tail", "room:42", "--from", "start", "--count", "2"];
    let text = scaleout_with(&args, &variables, "").await;
    assert!(text.out.contains("room:42 two\\nlines\\u{1b}[31m\\n\n"), "{text:?}");
    assert!(text.out.contains("room:42 base64:/wA=\n"), "{text:?}");
    let json = scaleout_with(&[&args[..], &["--json"]].concat(), &variables, "").await;
    let lines: Vec<_> = json.out.lines().map(parsed).collect();
    assert_eq!(lines[0]["payload"], "two\nlines\x1b[31m\n");
    assert_eq!((&lines[1]["payload_base64"], &lines[1]["payload"]), (&"/wA=".into(), &Value::Null));
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_is_no_panic() {
    needs_redis!();
    let (_server, url) = redis().await;
    let mut tail = Running::start(&["tail", &url, "room:42"]);
    tail.wait_told("listening").await;
    let (mut child, mut err) = tail.close_stdout();
    assert_eq!(scaleout(&["publish", &url, "room:42", "hello"]).await.code, 0);
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
    let mut told = String::new();
    while let Some(line) = err.next_line().await.unwrap() {
        told += &line;
    }
    assert_eq!(told, "", "there is nobody to tell");
}

#[tokio::test]
async fn whoever_is_interrupted_before_it_is_done_ends_with_130() {
    let interrupted_by = ["INT", "TERM", "INT", "INT", "INT"].into_iter();
    let commands = [
        &["check"][..],
        &["tail", "room:42"],
        &["publish", "room:42", "hello"],
        &["nodes"],
        &["clean", "--app", "chat", "--dry-run"],
    ];
    for (words, signal) in commands.into_iter().zip(interrupted_by) {
        // The listener of a kernel, with nobody who answers: who connects has begun.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}?app=chat", silent.local_addr().unwrap());
        let args = [&words[..1], &[url.as_str()], &words[1..]].concat();
        let mut running = Running::start(&args);
        let accepted = tokio::task::spawn_blocking(move || (silent.accept(), silent));
        let _held = tokio::time::timeout(PATIENCE, accepted).await.expect("it connects").unwrap();
        running.signal(signal).await;
        assert_eq!(running.told().await.as_deref(), Some("error: interrupted"), "{args:?}");
        assert_eq!(running.code().await, 130, "{args:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_code_3_and_a_wrong_password_code_1() {
    needs_redis!();
    let (server, url) = redis().await;
    let wrong = redis_url(&server, &format!("not-{SECRET}"), "chat");
    for args in [&["publish", &wrong, "a", "b"][..], &["tail", &wrong, "a"], &["nodes", &wrong]] {
        let run = scaleout(args).await;
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{run:?}");
        assert!(run.err.contains("password"), "{run:?}");
        let error = scaleout(&[args, &["--json"]].concat()).await.error();
        assert_eq!((&error["kind"], &error["exit_code"]), (&"unauthorized".into(), &1.into()), "{error}");
    }
    server.kill();
    for args in [&["publish", &url, "a", "b"][..], &["tail", &url, "a"], &["nodes", &url]] {
        let run = scaleout(&[args, &["--timeout", "2s"]].concat()).await;
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
        let error = scaleout(&[args, &["--timeout", "2s", "--json"]].concat()).await.error();
        assert_eq!(error["exit_code"], 3, "{error}");
    }
}
