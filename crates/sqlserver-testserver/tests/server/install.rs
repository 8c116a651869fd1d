//! Installations, by the statements of the provider.

use sqlserver_testserver::TestServer;

use crate::support::{Script, batch, call, command, connect, epoch, install, number, until};

#[tokio::test]
async fn an_installation_is_there_when_it_is_committed() {
    let server = TestServer::launch().await.unwrap();
    let (mut client, mut other) = (connect(&server).await, connect(&server).await);
    let script = Script { schema: "scaleout", app: "chat", tables: 2 };

    let probe = script.once("install/probe");
    assert_eq!(batch(&mut client, &probe).await.unwrap()[0].len(), 0);
    batch(&mut client, &script.once("install/begin")).await.unwrap();
    for text in script.install() {
        batch(&mut client, &text).await.unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    assert_eq!(number(call(&mut other, command!("scaleout", "positions")).await), 2812);
    batch(&mut client, &script.once("install/commit")).await.unwrap();

    let rows = batch(&mut client, &probe).await.unwrap().remove(0);
    let row = (rows[0].get(0), rows[0].get(1), rows[0].get(2), rows[0].get(3));
    assert_eq!(row, (Some(1_i32), Some(1_i32), Some("chat"), Some(2_i32)));
    let results = call(&mut other, command!("scaleout", "positions")).await.unwrap();
    assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2]);
    assert_eq!(results[0][0].get(5), Some(1_i32), "it is the same store");
    assert_eq!(server.table_count("scaleout"), 2);
    assert_eq!(server.epoch("scaleout").unwrap() as i64, epoch(&mut client, "scaleout").await);

    // Once more changes nothing, and fails nowhere.
    install(&mut client, "scaleout", "chat", 2).await;
    assert_eq!(server.log("scaleout", 0).len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_installs_nothing_and_frees_the_lock() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    let script = Script { schema: "scaleout", app: "chat", tables: 1 };
    batch(&mut client, &script.once("install/begin")).await.unwrap();
    for text in script.install() {
        batch(&mut client, &text).await.unwrap();
    }
    // The other one waits for the lock until the first one is gone.
    let mut other = connect(&server).await;
    let (begin, dropped) = (script.once("install/begin"), async {
        another_request(&server).await;
        drop(client);
    });
    let (outcome, ()) = tokio::join!(batch(&mut other, &begin), dropped);
    outcome.unwrap();
    assert_eq!(batch(&mut other, &script.once("install/probe")).await.unwrap()[0].len(), 0);
}

/// Waits until a request more than those of an installation has come.
async fn another_request(server: &TestServer) {
    let installed = Script { schema: "scaleout", app: "chat", tables: 1 }.install().len() + 1;
    until(|| server.requests() > installed).await;
}

#[tokio::test]
async fn ten_at_once_install_once() {
    let server = TestServer::launch().await.unwrap();
    let nodes = (0..10).map(|_| async {
        let mut client = connect(&server).await;
        install(&mut client, "scaleout", "chat", 4).await;
        epoch(&mut client, "scaleout").await
    });
    let epochs = futures_util::future::join_all(nodes).await;
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
    assert_eq!(server.log("scaleout", 3).len(), 1);
}

