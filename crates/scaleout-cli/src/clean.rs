//! `scaleout clean`: removes what an app left in a store.

use std::{
    io::{IsTerminal, Write, stderr, stdin},
    time::Duration,
};

use scaleout::{Error, ErrorKind, Remnant};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    Global,
    exit::{Exit, usage},
    output::{Output, Paint, Shown},
    store::{self, Target},
};

/// Remove everything that an app has in a store: streams, tables, topics, and all messages in them.
///
/// It lists what there is and asks before it removes anything. What belongs to other apps stays. Nodes of the app
/// that still run make it anew, and tell their subscriptions of a gap.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Do not ask; needed where stdin is no terminal.
    #[arg(long, short)]
    yes: bool,
    /// Only list what would be removed.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// How long to wait for the store each time.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = store::time)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  scaleout clean 'redis://localhost' --app shop-test --dry-run
  scaleout clean 'redis://localhost?app=shop-test' --app shop-test --yes

--app is required, and must be the app that the URL names, where it names one.";

/// What was found, and what became of it.
#[derive(Debug, Serialize)]
struct Cleaned {
    app: String,
    dry_run: bool,
    found: Vec<Item>,
    removed: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    kind: &'static str,
    name: String,
    holds: String,
}

impl From<&Remnant> for Item {
    fn from(remnant: &Remnant) -> Self {
        Self { kind: remnant.kind, name: remnant.name.clone(), holds: remnant.holds.clone() }
    }
}

pub(crate) async fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let Some(app) = &global.app else {
        return Err(usage("--app is required: it says again whose messages are to be removed"));
    };
    let settings = options.target.settings(global)?;

    let progress = output.progress("looking", None);
    let found = answered(options.timeout, settings.remnants()).await?;
    drop(progress);
    let mut cleaned = Cleaned {
        app: app.to_string(),
        dry_run: options.dry_run,
        found: found.iter().map(Item::from).collect(),
        removed: Vec::new(),
    };
    if found.is_empty() {
        output.text(format_args!("app {app} has nothing in the store"))?;
        output.json(&cleaned)?;
        return Ok(Exit::Done);
    }
    output.text(format_args!("app {app} has in the store:"))?;
    for remnant in &found {
        output.text(format_args!("  {}", Shown(&remnant.to_string())))?;
    }
    if options.dry_run {
        output.text("nothing was removed")?;
        output.json(&cleaned)?;
        return Ok(Exit::Done);
    }
    if !options.yes && !is_wanted(found.len(), output).await? {
        output.text("nothing was removed")?;
        output.json(&cleaned)?;
        return Ok(Exit::Failed);
    }

    let progress = output.progress("removing", None);
    let removed = answered(options.timeout, settings.remove_remnants()).await?;
    drop(progress);
    for remnant in &removed {
        let removed = output.paint(Paint::Good, "removed");
        output.text(format_args!("{removed} {}", Shown(&remnant.to_string())))?;
    }
    cleaned.removed = removed.iter().map(Item::from).collect();
    output.json(&cleaned)?;
    Ok(Exit::Done)
}

/// Asks whoever sits at the terminal.
async fn is_wanted(count: usize, output: &Output) -> anyhow::Result<bool> {
    if !stdin().is_terminal() {
        return Err(usage(
            "nothing was removed: stdin is no terminal where one could be asked, so say --yes",
        ));
    }
    let question =
        output.paint_error(Paint::Problem, format_args!("Remove these {count}, and all messages? [y/N]"));
    write!(stderr(), "{question} ")?;
    let mut answer = String::new();
    store::or_interrupted(BufReader::new(tokio::io::stdin()).read_line(&mut answer)).await??;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn answered<T>(deadline: Duration, asked: impl Future<Output = Result<T, Error>>) -> anyhow::Result<T> {
    let answer = store::or_interrupted(tokio::time::timeout(deadline, asked)).await?;
    let late = |_| Error::new(ErrorKind::Timeout, format!("no answer of the store within {deadline:?}"));
    Ok(answer.map_err(late)??)
}
