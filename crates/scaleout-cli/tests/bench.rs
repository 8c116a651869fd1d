//! `scaleout bench`, as a process.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use scaleout::{BackplaneConfig, BusConfig, Received};
use scaleout_testkit::{needs_redis, servers::RedisServer};
use serde_json::Value;
use servicebus_emulator::Emulator;
use sqlserver_testserver::TestServer;
use tokio::{
    process::Command,
    time::{interval, timeout},
};

/// How long a measurement may take: machines are busy.
const DEADLINE: Duration = Duration::from_secs(180);

const SECRET: &str = "hunter2-of-the-bench";

/// What every line has.
const FIELDS: [&str; 24] = [
    "store",
    "size",
    "mode",
    "rate",
    "seconds",
    "runs",
    "nodes",
    "channels",
    "sound",
    "msgs_per_s",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "cpu_us_per_msg",
    "msgs_per_frame",
    "sent",
    "lost",
    "duplicates",
    "reordered",
    "gaps",
    "baseline_msgs_per_s",
    "ratio",
    "load_average",
];

fn bench(url: &str, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scaleout"));
    command.arg("bench").args(options).env("SCALEOUT_URL", url).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn ended(mut command: Command) -> Output {
    timeout(DEADLINE, command.output()).await.expect("it ends in time").expect("it runs")
}

/// The lines of a measurement that went well, which are all that it writes.
async fn lines(url: &str, options: &[&str]) -> Vec<Value> {
    let output = ended(bench(url, &[&["--json", "--seconds", "1", "--size", "64"], options].concat())).await;
    let (told, complaints) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}{complaints}");
    assert!(complaints.is_empty(), "{complaints}");
    let lines = told.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    lines.collect()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    assert!(!text.contains(SECRET), "a secret is told");
    text
}

/// That nothing is missing from the line, nor from what was measured.
fn check(line: &Value) {
    for field in FIELDS {
        assert!(line.get(field).is_some(), "{field} is missing: {line}");
    }
    for field in ["lost", "duplicates", "reordered", "gaps", "errors"] {
        assert_eq!(line[field], 0, "{field}: {line}");
    }
    assert_eq!(line["sound"], true);
    let nodes = line["nodes"].as_u64().expect("a number");
    assert_eq!(line["received"].as_u64(), line["sent"].as_u64().map(|sent| sent * nodes));
    assert!(line["msgs_per_s"].as_f64().expect("a speed") > 0.0);
    let at = |field: &str| line[field].as_f64().expect("a time");
    assert!(0.0 < at("p50_us") && at("p50_us") <= at("p99_us") && at("p99_us") <= at("p999_us"));
    let cpu = &line["cpu_us_per_msg"];
    assert!(cpu["publisher"].as_f64().expect("a time") > 0.0);
    assert_eq!(cpu["receivers"].as_array().map(Vec::len), Some(nodes as usize));
}

async fn redis() -> RedisServer {
    RedisServer::builder().requirepass(SECRET).start().await.expect("redis-server starts")
}

fn url_of(server: &RedisServer) -> String {
    format!("redis://:{SECRET}@127.0.0.1:{}?app=chat", server.port())
}

async fn redis_keys(server: &RedisServer) -> Vec<String> {
    redis_value(server, &["KEYS", "*"]).await
}

async fn redis_value<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    redis::from_redis_value(server.command(words).await.expect("it answers")).expect("what was asked for")
}

#[tokio::test]
async fn redis_is_measured_beside_bare_publish_subscribe_and_nothing_is_left() {
    needs_redis!();
    let server = redis().await;
    let lines = lines(&url_of(&server), &["--baseline"]).await;
    assert_eq!(lines.len(), 1);
    check(&lines[0]);
    assert_eq!((&lines[0]["store"], &lines[0]["mode"]), (&"redis".into(), &"enqueue".into()));
    assert_eq!((&lines[0]["size"], &lines[0]["baseline_lost"]), (&64.into(), &0.into()));
    assert!(lines[0]["baseline_msgs_per_s"].as_f64().expect("a speed") > 0.0);
    assert!(lines[0]["ratio"].as_f64().expect("a ratio") > 0.0);
    assert!(lines[0]["cpu_us_per_msg"]["store"].as_f64().expect("a time") > 0.0);
    assert!(lines[0]["msgs_per_frame"].as_f64().expect("frames are counted") > 1.0);
    assert_eq!(redis_keys(&server).await, [""; 0]);
}

