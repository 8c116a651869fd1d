//! What a restart of the server does: killed (`SIGKILL`) while one node emits, and started again without what it knew.
//!
//! Both nodes have a socket. Emits go on all the time, each whatever has become of those before.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use crate::{
    case::Which,
    ground::Ground,
    process::hear_each_other,
    tally::now,
    words::{Arrival, Order, Outcome, Paced, PacedEmit},
};

/// Messages a second.
const RATE: u64 = 100;

/// Bytes of text in a message.
const SIZE: usize = 256;

/// For how long messages flow before the server is killed.
const BEFORE: Duration = Duration::from_secs(1);

/// Between two questions whether the server answers.
const LOOK: Duration = Duration::from_millis(1);

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// For how long the server is away.
    pub away: Duration,
    /// For how long messages are emitted once it is back.
    pub after: Duration,
}

/// What one restart did.
#[derive(Debug, Clone, Serialize)]
pub struct Restart {
    /// Emitted while the server was away.
    pub down: Part,
    /// Emitted once it answered again.
    pub back: Part,
    /// From the first answer of the server to the first message emitted after it, received; `None` where none came.
    pub live_ms: Option<f64>,
    pub first_error: Option<String>,
}

impl Restart {
    /// Messages that one of the two sockets never got.
    pub fn lost(&self) -> u64 {
        let of = |part: &Part| 2 * part.emitted - part.local - part.remote;
        of(&self.down) + of(&self.back)
    }
}

/// What became of messages that were emitted in one part of the time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Part {
    pub emitted: u64,
    /// What `emit` said of them.
    pub ok: u64,
    pub errors: u64,
    pub hang: u64,
    /// Got by the socket of the node that emits, and the median of how soon.
    pub local: u64,
    pub local_ms: Option<f64>,
    /// Got by the socket of the other node.
    pub remote: u64,
    pub remote_duplicates: u64,
    /// Got there after one with a greater number.
    pub remote_reordered: u64,
}

pub async fn run(which: Which, course: Course, ground: &Ground) -> anyhow::Result<Restart> {
    let app = Ground::app();
    let mut a = ground.node("a", which, &app, true).await?;
    let mut b = ground.node("b", which, &app, true).await?;
    hear_each_other(&mut [&mut a, &mut b]).await?;
    for node in [&mut a, &mut b] {
        node.ask::<()>(Order::Begin { keep: true }).await?;
    }
    a.ask::<()>(Order::Pace { rate: RATE, size: SIZE }).await?;
    sleep(BEFORE).await;
    ground.server.kill();
    let killed = now();
    sleep(course.away).await;
    let (started, back) = tokio::join!(ground.server.start(), answers(ground.server.port()));
    started.context("the server starts again")?;
    sleep(course.after).await;
    let paced: Paced = a.ask(Order::Stop).await?;
    let local: Vec<Arrival> = a.ask(Order::Times).await?;
    let remote: Vec<Arrival> = b.ask(Order::Times).await?;
    a.end().await?;
    b.end().await?;
    ground.clear().await?;
    let live = remote.iter().filter(|arrival| arrival.sent >= back).map(|arrival| arrival.came).min();
    Ok(Restart {
        down: part(&paced.emits, &local, &remote, killed..back),
        back: part(&paced.emits, &local, &remote, back..u64::MAX),
        live_ms: live.map(|came| (came - back) as f64 / 1e6),
        first_error: paced.first_error,
    })
}

fn part(emits: &[PacedEmit], local: &[Arrival], remote: &[Arrival], time: std::ops::Range<u64>) -> Part {
    let mut part = Part::default();
    for emit in emits.iter().filter(|emit| time.contains(&emit.sent)) {
        part.emitted += 1;
        match emit.outcome {
            Outcome::Ok => part.ok += 1,
            Outcome::Error => part.errors += 1,
            Outcome::Hangs => part.hang += 1,
        }
    }
    let got = Got::of(local, &time);
    (part.local, part.local_ms) = (got.different, got.median_ms);
    let got = Got::of(remote, &time);
    (part.remote, part.remote_duplicates, part.remote_reordered) =
        (got.different, got.duplicates, got.reordered);
    part
}

/// What a socket got of what was sent in a time.
struct Got {
    different: u64,
    duplicates: u64,
    reordered: u64,
    median_ms: Option<f64>,
}

impl Got {
    fn of(arrivals: &[Arrival], time: &std::ops::Range<u64>) -> Self {
        let (mut duplicates, mut reordered, mut greatest) = (0, 0, 0);
        // By number: how long it took.
        let mut took = BTreeMap::new();
        for arrival in arrivals.iter().filter(|arrival| time.contains(&arrival.sent)) {
            if took.contains_key(&arrival.number) {
                duplicates += 1;
                continue;
            }
            took.insert(arrival.number, arrival.came.saturating_sub(arrival.sent));
            reordered += u64::from(arrival.number < greatest);
            greatest = greatest.max(arrival.number);
        }
        let different = took.len() as u64;
        let mut took: Vec<u64> = took.into_values().collect();
        took.sort_unstable();
        let median_ms = took.get(took.len() / 2).map(|nanos| *nanos as f64 / 1e6);
        Self { different, duplicates, reordered, median_ms }
    }
}

/// When the server first answered a `PING`.
async fn answers(port: u16) -> u64 {
    while !is_there(port).await.unwrap_or(false) {
        sleep(LOOK).await;
    }
    now()
}

async fn is_there(port: u16) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    socket.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}
