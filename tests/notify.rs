//! The notifications from outside: nodes and workers as processes, and clients that know nothing but server-sent events.
#![cfg(unix)]

use std::{ops::Range, process::Output};

use scaleout_testkit::{needs_redis, servers::RedisServer};
use scaleout_tests::{ChatProcess, DEADLINE, Events, Example, get, scenarios::until_all, stores::redis};
use tokio::time::timeout;

const LOG: [&str; 2] = ["--log", "error"];

/// A process with one node.
fn web(store: &[&str]) -> ChatProcess {
    let fixed = ["--part", "web", "--node", "127.0.0.1:0"];
    ChatProcess::start_of(Example::Notify, &[&fixed[..], &LOG, store].concat())
}

/// A process that finishes the jobs that it is told.
fn worker(store: &[&str]) -> ChatProcess {
    ChatProcess::start_of(Example::Notify, &[&["--part", "worker", "--stdin"][..], &LOG, store].concat())
}

/// What both are told of a server.
fn store(server: &RedisServer) -> String {
    format!("--backplane={}?app=shop", server.url())
}

fn texts(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("job {number} is done")).collect()
}

/// Has jobs of a user finished, without waiting for the store.
async fn finish(worker: &mut ChatProcess, user: &str, texts: &[String]) {
    for text in texts {
        worker.write(&format!("{user} {text}")).await;
    }
}

/// Waits until the worker says that the store has these. What else it says may come between: of finished jobs, and of other
/// users, whose messages are on other streams.
async fn stored(worker: &mut ChatProcess, user: &str, texts: &[String]) {
    for text in texts {
        let mut line = worker.line().await;
        while !line.starts_with(&format!("told {user}: ")) {
            line = worker.line().await;
        }
        assert_eq!(line, format!("told {user}: {text}"));
    }
}

#[tokio::test]
async fn one_process_without_a_store_tells_its_users_on_both_nodes() {
    let nodes = ["--node", "127.0.0.1:0"].repeat(2);
    let mut all = ChatProcess::start_of(Example::Notify, &[&nodes[..], &["--stdin"], &LOG].concat());
    let (first, second) = (all.address().await, all.address().await);
    let mut ada = [Events::of(first, "ada").await, Events::of(second, "ada").await];
    let mut grace = Events::of(second, "grace").await;
    finish(&mut all, "ada", &texts(0..3)).await;
    all.write("nobody").await;
    finish(&mut all, "grace", &texts(3..4)).await;
    for page in &mut ada {
        page.texts(&texts(0..3)).await;
    }
    grace.texts(&texts(3..4)).await;

    for (page, part) in
        [("/", "Notifications"), ("/orders", "Notifications"), ("/nodes", &second.to_string())]
    {
        let (status, body) = get(first, page).await;
        assert!(status == 200 && body.contains(part), "{page}: {status}");
    }
    until_all(first, "up", 200).await;
    assert_eq!(get(first, "/events").await.0, 400);
    assert_eq!(get(first, "/admin").await.0, 404);
    all.terminate().await;
    grace.ended().await;
    assert!(all.ended().await.success());
}

#[tokio::test]
async fn jobs_are_made_up_where_nobody_brings_any() {
    let nodes = ["--node", "127.0.0.1:0"];
    let made_up = ["--user", "ada", "--every", "1"];
    let mut all = ChatProcess::start_of(Example::Notify, &[&nodes[..], &made_up, &LOG].concat());
    let mut ada = Events::of(all.address().await, "ada").await;
    assert!(ada.text().await.contains("(job "));
    for expected in ["finished for ada: ", "told ada: "] {
        let told = all.line().await;
        assert!(told.starts_with(expected), "{told}");
    }
}

