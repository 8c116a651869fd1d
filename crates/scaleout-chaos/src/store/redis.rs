//! A real redis-server.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use redis::{FromRedisValue as _, Value, from_redis_value};
use scaleout::{Epoch, PayloadId, StreamIndex};
use scaleout_testkit::{
    fixture::Held,
    servers::{RedisServer, redis_is_there},
};
use tokio::time::sleep;

use super::{APP, STREAMS};
use crate::plan::{Persistence, StoreFault};

/// Reads and trims all streams at once, so that nothing goes unseen.
const TRIM: &str = "local held = {} \
    for i, key in ipairs(KEYS) do \
        held[i] = redis.call('XRANGE', key, '-', '+') \
        redis.call('XTRIM', key, 'MAXLEN', ARGV[1]) \
    end \
    return held";

const BUFFERS: &str = "client-output-buffer-limit";

pub(crate) struct Redis {
    server: RedisServer,
    trimmed: Mutex<BTreeMap<StreamIndex, Vec<Held>>>,
}

pub(super) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}?app={APP}&streams={STREAMS}&max_backoff=500ms&fatal_retry=1s")
}

impl Redis {
    pub(super) async fn start(persistence: Persistence) -> Result<Self> {
        if !redis_is_there("a chaos run") {
            bail!("there is no redis-server: install it, or run `cargo xtask test`, which does");
        }
        let builder = RedisServer::builder();
        let builder = match persistence {
            Persistence::Always => builder.appendonly(),
            Persistence::EverySecond => builder.config("appendonly", "yes").config("appendfsync", "everysec"),
            Persistence::Snapshots => builder.config("save", "1 1"),
            Persistence::Nothing => builder,
        };
        Ok(Self { server: builder.start().await?, trimmed: Mutex::default() })
    }

    pub(super) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(super) async fn strike(&self, fault: &StoreFault) -> Result<String> {
        let server = &self.server;
        match fault {
            StoreFault::Restart => server.restart().await?,
            StoreFault::Kill => {
                server.kill();
                server.start().await?;
            }
            StoreFault::Outage => server.kill(),
            StoreFault::Freeze | StoreFault::Stutter { .. } => server.freeze()?,
            StoreFault::Flush => self.command(&["FLUSHALL"]).await?,
            StoreFault::Empty => server.restart_empty().await?,
            StoreFault::Forget { frames } => {
                return Ok(format!("{} forgotten", server.forget_last(*frames).await?));
            }
            StoreFault::Trim { keep } => return self.trim(*keep).await,
            StoreFault::KillClients => {
                self.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await?;
                self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
            }
            StoreFault::SmallBuffers { .. } => {
                self.command(&["CONFIG", "SET", BUFFERS, "normal 16384 8192 1 pubsub 16384 8192 1"]).await?;
            }
            other => bail!("Redis knows no {other:?}"),
        }
        Ok(String::new())
    }

    pub(super) async fn relent(&self, fault: &StoreFault) -> Result<()> {
        match fault {
            StoreFault::Outage => self.server.start().await?,
            StoreFault::Freeze | StoreFault::Stutter { .. } => self.server.thaw()?,
            StoreFault::SmallBuffers { .. } => self.usual_buffers().await?,
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn heal(&self) -> Result<()> {
        self.server.start().await?;
        self.server.thaw()?;
        self.usual_buffers().await
    }

    pub(super) async fn log(&self, stream: StreamIndex) -> Result<Vec<Held>> {
        held_of(self.server.command(&["XRANGE", &key(stream), "-", "+"]).await?)
    }

    pub(super) fn trimmed(&self, stream: StreamIndex) -> Vec<Held> {
        let trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner);
        trimmed.get(&stream).cloned().unwrap_or_default()
    }

    async fn trim(&self, keep: usize) -> Result<String> {
        let (count, keep) = (STREAMS.to_string(), keep.to_string());
        let keys: Vec<String> = (0..STREAMS).map(|stream| key(StreamIndex(stream))).collect();
        let mut words = vec!["EVAL", TRIM, &count];
        words.extend(keys.iter().map(String::as_str));
        words.push(&keep);
        let held = self.server.command(&words).await?;
        let held = Vec::<Value>::from_redis_value(held)?;
        let mut trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = 0;
        for (stream, held) in (0..STREAMS).zip(held) {
            let held = held_of(held)?;
            entries += held.len();
            trimmed.entry(StreamIndex(stream)).or_default().extend(held);
        }
        Ok(format!("of {entries} entries"))
    }

    async fn usual_buffers(&self) -> Result<()> {
        self.command(&["CONFIG", "SET", BUFFERS, "normal 0 0 0 pubsub 33554432 8388608 60"]).await
    }

    /// A command, until the server is ready for it: it may be loading.
    async fn command(&self, words: &[&str]) -> Result<()> {
        let mut attempts = 0;
        loop {
            match self.server.command(words).await {
                Ok(_) => return Ok(()),
                Err(_) if attempts < 100 => sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error).context(words.join(" ")),
            }
            attempts += 1;
        }
    }
}

fn key(stream: StreamIndex) -> String {
    format!("scaleout:{{{APP}:0}}:stream:{stream}")
}

fn held_of(entries: Value) -> Result<Vec<Held>> {
    type Field = (String, Vec<u8>);
    let entries: Vec<(String, Vec<Field>)> = from_redis_value(entries)?;
    let held = entries.into_iter().map(|(id, fields)| {
        let (epoch, id) = id.split_once('-').context("an id of an entry")?;
        let frame = fields.into_iter().find(|(name, _)| name == "f");
        Ok(Held {
            epoch: Epoch(epoch.parse()?),
            id: PayloadId(id.parse()?),
            bytes: frame.map(|(_, bytes)| bytes.into()).unwrap_or_default(),
        })
    });
    held.collect()
}
