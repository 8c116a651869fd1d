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
    io::{IsTerminal, Write, stderr},
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
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !asked_for {
        let text = without_stores(&error.to_string(), &words);
        let problem = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        return Failure::usage(problem).tell(&Output::new(true, ColorChoice::Never)).into();
    }
    let text = error.to_string();
    let shown = without_stores(&text, &words);
    // A pipe that nobody reads is no problem of ours.
    let _ = if shown == text { error.print() } else { write!(stderr(), "{shown}") };
    if asked_for { Exit::Done.into() } else { Exit::Usage.into() }
}

/// `text` about these words of a command line, without the stores among them: a URL in the wrong place holds a password too.
fn without_stores(text: &str, words: &[String]) -> String {
    let values = words.iter().filter_map(|word| word.split_once('=')).map(|(_, value)| value);
    let mut stores: Vec<&str> = words.iter().map(String::as_str).chain(values).collect();
    stores.retain(|word| store::is_url(word));
    // The whole word before what is only a part of it.
    stores.sort_by_key(|word| std::cmp::Reverse(word.len()));
    stores.iter().fold(text.to_owned(), |text, store| text.replace(store, "<URL>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_the_wrong_place_is_not_shown() {
        const URL: &str = "redis://user:hunter2@localhost?app=chat";
        for words in [
            &["check", URL, URL][..],
            &["check", "--probes", URL],
            &["nodes", &format!("--watch={URL}")],
            &["nodes", "--wait=Server=x;Password=hunter2"],
        ] {
            let error = Cli::try_parse_from(["scaleout"].iter().chain(words)).err().expect("wrong arguments");
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert!(error.to_string().contains("hunter2"), "{words:?}: this tests nothing");
            let shown = without_stores(&error.to_string(), &words);
            assert!(shown.contains("<URL>") && !shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(without_stores("unexpected 'room:42'", &["room:42".to_owned()]), "unexpected 'room:42'");
    }
}