#[tokio::test]
async fn a_notification_reaches_the_user_on_every_node() {
    needs_redis!();
    let server = redis().await;
    let store = store(&server);
    let (mut first, mut second, mut worker) = (web(&[&store]), web(&[&store]), worker(&[&store]));
    let nodes = [first.address().await, second.address().await];
    let mut pages = [Events::of(nodes[0], "ada").await, Events::of(nodes[1], "ada").await];
    let mut grace = Events::of(nodes[0], "grace").await;
    finish(&mut worker, "ada", &texts(0..20)).await;
    stored(&mut worker, "ada", &texts(0..20)).await;
    finish(&mut worker, "grace", &texts(20..21)).await;
    for page in &mut pages {
        page.texts(&texts(0..20)).await;
    }
    // Nothing of Ada's came to her.
    grace.texts(&texts(20..21)).await;

    // Ended with what it had to tell, and by the signal.
    worker.close_stdin();
    stored(&mut worker, "grace", &texts(20..21)).await;
    assert!(worker.ended().await.success());
    for node in [&first, &second] {
        node.terminate().await;
    }
    for page in &mut pages {
        page.ended().await;
    }
    assert!(first.ended().await.success() && second.ended().await.success());
}

#[tokio::test]
async fn who_comes_back_to_another_node_is_told_exactly_what_was_missed() {
    needs_redis!();
    let server = redis().await;
    let store = store(&server);
    let (mut first, mut second, mut worker) = (web(&[&store]), web(&[&store]), worker(&[&store]));
    let (first_at, second_at) = (first.address().await, second.address().await);
    let mut ada = Events::of(first_at, "ada").await;
    finish(&mut worker, "ada", &texts(0..3)).await;
    ada.texts(&texts(0..2)).await;
    let seen = ada.last_id.clone();
    drop(ada);

    // She is away, and so is her node.
    first.kill().await;
    stored(&mut worker, "ada", &texts(0..3)).await;
    finish(&mut worker, "ada", &texts(3..10)).await;
    finish(&mut worker, "grace", &texts(10..11)).await;
    stored(&mut worker, "ada", &texts(3..10)).await;
    let mut ada = Events::after(second_at, "ada", &seen).await;
    ada.texts(&texts(2..10)).await;

    // A node that was not there has it from the store; in the query, as a page says it that goes on elsewhere.
    let mut third = web(&[&store]);
    let mut late = Events::open(third.address().await, &format!("ada&cursor={seen}"), None).await;
    late.expect("hello").await;
    late.texts(&texts(2..10)).await;

    // And nothing came twice.
    finish(&mut worker, "ada", &texts(11..12)).await;
    for page in [&mut ada, &mut late] {
        page.texts(&texts(11..12)).await;
    }
    let mut back = Events::after(second_at, "ada", &ada.last_id).await;
    finish(&mut worker, "ada", &texts(12..13)).await;
    back.texts(&texts(12..13)).await;
}

#[tokio::test]
async fn what_may_be_missing_is_an_event() {
    needs_redis!();
    let server = redis().await;
    let [mut test, mut live] =
        ["shop-test", "shop-live"].map(|app| web(&[&format!("--backplane={}", server.url()), "--app", app]));
    let (test, live) = (test.address().await, live.address().await);
    let elsewhere = Events::of(test, "ada").await.last_id;
    for (cursor, reason) in [("no-cursor", "cursor not understood"), (&elsewhere, "reset")] {
        let mut ada = Events::after(live, "ada", cursor).await;
        let gap = ada.expect("gap").await;
        assert_eq!((&gap["reason"], &gap["missing"]), (&reason.into(), &serde_json::Value::Null));
        // It is told once: who comes back from there has nothing to miss.
        let mut ada = Events::after(live, "ada", &ada.last_id).await;
        let mut worker = worker(&[&format!("--backplane={}", server.url()), "--app", "shop-live"]);
        finish(&mut worker, "ada", &texts(0..1)).await;
        ada.texts(&texts(0..1)).await;
    }
}

