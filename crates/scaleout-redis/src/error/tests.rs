use std::{error::Error as StdError, io, time::Duration};

use redis::{Value, aio::MultiplexedConnection, parse_redis_value};
use scaleout_core::{Bus, Received, provider::Secret};
use tokio::time::timeout;

use super::*;
use crate::{RedisBackplane, config::Endpoint, test_server::TestServer};

/// What the server answers as `line`.
fn answer(line: &str) -> RedisError {
    parse_redis_value(format!("-{line}\r\n").as_bytes())
        .and_then(Value::extract_error)
        .expect_err("it is an error")
}

fn config() -> RedisConfig {
    RedisConfig::new("chat".parse().unwrap(), Topology::Standalone(Endpoint::tcp("localhost", 6379)))
}

fn kind_of(line: &str) -> ErrorKind {
    from_redis(answer(line), "trying", &config()).kind()
}

#[test]
fn answers_are_classified() {
    use ErrorKind::{Config, Unauthorized, Unavailable, Unsupported};
    for (line, kind) in [
        ("LOADING Redis is loading the dataset in memory", Unavailable),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Unavailable),
        ("CLUSTERDOWN The cluster is down", Unavailable),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable),
        ("MOVED 3999 127.0.0.1:6381", Unavailable),
        ("ASK 3999 127.0.0.1:6381", Unavailable),
        ("READONLY You can't write against a read only replica.", Unavailable),
        ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable),
        ("MISCONF Redis is configured to save RDB snapshots, but …", Unavailable),
        ("NOREPLICAS Not enough good replicas to write.", Unavailable),
        ("BUSY Redis is busy running a script.", Unavailable),
        ("NOSCRIPT No matching script.", Unavailable),
        ("UNBLOCKED client unblocked via CLIENT UNBLOCK", Unavailable),
        ("EXECABORT Transaction discarded because of previous errors.", Unavailable),
        ("EXECABORT Transaction discarded because of: NOPERM no permissions to run 'exec'", Unauthorized),
        ("ERR max number of clients reached", Unavailable),
        ("ERR something new", Unavailable),
        ("SOMETHING new", Unavailable),
        ("NOAUTH Authentication required.", Unauthorized),
        ("WRONGPASS invalid username-password pair or user is disabled.", Unauthorized),
        ("ERR invalid password", Unauthorized),
        ("ERR AUTH <password> called without any password configured for the default user.", Unauthorized),
        ("NOPERM this user has no permissions to run the 'xadd' command", Unauthorized),
        ("NOPERM this user has no permissions to access one of the keys used as arguments", Unauthorized),
        ("ERR The user executing the script can't run this command or subcommand", Unauthorized),
        ("DENIED Redis is running in protected mode because …", Unauthorized),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Config),
        ("CROSSSLOT Keys in request don't hash to the same slot", Config),
        ("ERR DB index is out of range", Config),
        ("ERR SELECT is not allowed in cluster mode", Config),
        ("ERR This instance has cluster support disabled", Config),
        ("ERR No such master with that name", Config),
        ("ERR unknown command 'XADD', with args beginning with: 'k' ", Unsupported),
        ("ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.", Unsupported),
        ("ERR syntax error", Unsupported),
        ("NOPROTO unsupported protocol version", Unsupported),
    ] {
        assert_eq!(kind_of(line), kind, "{line}");
        let error = from_redis(answer(line), "trying", &config());
        let context = error.to_string();
        assert!(context.starts_with("trying") && !context.contains('\n'), "{context}");
        assert!(StdError::source(&error).is_some());
    }
}

#[test]
fn failures_of_the_link_are_classified() {
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::NotFound] {
        assert_eq!(
            from_redis(io::Error::from(kind).into(), "trying", &config()).kind(),
            ErrorKind::Unavailable
        );
    }
    let timeout = io::Error::from(io::ErrorKind::TimedOut);
    assert_eq!(from_redis(timeout.into(), "trying", &config()).kind(), ErrorKind::Timeout);
    for (kind, text, ours) in [
        (RedisErrorKind::AuthenticationFailed, "Password authentication failed", ErrorKind::Unauthorized),
        (RedisErrorKind::InvalidClientConfig, "No address found for host", ErrorKind::Unavailable),
        (RedisErrorKind::InvalidClientConfig, "Redis URL did not parse", ErrorKind::Config),
        (RedisErrorKind::Parse, "not a reply", ErrorKind::Unavailable),
    ] {
        assert_eq!(from_redis((kind, text).into(), "trying", &config()).kind(), ours, "{text}");
    }
    // What the client makes of a refused SELECT.
    let select = |detail: &str| {
        let kind = RedisErrorKind::Server(redis::ServerErrorKind::ResponseError);
        from_redis(
            (kind, "Redis server refused to switch database", detail.to_owned()).into(),
            "trying",
            &config(),
        )
        .kind()
    };
    assert_eq!(select("DB index is out of range"), ErrorKind::Config);
    assert_eq!(select("Authentication required."), ErrorKind::Unauthorized);
    assert_eq!(select("Redis is loading the dataset in memory"), ErrorKind::Unavailable);
}

