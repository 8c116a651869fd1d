//! The processes of a run, and what they say to the one that started them, by lines.
//!
//! Both say `READY`. The publisher is told `GO`, and `STOP` where it publishes until told; the receiver `END <sent>`. A
//! receiver that causes faults says `DONE` after the last one. Both say at last what they did, as JSON.

use std::{
    collections::VecDeque,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use scaleout_core::{Bus, Received as Got, Role as BusRole, Subscription};
use scaleout_servicebus::ServiceBusBackplane;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines, Stdin},
    time::{Instant, interval, sleep, sleep_until, timeout},
};

use crate::{
    bare::{BareInlet, BareOutlet},
    case::{Case, How, PATIENCE},
    counted::Counted,
    http::{Fault, Http},
    server::settings_of,
    tally::{Published, Received, Spread, Tally, cpu, now, payload},
};

#[derive(Debug, Subcommand)]
pub enum Role {
    Publish { case: String },
    Receive { case: String },
    Recover { case: String, faults: String },
}

/// How long a receiver waits for what is still under way.
const QUIET: Duration = Duration::from_secs(10);

/// After everything came: for how long what came twice would be seen.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Between the recovery from a fault and the next one: longer than a link has to live for its end to be a first failure.
const BETWEEN: Duration = Duration::from_millis(1_500);

/// Bytes of messages that an enqueueing task leaves unconfirmed at most.
const UNCONFIRMED: u64 = 1 << 20;

/// Of so many bytes one receipt is kept, to see how far the store has confirmed.
const RECEIPT_EVERY: u64 = 16 << 10;

/// Messages of an enqueueing task between two looks at whether others have something to do.
const YIELD_EVERY: u64 = 128;

/// Rounds of messages to channels that nobody subscribes to, so that links and caches are warm.
const WARM_UP_ROUNDS: u64 = 16;

/// Messages of such a round, so that all topics get some.
const WARM_UP_MESSAGES: u64 = 16;

pub async fn run(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Publish { case } => say(&publish(serde_json::from_str(&case)?).await?),
        Role::Receive { case } => say(&receive(serde_json::from_str(&case)?).await?),
        Role::Recover { case, faults } => {
            say(&recover(serde_json::from_str(&case)?, serde_json::from_str(&faults)?).await?)
        }
    }
}

async fn connect(case: &Case, role: BusRole) -> anyhow::Result<(Bus, Arc<AtomicU64>)> {
    let config = settings_of(case)?;
    let (app, frames) = (config.app.clone(), Arc::default());
    let backplane = Counted { backplane: ServiceBusBackplane::new(config)?, frames: Arc::clone(&frames) };
    let bus = Bus::builder(backplane).config(case.bus_config()).role(role).app(app);
    Ok((bus.connect().await?, frames))
}

async fn receive(case: Case) -> anyhow::Result<Received> {
    let mut inlet = Inlet::open(&case).await?;
    let orders = Orders::ready()?;
    let before = cpu();
    inlet.take_all(orders).await?;
    let used = cpu() - before;
    inlet.close().await;
    Ok(inlet.tally.finish(used))
}

/// Receives, and causes `faults` meanwhile, each after the recovery from the one before it.
async fn recover(case: Case, faults: Vec<Fault>) -> anyhow::Result<Received> {
    let http = Http::new(&settings_of(&case)?)?;
    let mut inlet = Inlet::open(&case).await?;
    let orders = Orders::ready()?;
    for fault in faults {
        let end = Instant::now() + BETWEEN;
        while let Ok(taken) = timeout(end.saturating_duration_since(Instant::now()), inlet.take()).await {
            taken?;
        }
        let before = now();
        http.inject(fault).await?;
        // What was sent before may have been received before.
        let struck = now();
        loop {
            let taken = timeout(PATIENCE, inlet.take()).await.context("no message comes any more")??;
            if taken.is_some_and(|sent| sent >= struck) {
                inlet.tally.recovered(now() - before);
                break;
            }
        }
    }
    tell("DONE")?;
    let before = cpu();
    inlet.take_all(orders).await?;
    let used = cpu() - before;
    inlet.close().await;
    Ok(inlet.tally.finish(used))
}

/// What a receiver receives by.
#[derive(Debug)]
struct Inlet {
    way: Way,
    tally: Tally,
}

#[derive(Debug)]
enum Way {
    Bus(Bus, Subscription),
    Bare(Box<BareInlet>),
}

impl Inlet {
    async fn open(case: &Case) -> anyhow::Result<Self> {
        let way = if case.how == How::Bare {
            Way::Bare(Box::new(BareInlet::open(case).await?))
        } else {
            let (bus, _) = connect(case, BusRole::Full).await?;
            let subscription = bus.subscribe(Case::channels());
            Way::Bus(bus, subscription)
        };
        Ok(Self { way, tally: Tally::default() })
    }

