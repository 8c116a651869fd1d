//! One run: a publisher and receivers, started, told and asked.

use std::{
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, ensure};
use scaleout_testkit::servers::RedisServer;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Duration, timeout},
};

use crate::{
    case::Case,
    tally::{Published, Received},
};

/// How long a process may take to be ready, and how long a run may.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts runs, so that no two share a name in the server.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// What one run came to. Times in µs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    pub name: String,
    pub case: Case,
    /// Messages a second, by the slowest receiver; `None` where something is wrong that must not be.
    pub per_second: Option<f64>,
    /// By all receivers.
    pub lost: u64,
    pub duplicates: u64,
    pub gaps: u64,
    pub errors: u64,
    /// Of the server, per message.
    pub redis_us: f64,
    pub publisher_us: f64,
    /// The mean of all receivers, per message.
    pub receiver_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub confirm_p50_us: f64,
    pub per_frame: f64,
    pub load: f64,
}

/// A process of a run.
#[derive(Debug)]
pub struct Process {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one, and waits until it is ready.
    pub async fn start(role: &str, case: &Case) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", role, &serde_json::to_string(case)?]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let orders = child.stdin.take().context("a piped stdin")?;
        let answers = BufReader::new(child.stdout.take().context("a piped stdout")?).lines();
        let mut process = Self { child, orders, answers };
        let line = timeout(PATIENCE, process.answers.next_line()).await??;
        ensure!(line.as_deref() == Some("READY"), "{role} of {case} did not get ready: {line:?}");
        Ok(process)
    }

    pub async fn tell(&mut self, order: &str) -> anyhow::Result<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes()).await?)
    }

    /// What it has done, when it is done.
    pub async fn outcome<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = timeout(PATIENCE, self.answers.next_line()).await.context("it takes too long")??;
        let outcome = serde_json::from_str(&line.context("a process of the run failed")?)?;
        timeout(PATIENCE, self.child.wait()).await??;
        Ok(outcome)
    }
}

/// Gives a case its place in the server.
pub fn placed(case: &Case, server: &RedisServer) -> Case {
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    Case { url: server.url(), app: format!("bench-{number}"), ..case.clone() }
}

/// The server for all runs: nothing is persisted, and no subscriber is too slow for it, so that peers lose less.
pub async fn server() -> anyhow::Result<RedisServer> {
    let builder = RedisServer::builder().config("client-output-buffer-limit", "pubsub 0 0 0");
    builder.start().await.context("a Redis server for the runs")
}

/// Runs a case once.
pub async fn run(case: &Case, server: &RedisServer) -> anyhow::Result<Run> {
    let load = load_average();
    let case = placed(case, server);
    let mut receivers = Vec::new();
    for _ in 0..case.receivers {
        receivers.push(Process::start("receive", &case).await?);
    }
    let mut publisher = Process::start("publish", &case).await?;
    let before = ServerUse::of(server).await?;
    publisher.tell("GO").await?;
    let published: Published = publisher.outcome().await?;
    for receiver in &mut receivers {
        receiver.tell(&format!("END {}", published.sent)).await?;
    }
    let mut received: Vec<Received> = Vec::new();
    for receiver in &mut receivers {
        received.push(receiver.outcome().await?);
    }
    let after = ServerUse::of(server).await?;
    server.command(&["FLUSHALL"]).await?;
    let used = ServerUse { cpu: after.cpu - before.cpu, frames: after.frames - before.frames };
    Ok(sum(case, &published, &received, used, load))
}

fn sum(case: Case, published: &Published, received: &[Received], used: ServerUse, load: f64) -> Run {
    let sent = published.sent.max(1) as f64;
    let rate =
        |of: &Received| of.received as f64 * 1e9 / (of.last.saturating_sub(published.first).max(1)) as f64;
    let slowest = received.iter().map(rate).fold(f64::INFINITY, f64::min);
    let total = |of: fn(&Received) -> u64| received.iter().map(of).sum::<u64>();
    let lost: u64 = received.iter().map(|of| published.sent.saturating_sub(of.received)).sum();
    let (duplicates, gaps) = (total(|of| of.duplicates), total(|of| of.gaps));
    let is_sound = lost + duplicates + gaps + published.errors == 0;
    let worst = |of: fn(&Received) -> u64| received.iter().map(of).max().unwrap_or(0) as f64 / 1e3;
    Run {
        name: case.name(),
        per_second: (is_sound || !case.is_reliable()).then_some(slowest),
        lost,
        duplicates,
        gaps,
        errors: published.errors,
        redis_us: used.cpu * 1e6 / sent,
        publisher_us: published.cpu as f64 / 1e3 / sent,
        receiver_us: total(|of| of.cpu) as f64 / 1e3 / total(|of| of.received).max(1) as f64,
        p50_us: worst(|of| of.p50),
        p99_us: worst(|of| of.p99),
        confirm_p50_us: published.confirm_p50 as f64 / 1e3,
        per_frame: if used.frames > 0 { sent / used.frames as f64 } else { 0.0 },
        load,
        case,
    }
}

/// What a server has done so far.
struct ServerUse {
    /// Seconds that it has had a processor.
    cpu: f64,
    /// Calls of `XADD`.
    frames: u64,
}

impl ServerUse {
    async fn of(server: &RedisServer) -> anyhow::Result<Self> {
        let info: String = redis::from_redis_value(server.command(&["INFO", "ALL"]).await?)?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let seconds = |name| anyhow::Ok(field(name).context("the server says what it used")?.parse::<f64>()?);
        let frames = field("cmdstat_xadd:calls=").and_then(|rest| rest.split(',').next());
        Ok(Self {
            cpu: seconds("used_cpu_sys:")? + seconds("used_cpu_user:")?,
            frames: frames.map_or(Ok(0), str::parse)?,
        })
    }
}

/// Of the last minute; 0 where the system does not tell.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
