//! `check`: each fault is named, with its fix.

use std::time::Duration;

use scaleout_testkit::{needs_redis, servers::FakeRedis};
use serde_json::Value;
use servicebus_emulator::{Emulator, Right, TopicProperties};
use sqlserver_testserver::TestServer;

use crate::support::{SECRET, redis, redis_url, scaleout, service_bus};

#[tokio::test]
async fn a_healthy_redis_has_no_problem() {
    needs_redis!();
    let (_server, url) = redis().await;
    is_healthy(&url).await;
}

#[tokio::test]
async fn a_healthy_sql_server_has_no_problem() {
    let server = TestServer::builder().broker(true).start().await.unwrap();
    is_healthy(&server.url("chat")).await;
}

#[tokio::test]
async fn a_healthy_service_bus_has_no_problem() {
    let (_emulator, url) = service_bus(&[Right::Manage]).await;
    is_healthy(&url).await;
}

async fn is_healthy(url: &str) {
    let text = scaleout(&["check", url, "--probes", "20"]).await;
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.out.lines().any(|line| line.starts_with("ok       round trip   p50 ")), "{text:?}");
    assert!(!text.out.lines().any(|line| line.starts_with("problem")), "{text:?}");
    let json = scaleout(&["check", url, "--probes", "20", "--json"]).await.json();
    assert_ne!(json["worst"], "problem");
    assert_eq!((&json["app"], &json["round_trip"]["lost"]), (&"chat".into(), &0.into()), "{json}");
    let of = |field: &str| json["round_trip"][field].as_u64().unwrap();
    assert!(0 < of("p50_us") && of("p50_us") <= of("p99_us") && of("p99_us") <= of("max_us"), "{json}");
    assert!(of("streams") >= 1 && of("probes") == 20, "{json}");
    let quick = scaleout(&["check", url, "--no-probe", "--json"]).await.json();
    assert_eq!(quick["round_trip"], Value::Null, "{quick}");
}

/// What `check` must say of a store.
struct Fault {
    name: &'static str,
    severity: &'static str,
    subject: &'static str,
    /// A part of what was found, and one of its fix.
    what: &'static str,
    fix: &'static str,
    code: i32,
}

/// What makes nodes fail.
const fn problem(name: &'static str, subject: &'static str, what: &'static str, fix: &'static str) -> Fault {
    Fault { name, severity: "problem", subject, what, fix, code: 1 }
}

/// What nodes live with.
const fn warning(name: &'static str, subject: &'static str, what: &'static str, fix: &'static str) -> Fault {
    Fault { name, severity: "warning", subject, what, fix, code: 0 }
}