    /// Takes what comes next; if that is a message, the answer is when it was sent.
    async fn take(&mut self) -> anyhow::Result<Option<u64>> {
        match &mut self.way {
            Way::Bus(_, subscription) => match subscription.recv().await {
                Some(Got::Message(message)) => return Ok(Some(self.tally.take(message.payload()))),
                Some(Got::Gap(gap)) => {
                    self.tally.gap();
                    eprintln!("stream {}: {}, {:?} frames", gap.stream(), gap.reason(), gap.frames());
                }
                None => bail!("the bus is closed"),
            },
            Way::Bare(bare) => return Ok(Some(self.tally.take(&bare.next().await?))),
        }
        Ok(None)
    }

    /// Takes everything until all came that was sent, or nothing comes any more.
    async fn take_all(&mut self, mut orders: Orders) -> anyhow::Result<()> {
        let mut sent = None;
        let mut ticks = interval(Duration::from_millis(100));
        let (mut count, mut quiet_since) = (0, Instant::now());
        while sent.is_none_or(|sent| self.tally.received() < sent) {
            tokio::select! {
                biased;
                taken = self.take() => { taken?; }
                line = orders.0.next_line(), if sent.is_none() => {
                    let line = line?.context("the run was given up")?;
                    sent = Some(line.strip_prefix("END ").context("expected END")?.parse()?);
                    quiet_since = Instant::now();
                }
                _ = ticks.tick() => {
                    if self.tally.received() != count {
                        (count, quiet_since) = (self.tally.received(), Instant::now());
                    } else if sent.is_some() && quiet_since.elapsed() > QUIET {
                        break;
                    }
                }
            }
        }
        let end = Instant::now() + AFTERMATH;
        while let Ok(taken) = timeout(end.saturating_duration_since(Instant::now()), self.take()).await {
            taken?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        if let Way::Bus(bus, _) = &self.way {
            bus.close(Duration::from_secs(5)).await;
        }
    }
}

async fn publish(case: Case) -> anyhow::Result<Published> {
    if case.how == How::Bare {
        let outlet = BareOutlet::open(&case).await?;
        let mut orders = Orders::ready()?;
        orders.wait_for("GO").await?;
        let (first, used) = (now(), cpu());
        let published = outlet.publish(&case).await?;
        return Ok(Published { first, cpu: cpu() - used, ..published });
    }
    let (bus, frames) = connect(&case, BusRole::PublishOnly).await?;
    for _ in 0..WARM_UP_ROUNDS {
        let publish = |number| bus.enqueue(format!("warm:{number}"), payload(case.size, 0, 0));
        let receipts: Vec<_> = (0..WARM_UP_MESSAGES).map(publish).collect::<Result<_, _>>()?;
        for receipt in receipts {
            receipt.await?;
        }
    }
    let before = frames.load(Ordering::Relaxed);
    let mut orders = Orders::ready()?;
    orders.wait_for("GO").await?;
    let (first, used) = (now(), cpu());
    let published = match (case.is_paced(), case.how) {
        (true, _) => paced(&case, &bus, orders).await?,
        (false, How::Enqueue) => enqueue(&case, &bus).await?,
        (false, _) => awaiting(&case, &bus).await?,
    };
    let used = cpu() - used;
    let frames = frames.load(Ordering::Relaxed) - before;
    bus.close(Duration::from_secs(5)).await;
    Ok(Published { first, cpu: used, frames, ..published })
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
async fn paced(case: &Case, bus: &Bus, mut orders: Orders) -> anyhow::Result<Published> {
    let begin = Instant::now();
    let mut confirms = Vec::new();
    let count = match case.seconds {
        0 => u64::MAX,
        seconds => u64::from(seconds) * u64::from(case.rate),
    };
    for number in 0..count {
        let due = begin + Duration::from_nanos(number * 1_000_000_000 / u64::from(case.rate));
        tokio::select! {
            () = sleep_until(due) => {}
            told = orders.wait_for("STOP"), if case.seconds == 0 => {
                told?;
                break;
            }
        }
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
        tell("READY")?;
        Ok(Self(BufReader::new(tokio::io::stdin()).lines()))
    }

    /// # Cancel safety
    /// Nothing is lost.
    async fn wait_for(&mut self, order: &str) -> anyhow::Result<()> {
        let line = self.0.next_line().await?.context("the run was given up")?;
        ensure!(line == order, "expected {order}");
        Ok(())
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    tell(&serde_json::to_string(what)?)
}

fn tell(line: &str) -> anyhow::Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}
