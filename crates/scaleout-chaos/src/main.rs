//! Node processes under seeded faults, judged by the history checker.
//!
//! Each seed has a store of its own, a proxy before it for each node, node processes, and clients that move between
//! them. All processes write down what they see; when all faults are healed and everything has come to rest, the
//! history checker of the testkit judges what was written.

mod baseline;
mod clock;
mod line;
mod merge;
mod node;
mod plan;
mod process;
mod protocol;
mod report;
mod run;
mod store;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    plan::{Plan, Provider},
    report::{Report, Summary},
    run::{CLIENTS_PER_NODE, Settings},
};

/// Puts node processes through faults by seed, and judges what their clients saw.
///
/// Each seed has a store of its own. It ends with exit code 1 where a seed fails, and names the command that repeats it.
#[derive(Debug, Parser)]
#[command(name = "chaos", bin_name = "cargo xtask chaos", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    #[command(flatten)]
    options: Options,
}

/// What this program runs as its own children.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Hidden {
    /// A node.
    #[command(hide = true)]
    Node,
    /// A bare loop in the place of a node.
    #[command(hide = true)]
    Pubsub,
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// The store: a real redis-server, the test server of SQL Server, or the emulator of Service Bus.
    #[arg(long, value_enum, default_value = "redis")]
    provider: Provider,
    /// How many seeds, from the first on; 20 where no first one is given either.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    seeds: Option<u64>,
    /// Runs new seeds until so many minutes are over, instead of a number of seeds.
    #[arg(long, conflicts_with = "seeds", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    minutes: Option<u64>,
    /// The first seed; alone, it is the only one.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=1 << 62))]
    seed: Option<u64>,
    /// Node processes at a time.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=32))]
    nodes: u64,
    /// Faults of a seed.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Seeds that run at once; by default as many as there are processors, up to 4.
    #[arg(long)]
    jobs: Option<usize>,
    /// One line of JSON for each seed and for the summary, on standard output.
    #[arg(long)]
    json: bool,
    /// Puts a bare loop of the store's client in the place of the nodes, to see what the checker finds there.
    #[arg(long, value_enum)]
    baseline: Option<Baseline>,
    /// Where histories are kept of seeds that fail.
    #[arg(long, default_value = "target/chaos")]
    histories: PathBuf,
    /// Keeps the histories of all seeds.
    #[arg(long)]
    keep: bool,
    /// Lets every node keep every so many messages from its clients, unreported: the checker must find that.
    #[arg(long, hide = true)]
    swallow: Option<u64>,
}

impl Options {
    /// How many seeds; `None`: as many as there is time for.
    fn count(&self) -> Option<u64> {
        match (self.minutes, self.seed, self.seeds) {
            (Some(_), ..) => None,
            (None, _, Some(seeds)) => Some(seeds),
            (None, Some(_), None) => Some(1),
            (None, None, None) => Some(20),
        }
    }
}

/// What is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Baseline {
    /// Redis PUBLISH and SUBSCRIBE, by the client's own connection that reconnects and subscribes again.
    Pubsub,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.hidden {
        Some(Hidden::Node) => node::run().await.map(|()| true),
        Some(Hidden::Pubsub) => baseline::run().await.map(|()| true),
        None => chaos(&cli.options).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn chaos(options: &Options) -> Result<bool> {
    if options.baseline.is_some() && options.provider != Provider::Redis {
        anyhow::bail!("the baseline is one of Redis: leave out --provider, or say --provider redis");
    }
    let jobs =
        options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |it| it.get().min(4)));
    let count = options.count();
    let mut left = count.unwrap_or(u64::MAX);
    let deadline = options.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let mut interrupted = false;
    // Not tasks: node processes end with the thread that started them, and this one stays.
    let (mut running, mut summary) = (FuturesUnordered::new(), Summary::default());
    let mut next = options.seed.unwrap_or(1);
    loop {
        let is_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
        while is_time && left > 0 && running.len() < jobs.max(1) {
            running.push(one(options, next));
            next += 1;
            left -= 1;
        }
        let report = tokio::select! {
            report = running.next() => report,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("interrupted");
                interrupted = true;
                break;
            }
        };
        let Some(report) = report else { break };
        let report = report?;
        summary.add(&report);
        tell(options, &report, &summary, count)?;
    }
    // Node processes and servers end with the values that stand for them.
    drop(running);
    summary.failed.sort_unstable();
    if options.json {
        println!("{}", serde_json::to_string(&serde_json::json!({ "summary": summary }))?);
    } else {
        println!("\n{}", summary.table());
    }
    if !summary.failed.is_empty() {
        eprintln!("seeds that failed: {:?}", summary.failed);
    }
    Ok(summary.failed.is_empty() && !interrupted)
}