#[tokio::test]
async fn two_apps_on_one_store_never_hear_each_other() {
    needs_redis!();
    let server = redis().await;
    let backplane = format!("--backplane={}", server.url());
    let apps = ["shop-test", "shop-live"];
    let mut workers = apps.map(|app| worker(&[&backplane, "--app", app]));
    let mut shops = apps.map(|app| web(&[&backplane, "--app", app]));
    let mut pages = Vec::new();
    for shop in &mut shops {
        pages.push(Events::of(shop.address().await, "ada").await);
    }
    for round in 0..10 {
        for (index, (worker, page)) in workers.iter_mut().zip(&mut pages).enumerate() {
            let text = [format!("{round} of shop {index}")];
            finish(worker, "ada", &text).await;
            stored(worker, "ada", &text).await;
            page.texts(&text).await;
        }
    }
}

#[tokio::test]
async fn a_worker_goes_on_while_redis_is_away_and_its_users_are_told_once_in_order() {
    needs_redis!();
    let server = redis().await;
    let store = store(&server);
    let (mut node, mut worker) = (web(&[&store]), worker(&[&store]));
    let node_at = node.address().await;
    let mut ada = Events::of(node_at, "ada").await;
    finish(&mut worker, "ada", &texts(0..5)).await;
    ada.texts(&texts(0..5)).await;
    stored(&mut worker, "ada", &texts(0..5)).await;

    server.kill();
    until_all(node_at, "degraded", 200).await;
    finish(&mut worker, "ada", &texts(5..50)).await;
    let seen = ada.last_id.clone();
    server.start().await.expect("redis-server starts again");
    ada.texts(&texts(5..50)).await;
    stored(&mut worker, "ada", &texts(5..50)).await;
    until_all(node_at, "up", 200).await;
    let mut again = Events::after(node_at, "ada", &seen).await;
    finish(&mut worker, "ada", &texts(50..51)).await;
    again.texts(&texts(5..51)).await;
    ada.texts(&texts(50..51)).await;

    for process in [&mut worker, &mut node] {
        process.terminate().await;
        assert!(process.ended().await.success());
    }
}

#[tokio::test]
async fn a_worker_that_ends_without_its_store_says_what_it_did_not_tell() {
    needs_redis!();
    let server = redis().await;
    let mut worker = worker(&[&store(&server)]);
    finish(&mut worker, "ada", &texts(0..1)).await;
    stored(&mut worker, "ada", &texts(0..1)).await;
    server.kill();
    finish(&mut worker, "ada", &texts(1..3)).await;
    for text in texts(1..3) {
        assert_eq!(worker.line().await, format!("finished for ada: {text}"));
    }
    worker.terminate().await;
    assert_eq!(worker.ended().await.code(), Some(1));
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_with_the_reason() {
    for (options, status, problems) in [
        (["--backplane", "nats://:secret@localhost"].as_slice(), 1, ["nats://", "memory:, redis://"]),
        (&["--part", "some"], 2, ["--part", "worker"]),
        (&["--stdin", "--user", "ada"], 2, ["--stdin", "--user"]),
        (&["--user", "a b"], 2, ["--user", "without spaces"]),
    ] {
        let refused = run(options).await;
        let told = String::from_utf8(refused.stderr).expect("it writes UTF-8");
        assert_eq!(refused.status.code(), Some(status), "{told}");
        assert!(problems.iter().all(|problem| told.contains(problem)) && !told.contains("secret"), "{told}");
    }
    let help = run(&["--help"]).await;
    let told = String::from_utf8(help.stdout).expect("it writes UTF-8");
    for option in
        ["--part", "--node", "--peer", "--backplane", "--app", "--user", "--every", "--stdin", "--log"]
    {
        assert!(told.contains(option), "{option} in {told}");
    }
}

async fn run(options: &[&str]) -> Output {
    let output = ChatProcess::command_of(Example::Notify, options).output();
    timeout(DEADLINE, output).await.expect("it ends by itself").expect("the binary was just built")
}