#[tokio::test]
async fn a_lock_that_is_not_granted_in_time_is_told() {
    let server = TestServer::launch().await.unwrap();
    let (mut client, mut other) = (connect(&server).await, connect(&server).await);
    let begin = Script { schema: "scaleout", app: "chat", tables: 1 }.once("install/begin");
    batch(&mut client, &begin).await.unwrap();
    assert_eq!(number(batch(&mut other, &begin.replace("60000", "1")).await), 50020);
    assert_eq!(number(call(&mut client, command!("scaleout", "positions")).await), 2812);
    batch(&mut client, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;").await.unwrap();
    batch(&mut other, &begin).await.unwrap();
    // Another schema is another lock.
    let elsewhere = Script { schema: "elsewhere", app: "chat", tables: 1 }.once("install/begin");
    batch(&mut client, &elsewhere).await.unwrap();
}

#[tokio::test]
async fn procedures_refuse_to_run_inside_a_transaction() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    install(&mut client, "scaleout", "chat", 1).await;
    batch(&mut client, "BEGIN TRANSACTION;").await.unwrap();
    let renew = || command!("scaleout", "renew", "@node": vec![1_u8; 16], "@keep_seconds": 1_i32);
    assert_eq!(number(call(&mut client, renew()).await), 50001);
    batch(&mut client, "ROLLBACK TRANSACTION;").await.unwrap();
    call(&mut client, renew()).await.unwrap();
    assert_eq!(number(batch(&mut client, "COMMIT TRANSACTION;").await), 3902);
}

#[tokio::test]
async fn what_is_missing_or_denied_is_listed() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    let missing = Script { schema: "scaleout", app: "chat", tables: 2 }.once("install/missing");
    assert_eq!(batch(&mut client, &missing).await.unwrap()[0].len(), 11, "no table, where none may be seen");
    install(&mut client, "scaleout", "chat", 1).await;
    server.deny("held");
    let rows = batch(&mut client, &missing).await.unwrap().remove(0);
    let mut listed: Vec<(&str, Option<i32>)> =
        rows.iter().map(|row| (row.get(0).unwrap(), row.get(1))).collect();
    listed.sort_unstable();
    let gone = ["messages_1", "publish_1", "read_1", "trim_1"];
    let mut expected: Vec<_> = gone.map(|name| (name, Some(0))).into();
    expected.insert(0, ("held", Some(1)));
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn look_ups_in_the_catalogue_are_known_word_by_word() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    install(&mut client, "scaleout", "chat", 2).await;
    server.occupy("scaleout", "orders");
    let script = Script { schema: "scaleout", app: "chat", tables: 2 };
    for (name, rows) in [("server", 1), ("database", 1), ("clock", 1), ("permissions", 12), ("services", 2)] {
        let text = script.once(&format!("examine/{name}"));
        assert_eq!(batch(&mut client, &text).await.unwrap().remove(0).len(), rows, "{name}");
        let other = text.replacen("SELECT", "SELECT 1,", 1);
        assert_eq!(number(batch(&mut client, &other).await), 102, "{name}");
    }
    let rows = batch(&mut client, &script.once("examine/contents")).await.unwrap().remove(0);
    let of = |name: &str| rows.iter().find(|row| row.get(0) == Some(name)).expect("it is there");
    for (name, kind) in [("messages_1", "U"), ("orders", "U"), ("read_1", "P")] {
        assert_eq!(of(name).get(1), Some(kind), "{name}");
    }
    let rows = batch(&mut client, &script.once("examine/sizes")).await.unwrap().remove(0);
    let of = |name: &str| rows.iter().find(|row| row.get(0) == Some(name)).map(|row| row.get(1));
    let holds = [of("messages_1"), of("orders"), of("read_1")];
    assert_eq!(holds, [Some(Some(1_i64)), Some(Some(0)), None], "tables alone hold rows");
    let elsewhere = Script { schema: "elsewhere", ..script };
    for name in ["contents", "sizes"] {
        let text = elsewhere.once(&format!("examine/{name}"));
        assert!(batch(&mut client, &text).await.unwrap()[0].is_empty(), "{name}");
    }
}

#[tokio::test]
async fn what_is_revoked_is_refused() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    install(&mut client, "scaleout", "chat", 1).await;
    let drop = "DROP PROCEDURE IF EXISTS [scaleout].held;";
    for (permission, text, refusal) in [
        ("ALTER", drop, 3701),
        ("CREATE SCHEMA", "CREATE SCHEMA [other]", 262),
        ("CREATE QUEUE", "CREATE QUEUE [scaleout].ears WITH STATUS = ON;", 262),
    ] {
        server.revoke(permission);
        assert_eq!(number(batch(&mut client, text).await), refusal, "{permission}");
        server.grant(permission);
    }
    server.revoke("EXECUTE");
    assert_eq!(number(call(&mut client, command!("scaleout", "positions")).await), 229);
    server.grant("EXECUTE");
    call(&mut client, command!("scaleout", "positions")).await.unwrap();
    batch(&mut client, drop).await.unwrap();
}

