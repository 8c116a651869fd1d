//! `check`: each fault is named, with its fix.

use scaleout_testkit::{needs_redis, servers::RedisServer};
use serde_json::Value;
use servicebus_emulator::Right;
use sqlserver_testserver::TestServer;

use crate::support::{Run, SECRET, redis, redis_url, scaleout, service_bus};

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
struct Expected {
    code: i32,
    subject: &'static str,
    /// A part of what was found, and one of its fix.
    what: &'static str,
    fix: &'static str,
}

/// Runs it in both forms, and looks for a finding.
async fn finds(name: &str, url: &str, severity: &str, expected: Expected) -> Run {
    let Expected { code, subject, what, fix } = expected;
    let args = ["check", url, "--timeout", "5s", "--probes", "1"];
    let run = scaleout(&[&args[..], &["--json"]].concat()).await;
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
    assert!(
        findings.iter().all(|finding| finding["severity"] == "ok" || finding["fix"].is_string()),
        "{json:#}"
    );
    if severity == "problem" {
        assert_eq!((&json["worst"], &json["round_trip"]), (&"problem".into(), &Value::Null), "{name}");
    }
    let text = scaleout(&args).await;
    assert_eq!(text.code, code, "{name}: {text:?}");
    let line = format!("{severity:<8} {subject:<12} ");
    assert!(text.out.contains(&line) && text.out.contains("fix: "), "{name}: {text:?}");
    text
}

#[tokio::test]
async fn a_redis_that_is_down_is_named() {
    needs_redis!();
    let (server, url) = redis().await;
    server.kill();
    let expected = Expected { code: 3, subject: "connection", what: "refused", fix: "" };
    finds("server down", &url, "problem", expected).await;
}

#[tokio::test]
async fn a_wrong_password_of_redis_is_named() {
    needs_redis!();
    let (server, _url) = redis().await;
    let wrong = redis_url(&server, &format!("not-{SECRET}"), "chat");
    let expected = Expected { code: 1, subject: "login", what: "password", fix: "password" };
    let run = finds("wrong password", &wrong, "problem", expected).await;
    assert!(run.err.contains("not measured"), "the probe is skipped, and that is said: {run:?}");
}

#[tokio::test]
async fn a_missing_right_of_redis_is_named() {
    needs_redis!();
    let user = format!("ada on >{SECRET} ~* &* +@all -xadd");
    let server = RedisServer::builder().acl([user.as_str()]).start().await.unwrap();
    let url = format!("redis://ada:{SECRET}@127.0.0.1:{}?app=chat", server.port());
    let expected = Expected { code: 1, subject: "permissions", what: "xadd", fix: "ACL SETUSER" };
    finds("missing ACL right", &url, "problem", expected).await;
}

#[tokio::test]
async fn another_stream_count_on_redis_is_named() {
    needs_redis!();
    let (_server, url) = redis().await;
    assert_eq!(scaleout(&["publish", &url, "room:42", "hello"]).await.code, 0);
    let other = format!("{url}&streams=8");
    let expected = Expected { code: 1, subject: "layout", what: "4", fix: "streams" };
    finds("stream count mismatch", &other, "problem", expected).await;
}
