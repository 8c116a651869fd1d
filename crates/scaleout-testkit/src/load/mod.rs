//! Load on real buses over any backplane, on real time, judged by the [checker](crate::checker).
//!
//! A test joins nodes, lets publishers and clients run, does to the store what it is about, and in the end
//! [settles](Load::settle): all publishes are resolved, and every client has read up to the store's end. What everybody
//! saw is then judged as a whole.

mod client;
mod journal;
mod log;
mod publisher;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use scaleout_core::{
    Backplane, Bus, BusConfig, Counters, Cursor, CursorEntry, Error, NodeId, Role, StreamIndex, StreamState,
    stream_of,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::{client::Reader, journal::NoJournal, log::History};
use crate::{
    checker::{
        Account, Arrived, Client, End, GapItem, Item, NodeRecord, Outcome, Published, Recording, Violation,
        check, publish_payload,
    },
    fixture::Held,
    observed::{self, Yielded, outcome_of},
    recorder::Recorder,
};

pub use self::{journal::Journal, publisher::Traffic};

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is looked at that tells no change.
const POLL: Duration = Duration::from_millis(20);

/// Real buses, and all that they do.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    nodes: Vec<Node>,
    clients: Vec<Reader>,
    publishers: Vec<JoinHandle<()>>,
    /// The nodes that have publishers.
    busy: Vec<usize>,
    stops: watch::Sender<bool>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Verdict {
    /// What was broken; empty for a good run.
    pub violations: Vec<Violation>,
    /// What everybody saw.
    pub recording: Recording,
    /// What each node counted.
    pub counters: Vec<Counters>,
}

/// How a node of a part of a run ended.
#[derive(Debug)]
pub struct Closing {
    /// Its settings, how its streams were, its budgets and accounts; without what its receptions yielded.
    pub record: NodeRecord,
    /// What it counted.
    pub counters: Counters,
    /// Readers that were left after it was closed.
    pub readers: usize,
}

#[derive(Debug)]
struct Node {
    bus: Bus,
    config: BusConfig,
    recorder: Recorder,
}

/// What the tasks of a run write to.
#[derive(Debug)]
struct Shared {
    began: Instant,
    /// The id of the first publish.
    first: usize,
    journal: Arc<dyn Journal>,
    publishes: Mutex<Vec<Published>>,
    /// What the subscriptions of each node yielded.
    yielded: Mutex<Vec<Yielded>>,
}

impl Load {
    /// A run without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::journaled(Instant::now(), 0, Arc::new(NoJournal))
    }

    /// The part of a run that is in this process: a run that began at `began`, here or elsewhere, whose publishes in
    /// this process count from `first`, and which is written down as it goes on.
    ///
    /// It ends with [`close`](Self::close): who has the journals of all parts judges.
    #[must_use]
    pub fn journaled(began: Instant, first: usize, journal: Arc<dyn Journal>) -> Self {
        let shared = Shared { began, first, journal, publishes: Mutex::default(), yielded: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            nodes: Vec::new(),
            clients: Vec::new(),
            publishers: Vec::new(),
            busy: Vec::new(),
            stops: watch::Sender::new(false),
        }
    }

    /// Starts a node, and waits until it is up; answers its place in the run.
    ///
    /// # Panics
    /// Where it does not connect.
    pub async fn join(&mut self, backplane: Arc<dyn Backplane>, config: BusConfig) -> usize {
        let node = self.start(backplane, config);
        self.is_up(node).await;
        node
    }

    /// Starts a node.
    ///
    /// # Panics
    /// Where its settings cannot work, or are of another app than the default one.
    pub fn start(&mut self, backplane: Arc<dyn Backplane>, config: BusConfig) -> usize {
        assert_eq!(config.app, BusConfig::default().app, "the checker reads frames of the default app");
        let (node, journal) = (self.nodes.len(), Arc::clone(&self.shared.journal));
        let recorder = Recorder::new(backplane, self.shared.began, Duration::ZERO)
            .telling(move |arrival| journal.arrived(node, arrival));
        let bus = Bus::builder(recorder.clone()).config(config.clone()).start().expect("settings that work");
        self.shared.yielded().push(Yielded::default());
        self.nodes.push(Node { bus, config, recorder });
        self.nodes.len() - 1
    }

