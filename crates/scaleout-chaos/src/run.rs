//! One seed: a store, node processes, faults, and the verdict.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use scaleout::StreamIndex;
use scaleout_testkit::{
    fixture::Held,
    servers::{Fate, TcpProxy},
};
use tokio::time::{Instant, sleep};

use crate::{
    clock,
    merge::{Ending, Left, all_at_end, last_cursor},
    plan::{Fault, Plan, Provider, Step, StoreFault},
    process::NodeProcess,
    protocol::{Command, Setup, Status},
    store::{STREAMS, Store},
};

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often something is looked at that tells no change.
const POLL: Duration = Duration::from_millis(25);

/// How a run is to be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) provider: Provider,
    pub(crate) nodes: usize,
    /// What the nodes are: a bus, or a bare loop.
    pub(crate) kind: &'static str,
    /// See [`Setup::swallow`].
    pub(crate) swallow: Option<u64>,
}

impl Settings {
    /// Whether clients can go on where they were, and stores can tell what they held.
    pub(crate) fn is_bus(&self) -> bool {
        self.kind == "node"
    }
}

/// Clients: on each node one that stays, and one that moves.
pub(crate) const CLIENTS_PER_NODE: usize = 2;

/// What a run leaves to be judged.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) left: Vec<Left>,
    pub(crate) ending: Ending,
    /// How often each kind of fault struck.
    pub(crate) struck: BTreeMap<&'static str, usize>,
    pub(crate) nodes_killed: usize,
}

/// Runs a plan; what it writes goes to `folder`.
///
/// # Errors
/// Where something outside of what is tested fails, or the nodes do not get over a fault in time.
pub(crate) async fn run(settings: &Settings, plan: &Plan, folder: &Path) -> Result<Ran> {
    let mut run = Run::start(settings, plan, folder).await?;
    match run.through(plan).await {
        Ok(()) => run.end().await,
        Err(error) => {
            let status = run.describe().await;
            Err(error.context(format!("the nodes then: {status}")))
        }
    }
}

/// A place that a node process has at a time.
struct Slot {
    proxy: TcpProxy,
    node: NodeProcess,
}

struct Client {
    channels: Vec<String>,
    /// The slot of its node.
    slot: usize,
    stays: u32,
}

struct Run<'a> {
    settings: &'a Settings,
    plan: &'a Plan,
    folder: &'a Path,
    began: u64,
    log: Mutex<fs::File>,
    store: Store,
    slots: Vec<Slot>,
    /// The proxies of nodes that were killed.
    retired: Vec<TcpProxy>,
    clients: Vec<Client>,
    started: usize,
    ran: Ran,
}

impl<'a> Run<'a> {
    async fn start(settings: &'a Settings, plan: &'a Plan, folder: &'a Path) -> Result<Self> {
        let store = Store::start(settings.provider, plan.persistence).await?;
        let log = Mutex::new(fs::File::create(folder.join("faults.log"))?);
        let (slots, retired, clients, ran) = (Vec::new(), Vec::new(), Vec::new(), Ran::default());
        let began = clock::now();
        let mut run =
            Self { settings, plan, folder, began, log, store, slots, retired, clients, started: 0, ran };
        run.note(&format!(
            "{:?}, persistence {:?}, rings of {} bytes",
            settings.provider, plan.persistence, plan.ring_bytes
        ));
        for slot in 0..settings.nodes {
            let proxy = TcpProxy::to_port(run.store.port()).await?;
            let node = run.start_node(&proxy).await?;
            run.slots.push(Slot { proxy, node });
            for _ in 0..CLIENTS_PER_NODE {
                let client = run.clients.len();
                let channels = channels_of(client);
                run.clients.push(Client { channels: channels.clone(), slot, stays: 0 });
                let join = Command::Join { client, stay: 0, channels, cursor: None };
                run.slots[slot].node.ask(&join).await?;
            }
        }
        for slot in 0..settings.nodes {
            run.begin_traffic(slot).await?;
        }
        Ok(run)
    }

