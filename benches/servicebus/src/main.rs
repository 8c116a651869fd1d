//! Measures scaleout over Service Bus: speed, latency, how long a start and a recovery take.
//!
//!     cargo run --release --manifest-path benches/servicebus/Cargo.toml
//!
//! It needs nothing: it starts the emulator of this workspace as a process of its own. It runs on Linux and macOS. Each run
//! has topics of its own, which are deleted after it, also on Ctrl-C. Publisher and receiver are processes of their own. What
//! counts is what the receiver got: a run in which a message was lost or came twice, or that had a gap, prints no speed, and
//! the program fails.
//!
//! Beside scaleout, in the same run, the client crate that it uses sends one message of Service Bus for each publish.
//!
//! The emulator keeps everything in memory and is a millisecond's fraction away: its figures measure the client and the
//! emulator, and say nothing about the speed of Service Bus.

mod bare;
mod case;
mod counted;
mod http;
mod node;
mod pair;
mod report;
mod server;
mod start;
mod suite;
mod tally;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::runtime;

/// Measures scaleout over Service Bus, on our emulator, which it starts.
///
/// Figures of the emulator measure the client and the emulator, and say nothing about the speed of Service Bus.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Program {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Options {
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "throughput,latency,connect,recovery")]
    parts: Vec<Part>,
    /// How messages travel.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "amqp,rest")]
    wires: Vec<case::Wire>,
    /// Topics of an app.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=64))]
    topics: u16,
    /// Sizes of payloads in bytes, at least 16.
    #[arg(long, value_delimiter = ',', default_value = "64,256,1024", value_parser = clap::value_parser!(u32).range(16..))]
    sizes: Vec<u32>,
    /// For how long each run publishes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How often each case runs; figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Tasks that await each of their publishes.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// Messages a second at which latency and recovery are measured.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Starts of each kind.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Faults of each kind.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    faults: u32,
    /// A namespace instead of the emulator: a connection string or a URL, without an app. It costs what it costs.
    #[arg(long, env = server::VARIABLE, hide_env_values = true, conflicts_with_all = ["emulator", "in_process"])]
    url: Option<String>,
    /// The program servicebus-emulator to start, instead of the emulator that this program was built with.
    #[arg(long, value_name = "PATH", conflicts_with = "in_process")]
    emulator: Option<PathBuf>,
    /// The emulator runs in the process of this program.
    #[arg(long)]
    in_process: bool,
    /// Prints every run as a line of JSON, and the tables to stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Throughput,
    Latency,
    Connect,
    Recovery,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One of the processes of a run.
    #[command(hide = true)]
    Node {
        #[command(subcommand)]
        role: node::Role,
    },
    /// The emulator.
    #[command(hide = true)]
    Emulator,
}

fn main() -> anyhow::Result<()> {
    let Program { options, command } = Program::parse();
    // As the program servicebus-emulator has it; nodes have one thread.
    let is_emulator = options.in_process || matches!(command, Some(Command::Emulator));
    let mut runtime = match is_emulator {
        true => runtime::Builder::new_multi_thread(),
        false => runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    match command {
        Some(Command::Node { role }) => runtime.block_on(node::run(role)),
        Some(Command::Emulator) => runtime.block_on(server::emulate()),
        None => runtime.block_on(suite::run(options)),
    }
}
