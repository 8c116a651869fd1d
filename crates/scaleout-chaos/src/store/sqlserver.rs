//! The test server of SQL Server, in this process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};
use scaleout::{Epoch, PayloadId, StreamIndex};
use scaleout_testkit::{fixture::Held, servers::Fate};
use sqlserver_testserver::{Fate as SqlFate, LoggedMessage, TestServer};

use super::{APP, STREAMS};
use crate::plan::StoreFault;

const SCHEMA: &str = "scaleout";

pub(crate) struct SqlServer {
    server: TestServer,
    trimmed: Mutex<BTreeMap<StreamIndex, Vec<Held>>>,
}

impl SqlServer {
    pub(super) async fn start() -> Result<Self> {
        Ok(Self { server: TestServer::launch().await?, trimmed: Mutex::default() })
    }

    pub(super) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(super) fn url(&self, port: u16) -> String {
        let url = self.server.url(APP).replacen(&format!(":{}", self.port()), &format!(":{port}"), 1);
        format!(
            "{url}&table_count={STREAMS}&command_timeout=1s&max_backoff=500ms&fatal_retry=500ms&max_poll=250ms"
        )
    }

    pub(super) async fn strike(&self, fault: &StoreFault) -> Result<String> {
        let server = &self.server;
        match fault {
            StoreFault::Restart => server.restart().await?,
            StoreFault::Outage => server.stop().await,
            StoreFault::Freeze => server.freeze(),
            StoreFault::Forget { frames } => server.fail_over(*frames),
            StoreFault::Flush => server.flush(SCHEMA),
            StoreFault::KillClients => server.cut_all(),
            StoreFault::Trim { keep } => return Ok(self.trim(*keep)),
            StoreFault::Deadlocks { count } => server.deadlocks(*count),
            StoreFault::Throttle { count } => server.throttle(*count),
            StoreFault::Latency { latency } => server.set_latency(*latency),
            StoreFault::Broker { on } => server.set_broker(*on),
            StoreFault::EndConversations => server.end_conversations(),
            other => bail!("SQL Server knows no {other:?}"),
        }
        Ok(String::new())
    }

    pub(super) async fn relent(&self, fault: &StoreFault) -> Result<()> {
        match fault {
            StoreFault::Outage => self.server.start().await?,
            StoreFault::Freeze => self.server.thaw(),
            _ => {}
        }
        Ok(())
    }

    pub(super) async fn heal(&self) {
        self.server.release().await;
        self.server.set_latency(Duration::ZERO);
        self.server.set_broker(true);
        self.server.throttle(0);
    }

    pub(super) fn next_frame(&self, fate: Fate) {
        self.server.next_publish(match fate {
            Fate::LoseAnswer => SqlFate::LoseAnswer,
            Fate::LoseSend => SqlFate::LoseSend,
            Fate::Delay => SqlFate::Delay,
        });
    }

    pub(super) async fn release(&self) {
        self.server.release().await;
    }

    pub(super) fn log(&self, stream: StreamIndex) -> Vec<Held> {
        let held =
            |row: LoggedMessage| Held { epoch: Epoch(row.epoch), id: PayloadId(row.id), bytes: row.payload };
        self.server.log(SCHEMA, stream.index()).into_iter().map(held).collect()
    }

    pub(super) fn trimmed(&self, stream: StreamIndex) -> Vec<Held> {
        let trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner);
        trimmed.get(&stream).cloned().unwrap_or_default()
    }

    fn trim(&self, keep: usize) -> String {
        let mut trimmed = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = 0;
        for stream in (0..STREAMS).map(StreamIndex) {
            let held = self.log(stream);
            entries += held.len();
            trimmed.entry(stream).or_default().extend(held);
        }
        self.server.trim(keep);
        format!("of {entries} rows")
    }
}
