//! Measures scaleout over SQL Server: speed, latency, and what an idle node asks.
//!
//!     export SCALEOUT_TEST_SQLSERVER='Server=localhost,1433;Database=bench;User Id=sa;Password=…;Encrypt=True;TrustServerCertificate=True'
//!     cargo run --release --manifest-path benches/sqlserver/Cargo.toml
//!
//! It needs a server that executes T-SQL, named by that variable (a URL or an ADO.NET string), with a database in which the
//! user may create and drop schemas; it runs on Linux and macOS. Each run has a schema of its own, which is dropped after
//! it, also on Ctrl-C. Publisher and receiver are processes of their own. What counts is what the receiver got: a run in
//! which a message was lost or came twice, or that had a gap, prints no speed, and the program fails.
//!
//! Against `sqlserver-testserver`, which keeps everything in memory and executes no T-SQL, the figures measure the client
//! only and say nothing about SQL Server. Babelfish executes
//! the T-SQL, on the engine of PostgreSQL.

mod case;
mod idle;
mod node;
mod pair;
mod report;
mod server;
mod suite;
mod tally;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures scaleout over the SQL Server that SCALEOUT_TEST_SQLSERVER names.
///
/// The variable holds a URL (sqlserver://user:password@host:port/database) or an ADO.NET string; the user must be able to
/// create and drop schemas in the database. Figures against the TDS test server measure the client only.
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
    #[arg(long, value_enum, value_delimiter = ',', default_value = "throughput,latency,idle")]
    parts: Vec<Part>,
    /// Numbers of message tables.
    #[arg(long, value_delimiter = ',', default_value = "1,4", value_parser = clap::value_parser!(u16).range(1..=64))]
    tables: Vec<u16>,
    /// Sizes of payloads in bytes, at least 16.
    #[arg(long, value_delimiter = ',', default_value = "64,256,1024", value_parser = clap::value_parser!(u32).range(16..))]
    sizes: Vec<u32>,
    /// For how long each run publishes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How often each case runs; figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Tasks that await each of their publishes.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    publishers: u32,
    /// Messages a second at which latency is measured.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// For how long an idle node is watched, in each mode.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    idle_seconds: u32,
    /// Prints every run as a line of JSON, and the tables to stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Throughput,
    Latency,
    Idle,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One of the processes of a run.
    #[command(hide = true)]
    Node {
        #[command(subcommand)]
        role: node::Role,
    },
}

fn main() -> anyhow::Result<()> {
    let Program { options, command } = Program::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Some(Command::Node { role }) => runtime.block_on(node::run(role)),
        None => runtime.block_on(suite::run(options)),
    }
}
