//! Measures scaleout over Redis beside what else carries messages over Redis, all in one run.
//!
//!     cargo run --release --manifest-path benches/redis/Cargo.toml -- --help
//!
//! It starts a Redis server of its own (`redis-server` must be installed), and a publisher and receivers as processes of
//! their own. A run that lost, repeated or reordered what it promised to keep prints no speed.

mod bare;
mod case;
mod node;
mod outage;
mod pair;
mod peer;
mod plot;
mod report;
mod scaleout;
mod suite;
mod tally;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::case::{Case, How, Publisher, Runtime, Which};

/// Compares scaleout over Redis with bare PUBLISH/SUBSCRIBE and with socketioxide-redis.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole comparison, and prints it as Markdown.
    Run(RunOptions),
    /// Runs one case, and prints what came of it as a line of JSON.
    Once(OnceOptions),
    /// Kills the server again and again under load, and tells how soon messages flow once it is back.
    Outage(OutageOptions),
    /// One of the processes of a run.
    #[command(hide = true)]
    Node {
        #[command(subcommand)]
        role: node::Role,
    },
}

#[derive(Debug, Args)]
struct RunOptions {
    /// How often each case runs; figures are medians.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Sizes of payloads in bytes.
    #[arg(long, value_delimiter = ',', default_value = "64,256,8192")]
    sizes: Vec<usize>,
    /// Multiplies how many messages a run has.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only the cases whose name holds this.
    #[arg(long)]
    only: Option<String>,
    /// Writes every run here, a line of JSON each.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draws the messages per second into this SVG file.
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct OnceOptions {
    #[command(flatten)]
    case: CaseOptions,
    /// How often.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
}

#[derive(Debug, Args)]
struct CaseOptions {
    /// What carries the messages.
    #[arg(long, value_enum, default_value_t = Which::Scaleout)]
    which: Which,
    /// How they are published.
    #[arg(long, value_enum, default_value_t = How::Enqueue)]
    how: How,
    /// Publishing tasks for `await`, commands in a pipeline for `pipe`.
    #[arg(long, default_value_t = 64)]
    tasks: usize,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Messages of a run; by default about what takes a second.
    #[arg(long)]
    count: Option<u64>,
    /// Messages a second, one by one; 0 is as fast as it goes.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Channels that messages go to in turn.
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Receiving processes.
    #[arg(long, default_value_t = 1)]
    receivers: usize,
    /// The kind of tokio runtime of each process.
    #[arg(long, value_enum, default_value_t = Runtime::Current)]
    runtime: Runtime,
    /// Whether the publisher receives as well.
    #[arg(long, value_enum, default_value_t = Publisher::PublishOnly)]
    publisher: Publisher,
    /// Bytes of a frame.
    #[arg(long, default_value_t = 128 << 10)]
    frame_bytes: usize,
    /// MiB that the server keeps of a stream.
    #[arg(long, default_value_t = 64)]
    retained_mib: usize,
}

#[derive(Debug, Args)]
struct OutageOptions {
    /// How many outages.
    #[arg(long, default_value_t = 20)]
    outages: usize,
    /// How long the server is away each time, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    away_ms: u64,
    /// Messages a second, all the time.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// What carries the messages.
    #[arg(long, value_enum, default_value_t = Which::Scaleout)]
    which: Which,
    /// Writes the result here, a line of JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl CaseOptions {
    fn case(&self) -> Case {
        let mut case = Case::new(self.which, self.how, self.tasks, self.size);
        case.rate = self.rate;
        case.channels = self.channels;
        case.receivers = self.receivers;
        case.runtime = self.runtime;
        case.publisher = self.publisher;
        case.frame_bytes = self.frame_bytes;
        case.retained_bytes = self.retained_mib << 20;
        case.count = self.count.unwrap_or_else(|| case.usual_count());
        case
    }
}

fn main() -> anyhow::Result<()> {
    let Options { command } = Options::parse();
    match command {
        Command::Node { role } => node::run(role),
        Command::Run(options) => runtime()?.block_on(suite::run(options)),
        Command::Once(options) => runtime()?.block_on(suite::once(options)),
        Command::Outage(options) => runtime()?.block_on(outage::run(options)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
