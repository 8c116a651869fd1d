//! `PUBLISH` and `SUBSCRIBE` through the client crate that scaleout uses, and nothing else.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, aio::MultiplexedConnection};
use tokio::time::{Duration, Instant, sleep_until};

use crate::{
    case::{Case, How},
    node::{Orders, Source, tally_all},
    tally::{Published, Received, STAMP_EVERY, Tally, cpu, now, payload},
};

/// Pipelines under way, so that the next is on the wire while an answer is out.
const PIPELINES: usize = 2;

fn client(case: &Case) -> anyhow::Result<Client> {
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    Ok(Client::open(case.url.as_str().into_connection_info()?.set_tcp_settings(tcp))?)
}

pub async fn receive(case: Case) -> anyhow::Result<Received> {
    let mut subscription = client(&case)?.get_async_pubsub().await?;
    for channel in 0..case.channels as u64 {
        subscription.subscribe(channel_of(&case, channel)).await?;
    }
    tally_all(&case, subscription.into_on_message()).await
}

impl Source for redis::aio::PubSubStream {
    async fn next(&mut self, tally: &mut Tally) -> bool {
        let Some(message) = futures_util::StreamExt::next(self).await else { return false };
        tally.take(message.get_payload_bytes());
        true
    }
}

pub async fn publish(case: Case) -> anyhow::Result<Published> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client(&case)?.get_multiplexed_async_connection_with_config(&config).await?;
    let channels: Arc<[String]> = (0..case.channels as u64).map(|index| channel_of(&case, index)).collect();
    let mut orders = Orders::ready()?;
    let before = orders.go().await?;
    let first = now();
    let mut published = match (case.rate, case.how) {
        (0, How::Pipe) => pipe(&case, &connection, &channels).await?,
        (0, _) => tasks(&case, &connection, &channels).await?,
        _ => paced(&case, connection, &channels).await?,
    };
    (published.first, published.last, published.cpu) = (first, now(), cpu() - before);
    Ok(published)
}

/// Prefixed, so that runs never meet.
fn channel_of(case: &Case, index: u64) -> String {
    format!("{}:{}", case.app, case.channel(index))
}

fn stamp(number: u64) -> u64 {
    if number.is_multiple_of(STAMP_EVERY) { now() } else { 0 }
}

async fn pipe(
    case: &Case,
    connection: &MultiplexedConnection,
    channels: &[String],
) -> anyhow::Result<Published> {
    let mut under_way = FuturesUnordered::new();
    let (mut number, length) = (0, case.tasks as u64);
    while number < case.count {
        let end = (number + length).min(case.count);
        let mut pipe = redis::pipe();
        for number in number..end {
            let channel = &channels[number as usize % channels.len()];
            pipe.cmd("PUBLISH").arg(channel).arg(payload(case.size, number, stamp(number))).ignore();
        }
        number = end;
        let mut connection = connection.clone();
        under_way.push(async move { pipe.exec_async(&mut connection).await });
        if under_way.len() >= PIPELINES {
            under_way.next().await.transpose()?;
        }
    }
    while under_way.next().await.transpose()?.is_some() {}
    Ok(Published { sent: case.count, ..Published::default() })
}

async fn one(
    connection: &mut MultiplexedConnection,
    channel: &str,
    payload: Vec<u8>,
) -> Result<(), redis::RedisError> {
    redis::cmd("PUBLISH").arg(channel).arg(payload).exec_async(connection).await
}

async fn tasks(
    case: &Case,
    connection: &MultiplexedConnection,
    channels: &Arc<[String]>,
) -> anyhow::Result<Published> {
    let next = Arc::new(AtomicU64::new(0));
    let task = || {
        let (next, mut connection, channels) = (Arc::clone(&next), connection.clone(), Arc::clone(channels));
        let (count, size) = (case.count, case.size);
        tokio::spawn(async move {
            let mut errors = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return errors;
                }
                let channel = &channels[number as usize % channels.len()];
                let sent = one(&mut connection, channel, payload(size, number, stamp(number))).await;
                errors += u64::from(sent.is_err());
            }
        })
    };
    let tasks: Vec<_> = (0..case.tasks).map(|_| task()).collect();
    let mut published = Published::default();
    for task in tasks {
        published.errors += task.await?;
    }
    published.sent = case.count - published.errors;
    Ok(published)
}

async fn paced(
    case: &Case,
    mut connection: MultiplexedConnection,
    channels: &[String],
) -> anyhow::Result<Published> {
    let (begin, mut confirms) = (Instant::now(), Vec::new());
    for number in 0..case.count {
        sleep_until(begin + Duration::from_nanos(number * 1_000_000_000 / case.rate)).await;
        let (sent, channel) = (now(), &channels[number as usize % channels.len()]);
        one(&mut connection, channel, payload(case.size, number, sent)).await?;
        confirms.push(now() - sent);
    }
    confirms.sort_unstable();
    let confirm_p50 = confirms.get(confirms.len() / 2).copied().unwrap_or(0);
    Ok(Published { sent: case.count, confirm_p50, ..Published::default() })
}