#[test]
fn the_server_repeats_no_password() {
    for line in [
        "ERR unknown command 'AUTH', with args beginning with: 'user' 'hunter2secret' ",
        "ERR unknown command `AUTH`, with args beginning with: `user`, `hunter2secret`, ",
    ] {
        let error = from_redis(answer(line), "logging in", &config());
        let source = StdError::source(&error).unwrap().to_string();
        for text in [error.to_string(), format!("{error:?}"), source] {
            assert!(text.contains("AUTH") && !text.contains("hunter2"), "{text}");
        }
    }
}

#[test]
fn advice_is_for_the_settings() {
    let text = |config: &RedisConfig, line| from_redis(answer(line), "trying", config).to_string();
    let moved = "MOVED 3999 127.0.0.1:6381";
    assert!(text(&config(), moved).contains("redis+cluster://"));
    let seeds = vec![Endpoint::tcp("a", 1)];
    let clustered = RedisConfig::new("chat".parse().unwrap(), Topology::Cluster { seeds });
    assert!(!text(&clustered, moved).contains("redis+cluster://"));

    let lacking = text(&config(), "NOPERM User x has no permissions to run the 'client|kill' command");
    assert!(lacking.contains("'client|kill'") && lacking.contains("ACL SETUSER default on"), "{lacking}");
    let lacking = text(&config(), "NOPERM User x has no permissions to access the 'a:{chat:0}' key");
    assert!(lacking.contains("the key 'a:{chat:0}'"), "{lacking}");

    for (config, has_select, has_cluster) in
        [(config(), false, false), (config().with_database(2), true, false), (clustered, false, true)]
    {
        let acl = minimal_acl(&config);
        assert_eq!((acl.contains("+select"), acl.contains("+asking")), (has_select, has_cluster), "{acl}");
    }
}

type Answers = Result<Vec<Value>, RedisError>;

async fn run(connection: &mut MultiplexedConnection, command: &str) -> Result<Value, RedisError> {
    let mut words = command.split(' ');
    let mut built = redis::cmd(words.next().expect("a command"));
    words.fold(&mut built, |built, word| built.arg(word)).query_async(connection).await
}

/// Runs `command`, which fails, and classifies the failure.
async fn refused(connection: &mut MultiplexedConnection, command: &str) -> Error {
    let error = run(connection, command).await.expect_err(command);
    from_redis(error, "trying", &config())
}

#[track_caller]
fn assert_is(error: &Error, kind: ErrorKind, code: &str) {
    let source = StdError::source(error).map(ToString::to_string).unwrap_or_default();
    assert!(error.kind() == kind && source.contains(code), "{error:?}: {source}");
}

#[tokio::test]
async fn a_real_server_refuses_credentials() {
    let Some(server) = TestServer::start(&[("requirepass", "s3cretpass")]).await else { return };
    let mut anonymous = TestServer::connect(&server.config()).await.unwrap();
    assert_is(&refused(&mut anonymous, "GET k").await, ErrorKind::Unauthorized, "NOAUTH");

    for config in [
        server.config().with_password("wrongpass"),
        server.config().with_username("nobody").with_password("s3cretpass"),
    ] {
        let error = TestServer::connect(&config).await.unwrap_err();
        assert_is(&error, ErrorKind::Unauthorized, "WRONGPASS");
        assert!(!format!("{error:?}{error}").contains("pass\""), "{error:?}");
    }
    let config = server.config().with_password("s3cretpass").with_database(3);
    let mut connection = TestServer::connect(&config).await.unwrap();
    run(&mut connection, "SET k v").await.unwrap();
    let clients = run(&mut connection, "CLIENT INFO").await.unwrap();
    assert!(format!("{clients:?}").contains("db=3"), "{clients:?}");
    let out_of_range = TestServer::connect(&config.with_database(99)).await.unwrap_err();
    assert_is(&out_of_range, ErrorKind::Config, "out of range");
}