#[tokio::test]
async fn scripts_for_administrators_run_from_begin_to_end() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    let scripts = ["owner", "install", "install_doorbell", "service_owner", "grants", "installer_grants"];
    for name in scripts.into_iter().chain(scripts) {
        run_script(&mut client, name).await;
    }
    assert_eq!(server.table_count("scaleout"), 2);
    let listener = crate::support::register(&mut client, "scaleout").await;
    call(&mut client, command!("scaleout", "unregister", "@listener": listener)).await.unwrap();
    for name in ["uninstall_doorbell", "uninstall"] {
        run_script(&mut client, name).await;
    }
    assert!(server.schemas().is_empty());
    assert_eq!(server.conversations(), 0);
    run_script(&mut client, "install").await;
    assert_eq!(server.table_count("scaleout"), 2);
}

#[tokio::test]
async fn a_script_that_fails_does_nothing_more() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    install(&mut client, "scaleout", "another", 2).await;
    let text = script("install");
    let outcomes: Vec<u32> = {
        let mut numbers = Vec::new();
        for part in parts(&text) {
            if let Err(tiberius::error::Error::Server(error)) = batch(&mut client, part).await {
                numbers.push(error.code());
            }
        }
        numbers
    };
    assert_eq!(outcomes, [50021]);
    let rows = batch(&mut client, "SELECT app FROM [scaleout].layout").await.unwrap().remove(0);
    assert_eq!(rows[0].get(0), Some("another"));
}

#[tokio::test]
async fn what_nobody_taught_it_is_refused() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    install(&mut client, "scaleout", "chat", 1).await;
    for text in [
        "SELECT * FROM [scaleout].layout",
        "SELECT seq FROM [scaleout].messages_0",
        "UPDATE [scaleout].layout SET app = N'other'",
        "MERGE INTO x USING y ON 1 = 1;",
        "EXEC [scaleout].positions",
        "CREATE TABLE [scaleout].other (a int)",
        "CREATE PROCEDURE [scaleout].held @node binary(16) AS SELECT 1",
        "SELECT 1 + 1",
        "SELECT TOP (1) app FROM [scaleout].layout",
        "SELECT app FROM [scaleout].layout ORDER BY app",
        "DROP VIEW [scaleout].a",
        "it's",
    ] {
        let error = batch(&mut client, text).await.expect_err(text).to_string();
        assert!(error.contains("does not run T-SQL"), "{text}: {error}");
    }
    let error = client.query("SELECT @P1", &[&1_i32]).await.expect_err("parameters").to_string();
    assert!(error.contains("does not run T-SQL"), "{error}");
    assert_eq!(number(batch(&mut client, "SELECT app FROM [elsewhere].layout").await), 208);
    assert_eq!(number(call(&mut client, command!("scaleout", "other")).await), 2812);
    assert_eq!(number(call(&mut client, command!("scaleout", "held", "@stream": 0_i16)).await), 201);
}

fn script(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scaleout-sqlserver/src/sql/golden");
    std::fs::read_to_string(format!("{folder}/{name}.sql")).expect("a script")
}

/// As `sqlcmd` takes a script apart.
fn parts(script: &str) -> impl Iterator<Item = &str> {
    script.split("\nGO\n").filter(|part| !part.trim().is_empty())
}

async fn run_script(client: &mut crate::support::Connection, name: &str) {
    for part in parts(&script(name)) {
        batch(client, part).await.unwrap_or_else(|error| panic!("{name}: {error}: {part}"));
    }
}
