//! The processes of a run, and what they say to the one that started them, by lines.
//!
//! Both say `READY`. The publisher is told `GO`, the receiver `END <sent>`, and both say what they did as JSON.

use std::{
    collections::VecDeque,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use clap::Subcommand;
use scaleout_core::{Bus, Received as Got, Role as BusRole};
use scaleout_sqlserver::{Doorbell, SqlServerBackplane};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    time::{Instant, interval, sleep, sleep_until, timeout},
};

use crate::{
    case::{Case, How},
    server::settings_of,
    tally::{Published, Received, Spread, Tally, cpu, now, payload},
};

#[derive(Debug, Subcommand)]
pub enum Role {
    Publish { case: String },
    Receive { case: String },
}

/// How long a receiver waits for what is still under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// After everything came: for how long what came twice would be seen.
const AFTERMATH: Duration = Duration::from_millis(200);

/// After the warm-up, until both nodes have looked for old rows to drop for the first time.
const SETTLING: Duration = Duration::from_secs(3);

/// Bytes of messages that an enqueueing task leaves unconfirmed at most.
const UNCONFIRMED: u64 = 1 << 20;

/// Of so many bytes one receipt is kept, to see how far the store has confirmed.
const RECEIPT_EVERY: u64 = 16 << 10;

/// Messages of an enqueueing task between two looks at whether others have something to do.
const YIELD_EVERY: u64 = 128;

/// Rounds of messages to channels that nobody subscribes to, so that connections, plans and caches are warm.
const WARM_UP_ROUNDS: u64 = 16;

/// Messages of such a round, so that all tables get some.
const WARM_UP_MESSAGES: u64 = 16;

pub async fn run(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Publish { case } => say(&publish(serde_json::from_str(&case)?).await?),
        Role::Receive { case } => say(&receive(serde_json::from_str(&case)?).await?),
    }
}

async fn connect(case: &Case, role: BusRole) -> anyhow::Result<(Bus, SqlServerBackplane)> {
    let config = settings_of(&case.schema, case.tables)?;
    let app = config.app.clone();
    let backplane = SqlServerBackplane::new(config)?;
    let builder = Bus::builder(backplane.clone()).config(case.bus_config()).role(role).app(app);
    Ok((builder.connect().await?, backplane))
}

async fn receive(case: Case) -> anyhow::Result<Received> {
    let (bus, backplane) = connect(&case, BusRole::Full).await?;
    let mut subscription = bus.subscribe(Case::channels());
    let mut orders = Orders::ready()?;
    let before = cpu();
    let (mut tally, mut sent, mut is_over) = (Tally::default(), None, false);
    let take = |tally: &mut Tally, got: Option<Got>| {
        match got {
            Some(Got::Message(message)) => tally.take(message.payload()),
            Some(Got::Gap(gap)) => {
                tally.gap();
                eprintln!("stream {}: {}, {:?} frames", gap.stream(), gap.reason(), gap.frames());
            }
            None => return true,
        }
        false
    };
    let mut ticks = interval(Duration::from_millis(100));
    let (mut count, mut quiet_since) = (0, Instant::now());
    while !is_over && sent.is_none_or(|sent| tally.received() < sent) {
        tokio::select! {
            biased;
            got = subscription.recv() => is_over = take(&mut tally, got),
            line = orders.0.next_line(), if sent.is_none() => {
                let line = line?.context("the run was given up")?;
                sent = Some(line.strip_prefix("END ").context("expected END")?.parse()?);
                quiet_since = Instant::now();
            }
            _ = ticks.tick() => {
                if tally.received() != count {
                    (count, quiet_since) = (tally.received(), Instant::now());
                } else if sent.is_some() && quiet_since.elapsed() > PATIENCE {
                    break;
                }
            }
        }
    }
    let used = cpu() - before;
    let aftermath = async { while !take(&mut tally, subscription.recv().await) {} };
    let _ = timeout(AFTERMATH, aftermath).await;
    let doorbell = told(&backplane.doorbell());
    bus.close(Duration::from_secs(5)).await;
    Ok(tally.finish(used, doorbell))
}

/// How a node learns of messages, in words.
pub fn told(doorbell: &Doorbell) -> String {
    match doorbell {
        Doorbell::Unknown => "not looked for".into(),
        Doorbell::Works => "works".into(),
        Doorbell::Missing(error) => error.to_string(),
        Doorbell::NotWanted => "not wanted".into(),
    }
}