    /// The bus of a node.
    #[must_use]
    pub fn bus(&self, node: usize) -> &Bus {
        &self.nodes[node].bus
    }

    /// Waits until all streams of a node are up.
    ///
    /// # Panics
    /// Where they are not in time.
    pub async fn is_up(&self, node: usize) {
        self.state(node, "all up", |states| states.iter().all(StreamState::is_up)).await;
    }

    /// Waits until the states of a node's streams are as `wanted`; how long that took.
    ///
    /// # Panics
    /// Where they are not in time.
    pub async fn state(&self, node: usize, what: &str, wanted: impl Fn(&[StreamState]) -> bool) -> Duration {
        let began = Instant::now();
        let mut states = self.nodes[node].bus.state();
        let waiting = async {
            let mut current = states.current();
            while !wanted(&current) {
                current = states.changed().await.expect("the bus is open");
            }
        };
        let in_time = timeout(PATIENCE, waiting).await.is_ok();
        assert!(
            in_time,
            "the streams of node {node} are not {what}: {:?}",
            self.nodes[node].bus.state().current()
        );
        began.elapsed()
    }

    /// Holds the events of a node's receptions back, as a task does that is not polled, or lets them go.
    pub fn hold(&self, node: usize, held: bool) {
        self.nodes[node].recorder.hold(held);
    }

    /// A client that reads all that it gets; answers its place in the run.
    pub fn listen(&mut self, node: usize, channels: &[String]) -> usize {
        let subscription = self.nodes[node].bus.subscribe(channels);
        let client = self.clients.len();
        self.clients.push(Reader::start(&self.shared, client, node, channels, subscription, None));
        client
    }

    /// A client that goes on from where it stood at a node of another process; answers its place in this run.
    pub fn resume(&mut self, node: usize, channels: &[String], cursor: &Cursor) -> usize {
        let subscription = self.nodes[node].bus.resume(channels, cursor);
        let client = self.clients.len();
        self.clients.push(Reader::start(&self.shared, client, node, channels, subscription, Some(cursor)));
        client
    }

    /// Ends the subscription of a client, which may go on elsewhere from the cursor that is answered.
    pub async fn leave(&self, client: usize) -> Cursor {
        self.clients[client].leave().await
    }

    /// The newest publish of each node that a client got, by the ids in the payloads.
    #[must_use]
    pub fn newest(&self, client: usize) -> HashMap<NodeId, usize> {
        self.clients[client].newest()
    }

    /// Lets a client go on at another node, from where it stands.
    pub async fn hop(&self, client: usize, to: usize) {
        self.clients[client].hop(to, self.nodes[to].bus.clone()).await;
    }

    /// Lets a client read no more, or go on.
    pub async fn pause(&self, client: usize, paused: bool) {
        self.clients[client].pause(paused).await;
    }

    /// Where a client stands.
    pub async fn cursor(&self, client: usize) -> Cursor {
        self.clients[client].cursor().await
    }

    /// The gaps that a client was told of so far.
    #[must_use]
    pub fn gaps(&self, client: usize) -> Vec<GapItem> {
        self.clients[client].gaps()
    }

