//! A bare loop in the place of a node: PUBLISH and SUBSCRIBE of Redis, as one would write it with the client alone.
//!
//! One connection publishes, a message after the other; one subscribes. Both are the client's own `ConnectionManager`,
//! which connects again by itself, the second one with its automatic subscription to what it had. A publish that fails is
//! told to its caller, and counts as such. What the subscriber misses nobody tells: there is nothing to tell it by.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use redis::{
    Client, ProtocolVersion, PushInfo, PushKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use scaleout::{BusConfig, stream_of};
use scaleout_testkit::checker::publish_payload;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    clock,
    line::{HowEnded, Line, Place, What, hex},
    node::{FileJournal, end_with_parent, say},
    protocol::{Answer, Command, IDS, Setup, Status},
    store::STREAMS,
};

/// Runs until its input ends, or it is told to finish.
///
/// # Errors
/// Where it cannot connect at first; a command that fails is answered so.
pub(crate) async fn run() -> Result<()> {
    end_with_parent();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(setup) = lines.next_line().await? else { return Ok(()) };
    let mut pubsub = Pubsub::start(serde_json::from_str(&setup)?).await?;
    say(&pubsub.answer())?;
    while let Some(line) = lines.next_line().await? {
        let command = serde_json::from_str(&line)?;
        let ends = matches!(command, Command::Finish);
        let answer = match pubsub.obey(command).await {
            Ok(answer) => answer,
            Err(error) => Answer { error: Some(format!("{error:#}")), ..pubsub.answer() },
        };
        say(&answer)?;
        if ends {
            break;
        }
    }
    Ok(())
}

struct Pubsub {
    setup: Setup,
    journal: Arc<FileJournal>,
    client: Client,
    subscriber: ConnectionManager,
    shared: Arc<Mutex<Shared>>,
    publishing: Option<JoinHandle<()>>,
    joined: usize,
}

/// What the tasks of this process know together.
#[derive(Default)]
struct Shared {
    published: usize,
    unresolved: usize,
    stops: bool,
    clients: BTreeMap<usize, Listener>,
}

struct Listener {
    local: usize,
    channels: Vec<String>,
    got: u64,
    newest: BTreeMap<String, usize>,
    paused: Option<Vec<(String, Vec<u8>)>>,
}

impl Pubsub {
    async fn start(setup: Setup) -> Result<Self> {
        let journal = FileJournal::create(&setup)?;
        let config = BusConfig::default();
        journal.write(&Line::Node {
            id: node_name(setup.number),
            replay: false,
            dense_ids: false,
            ring_bytes: config.max_ring_bytes,
            ring_age: u64::try_from(config.max_ring_age.as_nanos())?,
            tail_age: u64::try_from(config.max_tail_age.as_nanos())?,
        });
        // Of the URL only where the server is concerns a bare client.
        let address = setup.store.split('?').next().context("a URL")?;
        let client = Client::open(format!("{address}?protocol=resp3"))?;
        debug_assert_eq!(client.get_connection_info().redis_settings().protocol(), ProtocolVersion::RESP3);
        let (pushes, mut pushed) = mpsc::unbounded_channel();
        let subscribing = manager().set_push_sender(pushes).set_automatic_resubscription();
        let subscriber = client.get_connection_manager_with_config(subscribing).await?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (told, written) = (Arc::clone(&shared), Arc::clone(&journal));
        tokio::spawn(async move {
            while let Some(push) = pushed.recv().await {
                if let Some((channel, bytes)) = message(push) {
                    lock(&told).got(&written, &channel, &bytes);
                }
            }
        });
        Ok(Self { setup, journal, client, subscriber, shared, publishing: None, joined: 0 })
    }

    fn answer(&self) -> Answer {
        Answer { node: node_name(self.setup.number), ..Answer::default() }
    }