    async fn through(&mut self, plan: &Plan) -> Result<()> {
        self.flows().await?;
        for (step, Step { fault, settles }) in plan.steps.iter().enumerate() {
            let said = self.strike(fault).await.with_context(|| format!("step {step}, {fault}"))?;
            *self.ran.struck.entry(fault.kind()).or_default() += 1;
            self.note(&format!("{step}: {fault} {said}"));
            if *settles {
                self.flows().await.with_context(|| format!("after step {step}, {fault}"))?;
            }
        }
        self.note("all is healed");
        self.heal().await?;
        self.flows().await.context("after all was healed")
    }

    async fn strike(&mut self, fault: &Fault) -> Result<String> {
        match fault {
            Fault::Store(fault) => return self.strike_store(fault).await,
            Fault::KillInOutage { node } => {
                self.store.strike(&StoreFault::Outage).await?;
                let orphans = self.kill(*node).await?;
                self.store.relent(&StoreFault::Outage).await?;
                return self.replace(*node, orphans).await;
            }
            Fault::KillNode { node } => {
                let orphans = self.kill(*node).await?;
                return self.replace(*node, orphans).await;
            }
            Fault::FreezeNode { node, lasts } => {
                self.slots[*node].node.signal(Signal::STOP)?;
                sleep(*lasts).await;
                self.slots[*node].node.signal(Signal::CONT)?;
            }
            Fault::Cut { node } => self.slots[*node].proxy.cut_all(),
            Fault::Refuse { node, lasts } => {
                let proxy = &self.slots[*node].proxy;
                proxy.refuse().await;
                proxy.cut_all();
                sleep(*lasts).await;
                proxy.accept().await?;
            }
            Fault::HalfOpen { node, lasts } => {
                self.slots[*node].proxy.stall();
                sleep(*lasts).await;
                self.slots[*node].proxy.flow();
            }
            Fault::Delay { node, delay, lasts } => {
                self.slots[*node].proxy.set_delay(*delay);
                sleep(*lasts).await;
                self.slots[*node].proxy.set_delay(Duration::ZERO);
            }
            Fault::HoldNode { node, lasts } => {
                let node = &mut self.slots[*node].node;
                node.ask(&Command::Hold { held: true }).await?;
                sleep(*lasts).await;
                node.ask(&Command::Hold { held: false }).await?;
            }
            Fault::SlowReader { client, lasts } => {
                let (client, slot) = (*client, self.clients[*client].slot);
                let node = &mut self.slots[slot].node;
                node.ask(&Command::Pause { client, paused: true }).await?;
                sleep(*lasts).await;
                node.ask(&Command::Pause { client, paused: false }).await?;
            }
            Fault::LoseAnswer { node } => self.next_frame(*node, Fate::LoseAnswer),
            Fault::LoseSend { node } => self.next_frame(*node, Fate::LoseSend),
            Fault::DelaySend { node } => self.next_frame(*node, Fate::Delay),
            Fault::Release { node } => self.store.release(&self.slots[*node].proxy).await,
            Fault::Hop { client, to } => self.hop(*client, *to).await?,
        }
        Ok(String::new())
    }

    async fn strike_store(&mut self, fault: &StoreFault) -> Result<String> {
        let said = self.store.strike(fault).await?;
        match fault {
            StoreFault::Outage | StoreFault::Freeze => self.all_notice().await?,
            StoreFault::Stutter { lasts } => sleep(*lasts).await,
            StoreFault::SmallBuffers { node, lasts } => {
                self.slots[*node].proxy.stall();
                sleep(*lasts).await;
                self.slots[*node].proxy.flow();
            }
            _ => {}
        }
        self.store.relent(fault).await?;
        Ok(said)
    }

    fn next_frame(&self, node: usize, fate: Fate) {
        self.store.next_frame(&self.slots[node].proxy, fate);
    }

