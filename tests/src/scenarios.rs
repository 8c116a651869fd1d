//! What several chat processes on one store go through, whichever it is.

use std::{future::Future, net::SocketAddr, ops::Range};

use serde_json::Value;
use tokio::time::{interval, timeout};

use crate::{ChatProcess, Client, DEADLINE, POLL, get};

/// A store that a test can take away from the processes, and give back with all that it held.
pub trait Store {
    /// What `--backplane` is told.
    fn backplane(&self) -> String;

    /// Takes it away: connections break, and none can be made.
    fn stop(&self) -> impl Future<Output = ()>;

    /// Gives it back.
    fn start(&self) -> impl Future<Output = ()>;

    /// Whether it gives a process that has just started what was said before.
    fn remembers(&self) -> bool {
        true
    }

    /// A process with one node on it.
    fn chat(&self, options: &[&str]) -> ChatProcess {
        ChatProcess::on(&self.backplane(), options)
    }
}

/// Two processes lose their store, are typed into, and get it back: both show everything once, in one order, and their
/// health says at every time what is so.
pub async fn two_processes_catch_up(store: &impl Store) {
    const MESSAGES: usize = 25;
    // One stays ready for as long as this test, the other leaves the balancer at once.
    let mut patient = store.chat(&["--grace-seconds", "3600"]);
    let mut strict = store.chat(&["--grace-seconds", "0"]);
    let (patient_at, strict_at) = (patient.address().await, strict.address().await);
    let mut ada = Client::join(patient_at, "lobby", "Ada").await;
    let mut grace = Client::join(strict_at, "lobby", "Grace").await;
    ada.say("hello").await;
    assert_eq!((ada.text().await, grace.text().await), ("hello".into(), "hello".into()));
    grace.say("hello yourself").await;
    assert_eq!((ada.text().await, grace.text().await), ("hello yourself".into(), "hello yourself".into()));
    until_all(patient_at, "up", 200).await;
    until_all(strict_at, "up", 200).await;

    store.stop().await;
    let told = [until_all(patient_at, "degraded", 200).await, until_all(strict_at, "degraded", 503).await];
    for (health, is_ready) in told.iter().zip([true, false]) {
        assert_eq!(health["ready"], is_ready, "{health}");
        for stream in health["streams"].as_array().expect("health lists streams") {
            assert!(stream["error"].is_string() && stream["attempts"].as_u64() > Some(0), "{health}");
        }
    }
    for number in 0..MESSAGES {
        ada.say(&format!("ada {number}")).await;
        grace.say(&format!("grace {number}")).await;
    }
    // So that all of it was taken by the processes while there is no store.
    ada.reached().await;
    grace.reached().await;
    until_all(patient_at, "degraded", 200).await;
    until_all(strict_at, "degraded", 503).await;

    store.start().await;
    let mut heard = Vec::new();
    for _ in 0..2 * MESSAGES {
        let text = ada.text().await;
        assert_eq!(grace.text().await, text, "one order on both");
        heard.push(text);
    }
    for who in ["ada", "grace"] {
        let theirs: Vec<_> = heard.iter().filter(|text| text.starts_with(who)).cloned().collect();
        assert_eq!(theirs, (0..MESSAGES).map(|number| format!("{who} {number}")).collect::<Vec<_>>());
    }
    grace.say("over").await;
    assert_eq!((ada.text().await, grace.text().await), ("over".into(), "over".into()), "nothing came twice");
    until_all(patient_at, "up", 200).await;
    until_all(strict_at, "up", 200).await;

    for mut process in [patient, strict] {
        process.terminate().await;
        assert!(process.ended().await.success());
    }
}

/// A client whose process dies goes on at others: at one that was there, at one that was not, and while the store is
/// away. Where the store does not [remember](Store::remembers), the one that was not there says that something is missing.
pub async fn a_client_changes_processes(store: &impl Store) {
    let (mut first, mut second) = (store.chat(&[]), store.chat(&[]));
    let (first_at, second_at) = (first.address().await, second.address().await);
    let mut ada = Client::join(first_at, "lobby", "Ada").await;
    let mut grace = Client::join(second_at, "lobby", "Grace").await;
    say(&mut grace, 0..10).await;
    hear(&mut ada, 0..5).await;

    // It dies with half of it heard; what follows is said elsewhere.
    first.kill().await;
    say(&mut grace, 10..20).await;
    let mut ada = Client::resume(second_at, "lobby", "Ada", &ada.cursor).await;
    hear(&mut ada, 5..20).await;

    // A process that was not there when it was said has it from the store, or knows that it has not.
    say(&mut grace, 20..30).await;
    let mut third = store.chat(&[]);
    let third_at = third.address().await;
    let mut ada = Client::resume(third_at, "lobby", "Ada", &ada.cursor).await;
    if store.remembers() {
        hear(&mut ada, 20..30).await;
    } else {
        assert_eq!(ada.expect("gap").await["reason"], "expired");
    }

    // She changes again while there is no store, and what is said meanwhile waits.
    store.stop().await;
    until_all(second_at, "degraded", 200).await;
    let mut ada = Client::resume(second_at, "lobby", "Ada", &ada.cursor).await;
    for number in 30..40 {
        grace.say(&number.to_string()).await;
    }
    grace.reached().await;
    store.start().await;
    hear(&mut grace, 30..40).await;
    hear(&mut ada, 30..40).await;
    ada.say("over").await;
    assert_eq!((ada.text().await, grace.text().await), ("over".into(), "over".into()), "nothing came twice");
}

/// The node's health once all of its streams are in `state`.
///
/// # Panics
/// Where it comes with another status than `status`.
pub async fn until_all(node: SocketAddr, state: &str, status: u16) -> Value {
    let asked = async {
        let mut pace = interval(POLL);
        loop {
            pace.tick().await;
            let (answered, health) = get(node, "/health").await;
            let health: Value = serde_json::from_str(&health).expect("health is JSON");
            let streams = health["streams"].as_array().expect("health lists streams");
            if !streams.is_empty() && streams.iter().all(|stream| stream["state"] == state) {
                assert_eq!(answered, status, "{health}");
                return health;
            }
        }
    };
    timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("its streams never were all {state}"))
}

async fn say(client: &mut Client, numbers: Range<usize>) {
    for number in numbers {
        client.say(&number.to_string()).await;
        assert_eq!(client.text().await, number.to_string());
    }
}

async fn hear(client: &mut Client, numbers: Range<usize>) {
    for number in numbers {
        assert_eq!(client.text().await, number.to_string());
    }
}
