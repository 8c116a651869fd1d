//! Messages over the bus, as applications have it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use scaleout::{Bus, ErrorKind, Overflow, Receipt, Received, Role, Subscription};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    case::Publishers,
    clock::now,
    counted::Counted,
    node::{Pace, Sink, Source, publish_all, tally_all},
    tally::{STAMP_EVERY, Tally, payload},
    words::{Orders, Setup},
};
use crate::store::CLOSE_DEADLINE;

/// How long a node may take until all its streams are open; the first one may have to make tables or topics.
const CONNECT: Duration = Duration::from_secs(60);

/// Messages of an enqueueing task between two looks at the clock, and at whether others have something to do.
const LOOK_EVERY: u64 = 128;

/// Of the messages that may be unconfirmed, so many keep their receipts, by which is seen how far the store has confirmed.
const RECEIPTS: u64 = 32;

async fn connect(setup: &Setup, role: Role) -> anyhow::Result<(Bus, Arc<AtomicU64>)> {
    let settings = setup.settings()?;
    let app = settings.app().context("a run has an app")?.clone();
    let frames = Arc::new(AtomicU64::new(0));
    let backplane = Counted { backplane: settings.backplane()?, frames: Arc::clone(&frames) };
    let in_flight = usize::try_from(setup.case.in_flight)?;
    let mut config = setup.case.bus_config(role).with_app(app).with_overflow(Overflow::Wait);
    // What may be under way is bounded here, not there.
    config.max_queue_messages = config.max_queue_messages.max(in_flight.saturating_mul(2));
    config.max_queue_bytes =
        config.max_queue_bytes.max(in_flight.saturating_mul(2 * (setup.case.size + 1_024)));
    let connecting = Bus::builder(backplane).config(config).connect();
    let bus = timeout(CONNECT, connecting).await.context("a node cannot reach the store")??;
    Ok((bus, frames))
}

pub(super) async fn receive(setup: &Setup, orders: Orders) -> anyhow::Result<()> {
    let (bus, _) = connect(setup, Role::Full).await?;
    let mut subscription = bus.subscribe(setup.case.channel_names());
    tally_all(&setup.case, &mut subscription, orders).await?;
    bus.close(CLOSE_DEADLINE).await;
    Ok(())
}

impl Source for Subscription {
    async fn next(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        match self.recv().await {
            Some(Received::Message(message)) => tally.take(message.payload()),
            Some(Received::Gap(gap)) => {
                let frames = gap.frames().map_or(String::new(), |frames| format!(", {frames} frames"));
                tally.gap(format!("stream {}: {}{frames}", gap.stream(), gap.reason()));
            }
            None => bail!("the node has closed"),
        }
        Ok(())
    }
}

pub(super) async fn publish(setup: &Setup, orders: Orders) -> anyhow::Result<()> {
    let (bus, frames) = connect(setup, Role::PublishOnly).await?;
    let channels = setup.case.channel_names().into();
    let mut outlet = Outlet { bus: bus.clone(), frames, channels };
    publish_all(&setup.case, &mut outlet, orders).await?;
    bus.close(CLOSE_DEADLINE).await;
    Ok(())
}

struct Outlet {
    bus: Bus,
    frames: Arc<AtomicU64>,
    channels: Arc<[String]>,
}

impl Sink for Outlet {
    async fn phase(&mut self, pace: &mut Pace) -> anyhow::Result<()> {
        let before = self.failed();
        match (pace.case.rate, pace.case.publishers) {
            (Some(rate), _) => self.paced(pace, rate).await,
            (None, Publishers::Enqueue) => self.enqueue(pace).await?,
            (None, Publishers::Awaiting) => self.awaiting(pace).await?,
        }
        // Receipts say nothing of what came after them.
        while self.bus.usage().queue_messages > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let failed = self.failed() - before;
        if failed > pace.errors {
            pace.fail("messages were not confirmed");
            pace.errors = failed;
        }
        Ok(())
    }

    fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}

impl Outlet {
    /// Messages that were accepted and failed.
    fn failed(&self) -> u64 {
        let counters = self.bus.counters();
        counters.unconfirmed + counters.expired + counters.dropped + counters.closed
    }

    fn channel(&self, pace: &Pace, number: u64) -> &str {
        &self.channels[pace.case.channel(number) as usize]
    }