    /// Kills the node of a slot; its clients, and where they stood.
    async fn kill(&mut self, slot: usize) -> Result<Vec<(usize, Option<String>)>> {
        let old = &mut self.slots[slot];
        old.node.signal(Signal::KILL)?;
        let killed = Duration::from_nanos(clock::now() - self.began);
        self.ran.nodes_killed += 1;
        let journal = old.node.journal.clone();
        old.node.wait_gone().await?;
        let here = (0..self.clients.len()).filter(|client| self.clients[*client].slot == slot);
        let mut orphans = Vec::new();
        for client in here {
            let cursor = if self.settings.is_bus() { Some(last_cursor(&journal, client)?) } else { None };
            orphans.push((client, cursor));
        }
        let number = old.node.number;
        self.leave(number, journal, Some(killed));
        Ok(orphans)
    }

    /// A fresh node takes the slot of one that was killed; the clients of that go on at other nodes, some at the new one.
    async fn replace(&mut self, slot: usize, orphans: Vec<(usize, Option<String>)>) -> Result<String> {
        let proxy = TcpProxy::to_port(self.store.port()).await?;
        let node = self.start_node(&proxy).await?;
        // What it holds of the dead node's writes may come late.
        self.retired.push(std::mem::replace(&mut self.slots[slot], Slot { proxy, node }).proxy);
        for (turn, (client, cursor)) in orphans.into_iter().enumerate() {
            self.enter(client, (slot + turn) % self.slots.len(), cursor).await?;
        }
        self.begin_traffic(slot).await?;
        Ok(String::new())
    }

    async fn hop(&mut self, client: usize, to: usize) -> Result<()> {
        let from = self.clients[client].slot;
        let answer = self.slots[from].node.ask(&Command::Leave { client }).await?;
        self.enter(client, to, answer.cursor).await
    }

    async fn enter(&mut self, client: usize, slot: usize, cursor: Option<String>) -> Result<()> {
        let of_client = &mut self.clients[client];
        of_client.slot = slot;
        of_client.stays += 1;
        let (stay, channels) = (of_client.stays, of_client.channels.clone());
        self.slots[slot].node.ask(&Command::Join { client, stay, channels, cursor }).await?;
        Ok(())
    }

    async fn start_node(&mut self, proxy: &TcpProxy) -> Result<NodeProcess> {
        let number = self.started;
        self.started += 1;
        self.ran.left.push(Left { journal: PathBuf::new(), killed: None });
        let setup = Setup {
            number,
            began: self.began,
            journal: self.folder.join(format!("node-{number}.jsonl")),
            store: self.store.url(proxy.port()),
            ring_bytes: self.plan.ring_bytes,
            // Every third one receives only what somebody listens to, where the store can replay.
            on_demand: self.settings.provider != Provider::Servicebus && number % 3 == 1,
            swallow: self.settings.swallow,
        };
        NodeProcess::start(self.settings.kind, &setup, &self.folder.join(format!("node-{number}.err"))).await
    }

    async fn begin_traffic(&mut self, slot: usize) -> Result<()> {
        let traffic = Command::Traffic { channels: channels(), rate: self.plan.rate, len: 32 };
        self.slots[slot].node.ask(&traffic).await?;
        Ok(())
    }

    /// Waits until no node has a stream that is up.
    async fn all_notice(&mut self) -> Result<()> {
        if !self.settings.is_bus() {
            // A bare loop has no states; this is what the others take at least.
            sleep(Duration::from_millis(2500)).await;
            return Ok(());
        }
        self.eventually("every node notices", async |run| {
            let all = run.statuses().await?;
            Ok(all.iter().all(|status| status.up.iter().all(|up| !up)))
        })
        .await
    }

