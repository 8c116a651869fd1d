//! `socketioxide-redis`: two nodes over one Redis, of which one emits and the other has one socket.
//!
//! The socket is one in memory: neither HTTP nor a browser takes part. What is compared is not the same work: this
//! peer encodes for Socket.IO as well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use engineioxide::Packet;
use socketioxide::{SocketIo, adapter::Emitter};
use socketioxide_redis::{
    CustomRedisAdapter, RedisAdapterConfig, RedisAdapterCtr,
    drivers::{Driver, redis::RedisDriver},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    case::{Case, Which},
    node::{Orders, Source, tally_all},
    tally::{Published, Received, Tally, cpu, now},
};

/// Messages that its adapter holds for a socket, above its default of 1,024, so that less is lost.
const STREAM_BUFFER: usize = 1 << 16;

type Io<D> = SocketIo<CustomRedisAdapter<Emitter, D>>;

pub async fn receive(case: Case) -> anyhow::Result<Received> {
    match case.which {
        #[cfg(feature = "fred")]
        Which::SocketioxideFred => receive_with(fred_driver(&case).await?, case).await,
        _ => receive_with(redis_driver(&case).await?, case).await,
    }
}

pub async fn publish(case: Case) -> anyhow::Result<Published> {
    match case.which {
        #[cfg(feature = "fred")]
        Which::SocketioxideFred => publish_with(fred_driver(&case).await?, case).await,
        _ => publish_with(redis_driver(&case).await?, case).await,
    }
}

async fn redis_driver(case: &Case) -> anyhow::Result<RedisDriver> {
    let client = redis::Client::open(format!("{}?protocol=resp3", case.url))?;
    Ok(RedisDriver::new(&client).await?)
}

#[cfg(feature = "fred")]
async fn fred_driver(case: &Case) -> anyhow::Result<socketioxide_redis::drivers::fred::FredDriver> {
    let mut config = fred::prelude::Config::from_url(&case.url)?;
    config.version = fred::types::RespVersion::RESP3;
    let client = fred::prelude::Builder::from_config(config).build_subscriber_client()?;
    Ok(socketioxide_redis::drivers::fred::FredDriver::new(client).await?)
}

async fn node<D: Driver>(driver: D, case: &Case) -> anyhow::Result<Io<D>> {
    let config = RedisAdapterConfig::new().with_prefix(case.app.clone()).with_stream_buffer(STREAM_BUFFER);
    let adapter = RedisAdapterCtr::new_with_driver(driver, config);
    let (_, io) = SocketIo::builder()
        .max_buffer_size(1 << 20)
        .with_adapter::<CustomRedisAdapter<_, D>>(adapter)
        .build_svc();
    io.ns("/", async || ()).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(io)
}

/// The first two numbers behind the event's name in `2["bench",NUMBER,SENT,"…"]`.
fn parse(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.strip_prefix("2[\"bench\",")?.splitn(3, ',');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn receive_with<D: Driver>(driver: D, case: Case) -> anyhow::Result<Received> {
    let io = node(driver, &case).await?;
    let (_sender, mut packets) = io.new_dummy_sock("/", ()).await;
    packets.recv().await.context("the packet that says that it is connected")?;
    tally_all(&case, packets).await
}

impl Source for tokio::sync::mpsc::Receiver<Packet> {
    async fn next(&mut self, tally: &mut Tally) -> bool {
        match self.recv().await {
            Some(Packet::Message(text)) => {
                if let Some((number, sent)) = parse(&text) {
                    tally.message(number, sent);
                }
            }
            Some(_) => {}
            None => return false,
        }
        true
    }
}

async fn publish_with<D: Driver>(driver: D, case: Case) -> anyhow::Result<Published> {
    let io = node(driver, &case).await?;
    let body: Arc<str> = "x".repeat(case.size).into();
    let mut orders = Orders::ready()?;
    let before = orders.go().await?;
    let first = now();
    let mut published = match case.endless {
        true => endless(&io, &case, &body, &mut orders).await,
        false => tasks(&io, &case, &body).await?,
    };
    (published.first, published.last, published.cpu) = (first, now(), cpu() - before);
    Ok(published)
}

async fn tasks<D: Driver>(io: &Io<D>, case: &Case, body: &Arc<str>) -> anyhow::Result<Published> {
    let next = Arc::new(AtomicU64::new(0));
    let task = || {
        let (next, io, body, case) = (Arc::clone(&next), io.clone(), Arc::clone(body), case.clone());
        tokio::spawn(async move {
            let (begin, mut errors) = (Instant::now(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= case.count {
                    return errors;
                }
                if case.rate > 0 {
                    let due = Duration::from_nanos(number * 1_000_000_000 / case.rate);
                    tokio::time::sleep_until(begin + due).await;
                }
                errors += u64::from(io.emit("bench", &(number, now(), &*body)).await.is_err());
            }
        })
    };
    let tasks: Vec<_> = (0..if case.rate > 0 { 1 } else { case.tasks }).map(|_| task()).collect();
    let mut published = Published::default();
    for task in tasks {
        published.errors += task.await?;
    }
    published.sent = case.count - published.errors;
    Ok(published)
}

/// Emits at its rate until it is told to stop.
async fn endless<D: Driver>(io: &Io<D>, case: &Case, body: &str, orders: &mut Orders) -> Published {
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (begin, mut number, mut published) = (Instant::now(), 0, Published::default());
    let stop = orders.stop();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return published,
            _ = ticks.tick() => {}
        }
        let due = (begin.elapsed().as_secs_f64() * case.rate as f64) as u64;
        while number < due {
            match io.emit("bench", &(number, now(), body)).await {
                Ok(()) => published.sent += 1,
                Err(_) => published.errors += 1,
            }
            number += 1;
        }
    }
}
