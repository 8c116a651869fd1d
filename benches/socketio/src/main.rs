//! Measures the Socket.IO adapter of scaleout over Redis beside `socketioxide-redis` and beside `socket.io` with
//! `@socket.io/redis-adapter`, all in one run.
//!
//!     cargo run --release --manifest-path benches/socketio/Cargo.toml                     # all of it, three times
//!     cargo run --release --manifest-path benches/socketio/Cargo.toml -- --quick          # does it run?
//!     cargo run --release --manifest-path benches/socketio/Cargo.toml -- --only 'speed, 64 B'
//!     cargo run --release --manifest-path benches/socketio/Cargo.toml -- --help
//!
//! It needs `redis-server`, and for `socket.io` also `node` and `npm`: the packages that `js/package-lock.json` names are
//! installed beside what cargo builds, at the first run. The Redis server is one of its own on a free port of
//! 127.0.0.1, which persists nothing.
//!
//! As fast as it goes, a node that counts falls behind one that emits, and each side loses what it has no room for. So each
//! gets more room than by default: the server drops no slow subscriber, `socketioxide-redis` buffers 65,536 messages, and
//! scaleout keeps 1 GiB of a stream. `--defaults` measures without that.
//!
//! Each node is a process; nodes share nothing but the server. A node's socket is one in memory, without HTTP or a
//! browser: what counts is a packet that the adapter wrote to it, encoded for Socket.IO. All sides take the same orders
//! (`src/words.rs`). Runs go round by round over all cases, so that what else the machine does meets every side; figures
//! are medians. Nothing that this program started outlives it.
//!
//! | Case | What it is |
//! | --- | --- |
//! | `speed` | node A emits as fast as it goes, 64 or 1,024 emits under way; node B has a socket that counts |
//! | `latency` | the same at 1,000 messages a second, 256 B: from the call of `emit` to B's socket |
//! | `restart` | the server is killed (`SIGKILL`) while A emits, and started again with nothing in it |
//! | `frozen` | three nodes, one of them stopped (`SIGSTOP`): what a question for all sockets gives, and when |
//!
//! | Side | "Under way" means |
//! | --- | --- |
//! | `scaleout`, `socketioxide-redis` | so many tasks, each of which awaits its emits |
//! | `socket.io` | so many emits, which return at once, between two round trips to Redis |
//!
//! A speed is the median of the runs in which nothing was lost, came twice or was refused; how many these were is printed
//! beside it where it is not all of them, with what was lost in the others. All runs of scaleout must be such runs: the
//! program fails otherwise.

mod case;
mod frozen;
mod ground;
mod js;
mod node;
mod pair;
mod peer;
mod process;
mod report;
mod restart;
mod scaleout;
mod suite;
mod tally;
mod words;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    case::{Runtime, Which},
    words::Spec,
};

/// Compares scaleout as an adapter of Socket.IO with two others, over Redis.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    run: RunOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct RunOptions {
    /// How often each case runs; figures are medians.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// For how long messages are emitted in a run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Messages of a run, instead of as many as go in that time.
    #[arg(long)]
    count: Option<u64>,
    /// Bytes of text in a message, for speed.
    #[arg(long, value_delimiter = ',', default_value = "64,256,8192")]
    sizes: Vec<usize>,
    /// Only cases whose name holds one of these, as in "speed, 64 B, 64 under way, scaleout".
    #[arg(long)]
    only: Vec<String>,
    /// No cases whose name holds one of these.
    #[arg(long)]
    skip: Vec<String>,
    /// The kind of tokio runtime of each node in Rust.
    #[arg(long, value_enum, default_value_t = Runtime::Current)]
    runtime: Runtime,
    /// Gives nodes that are behind no more time than server and adapters do by default.
    #[arg(long)]
    defaults: bool,
    /// Everything once and briefly: whether it runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Writes every run here, a line of JSON each, instead of printing it.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One of the processes of a run.
    #[command(hide = true)]
    Node { spec: String },
}

fn main() -> anyhow::Result<()> {
    let Options { run, command } = Options::parse();
    match command {
        Some(Command::Node { spec }) => node(&spec),
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(until_told_to_end(suite::run(run))),
    }
}

fn node(spec: &str) -> anyhow::Result<()> {
    // A frozen node does not see that its input ended.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let spec: Spec = serde_json::from_str(spec)?;
    match spec.which {
        Which::SocketioNode => js::become_node(&spec),
        _ => node::run(spec),
    }
}

/// Drops what runs, and with it what it started, when this process is told to end.
async fn until_told_to_end(run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = run => outcome,
        _ = terminate.recv() => bail!("terminated"),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}
