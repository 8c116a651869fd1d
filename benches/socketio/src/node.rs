//! A node in Rust: takes orders, emits, and counts what its socket hears.
//!
//! Its socket is one in memory: neither HTTP nor a browser takes part. What counts is a packet that the adapter wrote to
//! it, encoded for Socket.IO.

use std::{
    collections::BTreeSet,
    io::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use engineioxide::Packet;
use scaleout_cluster::Target;
use scaleout_socketioxide::ScaleoutCtr;
use serde::Serialize;
use socketioxide::{SocketIo, adapter::Adapter};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::mpsc::Receiver,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    case::{Runtime, Which},
    peer, scaleout,
    tally::{STAMP_EVERY, Tally, cpu, now},
    words::{Emit, Emitted, Fetched, Order, Outcome, Paced, PacedEmit, Received, Spec},
};

/// Packets that a socket holds at most, so that a node that is busy with its adapter loses none.
pub const MAX_BUFFER_SIZE: usize = 1 << 20;

/// Packets that are taken from a socket at a time.
const BATCH: usize = 256;

/// How long a receiver waits for what is still under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// After everything came: for how long what came twice would be seen.
const AFTERMATH: Duration = Duration::from_millis(30);

/// Between two looks at how much came.
const LOOK: Duration = Duration::from_millis(5);

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(20);

pub fn run(spec: Spec) -> anyhow::Result<()> {
    let mut builder = match spec.runtime {
        Runtime::Current => tokio::runtime::Builder::new_current_thread(),
        Runtime::Multi => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2);
            builder
        }
    };
    builder.enable_all().build()?.block_on(async move {
        // A task of its own, since what `block_on` polls itself does not run on a worker.
        let node = tokio::spawn(async move {
            match spec.which {
                Which::Scaleout | Which::ScaleoutQueued => {
                    let (io, ctr) = scaleout::io(&spec).await?;
                    obey(io, &spec, Some(ctr)).await
                }
                Which::SocketioxideRedis => obey(peer::io(&spec).await?, &spec, None).await,
                Which::SocketioNode => anyhow::bail!("this side is not one in Rust"),
            }
        });
        node.await?
    })
}

/// What the socket of a node heard.
#[derive(Debug)]
struct Heard {
    names: BTreeSet<String>,
    tally: Tally,
}

/// Takes orders until there are no more.
///
/// `ours` is there where it is our adapter.
async fn obey<A: Adapter>(io: SocketIo<A>, spec: &Spec, ours: Option<ScaleoutCtr>) -> anyhow::Result<()> {
    let gaps = || ours.as_ref().map_or(0, |ctr| ctr.counters().gaps);
    // Where emits return before they are sent.
    let queue = ours.as_ref().filter(|_| spec.which == Which::ScaleoutQueued);
    let heard = Arc::new(Mutex::new(Heard { names: BTreeSet::new(), tally: Tally::new(false) }));
    let mut socket = None;
    if spec.socket {
        let (sender, packets) = io.new_dummy_sock("/", ()).await;
        socket = Some(sender);
        tokio::spawn(listen(packets, Arc::clone(&heard)));
    }
    let (mut before, mut gaps_before, mut pace) = (cpu(), 0, None);
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    say(&"ready")?;
    while let Some(line) = orders.next_line().await? {
        match serde_json::from_str(&line)? {
            Order::Probe => {
                let (io, name) = (io.clone(), spec.name.clone());
                tokio::spawn(async move { io.emit("probe", &(name,)).await.is_ok() });
                say(&lock(&heard).names)?;
            }
            Order::Begin { keep } => {
                lock(&heard).tally = Tally::new(keep);
                (before, gaps_before) = (cpu(), gaps());
                say(&())?;
            }
            Order::Emit(emit) => say(&emit_all(&io, emit, queue).await?)?,
            Order::End { sent } => {
                let received = end(&heard, sent, before).await;
                say(&Received { gaps: gaps() - gaps_before, ..received })?;
            }
            Order::Pace { rate, size } => {
                pace = Some(Pace::start(io.clone(), rate, size));
                say(&())?;
            }
            Order::Stop => say(&pace.take().context("nothing to stop")?.stop().await?)?,
            Order::Times => say(&lock(&heard).tally.times())?,
            Order::Fetch => say(&fetch(&io).await)?,
        }
    }
    drop(socket);
    Ok(())
}

