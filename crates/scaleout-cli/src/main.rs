#![doc = include_str!("../README.md")]

mod bench;
mod check;
mod clean;
mod completions;
mod exit;
mod nodes;
mod output;
mod publish;
#[cfg(feature = "sqlserver")]
mod sql;
mod store;
mod tail;

use std::{
    ffi::OsStr,
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use clap::{ColorChoice, CommandFactory, Parser, Subcommand, error::ErrorKind};
use scaleout::AppName;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    exit::{Exit, Failure},
    output::Output,
};

/// Examine a store, measure it, listen, publish, see the nodes, tidy up.
#[derive(Parser)]
#[command(name = "scaleout", version, max_term_width = 110, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// The namespace of the application in the store, where the URL names none.
    #[arg(long, global = true, value_name = "NAME")]
    app: Option<AppName>,
    /// JSON on stdout, one object per line; errors as JSON on stderr.
    #[arg(long, global = true)]
    json: bool,
    /// Tell on stderr what the library does, from this level on: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<LevelFilter>,
    /// Whether to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Options),
    Bench(bench::Options),
    Tail(tail::Options),
    Publish(publish::Options),
    Nodes(nodes::Options),
    #[cfg(feature = "sqlserver")]
    Sql(sql::Options),
    Clean(clean::Options),
    Completions(completions::Options),
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or a problem was found; 2 the arguments or settings are wrong; \
                          3 the store cannot be reached; 130 interrupted";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let global = cli.global;
    if let Some(level) = global.log {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(output::coloured(global.color, stderr().is_terminal()))
            .with_writer(stderr)
            .init();
    }
    let output = Output::new(global.json, global.color);
    let exit = match run(cli.command, &global, &output) {
        Ok(exit) => exit,
        Err(error) => Failure::of(&error).tell(&output),
    };
    exit.into()
}

fn run(command: Command, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        store::catch_interrupts()?;
        match command {
            Command::Check(options) => check::run(options, global, output).await,
            Command::Bench(options) => bench::run(options, global, output).await,
            Command::Tail(options) => tail::run(options, global, output).await,
            Command::Publish(options) => publish::run(options, global, output).await,
            Command::Nodes(options) => nodes::run(options, global, output).await,
            #[cfg(feature = "sqlserver")]
            Command::Sql(options) => sql::run(options, global, output),
            Command::Clean(options) => clean::run(options, global, output).await,
            Command::Completions(options) => completions::run(options, output, Cli::command()),
        }
    });
    // A read of stdin that nobody waits for any more would hold the process up.
    runtime.shutdown_background();
    exit
}

/// Tells what is wrong with the arguments, or shows the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == OsStr::new("--json"));
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !asked_for {
        let text = error.to_string();
        let problem = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        return Failure::usage(problem).tell(&Output::new(true, ColorChoice::Never)).into();
    }
    // A pipe that nobody reads is no problem of ours.
    let _ = error.print();
    if asked_for { Exit::Done.into() } else { Exit::Usage.into() }
}