#[tokio::test]
async fn latencies_at_a_rate_are_those_of_every_message() {
    needs_redis!();
    let server = redis().await;
    let options = ["--baseline", "--rate", "200", "--nodes", "2", "--channels", "3", "--size", "1000"];
    let lines = lines(&url_of(&server), &options[..]).await;
    assert_eq!(lines.iter().map(|line| line["size"].as_u64()).collect::<Vec<_>>(), [Some(64), Some(1_000)]);
    for line in &lines {
        check(line);
        assert_eq!((&line["mode"], &line["sent"]), (&"paced".into(), &200.into()));
        assert!(line["p50_ratio"].as_f64().expect("a ratio") > 0.0);
        assert!(line["confirm_p50_us"].as_f64().expect("a time") > 0.0);
    }
    assert_eq!(redis_keys(&server).await, [""; 0]);
}

#[tokio::test]
async fn nodes_of_the_app_hear_nothing_of_a_measurement() {
    needs_redis!();
    let server = redis().await;
    let url = url_of(&server);
    let settings: BackplaneConfig = url.parse().expect("a good URL");
    let bus = settings.bus(BusConfig::default()).expect("good settings").connect().await.expect("a server");
    let mut subscription = bus.subscribe(["bench:0", "bench:1"]);
    let lines = lines(&url, &["--publishers", "awaiting", "--in-flight", "32", "--channels", "2"]).await;
    check(&lines[0]);
    assert_eq!((&lines[0]["mode"], &lines[0]["in_flight"]), (&"awaiting".into(), &32.into()));
    assert!(lines[0]["ratio"].is_null(), "there was no baseline");
    bus.publish("bench:0", "of the app").await.expect("the app's streams are untouched");
    let Some(Received::Message(message)) = subscription.recv().await else { panic!("no message") };
    assert_eq!(message.payload(), "of the app");
    assert_eq!(bus.counters().foreign, 0);
    bus.close(DEADLINE).await;
}

#[tokio::test]
async fn sql_server_is_measured_beside_one_message_a_frame_and_no_schema_is_left() {
    let server = TestServer::launch().await.expect("a free port");
    let lines = lines(&server.url("chat"), &["--baseline"]).await;
    check(&lines[0]);
    assert_eq!(lines[0]["store"], "sqlserver");
    assert_eq!(lines[0]["baseline"], "one message a frame");
    assert!(lines[0]["baseline_msgs_per_s"].as_f64().expect("a speed") > 0.0);
    assert_eq!(server.schemas(), [""; 0]);
}

#[tokio::test]
async fn service_bus_is_measured_beside_one_message_a_frame_and_no_topic_is_left() {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let lines = lines(&format!("{};App=chat", emulator.connection_string()), &["--baseline"]).await;
    check(&lines[0]);
    assert_eq!(lines[0]["store"], "servicebus");
    assert_eq!(lines[0]["baseline"], "one message a frame");
    assert!(lines[0]["baseline_msgs_per_s"].as_f64().expect("a speed") > 0.0);
    assert!(emulator.namespace().topics(0, 100).is_empty());
}

#[tokio::test]
async fn a_run_that_lost_messages_shows_no_speed_and_fails() {
    needs_redis!();
    let server = redis().await;
    let options = ["--json", "--seconds", "2", "--size", "64"];
    let mut measuring = std::pin::pin!(ended(bench(&url_of(&server), &options)));
    let mut pace = interval(Duration::from_millis(1));
    let output = loop {
        tokio::select! {
            output = &mut measuring => break output,
            _ = pace.tick() => {}
        }
        for key in redis_keys(&server).await.iter().filter(|key| key.contains(":stream:")) {
            // Not before messages flow: what opens a node is another matter.
            if redis_value::<u64>(&server, &["XLEN", key]).await > 20 {
                let _: i64 = redis_value(&server, &["XTRIM", key, "MAXLEN", "0"]).await;
            }
        }
    };
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let line: Value = serde_json::from_str(&text(&output.stdout)).expect("a line of JSON");
    assert_eq!((&line["sound"], line["msgs_per_s"].is_null()), (&false.into(), true), "{line}");
    assert!(line["p50_us"].is_null() && line["ratio"].is_null(), "{line}");
    assert!(line["gaps"].as_u64().expect("a number") > 0 && line["trouble"].is_string(), "{line}");
}