    async fn obey(&mut self, command: Command) -> Result<Answer> {
        let mut answer = self.answer();
        match command {
            Command::Join { client, stay, channels, .. } => {
                let local = self.joined;
                self.joined += 1;
                self.journal.write(&Line::Stay { local, client, stay });
                // Again where it is subscribed already, which changes nothing.
                self.subscriber.subscribe(&channels[..]).await?;
                let (got, newest) = (0, BTreeMap::new());
                if stay == 0 {
                    let at = clock::now() - self.setup.began;
                    for channel in channels.clone() {
                        let what = What::Joined { at, channel };
                        self.journal.write(&Line::Happened { local, what, cursor: String::new() });
                    }
                }
                let listener = Listener { local, channels, got, newest, paused: None };
                lock(&self.shared).clients.insert(client, listener);
            }
            Command::Leave { client } => {
                lock(&self.shared).clients.remove(&client).context("a client that is not here")?;
            }
            Command::Pause { client, paused } => {
                let mut shared = lock(&self.shared);
                let listener = shared.clients.get_mut(&client).context("a client that is not here")?;
                if paused {
                    listener.paused.get_or_insert_default();
                } else {
                    for (channel, bytes) in listener.paused.take().unwrap_or_default() {
                        listener.got(&self.journal, &channel, &bytes);
                    }
                }
            }
            // It has no reception of its own to hold back.
            Command::Hold { .. } => {}
            Command::Traffic { channels, rate, len } => {
                let publisher = self.client.get_connection_manager_with_config(manager()).await?;
                let (shared, journal) = (Arc::clone(&self.shared), Arc::clone(&self.journal));
                let publishing = publish(publisher, shared, journal, self.setup.clone(), channels, rate, len);
                self.publishing = Some(tokio::spawn(publishing));
            }
            Command::Status => {
                let shared = lock(&self.shared);
                let newest = shared.clients.iter().map(|(client, it)| (*client, it.newest.clone()));
                let cursors = shared.clients.iter().map(|(client, it)| (*client, it.got.to_string()));
                answer.status = Some(Status {
                    up: Vec::new(),
                    next_id: self.setup.first_id() + shared.published,
                    unresolved: shared.unresolved,
                    newest: newest.collect(),
                    cursors: cursors.collect(),
                });
            }
            Command::Stop => {
                lock(&self.shared).stops = true;
                if let Some(publishing) = self.publishing.take() {
                    publishing.await?;
                }
            }
            Command::Finish => {
                self.journal.write(&Line::Closed(Box::default()));
                if let Some(error) = self.journal.failed() {
                    bail!("the journal could not be written: {error}");
                }
            }
        }
        Ok(answer)
    }
}

async fn publish(
    mut publisher: ConnectionManager,
    shared: Arc<Mutex<Shared>>,
    journal: Arc<FileJournal>,
    setup: Setup,
    channels: Vec<String>,
    rate: u32,
    len: usize,
) {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (turn, channel) in channels.iter().cycle().enumerate() {
        ticks.tick().await;
        if lock(&shared).stops {
            return;
        }
        let id = setup.first_id() + turn;
        let bytes = publish_payload(id, len);
        journal.write(&Line::Published {
            id,
            stream: stream(channel),
            channel: channel.clone(),
            bytes: hex(&bytes),
            at: clock::now() - setup.began,
        });
        lock(&shared).published = turn + 1;
        let result: Result<i64, _> =
            redis::cmd("PUBLISH").arg(channel).arg(&bytes[..]).query_async(&mut publisher).await;
        let outcome = if result.is_ok() { HowEnded::Ok } else { HowEnded::Unconfirmed };
        journal.write(&Line::Resolved { id, at: clock::now() - setup.began, outcome });
    }
}

impl Shared {
    fn got(&mut self, journal: &FileJournal, channel: &str, bytes: &[u8]) {
        let listening = self.clients.values_mut().filter(|it| it.channels.iter().any(|own| own == channel));
        for listener in listening {
            match &mut listener.paused {
                Some(waiting) => waiting.push((channel.to_owned(), bytes.to_vec())),
                None => listener.got(journal, channel, bytes),
            }
        }
    }
}

impl Listener {
    fn got(&mut self, journal: &FileJournal, channel: &str, bytes: &[u8]) {
        let id = bytes.get(4..12).and_then(|id| id.try_into().ok()).map_or(0, u64::from_be_bytes);
        let id = usize::try_from(id).unwrap_or(0);
        let origin = node_name(id / IDS);
        self.got += 1;
        let newest = self.newest.entry(origin.clone()).or_default();
        *newest = id.max(*newest);
        let what = What::Message {
            stream: stream(channel),
            place: Place::nth(clock::now()),
            origin,
            channel: channel.to_owned(),
            bytes: hex(bytes),
        };
        journal.write(&Line::Happened { local: self.local, what, cursor: String::new() });
    }
}

/// Both patient beyond what the client has by default, and quick to come back, as the nodes are that it is compared with.
fn manager() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(500))
        .set_number_of_retries(100_000)
        .set_response_timeout(Some(Duration::from_secs(1)))
        .set_connection_timeout(Some(Duration::from_secs(1)))
}

fn message(push: PushInfo) -> Option<(String, Vec<u8>)> {
    let (PushKind::Message, [Value::BulkString(channel), Value::BulkString(bytes)]) =
        (push.kind, &push.data[..])
    else {
        return None;
    };
    Some((String::from_utf8(channel.clone()).ok()?, bytes.clone()))
}

fn stream(channel: &str) -> u16 {
    let streams = std::num::NonZeroU16::new(STREAMS).expect("there are some");
    stream_of(channel, streams).0
}

fn node_name(number: usize) -> String {
    format!("{number:032x}")
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