#[tokio::test]
async fn a_real_server_that_is_full_is_not_a_wrong_password() {
    let Some(server) = TestServer::start(&[("requirepass", "pw"), ("maxclients", "2")]).await else { return };
    let config = server.config().with_password("pw");
    let _first = TestServer::connect(&config).await.unwrap();
    let error = TestServer::connect(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_real_server_without_a_password_refuses_one() {
    let Some(server) = TestServer::start(&[]).await else { return };
    let error = TestServer::connect(&server.config().with_password("pw")).await.unwrap_err();
    assert_is(&error, ErrorKind::Unauthorized, "without any password configured");
}

#[tokio::test]
async fn a_real_server_refuses_what_is_not_granted() {
    let Some(server) = TestServer::start(&[]).await else { return };
    let mut admin = TestServer::connect(&server.config()).await.unwrap();
    let config = server.config().with_username("chat").with_password("pw");
    run(&mut admin, &minimal_acl(&config)).await.unwrap();
    run(&mut admin, "ACL SETUSER chat >pw").await.unwrap();
    // Also those of other settings.
    for other in [
        config.clone().with_database(3),
        RedisConfig::new("chat".parse().unwrap(), Topology::Cluster { seeds: Vec::new() })
            .with_username("other"),
    ] {
        run(&mut admin, &minimal_acl(&other).replace("SETUSER chat", "SETUSER third")).await.unwrap();
    }

    let mut user = TestServer::connect(&config).await.unwrap();
    let key = "scaleout:{chat:0}:stream:0";
    run(&mut user, &format!("XADD {key} * f v")).await.unwrap();
    run(&mut user, &format!("XINFO STREAM {key}")).await.unwrap();
    run(&mut user, "CLIENT ID").await.unwrap();
    run(&mut user, "INFO server").await.unwrap();

    for (command, named) in [
        ("FLUSHALL", "'flushall'"),
        ("CONFIG GET maxmemory", "'config|get'"),
        ("XADD scaleout:{other:0}:stream:0 * f v", "keys"),
        ("GET k", "keys"),
    ] {
        let error = run(&mut user, command).await.expect_err(command);
        let error = from_redis(error, "trying", &config);
        assert_is(&error, ErrorKind::Unauthorized, "NoPerm");
        let text = error.to_string();
        assert!(text.contains(named) && text.contains("ACL SETUSER chat on"), "{text}");
    }
    let mut script = redis::cmd("EVAL");
    script.arg("return redis.call('HSET', KEYS[1], 'a', 'b')").arg(1).arg("scaleout:{chat:0}:meta");
    script.query_async::<Value>(&mut user).await.unwrap();
    let mut script = redis::cmd("EVAL");
    script.arg("return redis.call('FLUSHALL')").arg(0);
    let error = from_redis(script.query_async::<Value>(&mut user).await.unwrap_err(), "trying", &config);
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
}

#[tokio::test]
async fn the_least_that_is_granted_is_enough() {
    let Some(server) = TestServer::start(&[]).await else { return };
    let mut admin = TestServer::connect(&server.config()).await.unwrap();
    let config = server.config().with_username("chat").with_password("pw").with_database(1);
    run(&mut admin, &minimal_acl(&config)).await.unwrap();
    run(&mut admin, "ACL SETUSER chat >pw").await.unwrap();

    // Newer servers log that it is refused, which changes nothing.
    let _ = run(&mut admin, "ACL SETUSER chat +client|setinfo").await;

    let node = async || {
        let backplane = RedisBackplane::new(config.clone()).unwrap();
        Bus::builder(backplane).app(config.app.clone()).connect().await.unwrap()
    };
    let exchange = async {
        let (publisher, receiver) = (node().await, node().await);
        let mut subscription = receiver.subscribe(["room"]);
        for number in 0..3 {
            publisher.publish("room", format!("{number}")).await.unwrap();
        }
        // Everyone comes back as after an outage.
        run(&mut admin, "CLIENT KILL USER chat").await.unwrap();
        publisher.publish("room", "last").await.unwrap();
        while let Some(received) = subscription.recv().await {
            if matches!(&received, Received::Message(message) if message.payload() == "last") {
                break;
            }
        }
        for bus in [publisher, receiver] {
            bus.close(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(20), exchange).await.expect("the message comes");
    let denied = run(&mut admin, "ACL LOG").await.unwrap();
    assert_eq!(denied, Value::Array(Vec::new()), "{denied:?}");
}

#[tokio::test]
async fn a_real_server_answers_for_keys_and_scripts() {
    let Some(server) = TestServer::start(&[]).await else { return };
    let mut connection = TestServer::connect(&server.config()).await.unwrap();
    run(&mut connection, "SET k v").await.unwrap();
    assert_is(&refused(&mut connection, "XADD k * f v").await, ErrorKind::Config, "WRONGTYPE");
    assert_is(&refused(&mut connection, "EVALSHA 0 0").await, ErrorKind::Unavailable, "NoScript");
    assert_is(&refused(&mut connection, "NONESUCH secret").await, ErrorKind::Unsupported, "NONESUCH");
    assert_is(&refused(&mut connection, "CLUSTER SLOTS").await, ErrorKind::Config, "cluster support");
    let mut script = redis::cmd("EVAL");
    script.arg("return redis.call('XLEN', KEYS[1])").arg(1).arg("k");
    let error =
        from_redis(script.query_async::<Value>(&mut connection).await.unwrap_err(), "trying", &config());
    assert_is(&error, ErrorKind::Config, "WRONGTYPE");

    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap();
    server_version(&info).unwrap();
}

#[tokio::test]
async fn a_real_server_without_memory_is_unavailable() {
    let options = [("maxmemory", "1mb"), ("maxmemory-policy", "noeviction")];
    let Some(server) = TestServer::start(&options).await else { return };
    let mut connection = TestServer::connect(&server.config()).await.unwrap();
    let filled = async {
        loop {
            let mut fill = redis::cmd("APPEND");
            if let Err(error) =
                fill.arg("filler").arg(vec![0u8; 100_000]).query_async::<Value>(&mut connection).await
            {
                break from_redis(error, "trying", &config());
            }
        }
    };
    let error = timeout(Duration::from_secs(20), filled).await.expect("the memory is used up");
    assert_is(&error, ErrorKind::Unavailable, "OOM");

    // What the refused command itself took is free again.
    run(&mut connection, "CONFIG SET maxmemory 1000").await.unwrap();
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("XADD").arg("k").arg("*").arg("f").arg("v").cmd("GET").arg("k");
    let answers: Answers = transaction.query_async(&mut connection).await;
    let error = from_redis(answers.unwrap_err(), "trying", &config());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("maxmemory"), "{error}");
}

#[tokio::test]
async fn a_fatal_cause_of_an_aborted_transaction_is_told() {
    let Some(server) = TestServer::start(&[]).await else { return };
    let mut connection = TestServer::connect(&server.config()).await.unwrap();
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("GET").arg("k").cmd("NONESUCH").arg("secret").cmd("GET").arg("k");
    let answers: Answers = transaction.query_async(&mut connection).await;
    let error = from_redis(answers.unwrap_err(), "trying", &config());
    assert_is(&error, ErrorKind::Unsupported, "NONESUCH");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_real_replica_is_read_only_and_misses_its_master() {
    let Some(master) = TestServer::start(&[("min-replicas-to-write", "1")]).await else { return };
    let mut connection = TestServer::connect(&master.config()).await.unwrap();
    assert_is(&refused(&mut connection, "SET k v").await, ErrorKind::Unavailable, "NOREPLICAS");

    let Some(replica) = TestServer::start(&[("replica-serve-stale-data", "no")]).await else { return };
    let mut connection = TestServer::connect(&replica.config()).await.unwrap();
    // To a port where nobody listens, so that it never has one.
    run(&mut connection, "REPLICAOF 127.0.0.1 1").await.unwrap();
    assert_is(&refused(&mut connection, "GET k").await, ErrorKind::Unavailable, "MasterDown");
    run(&mut connection, "CONFIG SET replica-serve-stale-data yes").await.unwrap();
    assert_is(&refused(&mut connection, "SET k v").await, ErrorKind::Unavailable, "ReadOnly");
}

#[tokio::test]
async fn a_real_server_that_cannot_save_is_unavailable() {
    let Some(server) = TestServer::start(&[("save", "3600 1")]).await else { return };
    let mut connection = TestServer::connect(&server.config()).await.unwrap();
    run(&mut connection, "SET k v").await.unwrap();
    // A file that is a folder cannot be replaced.
    std::fs::create_dir_all(server.0.folder().join("data/dump.rdb/x")).unwrap();
    run(&mut connection, "BGSAVE").await.unwrap();
    let refusal = async {
        loop {
            if let Err(error) = run(&mut connection, "SET k v").await {
                break from_redis(error, "trying", &config());
            }
        }
    };
    let error = timeout(Duration::from_secs(20), refusal).await.expect("the save fails");
    assert_is(&error, ErrorKind::Unavailable, "MISCONF");
}

#[tokio::test]
async fn a_real_server_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for endpoint in [Endpoint::tcp("127.0.0.1", port), Endpoint::Unix("/nonexistent/redis.sock".into())] {
        let config = RedisConfig::new("chat".parse().unwrap(), Topology::Standalone(endpoint))
            .with_password(Secret::from("pw"));
        let error = TestServer::connect(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}
