//! All runs, one after the other.

use std::io;

use anyhow::{bail, ensure};

use crate::{
    Options, Part,
    case::{Case, How},
    idle::{self, Idle, Mode},
    pair::{self, Run},
    report,
    server::{self, Schemas},
};

/// Seconds that a run takes besides publishing: making the schema, warming up, dropping it.
const OVERHEAD: u32 = 8;

pub async fn run(options: Options) -> anyhow::Result<()> {
    let schemas = Schemas::new();
    let measured = tokio::select! {
        measured = measure(&options, &schemas) => measured,
        interrupted = interrupted() => interrupted.and_then(|()| bail!("interrupted")),
    };
    tokio::select! {
        dropped = schemas.drop_all() => dropped?,
        _ = interrupted() => bail!("interrupted while dropping schemas: look for bench_…"),
    }
    measured
}

async fn measure(options: &Options, schemas: &Schemas) -> anyhow::Result<()> {
    let version = server::version().await;
    let cases = cases(options);
    let watched = if options.parts.contains(&Part::Idle) { options.tables.len() as u32 * 2 } else { 0 };
    let seconds = cases.len() as u32 * options.runs * (options.seconds + OVERHEAD)
        + watched * (options.idle_seconds + OVERHEAD);
    eprintln!("{version}\nabout {} minutes", seconds.div_ceil(60));
    let mut runs = Vec::new();
    let count = cases.len() * options.runs as usize;
    // Round by round, so that what else the machine does meets every case.
    for case in (0..options.runs).flat_map(|_| &cases) {
        let run = pair::run(case, schemas).await?;
        eprintln!("{}/{count} {case}: {}", runs.len() + 1, report::told(&run));
        if options.json {
            println!("{}", serde_json::to_string(&run)?);
        }
        runs.push(run);
    }
    let mut idle = Vec::new();
    if options.parts.contains(&Part::Idle) {
        for &tables in &options.tables {
            for mode in [Mode::Polling, Mode::Doorbell] {
                eprintln!("idle, {tables} tables, {}", report::mode(mode));
                let watched = idle::watch(tables, mode, options.idle_seconds, schemas).await?;
                if options.json {
                    println!("{}", serde_json::to_string(&watched)?);
                }
                idle.push(watched);
            }
        }
    }
    let tables = report::markdown(&version, &runs, &idle);
    if options.json {
        eprint!("{tables}")
    } else {
        print!("{tables}")
    }
    refuse_unsound(&runs, &idle)
}

/// What is measured, each at every size and number of tables.
fn cases(options: &Options) -> Vec<Case> {
    let mut cases = Vec::new();
    for (part, rate, all) in [
        (Part::Throughput, 0, [How::Single, How::Coalesced, How::Enqueue].as_slice()),
        (Part::Latency, options.rate, [How::Single, How::Coalesced].as_slice()),
    ] {
        if !options.parts.contains(&part) {
            continue;
        }
        for &tables in &options.tables {
            for &size in &options.sizes {
                cases.extend(all.iter().map(|&how| Case {
                    tables,
                    size: size as usize,
                    how,
                    rate,
                    seconds: options.seconds,
                    publishers: options.publishers,
                    schema: String::new(),
                }));
            }
        }
    }
    cases
}

fn refuse_unsound(runs: &[Run], idle: &[Idle]) -> anyhow::Result<()> {
    let unsound: Vec<_> = runs.iter().filter(|run| run.per_second.is_none()).collect();
    let told: Vec<_> = unsound.iter().map(|run| format!("{}: {}", run.case, report::told(run))).collect();
    ensure!(told.is_empty(), "no speed for what is not sound: {}", told.join("; "));
    // Without a doorbell there is nothing to watch; polling there is always.
    let unwatched = idle.iter().find(|idle| idle.mode == Mode::Polling && idle.not_available.is_some());
    ensure!(unwatched.is_none(), "an idle node could not be watched");
    Ok(())
}

/// Waits until somebody wants the program to end.
async fn interrupted() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate: tokio::signal::unix::Signal = signal(SignalKind::terminate())?;
    let ended: io::Result<()> = tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    };
    Ok(ended?)
}