/// Runs it in both forms, and looks for the finding.
async fn finds(fault: Fault, url: &str) {
    let Fault { name, severity, subject, what, fix, code } = fault;
    let args = ["check", url, "--timeout", "20s", "--probes", "1", "--no-probe"];
    // What is a warning is one whether nodes connect or not; a problem is what keeps them from it.
    let args = if severity == "problem" { &args[..6] } else { &args[..] };
    let run = scaleout(&[args, &["--json"]].concat()).await;
    assert_eq!(run.code, code, "{name}: {run:?}");
    let json = run.json();
    let is_it = |finding: &&Value| {
        let has = |field: &str, part: &str| finding[field].as_str().is_some_and(|text| text.contains(part));
        finding["severity"] == severity
            && finding["subject"] == subject
            && has("what", what)
            && has("fix", fix)
    };
    let findings = json["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| is_it(&finding)), "{name}: {json:#}");
    // Nothing that is wrong is told without a fix.
    let has_fix = |finding: &Value| finding["severity"] == "ok" || finding["fix"].is_string();
    assert!(findings.iter().all(has_fix), "{name}: {json:#}");
    assert_eq!((&json["worst"], &json["round_trip"]), (&severity.into(), &Value::Null), "{name}: {json:#}");

    let text = scaleout(args).await;
    assert_eq!(text.code, code, "{name}: {text:?}");
    let line = format!("{severity:<8} {subject:<12} ");
    assert!(text.out.lines().any(|told| told.starts_with(&line)), "{name}: {text:?}");
    assert!(text.out.contains("fix: "), "{name}: {text:?}");
    let is_skipped = text.err.contains("round trips are not measured");
    assert_eq!(is_skipped, severity == "problem", "{name}: {text:?}");
    if severity == "warning" {
        assert_eq!(scaleout(&[args, &["--strict"]].concat()).await.code, 1, "{name}");
    }
}

#[tokio::test]
async fn each_fault_of_redis_is_named_with_its_fix() {
    needs_redis!();
    let (server, url) = redis().await;
    let wrong = redis_url(&server, &format!("not-{SECRET}"), "chat");
    finds(problem("wrong password", "login", "password", "password"), &wrong).await;

    server
        .command(&["ACL", "SETUSER", "ada", "on", &format!(">{SECRET}"), "~*", "&*", "+@all", "-xadd"])
        .await
        .unwrap();
    let ada = url.replace("redis://:", "redis://ada:");
    finds(problem("missing ACL right", "permissions", "xadd", "ACL SETUSER ada +xadd"), &ada).await;

    assert_eq!(scaleout(&["publish", &url, "room:42", "hello"]).await.code, 0);
    let eight = format!("{url}&streams=8");
    finds(problem("stream count mismatch", "layout", "streams=8", "streams=4"), &eight).await;

    let shop = redis_url(&server, SECRET, "shop");
    server.command(&["HSET", "scaleout:{shop:0}:meta", "layout", "v9 lanes=3"]).await.unwrap();
    finds(problem("another layout", "layout", "v9 lanes=3", "release"), &shop).await;

    let old = FakeRedis::start("redis_version:6.2.14\r\nredis_mode:standalone\r\n", 0).await.unwrap();
    let of_old = format!("{}?app=chat", old.url());
    finds(problem("Redis 6", "version", "6.2.14", "Redis 7.0 or later"), &of_old).await;
    let late = FakeRedis::start("redis_version:7.2.5\r\nrole:master\r\n", 90).await.unwrap();
    let of_late = format!("{}?app=chat", late.url());
    finds(warning("wrong clock", "clock", "ahead of", "NTP"), &of_late).await;

    server.kill();
    finds(Fault { code: 3, ..problem("server down", "connection", "refused", "PING") }, &url).await;
}

#[tokio::test]
async fn each_fault_of_sql_server_is_named_with_its_fix() {
    let server = TestServer::builder().broker(true).start().await.unwrap();
    let url = server.url("chat");
    let wrong = url.replace(server.password(), SECRET);
    assert_ne!(wrong, url);
    finds(problem("wrong password", "login", "password", "ALTER LOGIN"), &wrong).await;
    server.revoke("CREATE TABLE");
    finds(problem("missing grant", "permissions", "CREATE TABLE", "GRANT CREATE TABLE TO"), &url).await;
    server.grant("CREATE TABLE");

    assert_eq!(scaleout(&["publish", &url, "room:42", "hello"]).await.code, 0);
    server.deny("publish");
    finds(problem("missing grant", "permissions", "publish_0", "GRANT EXECUTE ON SCHEMA::[scaleout]"), &url)
        .await;
    server.allow("publish");
    let five = format!("{url}&table_count=5");
    finds(problem("table count mismatch", "layout", "4 message tables", "table_count=4"), &five).await;
    finds(problem("another app", "layout", "belongs to the app chat", "schema"), &server.url("shop")).await;
    server.set_clock(Duration::from_secs(7_200), true);
    finds(warning("wrong clock", "clock", "behind", "timedatectl"), &url).await;
    server.set_clock(Duration::ZERO, false);
    server.stop().await;
    finds(Fault { code: 3, ..problem("server down", "connection", "127.0.0.1", "start the server") }, &url)
        .await;

    let silent = TestServer::builder().broker(false).start().await.unwrap();
    let fault = warning("broker disabled", "broker", "Service Broker is off", "SET ENABLE_BROKER");
    finds(fault, &silent.url("chat")).await;
}

#[tokio::test]
async fn each_fault_of_service_bus_is_named_with_its_fix() {
    let builder = Emulator::builder().key("owner", SECRET, &[Right::Manage]);
    let emulator = builder.key("few", SECRET, &[Right::Send, Right::Listen]).start().await.unwrap();
    let of = |policy, key: &str| format!("{};App=chat", emulator.connection_string_of(policy, key));
    let (url, wrong) = (of("owner", SECRET), of("owner", &format!("not-{SECRET}")));
    finds(problem("wrong key", "login", "key", "key"), &wrong).await;
    finds(
        problem("key without Manage", "permissions", "lacks the right Manage", "--rights Manage"),
        &of("few", SECRET),
    )
    .await;

    emulator.namespace().create_topic("scaleout-chat-0", TopicProperties::default()).unwrap();
    let fault = warning(
        "topic without duplicate detection",
        "entities",
        "topic scaleout-chat-0 does not detect duplicates",
        "--enable-duplicate-detection true",
    );
    let one = format!("{url};TopicCount=1");
    finds(fault, &one).await;
    emulator.namespace().set_clock(7_200);
    finds(problem("wrong clock", "clock", "expired", "timedatectl"), &one).await;
    emulator.namespace().set_clock(0);

    let shop = format!("{};App=shop", emulator.connection_string_of("owner", SECRET));
    assert_eq!(scaleout(&["publish", &shop, "room:42", "hello"]).await.code, 0);
    let more = format!("{shop};TopicCount=2");
    finds(problem("topic count mismatch", "layout", "topic_count is 2", "on all nodes"), &more).await;
    let down = url.clone();
    emulator.stop().await;
    finds(Fault { code: 3, ..problem("server down", "connection", "127.0.0.1", "") }, &down).await;
}
