//! `clean`: what an app left goes, and nothing else.

use scaleout_testkit::needs_redis;
use servicebus_emulator::Right;
use sqlserver_testserver::TestServer;

use crate::support::{SECRET, redis, redis_url, scaleout, service_bus};

#[tokio::test]
async fn what_an_app_left_on_redis_goes_and_nothing_else() {
    needs_redis!();
    let (server, url) = redis().await;
    clean(&url, &redis_url(&server, SECRET, "shop")).await;
    // The app may be told by --app alone.
    let url = format!("redis://:{SECRET}@127.0.0.1:{}", server.port());
    assert_eq!(scaleout(&["clean", &url, "--app", "shop", "--yes"]).await.code, 0);
}

#[tokio::test]
async fn what_an_app_left_on_sql_server_goes_and_nothing_else() {
    let server = TestServer::builder().broker(true).start().await.unwrap();
    let other = format!("{}&schema=shop", server.url("shop"));
    clean(&server.url("chat"), &other).await;
}

#[tokio::test]
async fn what_an_app_left_on_service_bus_goes_and_nothing_else() {
    let (emulator, url) = service_bus(&[Right::Manage]).await;
    clean(&url, &format!("{};App=shop", emulator.connection_string())).await;
}

/// Cleans app `chat`, and looks that app `shop` stays.
async fn clean(url: &str, other: &str) {
    for url in [url, other] {
        let run = scaleout(&["publish", url, "room:42", "hello"]).await;
        assert_eq!(run.code, 0, "{run:?}");
    }
    let listed = |app, url| async move {
        let run = scaleout(&["clean", url, "--app", app, "--dry-run", "--json"]).await;
        assert_eq!(run.code, 0, "{run:?}");
        run.json()
    };
    let found = listed("chat", url).await;
    assert!(found["found"].as_array().is_some_and(|found| !found.is_empty()), "{found}");
    assert_eq!((&found["removed"], &found["dry_run"]), (&serde_json::json!([]), &true.into()));

    // Without a terminal nobody can be asked.
    let refused = scaleout(&["clean", url, "--app", "chat"]).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--yes") && refused.err.contains("nothing was removed"), "{refused:?}");
    let wrong = scaleout(&["clean", url, "--app", "shop", "--yes"]).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert_eq!(listed("chat", url).await["found"], found["found"], "it is still there");

    let before = listed("shop", other).await;
    let cleaned = scaleout(&["clean", url, "--app", "chat", "--yes"]).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    let names = found["found"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap());
    for name in names {
        let removed = |line: &str| line.starts_with("removed ") && line.contains(name);
        assert!(cleaned.out.lines().any(removed), "{name}: {}", cleaned.out);
    }
    assert_eq!(listed("chat", url).await["found"], serde_json::json!([]));
    let names = |listed: &serde_json::Value| -> Vec<String> {
        let items = listed["found"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed("shop", other).await), names(&before));
    let again = scaleout(&["clean", url, "--app", "chat", "--yes"]).await;
    assert_eq!((again.code, again.out.as_str()), (0, "app chat has nothing in the store\n"));
    // The other one works as before.
    assert_eq!(scaleout(&["publish", other, "room:42", "hello"]).await.code, 0);
}
