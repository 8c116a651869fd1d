//! One run: a publisher and a receiver, started, told and asked.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    case::{Case, How, Wire},
    http::Fault,
    server::{Server, VARIABLE},
    tally::{Published, Received, Spread},
};

/// How long a process may take to be ready, or, beyond the seconds of the run, to be done.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long a fault and all that follows may take at most.
const PATIENCE_PER_FAULT: Duration = Duration::from_secs(70);

/// What one run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    #[serde(flatten)]
    pub case: Case,
    /// Messages a second that the receiver got; `None` where something is wrong that must not be.
    pub per_second: Option<f64>,
    #[serde(flatten)]
    pub counts: Counts,
    pub frames_per_second: f64,
    pub per_frame: f64,
    /// Processor time per message.
    pub publisher_us: f64,
    pub receiver_us: f64,
    /// From a publish to its reception, in ns.
    pub latency: Spread,
    /// From a publish to its confirmation, in ns.
    pub confirmed: Spread,
    pub load: f64,
}

/// What came of the messages.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub gaps: u64,
    pub errors: u64,
}

/// What a series of faults came to.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    pub wire: Wire,
    pub fault: Fault,
    pub topics: u16,
    pub rate: u32,
    #[serde(flatten)]
    pub counts: Counts,
    /// From each fault to the first message that was published after it, received; in order.
    pub live_after_ms: Vec<f64>,
    pub load: f64,
}

/// Runs a case once, on topics of its own.
pub async fn run(case: &Case, server: &Server) -> anyhow::Result<Run> {
    let load = load_average();
    let app = match case.how {
        How::Bare => server.bare().await?,
        _ => server.fresh(case.topics)?,
    };
    let case = Case { app, ..case.clone() };
    // The first one makes the topics.
    let mut receiver = Process::start("receive", &case, &[], server).await?;
    let mut publisher = Process::start("publish", &case, &[], server).await?;
    publisher.tell("GO").await?;
    let published: Published = publisher.outcome().await?;
    receiver.tell(&format!("END {}", published.sent)).await?;
    let received: Received = receiver.outcome().await?;
    server.delete_all().await?;
    Ok(sum(case, &published, &received, load))
}

/// Publishes at the rate of `case` until there was `fault` for `count` times, and all came.
pub async fn recover(case: &Case, fault: Fault, count: usize, server: &Server) -> anyhow::Result<Recovery> {
    let load = load_average();
    let case = Case { app: server.fresh(case.topics)?, ..case.clone() };
    let mut receiver =
        Process::start("recover", &case, &[serde_json::to_string(&vec![fault; count])?], server).await?;
    let mut publisher = Process::start("publish", &case, &[], server).await?;
    publisher.tell("GO").await?;
    let patience = PATIENCE_PER_FAULT * u32::try_from(count)?;
    receiver.expect("DONE", patience).await?;
    publisher.tell("STOP").await?;
    let published: Published = publisher.outcome().await?;
    receiver.tell(&format!("END {}", published.sent)).await?;
    let received: Received = receiver.outcome().await?;
    server.delete_all().await?;
    Ok(Recovery {
        wire: case.wire,
        fault,
        topics: case.topics,
        rate: case.rate,
        counts: Counts::of(&published, &received),
        live_after_ms: received.recovered.iter().map(|nanos| *nanos as f64 / 1e6).collect(),
        load,
    })
}

fn sum(case: Case, published: &Published, received: &Received, load: f64) -> Run {
    let seconds = received.last.saturating_sub(published.first).max(1) as f64 / 1e9;
    let counts = Counts::of(published, received);
    let us = |nanos: u64, of: u64| nanos as f64 / 1e3 / of.max(1) as f64;
    Run {
        per_second: counts.are_sound().then_some(received.received as f64 / seconds),
        frames_per_second: published.frames as f64 / seconds,
        per_frame: published.sent as f64 / published.frames.max(1) as f64,
        publisher_us: us(published.cpu, published.sent),
        receiver_us: us(received.cpu, received.received),
        latency: received.latency,
        confirmed: published.confirmed,
        load,
        case,
        counts,
    }
}

impl Counts {
    fn of(published: &Published, received: &Received) -> Self {
        Self {
            sent: published.sent,
            received: received.received,
            lost: published.sent.saturating_sub(received.received),
            duplicates: received.duplicates,
            gaps: received.gaps,
            errors: published.errors,
        }
    }

    /// Whether everything came once.
    pub fn are_sound(&self) -> bool {
        self.lost + self.duplicates + self.gaps + self.errors == 0
    }
}

/// Of the last minute; 0 where the system does not tell.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// A process of a run; it ends when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    patience: Duration,
}

impl Process {
    /// Starts one, and waits until it is ready.
    async fn start(role: &str, case: &Case, more: &[String], server: &Server) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", role, &serde_json::to_string(case)?]).args(more).env(VARIABLE, &server.url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let orders = child.stdin.take().context("a piped stdin")?;
        let answers = BufReader::new(child.stdout.take().context("a piped stdout")?).lines();
        let patience = PATIENCE + Duration::from_secs(case.seconds.into());
        let mut process = Self { child, orders, answers, patience };
        process.expect("READY", PATIENCE).await.with_context(|| format!("{role} of {case}"))?;
        Ok(process)
    }

    async fn tell(&mut self, order: &str) -> anyhow::Result<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes()).await?)
    }

    async fn expect(&mut self, word: &str, patience: Duration) -> anyhow::Result<()> {
        let line = timeout(patience, self.answers.next_line()).await;
        let line = line.with_context(|| format!("it does not say {word}"))??;
        ensure!(line.as_deref() == Some(word), "it did not say {word}: {line:?}");
        Ok(())
    }

    /// What it has done, when it is done.
    async fn outcome<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = timeout(self.patience, self.answers.next_line()).await.context("it takes too long")??;
        let outcome = serde_json::from_str(&line.context("a process of the run failed")?)?;
        timeout(PATIENCE, self.child.wait()).await.context("it does not end")??;
        Ok(outcome)
    }
}