    /// Publishes one message, ordered by this call.
    pub fn publish(&self, node: usize, channel: &str, len: usize) -> JoinHandle<Result<(), Error>> {
        let (id, receipt) = self.shared.publish(node, &self.nodes[node].bus, channel, len);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let result = match receipt {
                Ok(receipt) => receipt.await,
                Err(error) => Err(error),
            };
            shared.resolved(id, &result);
            result
        })
    }

    /// Has messages published on a node, at a rate, until the run [settles](Self::settle).
    pub fn traffic(&mut self, node: usize, traffic: Traffic) {
        let stops = self.stops.subscribe();
        let bus = self.nodes[node].bus.clone();
        let running = publisher::run(Arc::clone(&self.shared), node, bus, traffic, stops);
        self.publishers.push(tokio::spawn(running));
        if !self.busy.contains(&node) {
            self.busy.push(node);
        }
    }

    /// How long the run takes already, the clock of what it records.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// How many messages were published so far, confirmed or not.
    #[must_use]
    pub fn published(&self) -> usize {
        self.shared.publishes().len()
    }

    /// Waits until every client that is not paused has got something of every publisher that was published from now on.
    ///
    /// # Panics
    /// Where that does not happen in time.
    pub async fn flows(&self) {
        let from = self.shared.first + self.published();
        for (client, reader) in self.clients.iter().enumerate() {
            for &node in &self.busy {
                let origin = self.nodes[node].bus.node();
                let got = timeout(PATIENCE, reader.has_got(origin, from)).await;
                assert!(
                    got.is_ok(),
                    "client {client} gets nothing new of node {node}: {:?}",
                    self.nodes.iter().map(|node| node.bus.state().current()).collect::<Vec<_>>()
                );
            }
        }
    }

    /// Ends the traffic, and waits until all publishes are resolved.
    ///
    /// # Panics
    /// Where they are not in time.
    pub async fn resolve(&mut self) {
        self.stops.send_replace(true);
        for publisher in self.publishers.drain(..) {
            let ended = timeout(PATIENCE, publisher).await;
            let open = || {
                let publishes = self.shared.publishes();
                publishes.iter().filter(|publish| publish.outcome == Outcome::Unresolved).count()
            };
            assert!(matches!(ended, Ok(Ok(()))), "{} publishes are not resolved in time", open());
        }
        let deadline = Instant::now() + PATIENCE;
        while self.shared.publishes().iter().any(|publish| publish.outcome == Outcome::Unresolved) {
            assert!(Instant::now() < deadline, "publishes are not resolved in time");
            sleep(POLL).await;
        }
        self.busy.clear();
        self.stops.send_replace(false);
    }

    /// Publishes that are not resolved yet.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        let publishes = self.shared.publishes();
        publishes.iter().filter(|publish| publish.outcome == Outcome::Unresolved).count()
    }

    /// Closes this part of a run; how each of its nodes ended, without what the journal was told.
    pub async fn close(self) -> Vec<Closing> {
        for reader in self.clients {
            reader.end().await;
        }
        let publishes = std::mem::take(&mut *self.shared.publishes());
        let yielded = std::mem::take(&mut *self.shared.yielded());
        let mut closings = Vec::new();
        for (at, (node, yielded)) in self.nodes.iter().zip(yielded).enumerate() {
            let counters = node.bus.counters();
            let mut record = node.record(at, node.bus.stream_count(), &counters, &yielded, &publishes);
            record.arrivals.clear();
            node.bus.close(PATIENCE).await;
            closings.push(Closing { record, counters, readers: node.bus.usage().readers });
        }
        closings
    }

    /// Ends the run when all publishes are resolved and every client has read up to the end of the store, as `log`
    /// yields it, and judges what everybody saw.
    ///
    /// # Panics
    /// Where publishes are not resolved in time. What clients did not get is in the verdict.
    pub async fn settle(mut self, log: impl AsyncFn(StreamIndex) -> Vec<Held>) -> Verdict {
        self.resolve().await;
        for client in &self.clients {
            client.pause(false).await;
        }
        let Some(first) = self.nodes.first() else { return Verdict::of(Recording::default(), Vec::new()) };
        let stream_count = first.bus.stream_count();
        let deadline = Instant::now() + PATIENCE;
        let (held, ends) = loop {
            // The log may be long: it is read when clients seem to have read all of it.
            self.rest(deadline).await;
            let mut held = BTreeMap::new();
            for stream in (0..stream_count.get()).map(StreamIndex) {
                held.insert(stream, log(stream).await);
            }
            let ends = self.ends(&held).await;
            let are_up =
                || self.nodes.iter().all(|node| node.bus.health().streams.iter().all(StreamState::is_up));
            if (ends.iter().flatten().all(is_at_end) && are_up()) || Instant::now() > deadline {
                break (held, ends);
            }
            sleep(POLL).await;
        };
        self.finish(stream_count, &held, ends).await
    }

    /// Waits until clients move no more.
    async fn rest(&self, deadline: Instant) {
        let mut before = Vec::new();
        while Instant::now() < deadline {
            let mut cursors = Vec::new();
            for client in &self.clients {
                cursors.push(client.cursor().await.to_string());
            }
            if cursors == before {
                return;
            }
            before = cursors;
            sleep(POLL).await;
        }
    }

    async fn ends(&self, held: &BTreeMap<StreamIndex, Vec<Held>>) -> Vec<Vec<End>> {
        let mut ends = Vec::new();
        for client in &self.clients {
            let cursor = client.cursor().await;
            let end = |(stream, entry): (StreamIndex, &CursorEntry)| {
                let last = held.get(&stream)?.last()?;
                let cursor = match entry {
                    CursorEntry::At { position, .. } => Some(*position),
                    CursorEntry::Unpositioned => None,
                };
                Some(End { stream, cursor, head: (last.epoch, last.id) })
            };
            ends.push(cursor.entries().filter_map(end).collect());
        }
        ends
    }

    async fn finish(
        self,
        stream_count: NonZeroU16,
        held: &BTreeMap<StreamIndex, Vec<Held>>,
        ends: Vec<Vec<End>>,
    ) -> Verdict {
        let mut recording = Recording { resolve_within: 2 * PATIENCE, ..Recording::default() };
        for (reader, end) in self.clients.into_iter().zip(ends) {
            let drained = end.iter().all(is_at_end);
            recording.clients.push(Client { items: reader.end().await, drained, twin: None, end });
        }
        recording.publishes = std::mem::take(&mut *self.shared.publishes());
        let mut counters = Vec::new();
        let yielded = std::mem::take(&mut *self.shared.yielded());
        for (at, (node, yielded)) in self.nodes.iter().zip(yielded).enumerate() {
            let counted = node.bus.counters();
            let record = node.record(at, stream_count, &counted, &yielded, &recording.publishes);
            recording.nodes.push(record);
            counters.push(counted);
        }
        for node in self.nodes {
            node.bus.close(PATIENCE).await;
            recording.left_over.push(("readers", node.bus.usage().readers));
        }
        fill_log(&mut recording, stream_count, held);
        Verdict::of(recording, counters)
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    fn record(
        &self,
        at: usize,
        stream_count: NonZeroU16,
        counters: &Counters,
        yielded: &Yielded,
        publishes: &[Published],
    ) -> NodeRecord {
        let capabilities = Backplane::capabilities(&self.recorder);
        let (arrivals, rewound) = {
            let mut record = self.recorder.lock();
            (std::mem::take(&mut record.arrivals), record.rewound)
        };
        let mut record = NodeRecord {
            id: self.bus.node(),
            ended: None,
            replay: capabilities.replay,
            dense_ids: capabilities.dense_ids,
            ring_bytes: Some(self.config.max_ring_bytes),
            ring_age: self.config.max_ring_age,
            tail_age: self.config.max_tail_age,
            arrivals,
            up: self.bus.state().current().iter().map(StreamState::is_up).collect(),
            states: Vec::new(),
            samples: observed::budgets(&self.bus, &self.config),
            accounts: Vec::new(),
        };
        let arrived = match self.config.role {
            Role::Full => Arrived::at(&record, stream_count.get()),
            Role::PublishOnly => Arrived::default(),
        };
        record.accounts = observed::arrivals(counters, &arrived, yielded);
        record.accounts.extend(observed::outcomes(counters, at, publishes));
        record.accounts.push(Account { what: "rewound", counted: counters.rewound, observed: rewound });
        record
    }
}