async fn publish(case: Case) -> anyhow::Result<Published> {
    let (bus, backplane) = connect(&case, BusRole::PublishOnly).await?;
    for _ in 0..WARM_UP_ROUNDS {
        let publish = |number| bus.enqueue(format!("warm:{number}"), payload(case.size, 0, 0));
        let receipts: Vec<_> = (0..WARM_UP_MESSAGES).map(publish).collect::<Result<_, _>>()?;
        for receipt in receipts {
            receipt.await?;
        }
    }
    sleep(SETTLING).await;
    let before = rows(&backplane).await?;
    let mut orders = Orders::ready()?;
    orders.0.next_line().await?.context("the run was given up")?;
    let (first, used) = (now(), cpu());
    let published = match (case.is_paced(), case.how) {
        (true, _) => paced(&case, &bus).await?,
        (false, How::Enqueue) => enqueue(&case, &bus).await?,
        (false, _) => awaiting(&case, &bus).await?,
    };
    let used = cpu() - used;
    let frames = rows(&backplane).await?.saturating_sub(before);
    bus.close(Duration::from_secs(5)).await;
    Ok(Published { first, cpu: used, frames, ..published })
}

/// Rows that the message tables have had so far.
async fn rows(backplane: &SqlServerBackplane) -> anyhow::Result<u64> {
    Ok(backplane.health().await?.rows.into_iter().sum())
}

/// Many tasks, each of which awaits every publish.
async fn awaiting(case: &Case, bus: &Bus) -> anyhow::Result<Published> {
    let next = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(case.seconds.into());
    let task = || {
        let (next, bus, size) = (Arc::clone(&next), bus.clone(), case.size);
        tokio::spawn(async move {
            let (mut errors, mut times) = (0, Vec::new());
            while Instant::now() < end {
                let (number, sent) = (next.fetch_add(1, Ordering::Relaxed), now());
                match bus.publish(Case::channel(number), payload(size, number, sent)).await {
                    Ok(_) => times.push(now() - sent),
                    Err(error) => {
                        eprintln!("publish: {error}");
                        errors += 1;
                    }
                }
            }
            (errors, times)
        })
    };
    let tasks: Vec<_> = (0..case.publishers).map(|_| task()).collect();
    let (mut errors, mut times) = (0, Vec::new());
    for task in tasks {
        let (failed, of) = task.await?;
        errors += failed;
        times.extend(of);
    }
    Ok(Published { sent: times.len() as u64, errors, confirmed: Spread::of(times), ..Published::default() })
}

/// One task, which is at most so many bytes ahead of the store.
async fn enqueue(case: &Case, bus: &Bus) -> anyhow::Result<Published> {
    let end = Instant::now() + Duration::from_secs(case.seconds.into());
    let size = case.size as u64;
    // An odd distance, so that receipts are of all channels in turn: one of a stream says nothing of the others.
    let (window, every) = ((UNCONFIRMED / size).max(1), (RECEIPT_EVERY / size) | 1);
    let (mut number, mut receipts) = (0, VecDeque::new());
    while Instant::now() < end {
        let receipt = bus.enqueue(Case::channel(number), payload(case.size, number, now()))?;
        if number % every == 0 {
            receipts.push_back(receipt);
        }
        number += 1;
        if receipts.len() as u64 * every > window {
            receipts.pop_front().context("there is one")?.await?;
        } else if number % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
    }
    for receipt in receipts {
        receipt.await?;
    }
    // They say nothing of what came after them.
    while bus.usage().queue_messages > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    Ok(Published { sent: number, ..Published::default() })
}

/// One message after the other at the rate, whether or not earlier ones were confirmed.
async fn paced(case: &Case, bus: &Bus) -> anyhow::Result<Published> {
    let begin = Instant::now();
    let mut confirms = Vec::new();
    for number in 0..u64::from(case.seconds) * u64::from(case.rate) {
        sleep_until(begin + Duration::from_nanos(number * 1_000_000_000 / u64::from(case.rate))).await;
        let sent = now();
        let receipt = bus.enqueue(Case::channel(number), payload(case.size, number, sent))?;
        confirms.push(tokio::spawn(async move { receipt.await.map(|_| now() - sent) }));
    }
    let (mut errors, mut times) = (0, Vec::new());
    for confirm in confirms {
        match confirm.await? {
            Ok(time) => times.push(time),
            Err(error) => {
                eprintln!("publish: {error}");
                errors += 1;
            }
        }
    }
    Ok(Published { sent: times.len() as u64, errors, confirmed: Spread::of(times), ..Published::default() })
}

/// What this process is told.
#[derive(Debug)]
struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    /// Says that this process is ready.
    fn ready() -> anyhow::Result<Self> {
        println!("READY");
        std::io::stdout().flush()?;
        Ok(Self(BufReader::new(tokio::io::stdin()).lines()))
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(std::io::stdout().flush()?)
}
