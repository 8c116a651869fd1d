//! Outages under load: how soon messages flow again, and what was lost.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use scaleout_testkit::servers::RedisServer;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use crate::{
    OutageOptions,
    case::{Case, How, Publisher, Which},
    pair::{Process, load_average, placed},
    report::median,
    suite::write_line,
    tally::{Published, Received, now},
};

/// How long messages flow before an outage.
const BETWEEN: Duration = Duration::from_millis(1_500);

/// Between two questions whether the server answers.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug, Serialize)]
struct Outcome {
    which: Which,
    outages: usize,
    away_ms: u64,
    rate: u64,
    size: usize,
    sent: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    gaps: u64,
    errors: u64,
    /// From the first answer of the server to the first message published after it, received; in order.
    live_after_ms: Vec<Option<f64>>,
    median_ms: Option<f64>,
    load: f64,
}

pub async fn run(options: OutageOptions) -> anyhow::Result<()> {
    ensure!(
        options.which != Which::Bare,
        "a bare connection ends with the server: there is nothing to measure"
    );
    // It has to remember what it confirmed. Its restart must not take longer than it has to: no history but this run's.
    let server =
        RedisServer::builder().appendonly().start().await.context("a Redis server for the outages")?;
    let mut case = Case::new(options.which, How::Enqueue, 1, options.size);
    case.rate = options.rate;
    case.publisher = Publisher::Full;
    case.endless = true;
    case.count = options.rate * (options.outages as u64 + 1) * (options.away_ms / 1_000 + 2);
    let case = placed(&case, &server);
    let mut receiver = Process::start("receive", &case).await?;
    let mut publisher = Process::start("publish", &case).await?;
    publisher.tell("GO").await?;
    let progress = ProgressBar::new(options.outages as u64);
    let mut backs = Vec::new();
    for _ in 0..options.outages {
        sleep(BETWEEN).await;
        server.kill();
        sleep(Duration::from_millis(options.away_ms)).await;
        let (started, back) = tokio::join!(server.start(), answers(server.port()));
        started?;
        backs.push(back);
        progress.inc(1);
    }
    sleep(BETWEEN).await;
    publisher.tell("STOP").await?;
    let published: Published = publisher.outcome().await?;
    let asked: String = backs.iter().map(|back| format!(" {back}")).collect();
    receiver.tell(&format!("END {}{asked}", published.sent)).await?;
    let received: Received = receiver.outcome().await?;
    progress.finish_and_clear();
    let outcome = outcome(&options, &published, received);
    let line = serde_json::to_string(&outcome)?;
    println!("{line}");
    if let Some(path) = &options.out {
        write_line(path, &line)?;
    }
    let Outcome { lost, duplicates, gaps, errors, .. } = outcome;
    let is_sound = lost + duplicates + gaps + errors == 0;
    ensure!(
        is_sound || !case.is_reliable(),
        "no time for what is not sound: {lost} lost, {duplicates} twice, {gaps} gaps, {errors} errors"
    );
    Ok(())
}

fn outcome(options: &OutageOptions, published: &Published, received: Received) -> Outcome {
    let ms = |nanos: u64| nanos as f64 / 1e6;
    let live: Option<Vec<f64>> = received.live_after.iter().map(|live| live.map(ms)).collect();
    Outcome {
        which: options.which,
        outages: options.outages,
        away_ms: options.away_ms,
        rate: options.rate,
        size: options.size,
        sent: published.sent,
        received: received.received,
        lost: published.sent.saturating_sub(received.received),
        duplicates: received.duplicates,
        gaps: received.gaps,
        errors: published.errors,
        live_after_ms: received.live_after.into_iter().map(|live| live.map(ms)).collect(),
        median_ms: live.map(median),
        load: load_average(),
    }
}

/// When the server first answered a `PING` (and not that it is loading).
async fn answers(port: u16) -> u64 {
    loop {
        if is_there(port).await.unwrap_or(false) {
            return now();
        }
        sleep(LOOK).await;
    }
}

async fn is_there(port: u16) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    socket.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}
