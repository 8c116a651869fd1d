//! A node process: one bus, its clients and its publisher, commanded by lines.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use scaleout::{BackplaneConfig, BusConfig, Cursor, Interest, StreamState};
use scaleout_testkit::{
    checker::{Arrival, Item, Outcome, Published},
    load::{Journal, Load, Traffic},
};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    clock,
    line::{Closed, Line},
    protocol::{Answer, Command, Setup, Status},
};

/// Ends this process with the one that started it, also where it is frozen and would not see its input end.
pub(crate) fn end_with_parent() {
    #[cfg(target_os = "linux")]
    // It fails for signals that there are not.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Runs until its input ends, or it is told to finish.
///
/// # Errors
/// Where it cannot start; a command that fails is answered so.
pub(crate) async fn run() -> Result<()> {
    end_with_parent();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(setup) = lines.next_line().await? else { return Ok(()) };
    let setup: Setup = serde_json::from_str(&setup)?;
    let mut node = match Node::start(setup).await {
        Ok(node) => node,
        Err(error) => {
            say(&Answer { error: Some(format!("{error:#}")), ..Answer::default() })?;
            return Err(error);
        }
    };
    say(&node.answer())?;
    while let Some(line) = lines.next_line().await? {
        let command = serde_json::from_str(&line)?;
        if matches!(command, Command::Finish) {
            let answer = node.answer();
            node.finish().await?;
            return say(&answer);
        }
        let answer = match node.obey(command).await {
            Ok(answer) => answer,
            Err(error) => Answer { error: Some(format!("{error:#}")), ..node.answer() },
        };
        say(&answer)?;
    }
    Ok(())
}

/// Writes a line to whoever commands this process.
pub(crate) fn say(answer: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

struct Node {
    id: String,
    first_id: usize,
    load: Load,
    journal: Arc<FileJournal>,
    /// The clients that are here, by their place in the run: their place here.
    clients: BTreeMap<usize, usize>,
    joined: usize,
}

impl Node {
    async fn start(setup: Setup) -> Result<Self> {
        let journal = FileJournal::create(&setup)?;
        let store: BackplaneConfig = setup.store.parse().context("the URL of the store")?;
        let backplane = store.backplane()?;
        let interest = if setup.on_demand { Interest::OnDemand } else { Interest::AllStreams };
        let config = BusConfig::default()
            .with_interest(interest)
            .with_max_ring_bytes(setup.ring_bytes)
            .with_max_backoff(Duration::from_millis(500));
        let first_id = setup.first_id();
        let told = Arc::clone(&journal);
        let mut load = Load::journaled(clock::instant(setup.began), first_id, told);
        let capabilities = backplane.capabilities();
        let node = load.start(backplane, config.clone());
        let id = load.bus(node).node().to_string();
        journal.write(&Line::Node {
            id: id.clone(),
            replay: capabilities.replay,
            dense_ids: capabilities.dense_ids,
            ring_bytes: config.max_ring_bytes,
            ring_age: u64::try_from(config.max_ring_age.as_nanos())?,
            tail_age: u64::try_from(config.max_tail_age.as_nanos())?,
        });
        load.is_up(node).await;
        Ok(Self { id, first_id, load, journal, clients: BTreeMap::new(), joined: 0 })
    }

    fn answer(&self) -> Answer {
        Answer { node: self.id.clone(), ..Answer::default() }
    }

    async fn obey(&mut self, command: Command) -> Result<Answer> {
        let mut answer = self.answer();
        match command {
            Command::Join { client, stay, channels, cursor } => {
                self.journal.write(&Line::Stay { local: self.joined, client, stay });
                let local = match cursor {
                    None => self.load.listen(0, &channels),
                    Some(cursor) => {
                        let cursor: Cursor = cursor.parse().context("the cursor of a client")?;
                        self.load.resume(0, &channels, &cursor)
                    }
                };
                self.clients.insert(client, local);
                self.joined += 1;
            }
            Command::Leave { client } => {
                let local = self.clients.remove(&client).context("a client that is not here")?;
                answer.cursor = Some(self.load.leave(local).await.to_string());
            }
            Command::Pause { client, paused } => {
                let local = self.clients.get(&client).context("a client that is not here")?;
                self.load.pause(*local, paused).await;
            }
            Command::Hold { held } => self.load.hold(0, held),
            Command::Traffic { channels, rate, len } => {
                self.load.traffic(0, Traffic { channels, rate, len });
            }
            Command::Status => answer.status = Some(self.status().await),
            Command::Stop => self.load.resolve().await,
            Command::Finish => bail!("it ends the loop of commands"),
        }
        Ok(answer)
    }

    async fn status(&self) -> Status {
        let mut status = Status {
            up: self.load.bus(0).state().current().iter().map(StreamState::is_up).collect(),
            next_id: self.first_id + self.load.published(),
            unresolved: self.load.unresolved(),
            ..Status::default()
        };
        for (client, local) in &self.clients {
            let newest = self.load.newest(*local);
            let newest = newest.into_iter().map(|(node, id)| (node.to_string(), id)).collect();
            status.newest.insert(*client, newest);
            status.cursors.insert(*client, self.load.cursor(*local).await.to_string());
        }
        status
    }

    async fn finish(self) -> Result<()> {
        for closing in self.load.close().await {
            let counters = closing.counters;
            let record = closing.record;
            self.journal.write(&Line::Closed(Box::new(Closed {
                up: record.up,
                samples: record.samples.iter().map(|it| (it.what.into(), it.used, it.limit)).collect(),
                accounts: record
                    .accounts
                    .iter()
                    .map(|it| (it.what.into(), it.counted, it.observed))
                    .collect(),
                readers: closing.readers,
                repaired: counters.repaired,
                rewound: counters.rewound,
                faults: counters.faults,
            })));
        }
        match self.journal.failed() {
            Some(error) => bail!("the journal could not be written: {error}"),
            None => Ok(()),
        }
    }
}

/// A journal in a file. Each line is written at once and by one call, so that a killed process loses no whole line.
#[derive(Debug)]
pub(crate) struct FileJournal {
    file: Mutex<(File, Option<String>)>,
    swallow: Option<u64>,
    messages: AtomicU64,
}

impl FileJournal {
    pub(crate) fn create(setup: &Setup) -> Result<Arc<Self>> {
        let file = File::options().create(true).append(true).open(&setup.journal);
        let file = file.with_context(|| format!("the journal {}", setup.journal.display()))?;
        let (file, messages) = (Mutex::new((file, None)), AtomicU64::new(0));
        Ok(Arc::new(Self { file, swallow: setup.swallow, messages }))
    }

    pub(crate) fn write(&self, line: &Line) {
        let mut bytes = serde_json::to_vec(line).expect("a line has nothing that JSON has not");
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.0.write_all(&bytes) {
            file.1.get_or_insert(error.to_string());
        }
    }

    pub(crate) fn failed(&self) -> Option<String> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl Journal for FileJournal {
    fn published(&self, id: usize, publish: &Published) {
        self.write(&Line::published(id, publish));
    }

    fn resolved(&self, id: usize, at: Duration, outcome: Outcome) {
        self.write(&Line::resolved(id, at, outcome));
    }

    fn happened(&self, client: usize, item: &Item, cursor: &Cursor) {
        if let (Some(every), Item::Message(_)) = (self.swallow, item)
            && (self.messages.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
        {
            return;
        }
        if let Some(line) = Line::happened(client, item, cursor) {
            self.write(&line);
        }
    }

    fn arrived(&self, _: usize, arrival: &Arrival) {
        self.write(&Line::arrived(arrival));
    }
}