    /// Waits until every client has got something of every node that was published from now on.
    async fn flows(&mut self) -> Result<()> {
        let from: Vec<(String, usize)> = {
            let statuses = self.statuses().await?;
            let ids = self.slots.iter().map(|slot| slot.node.id.clone());
            ids.zip(statuses.iter().map(|status| status.next_id)).collect()
        };
        self.eventually("every client gets something new of every node", async |run| {
            let statuses = run.statuses().await?;
            let mut clients = statuses.iter().flat_map(|status| status.newest.values());
            Ok(clients.all(|newest| {
                from.iter().all(|(node, id)| newest.get(node).is_some_and(|newest| newest >= id))
            }))
        })
        .await
    }

    async fn heal(&mut self) -> Result<()> {
        for proxy in self.retired.iter().chain(self.slots.iter().map(|slot| &slot.proxy)) {
            proxy.release().await;
        }
        self.store.heal().await
    }

    /// Ends the traffic, and waits until everything is delivered or told.
    async fn end(mut self) -> Result<Ran> {
        for slot in &mut self.slots {
            slot.node.ask(&Command::Stop).await?;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let statuses = self.statuses().await?;
            let mut cursors = BTreeMap::new();
            for status in &statuses {
                cursors.extend(status.cursors.clone());
            }
            let rests = before == statuses.iter().map(|status| status.cursors.clone()).collect::<Vec<_>>();
            before = statuses.iter().map(|status| status.cursors.clone()).collect();
            let over = Instant::now() > deadline;
            if !self.settings.is_bus() {
                // What a bare loop has not got by now it does not get: nothing is on its way any more.
                if rests {
                    sleep(Duration::from_secs(1)).await;
                    break;
                }
            } else if rests || over {
                let held = self.held().await?;
                let are_up = statuses.iter().all(|status| status.up.iter().all(|up| *up));
                if (are_up && all_at_end(cursors.values(), &held)?) || over {
                    let (stream_count, may_forget) = (NonZeroU16::new(STREAMS), self.plan.may_forget());
                    self.ran.ending = Ending { stream_count, held, cursors, may_forget };
                    break;
                }
            }
            sleep(POLL).await;
        }
        for (stream, held) in &mut self.ran.ending.held {
            held.extend(self.store.trimmed(*stream));
        }
        for slot in std::mem::take(&mut self.slots) {
            let number = slot.node.number;
            let journal = slot.node.finish().await?;
            self.leave(number, journal, None);
        }
        self.note("the end");
        Ok(self.ran)
    }

    async fn held(&self) -> Result<BTreeMap<StreamIndex, Vec<Held>>> {
        let mut held = BTreeMap::new();
        for stream in (0..STREAMS).map(StreamIndex) {
            held.insert(stream, self.store.log(stream).await?);
        }
        Ok(held)
    }

    async fn statuses(&mut self) -> Result<Vec<Status>> {
        let mut statuses = Vec::new();
        for slot in &mut self.slots {
            statuses.push(slot.node.status().await?);
        }
        Ok(statuses)
    }

    async fn eventually(&mut self, what: &str, is_so: impl AsyncFn(&mut Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self).await? {
            if Instant::now() > deadline {
                bail!("not within {PATIENCE:?}: {what}");
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn leave(&mut self, number: usize, journal: PathBuf, killed: Option<Duration>) {
        self.ran.left[number] = Left { journal, killed };
    }

    async fn describe(&mut self) -> String {
        match self.statuses().await {
            Ok(statuses) => format!("{statuses:?}"),
            Err(error) => format!("{error:#}"),
        }
    }

    fn note(&self, what: &str) {
        let at = Duration::from_nanos(clock::now() - self.began);
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The log is for people; a run without it is judged all the same.
        let _ = writeln!(log, "{:>9.3} s  {what}", at.as_secs_f64());
    }
}

/// Channels on all streams.
fn channels() -> Vec<String> {
    (0..8).map(|index| format!("channel {index}")).collect()
}

/// The first client of a node listens to all channels, the others to half of them.
fn channels_of(client: usize) -> Vec<String> {
    let skip = if client.is_multiple_of(CLIENTS_PER_NODE) { 1 } else { 2 };
    channels().into_iter().step_by(skip).collect()
}
