//! What an examination finds out about servers that have something wrong, and what an app leaves there.

mod support;

use std::time::Duration;

use bytes::Bytes;
use scaleout_core::{Finding, FrameId, NodeId, Remnant, Severity, StreamIndex};
use scaleout_redis::{RedisConfig, TlsConfig};
use scaleout_testkit::{
    needs_redis,
    servers::{FakeRedis, RedisCluster, RedisSentinels, RedisServer, TestCa},
};
use tokio::net::TcpListener;

use self::support::{config_of, node};

const SECRET: &str = "hunter2-secret";

/// What is found, which has a fix wherever there is something to mend, and shows no secret.
async fn examine(config: &RedisConfig) -> Vec<Finding> {
    let findings = config.examine().await;
    for finding in &findings {
        assert_eq!(finding.fix.is_some(), finding.severity != Severity::Ok, "{finding}");
        let text = format!("{finding} {finding:?}");
        assert!(!text.contains(SECRET) && !finding.what.contains('\n'), "{finding}");
    }
    assert!(!findings.is_empty());
    findings
}

/// The only finding that is not ok.
#[track_caller]
fn only(findings: &[Finding]) -> &Finding {
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    let [only] = wrong[..] else { panic!("one thing is wrong, and found was {findings:#?}") };
    only
}

#[track_caller]
fn assert_found(finding: &Finding, severity: Severity, subject: &str, what: &str, fix: &str) {
    let told = finding.fix.as_deref().unwrap_or_default();
    let is_as_told = finding.severity == severity && finding.subject == subject;
    assert!(is_as_told && finding.what.contains(what) && told.contains(fix), "{finding}");
}

async fn start() -> RedisServer {
    RedisServer::builder().start().await.expect("a server")
}

fn config(server: &RedisServer) -> RedisConfig {
    config_of(&server.url(), "app")
}

async fn command(server: &RedisServer, words: &[&str]) {
    server.command(words).await.expect("the server obeys");
}

/// Makes the streams of an app, and leaves `frames` on the first one.
async fn run_a_node(config: RedisConfig, frames: u64) {
    let backplane = node(config);
    let id = NodeId::random();
    for stream in 0..backplane.stream_count().get() {
        let probe = FrameId { node: id, number: 0, after: 0 };
        backplane.send(StreamIndex(stream), probe, Bytes::new()).await.expect("a server that takes it");
    }
    for number in 1..=frames {
        let frame = FrameId { node: id, number, after: number - 1 };
        let payload = Bytes::from_static(b"frame");
        backplane.send(StreamIndex(0), frame, payload).await.expect("a server that takes it");
    }
    backplane.close().await.expect("it closes");
}

/// All keys of a server, with their values.
async fn dump(server: &RedisServer) -> Vec<(String, Vec<u8>)> {
    let keys: Vec<String> =
        redis::from_redis_value(server.command(&["KEYS", "*"]).await.expect("keys")).expect("keys");
    let mut dump = Vec::new();
    for key in keys {
        let value = server.command(&["DUMP", &key]).await.expect("a value");
        dump.push((key, redis::from_redis_value(value).expect("bytes")));
    }
    dump.sort();
    dump
}