#[tokio::test]
async fn ctrl_c_ends_all_processes_and_leaves_nothing_and_none_of_them_shows_a_secret() {
    needs_redis!();
    let server = redis().await;
    let url = url_of(&server);
    let mut child = bench(&url, &["--seconds", "600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was just built");
    let id = child.id().expect("it runs").to_string();
    let flowing = async {
        let mut pace = interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            for key in redis_keys(&server).await.iter().filter(|key| key.contains(":stream:")) {
                if redis_value::<u64>(&server, &["XLEN", key]).await > 100 {
                    return;
                }
            }
        }
    };
    timeout(DEADLINE, flowing).await.expect("messages flow");

    let processes = Command::new("ps").args(["-ww", "-eo", "pid=,ppid=,args="]).output().await;
    let processes = text(&processes.expect("ps is on every Unix").stdout);
    let is_node = |line: &&str| line.split_whitespace().nth(1) == Some(&id);
    let nodes: Vec<String> = processes
        .lines()
        .filter(is_node)
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert_eq!(nodes.len(), 2, "{processes}");

    let status = Command::new("kill").args(["-INT", &id]).status().await.expect("kill is on every Unix");
    assert!(status.success());
    let ended =
        timeout(DEADLINE, child.wait()).await.expect("it ends in time").expect("it can be waited for");
    assert_eq!(ended.code(), Some(130));
    assert_eq!(redis_keys(&server).await, [""; 0]);
    for node in nodes {
        let lives = Command::new("ps").args(["-p", &node]).stdout(Stdio::null()).status().await;
        assert!(!lives.expect("ps is on every Unix").success(), "process {node} is still there");
    }
    let output = child.wait_with_output().await.expect("its output");
    assert!(text(&output.stdout).is_empty());
    assert!(text(&output.stderr).contains("interrupted"));
}

#[tokio::test]
async fn what_cannot_be_measured_is_told_without_secrets() {
    for (url, options, code, problem) in [
        ("memory:chat?app=chat", &[][..], 2, "memory:"),
        ("nats://ada:hunter2-of-the-bench@localhost", &[], 2, "nats"),
        ("redis://:hunter2-of-the-bench@localhost?app=chat&colour=red", &[], 2, "colour"),
        ("redis://:hunter2-of-the-bench@localhost?app=chat", &["--size", "64,8"], 2, "16"),
        ("redis://:hunter2-of-the-bench@localhost?app=chat", &["--nodes", "0"], 2, "--nodes"),
    ] {
        let output = ended(bench(url, options)).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(problem), "{told}");
        assert!(text(&output.stdout).is_empty());
    }
}

#[tokio::test]
async fn a_login_that_is_refused_ends_it_at_once() {
    needs_redis!();
    let server = RedisServer::builder().requirepass("another").start().await.expect("redis-server starts");
    let url = format!("redis://:{SECRET}@127.0.0.1:{}?app=chat", server.port());
    let output = ended(bench(&url, &["--json"])).await;
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_str(&text(&output.stderr)).expect("an error as JSON");
    assert_eq!(told["kind"], "unauthorized", "{told}");
    assert!(text(&output.stdout).is_empty());
}

#[tokio::test]
async fn a_picture_shows_what_was_measured() {
    needs_redis!();
    let server = redis().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bench.svg");
    let path = path.to_str().expect("UTF-8");
    let url = url_of(&server);
    let output = ended(bench(&url, &["--seconds", "1", "--size", "64", "--baseline", "--plot", path])).await;
    let told = text(&output.stdout);
    assert!(output.status.success(), "{told}{}", text(&output.stderr));
    assert!(told.contains("messages/s") && told.contains("bare PUBLISH, pipelines of 64"), "{told}");
    let picture = std::fs::read_to_string(path).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"), "{picture}");
    assert_eq!(picture.matches("<rect x=").count(), 2, "{picture}");
}
