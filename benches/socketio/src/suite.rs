//! The whole comparison.

use std::{fs::File, io::Write as _, time::Duration};

use anyhow::ensure;
use serde::Serialize;

use crate::{
    RunOptions,
    case::{Case, What, Which, cases},
    frozen::{self, Frozen},
    ground::{Ground, load_average},
    pair::{self, Pair},
    report,
    restart::{self, Course, Restart},
    words::Emit,
};

/// What one run of a case came to.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub name: String,
    #[serde(flatten)]
    pub case: Case,
    pub round: usize,
    /// The load average before it.
    pub load: f64,
    pub result: Outcome,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Pair(Pair),
    Restart(Restart),
    Frozen(Frozen),
    /// Of a peer: the run came to no end, and why.
    Failed(String),
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Times {
    seconds: f64,
    latency_seconds: f64,
    restart: Course,
    frozen: Duration,
}

pub async fn run(mut options: RunOptions) -> anyhow::Result<()> {
    let times = times(&mut options);
    let mut cases = cases(&options.sizes);
    let holds = |case: &Case, parts: &[String]| parts.iter().any(|part| case.to_string().contains(part));
    cases.retain(|case| {
        (options.only.is_empty() || holds(case, &options.only)) && !holds(case, &options.skip)
    });
    ensure!(!cases.is_empty(), "no case is left");
    let with_js = cases.iter().any(|case| case.which == Which::SocketioNode);
    let mut out = options.out.as_deref().map(File::create).transpose()?;
    let load_before = load_average();
    let ground = Ground::new(options.runtime, !options.defaults, with_js).await?;
    let mut runs = Vec::new();
    // Round by round, so that what else the machine does meets every side.
    for round in 0..options.repeat {
        for (index, case) in cases.iter().enumerate() {
            eprintln!("{}/{}, {}/{}: {case}", round + 1, options.repeat, index + 1, cases.len());
            let load = load_average();
            let result = match one(case, &options, times, &ground).await {
                Ok(result) => result,
                // What is compared with must not end the run.
                Err(error) if case.which.is_peer() => {
                    ground.clear().await?;
                    Outcome::Failed(format!("{error:#}"))
                }
                Err(error) => return Err(error.context(case.to_string())),
            };
            let run = Run { name: case.to_string(), case: case.clone(), round, load, result };
            let line = serde_json::to_string(&run)?;
            match &mut out {
                Some(out) => writeln!(out, "{line}")?,
                None => println!("{line}"),
            }
            runs.push(run);
        }
    }
    print!("\n{}", report::markdown(&runs));
    println!("Load average before: {load_before:.2}, after: {:.2}.", load_average());
    refuse_unsound(&runs)
}

fn times(options: &mut RunOptions) -> Times {
    if options.quick {
        options.repeat = 1;
        return Times {
            seconds: 0.3,
            latency_seconds: 0.5,
            restart: Course { away: Duration::from_secs(1), after: Duration::from_secs(3) },
            frozen: Duration::ZERO,
        };
    }
    Times {
        seconds: options.seconds,
        latency_seconds: options.seconds.max(3.0),
        restart: Course { away: Duration::from_secs(2), after: Duration::from_secs(8) },
        frozen: Duration::from_secs(15),
    }
}

async fn one(case: &Case, options: &RunOptions, times: Times, ground: &Ground) -> anyhow::Result<Outcome> {
    let Case { what, which } = *case;
    let emit = Emit { under_way: 1, size: 0, rate: 0, count: options.count, seconds: times.seconds };
    Ok(match what {
        What::Speed { size, under_way } => {
            Outcome::Pair(pair::run(which, Emit { size, under_way, ..emit }, ground).await?)
        }
        What::Latency { size, rate } => {
            let emit = Emit { size, rate, seconds: times.latency_seconds, count: None, ..emit };
            Outcome::Pair(pair::run(which, emit, ground).await?)
        }
        What::Restart => Outcome::Restart(restart::run(which, times.restart, ground).await?),
        What::Frozen => Outcome::Frozen(frozen::run(which, times.frozen, ground).await?),
    })
}

/// Fails where ours lost, repeated or refused anything.
fn refuse_unsound(runs: &[Run]) -> anyhow::Result<()> {
    let mut told = Vec::new();
    for run in runs.iter().filter(|run| !run.case.which.is_peer()) {
        let name = &run.name;
        match &run.result {
            Outcome::Pair(pair) if pair.per_second.is_none() => {
                let Pair { lost, gaps, duplicates, errors, .. } = pair;
                told.push(format!(
                    "{name}: {lost} lost, {gaps} gaps told, {duplicates} twice, {errors} errors"
                ));
            }
            Outcome::Restart(restart) => {
                let lost = restart.lost();
                if lost > 0 {
                    told.push(format!("{name}: {lost} lost"));
                }
            }
            Outcome::Pair(_) | Outcome::Frozen(_) | Outcome::Failed(_) => {}
        }
    }
    ensure!(told.is_empty(), "not sound: {}", told.join("; "));
    Ok(())
}