    /// One task, which is at most so many messages ahead of the store.
    async fn enqueue(&self, pace: &mut Pace) -> anyhow::Result<()> {
        let in_flight = pace.case.in_flight;
        // An odd distance, so that receipts are of all channels in turn: one of a stream says nothing of the others.
        let every = (in_flight / RECEIPTS) | 1;
        let mut receipts: VecDeque<Receipt> = VecDeque::new();
        loop {
            let (number, payload) = pace.message();
            match self.bus.enqueue(self.channel(pace, number), payload) {
                Ok(receipt) if number.is_multiple_of(every) => receipts.push_back(receipt),
                Ok(_) => {}
                Err(error) => pace.fail(error),
            }
            if receipts.len() as u64 * every > in_flight {
                if let Some(Err(error)) = async { Some(receipts.pop_front()?.await) }.await {
                    pace.fail(error);
                }
            } else if number.is_multiple_of(LOOK_EVERY) {
                yield_now().await;
            }
            if number.is_multiple_of(LOOK_EVERY.min(in_flight)) {
                pace.room().await?;
                if !pace.goes_on() || pace.errors > 0 {
                    break;
                }
            }
        }
        for receipt in receipts {
            if let Err(error) = receipt.await {
                pace.fail(error);
            }
        }
        Ok(())
    }

    /// Many tasks, each of which awaits every publish.
    async fn awaiting(&self, pace: &mut Pace) -> anyhow::Result<()> {
        let next = Arc::new(AtomicU64::new(pace.next));
        let mut tasks = JoinSet::new();
        for _ in 0..pace.case.in_flight {
            let (next, bus, channels) = (Arc::clone(&next), self.bus.clone(), Arc::clone(&self.channels));
            let (case, end, mut behind) = (pace.case.clone(), pace.end(), pace.watch());
            let ahead = case.max_ahead();
            tasks.spawn(async move {
                let mut confirms = Vec::new();
                loop {
                    if next.load(Ordering::Relaxed).saturating_sub(*behind.borrow()) >= ahead {
                        let is_near =
                            |behind: &u64| next.load(Ordering::Relaxed).saturating_sub(*behind) < ahead;
                        if behind.wait_for(is_near).await.is_err() {
                            return (confirms, None);
                        }
                    }
                    // One thread: nothing comes between the number and its place in the queue.
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let sent = if number.is_multiple_of(STAMP_EVERY) { now() } else { 0 };
                    let channel = &channels[case.channel(number) as usize];
                    if let Err(error) = bus.publish(channel, payload(case.size, number, sent)).await {
                        return (confirms, Some(error));
                    }
                    if sent != 0 {
                        let now = now();
                        confirms.push(now - sent);
                    }
                    if std::time::Instant::now() >= end {
                        return (confirms, None);
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (confirms, error) = done?;
            for time in confirms {
                pace.confirms.saturating_record(time.max(1));
            }
            if let Some(error) = error {
                pace.fail(error);
            }
        }
        pace.next = next.load(Ordering::Relaxed);
        Ok(())
    }

    /// One message after the other at a rate, whether or not earlier ones were confirmed.
    async fn paced(&self, pace: &mut Pace, rate: u64) {
        let (begin, end) = (Instant::now(), Instant::from_std(pace.end()));
        let mut under_way: VecDeque<(u64, Receipt)> = VecDeque::new();
        let mut count = 0;
        loop {
            let due = begin + Duration::from_nanos(count * 1_000_000_000 / rate);
            if due >= end && under_way.is_empty() {
                return;
            }
            let oldest = async {
                match under_way.front_mut() {
                    Some((sent, receipt)) => (*sent, receipt.await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(due), if due < end => {
                    let (number, sent) = (pace.next, now());
                    pace.next += 1;
                    count += 1;
                    let payload = payload(pace.case.size, number, sent);
                    match self.bus.enqueue(self.channel(pace, number), payload) {
                        Ok(receipt) => under_way.push_back((sent, receipt)),
                        Err(error) if error.kind() == ErrorKind::QueueFull => {
                            pace.fail("the store does not keep up with the rate: the queue of the node is full");
                        }
                        Err(error) => pace.fail(error),
                    }
                }
                (sent, outcome) = oldest => {
                    under_way.pop_front();
                    match outcome {
                        Ok(()) => pace.confirm(sent),
                        Err(error) => pace.fail(error),
                    }
                }
            }
        }
    }
}