fn tell(options: &Options, report: &Report, summary: &Summary, of: Option<u64>) -> Result<()> {
    if options.json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        let of = of.map_or_else(|| "…".into(), |of| of.to_string());
        println!("[{}/{of}] {}", summary.seeds, report.line());
    }
    if !report.is_good() {
        for violation in &report.shown {
            eprintln!("    {violation}");
        }
        if let Some(error) = &report.error {
            eprintln!("    {error}");
        }
        if let Some(folder) = &report.folder {
            eprintln!("    histories: {}", folder.display());
        }
        eprintln!("    repeat it: {}", repeat(options, report.seed));
    }
    Ok(())
}

/// The command that repeats a seed.
fn repeat(options: &Options, seed: u64) -> String {
    let provider = options.provider.to_possible_value().map(|value| value.get_name().to_owned());
    let mut command = format!(
        "cargo xtask chaos --provider {} --seed {seed} --nodes {} --steps {}",
        provider.unwrap_or_default(),
        options.nodes,
        options.steps
    );
    if options.baseline.is_some() {
        command.push_str(" --baseline pubsub");
    }
    command
}

/// Runs one seed and judges it.
async fn one(options: &Options, seed: u64) -> Result<Report> {
    let nodes = usize::try_from(options.nodes)?;
    let plan = Plan::new(options.provider, seed, nodes, CLIENTS_PER_NODE * nodes, options.steps);
    let kind = if options.baseline.is_some() { "pubsub" } else { "node" };
    let settings = Settings { provider: options.provider, nodes, kind, swallow: options.swallow };
    let folder = Folder::new(&options.histories, kind, options.provider, seed)?;
    let began = Instant::now();
    let ran = run::run(&settings, &plan, &folder.path).await;
    let judged = match ran {
        Ok(ran) => {
            let is_bus = settings.is_bus();
            // It is work for a while, and the other runs go on.
            tokio::task::spawn_blocking(move || {
                let merged = merge::merge(&ran.left, &ran.ending)?;
                anyhow::Ok(Report::of(&ran, &merged, is_bus))
            })
            .await?
        }
        Err(error) => Err(error),
    };
    let mut report =
        judged.unwrap_or_else(|error| Report { error: Some(format!("{error:#}")), ..Report::default() });
    report.seed = plan.seed;
    report.persistence = if options.provider == Provider::Redis { plan.persistence.name() } else { "" };
    if report.is_good() && !options.keep {
        folder.remove()?;
    } else {
        report.folder = Some(folder.path.clone());
    }
    Ok(report.took(began.elapsed()))
}

/// Where a run writes.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(below: &Path, kind: &str, provider: Provider, seed: u64) -> Result<Self> {
        let name = provider.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let path = std::path::absolute(below)?.join(format!("{name}-{kind}-{seed}"));
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("the folder {}", path.display()))?;
        Ok(Self { path })
    }

    fn remove(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(&self.path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(words: &str) -> Option<u64> {
        let words = std::iter::once("chaos").chain(words.split_whitespace());
        Cli::try_parse_from(words).expect("options that work").options.count()
    }

    #[test]
    fn as_many_seeds_run_as_were_asked_for() {
        assert_eq!(count(""), Some(20));
        assert_eq!(count("--seed 5"), Some(1));
        assert_eq!(count("--seed 5 --seeds 20"), Some(20));
        assert_eq!(count("--seeds 3"), Some(3));
        assert_eq!(count("--seed 0 --minutes 1"), None);
        for refused in ["--seeds 0", "--minutes 0", "--minutes 1 --seeds 2", "--seed 18446744073709551615"] {
            assert!(
                Cli::try_parse_from(std::iter::once("chaos").chain(refused.split(' '))).is_err(),
                "{refused}"
            );
        }
    }
}