fn say(answer: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(std::io::stdout().flush()?)
}

/// What is locked is counters, that are right after every step.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(mut packets: Receiver<Packet>, heard: Arc<Mutex<Heard>>) {
    let mut batch = Vec::with_capacity(BATCH);
    while packets.recv_many(&mut batch, BATCH).await > 0 {
        let mut heard = lock(&heard);
        for packet in batch.drain(..) {
            let Packet::Message(text) = packet else { continue };
            if let Some((number, sent)) = message(&text) {
                heard.tally.message(number, sent);
            } else if let Some(name) = probe(&text) {
                heard.names.insert(name.to_owned());
            }
        }
    }
}

/// The first two numbers behind the event's name in `2["bench",NUMBER,SENT,"…"]`.
fn message(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.strip_prefix("2[\"bench\",")?.splitn(3, ',');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn probe(text: &str) -> Option<&str> {
    text.strip_prefix("2[\"probe\",\"")?.strip_suffix("\"]")
}

async fn emit_all<A: Adapter>(
    io: &SocketIo<A>,
    emit: Emit,
    queue: Option<&ScaleoutCtr>,
) -> anyhow::Result<Emitted> {
    let body: Arc<str> = "x".repeat(emit.size).into();
    let (before, first) = (cpu(), now());
    let mut emitted = match (emit.rate, queue) {
        (0, Some(queue)) => through_the_queue(io, emit, &body, queue).await?,
        (0, None) => as_fast_as_it_goes(io, emit, &body).await?,
        _ => paced(io, emit, &body).await?,
    };
    (emitted.first, emitted.cpu) = (first, cpu() - before);
    Ok(emitted)
}

/// As many tasks as emits may be under way, each of which awaits its emits.
async fn as_fast_as_it_goes<A: Adapter>(
    io: &SocketIo<A>,
    emit: Emit,
    body: &Arc<str>,
) -> anyhow::Result<Emitted> {
    let (next, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let until = Instant::now() + Duration::from_secs_f64(emit.seconds);
    let task = || {
        let (next, is_over) = (Arc::clone(&next), Arc::clone(&is_over));
        let (io, body) = (io.clone(), Arc::clone(body));
        tokio::spawn(async move {
            let mut emitted = Emitted::default();
            while !is_over.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if emit.count.is_some_and(|count| number >= count) {
                    break;
                }
                let sent = if number.is_multiple_of(STAMP_EVERY) { now() } else { 0 };
                if sent != 0 && emit.count.is_none() && Instant::now() >= until {
                    is_over.store(true, Ordering::Relaxed);
                }
                emitted.note(io.emit("bench", &(number, sent, &*body)).await);
            }
            emitted
        })
    };
    let tasks: Vec<_> = (0..emit.under_way).map(|_| task()).collect();
    sum(tasks).await
}

/// One task, whose emits return at once. So that no more are under way than shall be, it waits for the first half of
/// them before it goes on behind the second one.
async fn through_the_queue<A: Adapter>(
    io: &SocketIo<A>,
    emit: Emit,
    body: &str,
    queue: &ScaleoutCtr,
) -> anyhow::Result<Emitted> {
    let (mut number, mut emitted, mut stored) = (0, Emitted::default(), None);
    let until = Instant::now() + Duration::from_secs_f64(emit.seconds);
    while emit.count.map_or_else(|| Instant::now() < until, |count| number < count) {
        for _ in 0..(emit.under_way / 2).max(1) {
            let sent = if number.is_multiple_of(STAMP_EVERY) { now() } else { 0 };
            emitted.note(io.emit("bench", &(number, sent, body)).await);
            number += 1;
        }
        // On the same channel: when the store has it, it has all that was emitted before.
        let next = queue.cluster().cast("fence", &[], Target::Others);
        if let Some(before) = stored.replace(next) {
            before.await?;
        }
    }
    if let Some(last) = stored {
        last.await?;
    }
    Ok(emitted)
}

/// Each at its time, whatever has become of those before.
async fn paced<A: Adapter>(io: &SocketIo<A>, emit: Emit, body: &Arc<str>) -> anyhow::Result<Emitted> {
    let planned = (emit.rate as f64 * emit.seconds) as u64;
    let (begin, mut tasks) = (Instant::now(), Vec::new());
    for number in 0..emit.count.unwrap_or(planned) {
        sleep_until(begin + Duration::from_nanos(number * 1_000_000_000 / emit.rate)).await;
        let (io, body, sent) = (io.clone(), Arc::clone(body), now());
        tasks.push(tokio::spawn(async move {
            let mut emitted = Emitted::default();
            emitted.note(io.emit("bench", &(number, sent, &*body)).await);
            emitted
        }));
    }
    sum(tasks).await
}

impl Emitted {
    fn note(&mut self, outcome: Result<(), impl std::fmt::Display>) {
        self.emitted += 1;
        if let Err(error) = outcome {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| error.to_string());
        }
    }
}

