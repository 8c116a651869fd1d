//! scaleout over Redis.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use bytes::Bytes;
use scaleout_core::{AppName, Bus, BusConfig, ErrorKind, Overflow, Received as Message, Role, Subscription};
use scaleout_redis::{RedisBackplane, RedisConfig};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep_until};

use crate::{
    case::{Case, How, Publisher},
    node::{Orders, Source, tally_all},
    tally::{Published, Received, STAMP_EVERY, Tally, cpu, now, payload},
};

/// Messages of an enqueueing task between two looks at whether others have something to do.
const YIELD_EVERY: u64 = 128;

/// Of so many bytes one receipt is kept, to see how far the store has confirmed.
const RECEIPT_EVERY: u64 = 32 << 10;

/// Bytes of messages that are unconfirmed at most: frames for several streams, and little enough for the caches.
const UNCONFIRMED: u64 = 1 << 20;

async fn connect(case: &Case, role: Role) -> anyhow::Result<Bus> {
    let app: AppName = case.app.parse()?;
    let redis: RedisConfig = format!("{}?app={}", case.url, case.app).parse()?;
    let backplane = RedisBackplane::new(redis.with_max_retained_bytes(case.retained_bytes))?;
    let config = BusConfig::default()
        .with_app(app)
        .with_role(role)
        .with_overflow(Overflow::Wait)
        .with_max_frame_bytes(case.frame_bytes);
    Ok(Bus::builder(backplane).config(config).connect().await?)
}

pub async fn receive(case: Case) -> anyhow::Result<Received> {
    let bus = connect(&case, Role::Full).await?;
    let subscription = bus.subscribe((0..case.channels as u64).map(|index| case.channel(index)));
    let received = tally_all(&case, subscription).await?;
    bus.close(Duration::from_secs(1)).await;
    Ok(received)
}

impl Source for Subscription {
    async fn next(&mut self, tally: &mut Tally) -> bool {
        match self.recv().await {
            Some(Message::Message(message)) => tally.take(message.payload()),
            Some(Message::Gap(gap)) => {
                tally.gaps += 1;
                eprintln!("stream {}: {}, {:?} frames", gap.stream(), gap.reason(), gap.frames());
            }
            None => return false,
        }
        true
    }
}

pub async fn publish(case: Case) -> anyhow::Result<Published> {
    let role = match case.publisher {
        Publisher::PublishOnly => Role::PublishOnly,
        Publisher::Full => Role::Full,
    };
    let bus = connect(&case, role).await?;
    let channels: Arc<[String]> = (0..case.channels as u64).map(|index| case.channel(index)).collect();
    let mut orders = Orders::ready()?;
    let before = orders.go().await?;
    let first = now();
    let mut published = match (case.rate, case.how) {
        (0, How::Await) => tasks(&case, &bus, &channels).await?,
        (0, _) => enqueue(&case, &bus, &channels).await?,
        _ if case.endless => endless(&case, &bus, &channels, &mut orders).await?,
        _ => paced(&case, &bus, &channels).await?,
    };
    (published.first, published.last, published.cpu) = (first, now(), cpu() - before);
    bus.close(Duration::from_secs(1)).await;
    Ok(published)
}

fn stamped(size: usize, number: u64) -> Bytes {
    let sent = if number.is_multiple_of(STAMP_EVERY) { now() } else { 0 };
    payload(size, number, sent).into()
}

async fn enqueue(case: &Case, bus: &Bus, channels: &[String]) -> anyhow::Result<Published> {
    let window = (UNCONFIRMED / case.size as u64).max(1);
    let every = (RECEIPT_EVERY / case.size as u64).max(1);
    let mut receipts = VecDeque::new();
    for number in 0..case.count {
        let channel = &channels[number as usize % channels.len()];
        let receipt = bus.enqueue(channel, stamped(case.size, number))?;
        if number % every == 0 || number + 1 == case.count {
            receipts.push_back(receipt);
        }
        if receipts.len() as u64 * every > window {
            receipts.pop_front().context("there is one")?.await?;
        } else if number % YIELD_EVERY == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Of several streams the last receipt says nothing of the others.
    for receipt in receipts {
        receipt.await?;
    }
    while bus.usage().queue_messages > 0 {
        tokio::task::yield_now().await;
    }
    Ok(Published { sent: case.count, ..Published::default() })
}

async fn tasks(case: &Case, bus: &Bus, channels: &Arc<[String]>) -> anyhow::Result<Published> {
    let next = Arc::new(AtomicU64::new(0));
    let task = || {
        let (next, bus, channels) = (Arc::clone(&next), bus.clone(), Arc::clone(channels));
        let (count, size) = (case.count, case.size);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, scaleout_core::Error>(());
                }
                bus.publish(&channels[number as usize % channels.len()], stamped(size, number)).await?;
            }
        })
    };
    let tasks: Vec<_> = (0..case.tasks).map(|_| task()).collect();
    for task in tasks {
        task.await??;
    }
    Ok(Published { sent: case.count, ..Published::default() })
}

async fn paced(case: &Case, bus: &Bus, channels: &[String]) -> anyhow::Result<Published> {
    let (begin, mut confirms) = (Instant::now(), Vec::new());
    for number in 0..case.count {
        sleep_until(begin + Duration::from_nanos(number * 1_000_000_000 / case.rate)).await;
        let (sent, channel) = (now(), &channels[number as usize % channels.len()]);
        bus.publish(channel, payload(case.size, number, sent)).await?;
        confirms.push(now() - sent);
    }
    confirms.sort_unstable();
    let confirm_p50 = confirms.get(confirms.len() / 2).copied().unwrap_or(0);
    Ok(Published { sent: case.count, confirm_p50, ..Published::default() })
}

/// Publishes at its rate, whatever happens to the server, until it is told to stop; waits for every message then.
async fn endless(
    case: &Case,
    bus: &Bus,
    channels: &[String],
    orders: &mut Orders,
) -> anyhow::Result<Published> {
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (begin, mut number, mut receipts) = (Instant::now(), 0, VecDeque::new());
    let mut published = Published::default();
    let mut note = |outcome: Result<(), scaleout_core::Error>| match outcome {
        Ok(()) => published.sent += 1,
        // Whatever is not sure to be there counts against it.
        Err(error) => {
            if error.kind() != ErrorKind::QueueFull || published.errors == 0 {
                eprintln!("publish: {error}");
            }
            published.errors += 1;
        }
    };
    let stop = orders.stop();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = ticks.tick() => {}
        }
        let due = (begin.elapsed().as_secs_f64() * case.rate as f64) as u64;
        while number < due {
            let channel = &channels[number as usize % channels.len()];
            match bus.enqueue(channel, payload(case.size, number, now())) {
                Ok(receipt) => receipts.push_back(receipt),
                Err(error) => note(Err(error)),
            }
            number += 1;
        }
        while let Some(outcome) = receipts.front().and_then(|receipt| receipt.outcome()) {
            note(outcome);
            receipts.pop_front();
        }
    }
    for receipt in receipts {
        note(receipt.await);
    }
    Ok(published)
}
