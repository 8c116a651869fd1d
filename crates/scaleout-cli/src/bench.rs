//! `scaleout bench`: how fast a store is, from process to process.
//!
//! It measures where no application is: every run has an app of its own, whose nodes neither hear nor disturb those of
//! the app that the URL names, and what a run leaves in the store is removed, also after Ctrl-C. A run that lost, repeated
//! or disordered a message, or had a gap, shows no speed.

#[cfg(feature = "redis")]
mod bare;
mod bus;
mod case;
mod clock;
mod counted;
mod crew;
mod node;
mod plot;
mod report;
mod run;
#[cfg(feature = "redis")]
mod server;
mod suite;
mod tally;
mod words;

use std::path::PathBuf;

use anyhow::Context as _;

use self::{case::Publishers, suite::Suite, tally::HEADER};
use crate::{
    Global,
    exit::{Exit, usage},
    output::{Output, Paint, Shown},
    store::Target,
};

/// Measure throughput and latency of a store, from process to process.
///
/// The measurement has apps of its own in the store, named after yours, and removes what it leaves there, also after
/// Ctrl-C. A run that lost, repeated or disordered a message, or had a gap, shows no speed, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Bytes of a message, or several sizes; at least 16.
    #[arg(long = "size", value_name = "BYTES", value_delimiter = ',', default_value = "64,256,8192")]
    sizes: Vec<usize>,
    /// Messages a second, for latencies; as fast as it goes where nothing is said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// For how long each run publishes, after a warm-up.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Processes that receive.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = in_range(1, 64))]
    nodes: usize,
    /// Channels that messages go to in turn.
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    channels: u64,
    /// How messages are published: by one task that enqueues, or by tasks that await each of theirs.
    #[arg(long, value_enum, value_name = "HOW", default_value = "enqueue")]
    publishers: Publishers,
    /// Messages that may be unconfirmed (1 MiB of them by default), or awaiting tasks (1,024 by default).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    in_flight: Option<u64>,
    /// Measure a baseline in turn with it: on Redis bare PUBLISH and SUBSCRIBE, elsewhere one message a frame.
    #[arg(long)]
    baseline: bool,
    /// PUBLISH commands in a pipeline of the baseline on Redis, of which two are under way.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pipeline: u64,
    /// Runs of each size: speeds are medians of them.
    #[arg(long, value_name = "R", default_value_t = 1, value_parser = in_range(1, 1_000))]
    runs: usize,
    /// Draw the figures into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Be a process of a run, which says on its standard input what it is to do.
    #[arg(long, hide = true)]
    as_node: bool,
}

const EXAMPLES: &str = "\
Examples:
  scaleout bench 'redis://localhost?app=chat' --baseline
  scaleout bench --size 256 --rate 1000 --nodes 3 --seconds 10 'redis://localhost?app=chat'
  SCALEOUT_URL='redis://localhost?app=chat' scaleout bench --json --plot out.svg";

pub(crate) async fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    if options.as_node {
        // A thread with a runtime of its own.
        tokio::task::spawn_blocking(|| std::thread::spawn(node::run).join())
            .await?
            .map_err(|_| anyhow::anyhow!("a process of a run panicked"))??;
        return Ok(Exit::Done);
    }
    if options.sizes.iter().any(|size| *size < HEADER) {
        return Err(usage(format!("--size: a message has at least {HEADER} bytes, its number and its time")));
    }
    let settings = options.target.settings(global)?;
    let url = options.target.text()?.to_owned();
    let lines = Suite { options: &options, global, output, settings, url }.run().await?;
    output.text(report::table(&lines))?;
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::svg(&lines)).with_context(|| format!("--plot: {}", path.display()))?;
    }
    let mut exit = Exit::Done;
    for line in &lines {
        if let Some(wrong) = line.figures.wrong() {
            let wrong = format!("{} bytes: {}", line.size, Shown(&wrong));
            output.text(output.paint(Paint::Problem, wrong))?;
            exit = Exit::Failed;
        }
        // The baseline promises nothing.
        if let Some(wrong) = line.baseline_figures.as_ref().and_then(report::Figures::wrong) {
            let what = line.baseline.as_deref().unwrap_or_default();
            let wrong = format!("{} bytes, {what}: {}", line.size, Shown(&wrong));
            output.text(output.paint(Paint::Warning, wrong))?;
        }
    }
    Ok(exit)
}

/// Reads a number within these bounds.
fn in_range(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{least} to {most}")),
    }
}