async fn sum(tasks: Vec<JoinHandle<Emitted>>) -> anyhow::Result<Emitted> {
    let mut all = Emitted::default();
    for task in tasks {
        let one = task.await?;
        all.emitted += one.emitted;
        all.errors += one.errors;
        all.first_error = all.first_error.or(one.first_error);
    }
    Ok(all)
}

async fn end(heard: &Mutex<Heard>, sent: u64, before: u64) -> Received {
    let (mut received, mut quiet_since) = (0, Instant::now());
    loop {
        let so_far = lock(heard).tally.received();
        if so_far >= sent || quiet_since.elapsed() > PATIENCE {
            break;
        }
        if so_far != received {
            (received, quiet_since) = (so_far, Instant::now());
        }
        sleep(LOOK).await;
    }
    let used = cpu() - before;
    sleep(AFTERMATH).await;
    lock(heard).tally.sum(used)
}

/// Emits at its rate, whatever happens to the server; each emit in a task of its own, since it may never end.
#[derive(Debug)]
struct Pace {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<()>,
    paced: Arc<Mutex<Paced>>,
}

impl Pace {
    fn start<A: Adapter>(io: SocketIo<A>, rate: u64, size: usize) -> Self {
        let (is_over, paced) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Paced::default())));
        let task = tokio::spawn(keep_pace(io, rate, size, Arc::clone(&is_over), Arc::clone(&paced)));
        Self { is_over, task, paced }
    }

    async fn stop(self) -> anyhow::Result<Paced> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await?;
        // What was emitted last gets the time to be confirmed.
        sleep(PATIENCE).await;
        Ok(std::mem::take(&mut lock(&self.paced)))
    }
}

async fn keep_pace<A: Adapter>(
    io: SocketIo<A>,
    rate: u64,
    size: usize,
    is_over: Arc<AtomicBool>,
    paced: Arc<Mutex<Paced>>,
) {
    let body: Arc<str> = "x".repeat(size).into();
    let (begin, mut number) = (Instant::now(), 0);
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while number < due {
            let (io, body, paced, sent) = (io.clone(), Arc::clone(&body), Arc::clone(&paced), now());
            lock(&paced).emits.push(PacedEmit { number, sent, outcome: Outcome::Hangs });
            tokio::spawn(async move {
                let outcome = io.emit("bench", &(number, sent, &*body)).await;
                let mut paced = lock(&paced);
                if let Err(error) = &outcome {
                    paced.first_error.get_or_insert_with(|| error.to_string());
                }
                // Nothing is left of it where the pace has been told already.
                if let Some(emit) = paced.emits.get_mut(number as usize) {
                    emit.outcome = if outcome.is_ok() { Outcome::Ok } else { Outcome::Error };
                }
            });
            number += 1;
        }
    }
}

async fn fetch<A: Adapter>(io: &SocketIo<A>) -> Fetched {
    let begin = Instant::now();
    let answer = timeout(QUESTION, io.fetch_sockets()).await;
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    match answer {
        Ok(Ok(sockets)) => Fetched { ms, sockets: Some(sockets.len()), error: None },
        Ok(Err(error)) => Fetched { ms, sockets: None, error: Some(error.to_string()) },
        Err(_) => Fetched { ms, sockets: None, error: Some("no answer".into()) },
    }
}
