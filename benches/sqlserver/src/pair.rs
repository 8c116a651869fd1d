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
    case::Case,
    server::Schemas,
    tally::{Published, Received, Spread},
};

/// How long a process may take to be ready, or, beyond the seconds of the run, to be done.
const PATIENCE: Duration = Duration::from_secs(180);

/// What one run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    #[serde(flatten)]
    pub case: Case,
    /// Messages a second that the receiver got; `None` where something is wrong that must not be.
    pub per_second: Option<f64>,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub gaps: u64,
    pub errors: u64,
    pub frames_per_second: f64,
    pub per_frame: f64,
    /// Processor time per message.
    pub publisher_us: f64,
    pub receiver_us: f64,
    /// From a publish to its reception, in ns.
    pub latency: Spread,
    /// From a publish to its confirmation, in ns.
    pub confirmed: Spread,
    pub doorbell: String,
    pub load: f64,
}

/// Runs a case once, in a schema of its own.
pub async fn run(case: &Case, schemas: &Schemas) -> anyhow::Result<Run> {
    let load = load_average();
    let case = Case { schema: schemas.fresh(), ..case.clone() };
    // The first one installs.
    let mut receiver = Process::start("receive", &case).await?;
    let mut publisher = Process::start("publish", &case).await?;
    publisher.tell("GO").await?;
    let published: Published = publisher.outcome().await?;
    receiver.tell(&format!("END {}", published.sent)).await?;
    let received: Received = receiver.outcome().await?;
    schemas.drop_all().await?;
    Ok(sum(case, published, received, load))
}

fn sum(case: Case, published: Published, received: Received, load: f64) -> Run {
    let seconds = received.last.saturating_sub(published.first).max(1) as f64 / 1e9;
    let lost = published.sent.saturating_sub(received.received);
    let is_sound = lost + received.duplicates + received.gaps + published.errors == 0;
    let us = |nanos: u64, of: u64| nanos as f64 / 1e3 / of.max(1) as f64;
    Run {
        per_second: is_sound.then_some(received.received as f64 / seconds),
        sent: published.sent,
        received: received.received,
        lost,
        duplicates: received.duplicates,
        gaps: received.gaps,
        errors: published.errors,
        frames_per_second: published.frames as f64 / seconds,
        per_frame: published.sent as f64 / published.frames.max(1) as f64,
        publisher_us: us(published.cpu, published.sent),
        receiver_us: us(received.cpu, received.received),
        latency: received.latency,
        confirmed: published.confirmed,
        doorbell: received.doorbell,
        load,
        case,
    }
}

/// Of the last minute; 0 where the system does not tell.
fn load_average() -> f64 {
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
    /// Starts one, and waits until it is ready. The server it has from the environment, as this process has.
    async fn start(role: &str, case: &Case) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", role, &serde_json::to_string(case)?]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let orders = child.stdin.take().context("a piped stdin")?;
        let answers = BufReader::new(child.stdout.take().context("a piped stdout")?).lines();
        let patience = PATIENCE + Duration::from_secs(case.seconds.into());
        let mut process = Self { child, orders, answers, patience };
        let line =
            timeout(PATIENCE, process.answers.next_line()).await.context("it does not get ready")??;
        ensure!(line.as_deref() == Some("READY"), "{role} of {case} did not get ready: {line:?}");
        Ok(process)
    }

    async fn tell(&mut self, order: &str) -> anyhow::Result<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes()).await?)
    }

    /// What it has done, when it is done.
    async fn outcome<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = timeout(self.patience, self.answers.next_line()).await.context("it takes too long")??;
        let outcome = serde_json::from_str(&line.context("a process of the run failed")?)?;
        timeout(PATIENCE, self.child.wait()).await.context("it does not end")??;
        Ok(outcome)
    }
}