impl Shared {
    /// Writes a publish down, and makes it: the order of the record is that of the calls.
    fn publish(
        &self,
        node: usize,
        bus: &Bus,
        channel: &str,
        len: usize,
    ) -> (usize, Result<scaleout_core::Receipt, Error>) {
        let mut publishes = self.publishes();
        let place = publishes.len();
        let id = self.first + place;
        let bytes: Bytes = publish_payload(id, len);
        let publish = Published {
            node,
            stream: stream_of(channel, bus.stream_count()),
            channel: channel.to_owned(),
            order: id as u64,
            bytes: bytes.clone(),
            began: self.began.elapsed(),
            resolved: None,
            outcome: Outcome::Unresolved,
            in_log: false,
        };
        self.journal.published(id, &publish);
        publishes.push(publish);
        (id, bus.enqueue(channel, bytes))
    }

    fn resolved(&self, id: usize, result: &Result<(), Error>) {
        let (at, outcome) = (self.began.elapsed(), outcome_of(result));
        self.journal.resolved(id, at, outcome);
        let publish = &mut self.publishes()[id - self.first];
        publish.resolved = Some(at);
        publish.outcome = outcome;
    }

    fn publishes(&self) -> MutexGuard<'_, Vec<Published>> {
        self.publishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn yielded(&self) -> MutexGuard<'_, Vec<Yielded>> {
        self.yielded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    fn of(recording: Recording, counters: Vec<Counters>) -> Self {
        Self { violations: check(&recording), recording, counters }
    }

