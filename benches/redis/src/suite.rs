//! The whole comparison.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    OnceOptions, RunOptions,
    case::{Case, How, Publisher, Runtime, Which},
    pair::{self, Run},
    plot, report,
};

/// The rate at which latencies are compared.
const PACE: u64 = 1_000;

pub async fn run(options: RunOptions) -> anyhow::Result<()> {
    let mut cases = cases(&options.sizes);
    if let Some(only) = &options.only {
        cases.retain(|case| case.name().contains(only.as_str()));
    }
    for case in &mut cases {
        if case.rate == 0 {
            case.count = ((case.count as f64 * options.scale) as u64).max(1);
        }
    }
    let mut out = options.out.as_deref().map(File::create).transpose()?;
    let server = pair::server().await?;
    let progress = ProgressBar::new((cases.len() * options.repeat) as u64);
    progress.set_style(ProgressStyle::with_template("{pos}/{len} {elapsed} (of {duration}) {msg}")?);
    let mut runs = Vec::new();
    // Round by round, so that what else the machine does meets every case.
    for _ in 0..options.repeat {
        for case in &cases {
            progress.set_message(format!("{} B: {case}", case.size));
            let run = pair::run(case, &server).await.with_context(|| format!("{} B: {case}", case.size))?;
            if let Some(out) = &mut out {
                writeln!(out, "{}", serde_json::to_string(&run)?)?;
            }
            runs.push(run);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let rows = report::rows(&runs);
    print!("{}", report::markdown(&rows));
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::svg(&rows))?;
    }
    refuse_unsound(&runs)
}

pub async fn once(options: OnceOptions) -> anyhow::Result<()> {
    let (case, server) = (options.case.case(), pair::server().await?);
    let mut runs = Vec::new();
    for _ in 0..options.repeat {
        let run = pair::run(&case, &server).await?;
        println!("{}", serde_json::to_string(&run)?);
        runs.push(run);
    }
    refuse_unsound(&runs)
}

/// Writes a line into a file of its own.
pub fn write_line(path: &Path, line: &str) -> anyhow::Result<()> {
    Ok(writeln!(File::create(path)?, "{line}")?)
}

fn refuse_unsound(runs: &[Run]) -> anyhow::Result<()> {
    let unsound: Vec<_> = runs.iter().filter(|run| run.per_second.is_none()).collect();
    let tell = |run: &&Run| {
        let Run { name, lost, duplicates, gaps, errors, .. } = run;
        format!("{name}: {lost} lost, {duplicates} twice, {gaps} gaps, {errors} errors")
    };
    let told: Vec<_> = unsound.iter().map(tell).collect();
    anyhow::ensure!(unsound.is_empty(), "no speed for what is not sound: {}", told.join("; "));
    Ok(())
}

/// The fastest of several receivers trims; flat out, the slowest may be further behind than is kept by default.
fn retained_of_three(case: &Case) -> usize {
    if case.is_reliable() { 1 << 30 } else { case.retained_bytes }
}

/// What is compared, each at every size unless it says otherwise.
fn cases(sizes: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &size in sizes {
        for runtime in [Runtime::Current, Runtime::Multi] {
            let case = |which, how, tasks| Case { runtime, ..Case::new(which, how, tasks, size) };
            cases.push(case(Which::Scaleout, How::Enqueue, 1));
            for tasks in [1_024, 256, 64] {
                cases.push(case(Which::Scaleout, How::Await, tasks));
            }
            cases.push(case(Which::Bare, How::Pipe, 256));
            cases.push(case(Which::Bare, How::Await, 64));
            for tasks in [64, 256] {
                cases.push(case(Which::SocketioxideRedis, How::Await, tasks));
                if cfg!(feature = "fred") {
                    cases.push(case(Which::SocketioxideFred, How::Await, tasks));
                }
            }
        }
    }
    let small = sizes.iter().copied().min().unwrap_or(64);
    let enqueue = Case::new(Which::Scaleout, How::Enqueue, 1, small);
    // A node that receives what it publishes trims by how far it has read itself, so that a receiver which falls behind by
    // more than is kept has a gap. Flat out that is a matter of luck, and more is kept here.
    cases.push(Case { publisher: Publisher::Full, retained_bytes: 1 << 30, ..enqueue.clone() });
    cases.push(Case { frame_bytes: 256 << 10, ..enqueue.clone() });
    let pipe = Case::new(Which::Bare, How::Pipe, 256, small);
    for case in [&enqueue, &pipe] {
        cases.push(Case { channels: 1_000, ..case.clone() });
        cases.push(Case { receivers: 3, retained_bytes: retained_of_three(case), ..case.clone() });
    }
    for runtime in [Runtime::Current, Runtime::Multi] {
        for which in [Which::Scaleout, Which::Bare] {
            let case = Case { rate: PACE, runtime, ..Case::new(which, How::Await, 1, small) };
            cases.push(Case { count: case.usual_count(), ..case });
        }
    }
    cases
}