#[tokio::test]
async fn a_healthy_server_is_ok_in_every_respect_and_nothing_changes() {
    needs_redis!();
    let server = start().await;
    let findings = examine(&config(&server)).await;
    let subjects: Vec<_> = findings.iter().map(|finding| finding.subject).collect();
    assert_eq!(
        subjects,
        ["connection", "login", "version", "permissions", "layout", "clock", "retention"],
        "{findings:#?}"
    );
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
    assert!(findings[4].what.contains("nothing is there yet"), "{findings:#?}");
    assert_eq!(dump(&server).await, [], "an examination left something");

    run_a_node(config(&server), 3).await;
    let before = dump(&server).await;
    let findings = examine(&config(&server)).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
    // An opening for each stream, and the frames.
    assert!(findings[4].what.contains("4 streams as in the settings, and 7 entries"), "{findings:#?}");
    assert_eq!(dump(&server).await, before, "an examination changed something");
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_before_anybody_is_asked() {
    let config = config_of("redis://127.0.0.1:1", "app").with_max_payload_bytes(0);
    let findings = examine(&config).await;
    assert_found(only(&findings), Severity::Problem, "settings", "max_payload_bytes is 0", "change");
}

#[tokio::test]
async fn a_server_that_is_down_or_has_no_address_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound").port();
    let config = config_of(&format!("redis://:{SECRET}@127.0.0.1:{port}"), "app");
    let findings = examine(&config).await;
    let fix = format!("redis-cli -h 127.0.0.1 -p {port} PING");
    assert_found(only(&findings), Severity::Problem, "connection", "refused", &fix);
    assert_eq!(findings.len(), 1);

    let findings = examine(&config_of("redis://nobody.invalid:6379", "app")).await;
    assert_found(only(&findings), Severity::Problem, "connection", "nobody.invalid", "nobody.invalid");

    // The listener of a kernel, with nobody who answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("bound");
    let config = config_of(&format!("redis://:{SECRET}@{address}"), "app")
        .with_connect_timeout(Duration::from_millis(100));
    let findings = examine(&config).await;
    assert_found(only(&findings), Severity::Problem, "connection", "connect_timeout", "PING");
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_one_are_told() {
    needs_redis!();
    let server = RedisServer::builder().requirepass("right").start().await.expect("a server");
    let wrong = config(&server).with_password(SECRET);
    let findings = examine(&wrong).await;
    assert_found(only(&findings), Severity::Problem, "login", "refuses the user or the password", "password");
    assert_eq!(findings.len(), 1, "a wrong password hides the rest: {findings:#?}");
    let findings = examine(&wrong.clone().with_username("alice")).await;
    assert_found(only(&findings), Severity::Problem, "login", "refuses", "ACL SETUSER alice on >PASSWORD");
    let findings = examine(&config(&server)).await;
    assert_found(only(&findings), Severity::Problem, "login", "wants a password", ":password@");
    assert!(findings.iter().all(|finding| finding.severity != Severity::Ok || finding.subject != "login"));
}

#[tokio::test]
async fn each_missing_right_is_told_with_the_line_that_grants_it() {
    needs_redis!();
    let server = start().await;
    let config = config(&server).with_username("alice").with_password(SECRET);
    let password = format!(">{SECRET}");
    let keys = "~scaleout:{app:*}*";
    command(&server, &["ACL", "SETUSER", "alice", "on", &password, "resetkeys", keys, "-@all"]).await;
    // Everything is missing: what is told is granted, until nothing is missing.
    let findings = examine(&config).await;
    let missing: Vec<_> = findings.iter().filter(|finding| finding.subject == "permissions").collect();
    for right in ["info", "eval", "multi", "exec", "hset", "xadd", "xread", "xinfo|stream", "time", "set"] {
        let fix = format!("ACL SETUSER alice +{right}");
        let of = missing.iter().filter(|finding| finding.fix.as_deref() == Some(&fix)).count();
        assert_eq!(of, 1, "{right}: {findings:#?}");
    }
    assert!(findings.iter().all(|finding| finding.subject != "layout"), "nobody could look: {findings:#?}");
    let optional: Vec<_> = missing.iter().filter(|finding| finding.severity == Severity::Warning).collect();
    assert_eq!(optional.len(), 5, "what is optional is a warning: {findings:#?}");
    for finding in missing {
        let fix = finding.fix.as_deref().expect("a fix");
        command(&server, &fix.split(' ').collect::<Vec<_>>()).await;
    }
    let findings = examine(&config).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
    run_a_node(config.clone(), 1).await;

    for (lost, told, fix) in [
        ("-xadd", "may not run \"xadd\"", "ACL SETUSER alice +xadd"),
        ("-exec", "may not run \"exec\"", "ACL SETUSER alice +exec"),
        ("-info", "may not run \"info\"", "ACL SETUSER alice +info"),
        ("resetkeys", "may not read and write the keys", "ACL SETUSER alice ~scaleout:{app:*}*"),
    ] {
        command(&server, &["ACL", "SETUSER", "alice", lost]).await;
        let findings = examine(&config).await;
        let found = only(&findings);
        assert_found(found, Severity::Problem, "permissions", told, fix);
        command(&server, &found.fix.as_deref().expect("a fix").split(' ').collect::<Vec<_>>()).await;
    }
    let findings = examine(&config).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");

    // Another database is a right, too, without which nobody gets there.
    command(&server, &["ACL", "SETUSER", "alice", "-select"]).await;
    let findings = examine(&config.clone().with_database(3)).await;
    assert_found(
        only(&findings),
        Severity::Problem,
        "permissions",
        "\"select\"",
        "ACL SETUSER alice +select",
    );

    let findings = examine(&self::config(&server).with_database(99)).await;
    assert_found(only(&findings), Severity::Problem, "settings", "no database", "CONFIG GET databases");

    // Read-only keys are not enough.
    command(&server, &["ACL", "SETUSER", "alice", "resetkeys", &format!("%R{keys}")]).await;
    let findings = examine(&config).await;
    assert_found(only(&findings), Severity::Problem, "permissions", "keys of the app", keys);
}

#[tokio::test]
async fn a_version_that_is_too_old_is_told_by_name() {
    for (info, found, least) in [
        ("redis_version:6.2.14\r\nredis_mode:standalone\r\n", "redis 6.2.14", "7.0.0"),
        ("redis_version:7.1.0\r\nserver_name:valkey\r\nredis_mode:standalone\r\n", "valkey 7.1.0", "7.2.0"),
    ] {
        let server = FakeRedis::start(info, 0).await.expect("a port");
        let findings = examine(&config_of(server.url(), "app")).await;
        let last = only(&findings);
        assert_found(last, Severity::Problem, "version", found, "Redis 7.0 or later, or Valkey 7.2");
        assert!(last.what.contains(least), "{last}");
        assert_eq!(findings.last(), Some(last), "what an old server cannot do is not looked at");
    }
}

#[tokio::test]
async fn another_clock_is_told_with_what_follows() {
    const INFO: &str = "redis_version:7.2.5\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\nrole:master\r\n";
    for (seconds, told) in [(90, "s ahead of"), (-90, "s behind")] {
        let server = FakeRedis::start(INFO, seconds).await.expect("a port");
        let findings = examine(&config_of(server.url(), "app")).await;
        assert_found(only(&findings), Severity::Warning, "clock", told, "NTP");
        assert!(
            findings.iter().any(|it| it.subject == "version" && it.what == "valkey 8.1.0"),
            "{findings:#?}"
        );
    }
}

#[tokio::test]
async fn another_count_of_streams_is_told_with_both() {
    needs_redis!();
    let server = start().await;
    run_a_node(config(&server), 1).await;
    let more = config(&server).with_streams(8.try_into().expect("not 0"));
    let findings = examine(&more).await;
    let found = only(&findings);
    assert_found(found, Severity::Problem, "layout", "v1 streams=8 groups=1", "streams=4 and groups=1");
    assert!(found.what.contains("v1 streams=4 groups=1"), "{found}");
}

#[tokio::test]
async fn a_store_that_somebody_else_occupies_is_told() {
    needs_redis!();
    let server = start().await;
    command(&server, &["SET", "scaleout:{app:0}:stream:1", "somebody's"]).await;
    let findings = examine(&config(&server)).await;
    let fix = "UNLINK scaleout:{app:0}:stream:1";
    assert_found(only(&findings), Severity::Problem, "layout", "scaleout:{app:0}:stream:1", fix);

    command(&server, &["UNLINK", "scaleout:{app:0}:stream:1"]).await;
    command(&server, &["XADD", "scaleout:{app:0}:stream:2", "*", "theirs", "1"]).await;
    let findings = examine(&config(&server)).await;
    assert_found(only(&findings), Severity::Problem, "layout", "no node wrote", "another key_prefix");

    command(&server, &["UNLINK", "scaleout:{app:0}:stream:2"]).await;
    command(&server, &["SET", "scaleout:{app:0}:meta", "somebody's"]).await;
    let findings = examine(&config(&server)).await;
    assert_found(only(&findings), Severity::Problem, "layout", ":meta of this app holds", "another app");

    command(&server, &["UNLINK", "scaleout:{app:0}:meta"]).await;
    command(&server, &["HSET", "scaleout:{app:0}:meta", "layout", "v9 lanes=3"]).await;
    let findings = examine(&config(&server)).await;
    assert_found(
        only(&findings),
        Severity::Problem,
        "layout",
        "v9 lanes=3",
        "the release of scaleout that wrote it",
    );

    command(&server, &["UNLINK", "scaleout:{app:0}:meta"]).await;
    run_a_node(config(&server), 1).await;
    command(&server, &["SET", "scaleout:{app:0}:stream:7", "theirs"]).await;
    command(&server, &["SET", "scaleout:{app2:0}:other", "another app's"]).await;
    let findings = examine(&config(&server)).await;
    assert_found(only(&findings), Severity::Warning, "layout", "keys that are not of its layout", "UNLINK");
    assert!(only(&findings).what.contains("stream:7"), "{findings:#?}");
}

#[tokio::test]
async fn a_policy_that_evicts_and_memory_that_is_used_up_are_told() {
    needs_redis!();
    let server = start().await;
    let small = config(&server).with_max_retained_bytes(1 << 20);
    command(&server, &["CONFIG", "SET", "maxmemory", "1gb"]).await;
    command(&server, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let findings = examine(&small).await;
    let fix = "CONFIG SET maxmemory-policy noeviction";
    assert_found(only(&findings), Severity::Warning, "retention", "allkeys-lru", fix);
    command(&server, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    assert!(examine(&small).await.iter().all(|finding| finding.severity == Severity::Ok));
    let findings = examine(&config(&server).with_max_retained_bytes(1 << 30)).await;
    assert_found(only(&findings), Severity::Warning, "retention", "4 streams may take 4.4 GiB", "maxmemory");
    command(&server, &["CONFIG", "SET", "maxmemory", "1000"]).await;
    let findings = examine(&small).await;
    assert_found(only(&findings), Severity::Problem, "retention", "OOM", "CONFIG SET maxmemory");
}

#[tokio::test]
async fn a_replica_is_told() {
    needs_redis!();
    let master = start().await;
    let replica = RedisServer::builder().replica_of(&master).start().await.expect("a replica");
    let findings = examine(&config(&replica)).await;
    assert_found(only(&findings), Severity::Problem, "connection", "read-only replica", "redis+sentinel://");
}

#[tokio::test]
async fn tls_that_fits_is_ok_and_what_does_not_is_told() {
    needs_redis!();
    let ca = TestCa::new().expect("an authority");
    let server = RedisServer::builder().tls(&ca).start().await.expect("a server");
    let config = config_of(&server.tls_url().expect("a port for TLS"), "app");
    let trusting = config.clone().with_tls(TlsConfig::default().with_ca(ca.ca_pem()));
    let certified = ca.client_certificate_pem().to_owned();
    let with_certificate = trusting.clone().with_tls(
        TlsConfig::default().with_ca(ca.ca_pem()).with_client_certificate(certified, ca.client_key_pem()),
    );
    let findings = examine(&with_certificate).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
    assert!(findings[0].what.contains("TLS"), "{findings:#?}");

    let findings = examine(&config).await;
    assert_found(only(&findings), Severity::Problem, "connection", "certificate is not trusted", "set ca");
    let strict =
        RedisServer::builder().tls(&ca).require_client_certificates().start().await.expect("a server");
    let url = strict.tls_url().expect("a port for TLS");
    let anonymous = config_of(&url, "app").with_tls(TlsConfig::default().with_ca(ca.ca_pem()));
    let findings = examine(&anonymous).await;
    assert_found(only(&findings), Severity::Problem, "connection", "certificate", "client_cert");
    // TLS to a port that speaks none, which is told within the time that a connection may take.
    let plain = config_of(&server.url().replace("redis://", "rediss://"), "app");
    let findings = examine(&plain).await;
    assert_found(only(&findings), Severity::Problem, "connection", "connecting to", "whether it wants TLS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_looked_at_master_by_master_and_left_clean() {
    needs_redis!();
    let cluster = RedisCluster::builder().start().await.expect("a cluster");
    let config = config_of(&cluster.url(), "app").with_streams(8.try_into().expect("not 0"));
    run_a_node(config.clone(), 2).await;
    let findings = examine(&config).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
    let versions = findings.iter().filter(|finding| finding.subject == "version").count();
    assert!(versions > 1, "four groups are on several masters: {findings:#?}");

    // By the wrong scheme.
    let member = config_of(&cluster.servers()[0].url(), "app");
    let findings = examine(&member).await;
    assert_found(only(&findings), Severity::Problem, "settings", "cluster", "`redis+cluster://`");
    let server = start().await;
    let wrong = config_of(&server.url().replace("redis://", "redis+cluster://"), "app");
    let findings = examine(&wrong).await;
    assert_found(only(&findings), Severity::Problem, "settings", "not a member of a Cluster", "`redis://`");

    // A user who may not even find the masters.
    for server in cluster.servers() {
        let password = format!(">{SECRET}");
        let user =
            ["ACL", "SETUSER", "alice", "on", &password, "~*", "+@all", "-cluster", "-asking", "-xadd"];
        command(server, &user).await;
    }
    let alice = config.clone().with_username("alice").with_password(SECRET);
    let findings = examine(&alice).await;
    for right in ["cluster|slots", "cluster|keyslot", "asking", "xadd"] {
        let fix = format!("ACL SETUSER alice +{right}");
        assert!(findings.iter().any(|it| it.fix.as_deref() == Some(&fix)), "{right}: {findings:#?}");
    }

    // A node of the same app that does not use all its groups, and another app whose name begins alike.
    run_a_node(config_of(&cluster.url(), "app2"), 1).await;
    let left = config.remnants().await.expect("they can be listed");
    let streams = left.iter().filter(|remnant| remnant.kind == "stream").count();
    assert_eq!((streams, left.len()), (8, 8 + 8 + 4 + 4), "{left:#?}");
    let removed = config.remove_remnants().await.expect("they can be removed");
    assert_eq!(names(&removed), names(&left));
    assert_eq!(config.remnants().await.expect("they can be listed"), []);
    let others = config_of(&cluster.url(), "app2").remnants().await.expect("they can be listed");
    assert_eq!(others.len(), 4 + 4 + 4 + 4, "{others:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_lead_to_their_master() {
    needs_redis!();
    let sentinels = RedisSentinels::builder().start().await.expect("Sentinels");
    let config = config_of(&sentinels.url(), "app");
    run_a_node(config.clone(), 1).await;
    let findings = examine(&config).await;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:#?}");
    assert_eq!(config.remove_remnants().await.expect("they can be removed").len(), 10);

    let url = sentinels.url().replace(sentinels.name(), "nobody");
    let findings = examine(&config_of(&url, "app")).await;
    assert_found(only(&findings), Severity::Problem, "settings", "nobody", "SENTINEL MASTERS");
    let sentinel = config_of(&sentinels.sentinels()[0].url(), "app");
    let findings = examine(&sentinel).await;
    assert_found(only(&findings), Severity::Problem, "settings", "a sentinel", "`redis+sentinel://`");
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinels.servers()[0].port());
    let findings = examine(&config_of(&url, "app")).await;
    assert_found(only(&findings), Severity::Problem, "settings", "SENTINEL", "by redis://");
    for sentinel in sentinels.sentinels() {
        command(sentinel, &["ACL", "SETUSER", "default", "resetpass", ">right"]).await;
    }
    let findings = examine(&config.with_sentinel_password(SECRET)).await;
    assert_found(only(&findings), Severity::Problem, "login", "refuses", "sentinel_password");
}

fn names(remnants: &[Remnant]) -> Vec<&str> {
    remnants.iter().map(|remnant| remnant.name.as_str()).collect()
}

#[tokio::test]
async fn what_an_app_left_is_listed_and_removed_and_nothing_else() {
    needs_redis!();
    let server = start().await;
    let app = config(&server);
    assert_eq!(app.remnants().await.expect("they can be listed"), []);
    run_a_node(app.clone(), 3).await;
    let mut others = vec![
        "scaleout:{app:0}:theirs".to_owned(),
        "scaleout:{app:0}:stream:x".to_owned(),
        "scaleout:{ap:0}:meta".to_owned(),
        "scaleout:app:0:meta".to_owned(),
        "xscaleout:{app:0}:meta".to_owned(),
        "app".to_owned(),
    ];
    for key in &others {
        command(&server, &["SET", key, "theirs"]).await;
    }
    for (other, prefix) in [("app2", "scaleout"), ("app-2", "scaleout"), ("app", "scaleout2")] {
        run_a_node(config_of(&server.url(), other).with_key_prefix(prefix), 1).await;
        let keys = config_of(&server.url(), other).with_key_prefix(prefix).remnants().await;
        others.extend(keys.expect("they can be listed").into_iter().map(|remnant| remnant.name));
    }

    let left = app.remnants().await.expect("they can be listed");
    // The hash of the layout, the epoch, and of each stream the stream and what it holds of nodes.
    assert_eq!(left.len(), 2 + 2 * 4, "{left:#?}");
    let stream = left.iter().find(|it| it.name == "scaleout:{app:0}:stream:0").expect("the first stream");
    assert!(stream.kind == "stream" && stream.holds.starts_with("4 entries, "), "{stream}");
    assert!(stream.holds.contains("bytes") || stream.holds.contains("KiB"), "{stream}");

    let removed = app.remove_remnants().await.expect("they can be removed");
    assert_eq!(names(&removed), names(&left));
    let mut still: Vec<String> = dump(&server).await.into_iter().map(|(key, _)| key).collect();
    others.sort();
    still.sort();
    assert_eq!(still, others);

    // The app begins anew.
    run_a_node(app.clone(), 1).await;
    assert!(examine(&app).await.iter().all(|finding| finding.severity != Severity::Problem));
}

#[tokio::test]
async fn nodes_that_still_run_go_on_after_their_keys_were_removed() {
    needs_redis!();
    let server = start().await;
    let backplane = node(config(&server));
    let id = NodeId::random();
    let send = |number, after| {
        backplane.send(StreamIndex(0), FrameId { node: id, number, after }, Bytes::from_static(b"frame"))
    };
    send(1, 0).await.expect("it is taken");
    config(&server).remove_remnants().await.expect("they can be removed");
    let error = send(2, 1).await.expect_err("what was confirmed is gone");
    assert_eq!(error.kind(), scaleout_core::ErrorKind::Rewound { last: 0 });
    send(2, 0).await.expect("it is taken");
}

#[tokio::test]
async fn who_may_not_list_keys_is_told_how_to() {
    needs_redis!();
    let server = start().await;
    run_a_node(config(&server), 1).await;
    let password = format!(">{SECRET}");
    command(&server, &["ACL", "SETUSER", "alice", "on", &password, "~scaleout:{app:*}*", "+@all", "-scan"])
        .await;
    let alice = config(&server).with_username("alice").with_password(SECRET);
    for error in
        [alice.remnants().await.expect_err("no SCAN"), alice.remove_remnants().await.expect_err("no SCAN")]
    {
        assert_eq!(error.kind(), scaleout_core::ErrorKind::Unauthorized);
        let text = error.to_string();
        assert!(
            text.ends_with("ACL SETUSER alice +scan") && !format!("{error:?}").contains(SECRET),
            "{error:?}"
        );
    }
    let findings = examine(&alice).await;
    assert!(
        findings.iter().all(|finding| finding.severity == Severity::Ok),
        "no node needs it: {findings:#?}"
    );
    // Without the sizes, what can be counted is told.
    command(&server, &["ACL", "SETUSER", "alice", "+scan", "-memory", "-hlen"]).await;
    let left = alice.remnants().await.expect("they can be listed");
    let holds: Vec<_> = left.iter().map(|remnant| remnant.holds.as_str()).collect();
    assert_eq!(left.len(), 10);
    assert!(holds.contains(&"2 entries") && holds.contains(&""), "{holds:?}");
}