    /// Fails unless the run kept every invariant.
    ///
    /// # Panics
    /// With the first violations where it did not.
    pub fn expect_good(&self) {
        let shown: Vec<String> = self.violations.iter().take(10).map(ToString::to_string).collect();
        assert!(
            self.violations.is_empty(),
            "{} violations, of {} publishes; the first ones:\n{}\n{:#?}",
            self.violations.len(),
            self.recording.publishes.len(),
            shown.join("\n"),
            self.counters
        );
    }

    /// Fails unless every client got every message that was confirmed.
    ///
    /// # Panics
    /// With the number of those that a client lacks.
    pub fn expect_all(&self) {
        let publishes = self.recording.publishes.iter();
        let confirmed: Vec<_> = publishes.filter(|publish| publish.outcome == Outcome::Ok).collect();
        for (client, seen) in self.recording.clients.iter().enumerate() {
            let messages = seen.items.iter().filter_map(|item| match item {
                Item::Message(message) => Some(&message.bytes),
                _ => None,
            });
            let got: HashSet<_> = messages.collect();
            let missing = confirmed.iter().filter(|publish| !got.contains(&publish.bytes)).count();
            assert_eq!(
                missing,
                0,
                "client {client} lacks so many of {} confirmed messages; gaps: {:?}",
                confirmed.len(),
                self.gaps()
            );
        }
    }

    /// How many publishes ended so.
    #[must_use]
    pub fn outcomes(&self, outcome: Outcome) -> usize {
        self.recording.publishes.iter().filter(|publish| publish.outcome == outcome).count()
    }

    /// The gaps that all clients were told of.
    #[must_use]
    pub fn gaps(&self) -> Vec<&GapItem> {
        let items = self.recording.clients.iter().flat_map(|client| &client.items);
        items.filter_map(|item| if let Item::Gap(gap) = item { Some(gap) } else { None }).collect()
    }

    /// The id of a node.
    #[must_use]
    pub fn node(&self, node: usize) -> NodeId {
        self.recording.nodes[node].id
    }
}

/// Fills in what the store ever held, from what it holds and what it gave to the nodes, and says of each confirmed
/// publish whether the store had it.
pub fn fill_log(
    recording: &mut Recording,
    stream_count: NonZeroU16,
    held: &BTreeMap<StreamIndex, Vec<Held>>,
) {
    recording.log = History::of(stream_count, held, &recording.nodes).log();
    log::mark_held(recording);
}

fn is_at_end(end: &End) -> bool {
    end.cursor.is_some_and(|position| position.is_whole() && (position.epoch, position.id) == end.head)
}
