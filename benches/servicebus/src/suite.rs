//! All runs, one after the other.

use std::io;

use anyhow::{bail, ensure};
use serde::Serialize;

use crate::{
    Options, Part,
    case::{Case, How, Wire},
    http::Fault,
    pair::{self, Recovery, Run},
    report,
    server::{Server, settings_at},
    start::{self, Starts, What},
};

/// Seconds that a run takes besides publishing: making the topics, warming up, deleting them.
const OVERHEAD: u32 = 1;

/// Seconds that a fault takes.
const PER_FAULT: u32 = 2;

/// What was measured.
#[derive(Debug, Default)]
pub struct Measured {
    pub runs: Vec<Run>,
    pub starts: Vec<Starts>,
    pub recoveries: Vec<Recovery>,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let server = Server::start(&options).await?;
    let measured = tokio::select! {
        measured = measure(&options, &server) => measured,
        interrupted = interrupted() => interrupted.and_then(|()| bail!("interrupted")),
    };
    tokio::select! {
        deleted = server.delete_all() => deleted?,
        _ = interrupted() => bail!("interrupted while deleting topics: look for bench-…"),
    }
    measured
}

async fn measure(options: &Options, server: &Server) -> anyhow::Result<()> {
    let cases = cases(options, server);
    let faults = faults(options, server);
    for &wire in &options.wires {
        // What cannot work is told before anything runs.
        settings_at(&server.url, &Case { app: "bench".into(), ..options.case(wire, 64, How::Single, 0) })?;
    }
    let seconds = cases.len() as u32 * options.runs * (options.seconds + OVERHEAD)
        + faults.len() as u32 * options.faults * PER_FAULT;
    eprintln!("{}; about {} minutes", server.what, seconds.div_ceil(60));
    let mut measured = Measured::default();
    let count = cases.len() * options.runs as usize;
    // Round by round, so that what else the machine does meets every case.
    for case in (0..options.runs).flat_map(|_| &cases) {
        let run = pair::run(case, server).await?;
        eprintln!("{}/{count} {case}: {}", measured.runs.len() + 1, report::told(&run));
        options.print(&run)?;
        measured.runs.push(run);
    }
    for (what, case) in starts(options, server) {
        let starts = start::measure(what, &case, options.starts as usize, server).await?;
        eprintln!("{}, {}: {}", case.wire, report::what(what), report::times(&starts.connect_ms));
        options.print(&starts)?;
        measured.starts.push(starts);
    }
    for (fault, case) in faults {
        let recovery = pair::recover(&case, fault, options.faults as usize, server).await?;
        eprintln!("{}: {}", report::fault(fault), report::recovered(&recovery));
        options.print(&recovery)?;
        measured.recoveries.push(recovery);
    }
    let tables = report::markdown(server.what, &measured);
    if options.json {
        eprint!("{tables}");
    } else {
        print!("{tables}");
    }
    refuse_unsound(&measured)
}

/// What is measured by two processes without faults.
fn cases(options: &Options, server: &Server) -> Vec<Case> {
    let mut cases = Vec::new();
    for (part, rate, all) in [
        (Part::Throughput, 0, [How::Bare, How::Single, How::Coalesced, How::Enqueue].as_slice()),
        (Part::Latency, options.rate, [How::Bare, How::Coalesced].as_slice()),
    ] {
        if !options.parts.contains(&part) {
            continue;
        }
        for &wire in &options.wires {
            for &size in &options.sizes {
                let all = all.iter().filter(|&&how| how != How::Bare || has_bare(wire, server));
                cases.extend(all.map(|&how| options.case(wire, size, how, rate)));
            }
        }
    }
    cases
}

fn starts(options: &Options, server: &Server) -> Vec<(What, Case)> {
    let mut starts = Vec::new();
    if !options.parts.contains(&Part::Connect) {
        return starts;
    }
    for &wire in &options.wires {
        let all = [What::Bare, What::ExistingTopics, What::EmptyNamespace].into_iter();
        let all = all.filter(|&what| what != What::Bare || has_bare(wire, server));
        starts.extend(all.map(|what| (what, options.case(wire, 64, How::Coalesced, 0))));
    }
    starts
}

fn faults(options: &Options, server: &Server) -> Vec<(Fault, Case)> {
    if !options.parts.contains(&Part::Recovery) {
        return Vec::new();
    }
    if !server.has_control {
        eprintln!("this namespace cannot be told to fail: no recovery is measured");
        return Vec::new();
    }
    let mut faults = Vec::new();
    for &wire in &options.wires {
        // By REST there are no links.
        let all = [Fault::Kill, Fault::Detach].into_iter();
        let all = all.filter(|&fault| wire == Wire::Amqp || fault == Fault::Kill);
        let case = Case { seconds: 0, ..options.case(wire, 64, How::Coalesced, options.rate) };
        faults.extend(all.map(|fault| (fault, case.clone())));
    }
    faults
}

/// Whether there is something to compare with.
fn has_bare(wire: Wire, server: &Server) -> bool {
    wire == Wire::Amqp && server.is_plain()
}

impl Options {
    fn case(&self, wire: Wire, size: u32, how: How, rate: u32) -> Case {
        Case {
            wire,
            topics: self.topics,
            size: size as usize,
            how,
            rate,
            seconds: self.seconds,
            publishers: self.publishers,
            app: String::new(),
        }
    }

    fn print(&self, what: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(what)?);
        }
        Ok(())
    }
}

fn refuse_unsound(measured: &Measured) -> anyhow::Result<()> {
    let runs = measured.runs.iter().filter(|run| !run.counts.are_sound());
    let recoveries = measured.recoveries.iter().filter(|recovery| !recovery.counts.are_sound());
    let told: Vec<_> = runs
        .map(|run| format!("{}: {}", run.case, report::told(run)))
        .chain(recoveries.map(|it| format!("{}: {}", report::fault(it.fault), report::recovered(it))))
        .collect();
    ensure!(told.is_empty(), "no speed for what is not sound: {}", told.join("; "));
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
