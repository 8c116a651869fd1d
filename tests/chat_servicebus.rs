//! The chat as several processes on the emulator of Azure Service Bus.
#![cfg(unix)]

use std::io::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use scaleout_tests::{
    ChatProcess, Client,
    scenarios::{self, Store, until_all},
};
use servicebus_emulator::{Emulator, Right};
use tempfile::NamedTempFile;

#[tokio::test]
async fn two_processes_catch_up_after_they_were_cut_off_from_service_bus() {
    let servicebus = ServiceBus::start(Wire::Plain).await;
    scenarios::two_processes_catch_up(&servicebus).await;
    assert_eq!(servicebus.subscriptions(), 0, "who closes leaves no subscription");
}

#[tokio::test]
async fn two_processes_catch_up_by_tls() {
    let servicebus = ServiceBus::start(Wire::Tls).await;
    scenarios::two_processes_catch_up(&servicebus).await;
    assert_eq!(servicebus.subscriptions(), 0, "who closes leaves no subscription");
}

#[tokio::test]
async fn a_client_goes_on_at_another_process_and_is_told_what_a_fresh_one_lacks() {
    scenarios::a_client_changes_processes(&ServiceBus::start(Wire::Plain).await).await;
}

#[tokio::test]
async fn apps_in_one_namespace_do_not_hear_each_other() {
    let servicebus = ServiceBus::start(Wire::Plain).await;
    let [mut test, mut live] =
        ["shop-test", "shop-live"].map(|app| ChatProcess::on(&servicebus.plain_string(app), &[]));
    let mut ada = Client::join(test.address().await, "lobby", "Ada").await;
    let mut grace = Client::join(live.address().await, "lobby", "Grace").await;
    for _ in 0..10 {
        ada.say("test").await;
        grace.say("live").await;
        assert_eq!((ada.text().await, grace.text().await), ("test".into(), "live".into()));
    }

    let told = ChatProcess::refused(&format!("{};TopicCount=3", servicebus.plain_string("shop-live"))).await;
    assert!(told.contains("shop-live") && told.contains("topic_count is 3"), "{told}");
}

#[tokio::test]
async fn one_namespace_is_reached_by_urls_and_by_connection_strings() {
    let servicebus = ServiceBus::start(Wire::Plain).await;
    let settings = [
        servicebus.plain_string("chat-test"),
        servicebus.plain_url("chat-test"),
        servicebus.tls_string("chat-test"),
        servicebus.tls_url("chat-test"),
    ];
    let mut processes = Vec::from(settings.map(|settings| ChatProcess::on(&settings, &[])));
    // As it is copied from elsewhere.
    let copied = servicebus.emulator.connection_string();
    processes.push(ChatProcess::on(&copied, &["--app", "chat-test"]));
    let mut clients = Vec::new();
    for process in &mut processes {
        clients.push(Client::join(process.address().await, "lobby", "Ada").await);
    }
    for speaker in 0..clients.len() {
        let said = format!("from {speaker}");
        clients[speaker].say(&said).await;
        for client in &mut clients {
            assert_eq!(client.text().await, said);
        }
    }
}

#[tokio::test]
async fn a_wrong_key_ends_the_process_and_is_not_shown() {
    let servicebus = ServiceBus::start(Wire::Plain).await;
    let right = servicebus.backplane();
    let told = ChatProcess::refused(&right.replace(KEY, "hunter3")).await;
    assert!(told.contains(POLICY) && !told.contains("hunter3"), "{told}");

    let mut process = ChatProcess::on(&right, &[]);
    until_all(process.address().await, "up", 200).await;
}

/// An emulator that belongs to one test.
struct ServiceBus {
    emulator: Emulator,
    /// The certificate of its authority.
    ca: NamedTempFile,
    wire: Wire,
}

/// How the processes of a scenario reach it.
#[derive(Clone, Copy)]
enum Wire {
    Plain,
    Tls,
}

const POLICY: &str = "chat-nodes";

/// With what has a meaning in URLs, as the keys of Azure have it.
const KEY: &str = "hunter2/+cGFzc3dvcmQ=";

impl ServiceBus {
    async fn start(wire: Wire) -> Self {
        let emulator = Emulator::builder().key(POLICY, KEY, &[Right::Manage]).start().await;
        let emulator = emulator.expect("free ports");
        let mut ca = NamedTempFile::new().expect("a folder for temporary files");
        ca.write_all(emulator.ca_pem().as_bytes()).expect("a file of our own");
        Self { emulator, ca, wire }
    }

    fn plain_string(&self, app: &str) -> String {
        format!("{};App={app}", self.emulator.connection_string())
    }

    fn plain_url(&self, app: &str) -> String {
        let (amqp, http) = (self.emulator.amqp_port(), self.emulator.http_port());
        let login = login();
        format!(
            "servicebus+emulator://{login}@127.0.0.1:{amqp}/?app={app}&management_endpoint=http://127.0.0.1:{http}"
        )
    }

    fn tls_string(&self, app: &str) -> String {
        format!("{};App={app};Ca={}", self.emulator.tls_connection_string(), self.ca.path().display())
    }

    fn tls_url(&self, app: &str) -> String {
        let (amqps, https) = (self.emulator.amqps_port(), self.emulator.https_port());
        let (login, ca) = (login(), self.ca.path().display());
        format!(
            "servicebus://{login}@localhost:{amqps}?app={app}&management_endpoint=https://localhost:{https}&ca={ca}"
        )
    }

    /// How many there are, of all topics.
    fn subscriptions(&self) -> usize {
        let namespace = self.emulator.namespace();
        let topics = namespace.topics(0, usize::MAX);
        assert!(!topics.is_empty(), "the processes created their topics");
        let count = |topic: &str| namespace.subscriptions(topic, 0, usize::MAX).map_or(0, |all| all.len());
        topics.iter().map(|topic| count(&topic.name)).sum()
    }
}

/// Policy and key as a URL has them.
fn login() -> String {
    format!("{POLICY}:{}", utf8_percent_encode(KEY, NON_ALPHANUMERIC))
}

impl Store for ServiceBus {
    fn backplane(&self) -> String {
        match self.wire {
            Wire::Plain => self.plain_string("chat-test"),
            Wire::Tls => self.tls_string("chat-test"),
        }
    }

    /// Out of reach: what a namespace holds is never gone.
    async fn stop(&self) {
        self.emulator.faults().refuse_connections(true);
        self.emulator.faults().kill_connections();
    }

    async fn start(&self) {
        self.emulator.faults().refuse_connections(false);
    }

    /// A subscription gets what is sent once it is there.
    fn remembers(&self) -> bool {
        false
    }
}
