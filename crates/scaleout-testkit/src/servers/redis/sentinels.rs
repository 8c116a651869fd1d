//! A master, its replicas and three Sentinels that watch over them: [`RedisSentinels`].

use std::{collections::BTreeMap, io, time::Duration};

use futures_util::future::try_join_all;
use redis::RedisError;
use tokio::time::{Instant, sleep};

use super::{
    builder::RedisServerBuilder,
    control::{PASSWORD, USER},
    server::{PATIENCE, RedisServer},
};
use crate::servers::{POLL, TcpProxy};

/// How the master is called where a name has to be given.
const NAME: &str = "mymaster";

const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// An election may fail, and the next one has to wait for this.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How to start [`RedisSentinels`].
#[derive(Debug, Clone)]
#[must_use = "servers start with `start`"]
pub struct RedisSentinelsBuilder {
    replicas: usize,
    down_after: Duration,
    servers: RedisServerBuilder,
    sentinels: RedisServerBuilder,
}

impl RedisSentinelsBuilder {
    /// Replicas beside the master; 1 unless told otherwise.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// How long the master says nothing before it counts as down; 1.2 s unless told otherwise.
    ///
    /// Where it is less, Sentinels often replace a server that has just become master as well: for up to a second they
    /// hear nothing of it.
    pub fn down_after(mut self, duration: Duration) -> Self {
        self.down_after = duration;
        self
    }

    /// How the master and the replicas are started; with TLS they use it among themselves, and the Sentinels name their
    /// ports for TLS.
    pub fn servers(mut self, builder: RedisServerBuilder) -> Self {
        self.servers = builder;
        self
    }

    /// How the Sentinels are started: TLS where the servers have it, a password.
    pub fn sentinels(mut self, builder: RedisServerBuilder) -> Self {
        self.sentinels = builder;
        self
    }

    /// Starts all, and waits until they know each other.
    ///
    /// # Errors
    /// Where one does not start, or they do not find each other in time.
    pub async fn start(self) -> io::Result<RedisSentinels> {
        let server = self.servers.linked_by_tls();
        let master = server.clone().start().await?;
        let port = master.link_port();
        let replicas = (0..self.replicas).map(|_| server.clone().replica_of_port(port).start());
        let replicas = try_join_all(replicas);
        let watch = [
            format!("monitor {NAME} 127.0.0.1 {port} {QUORUM}"),
            format!("down-after-milliseconds {NAME} {}", self.down_after.as_millis()),
            format!("failover-timeout {NAME} {}", FAILOVER_TIMEOUT.as_millis()),
            format!("parallel-syncs {NAME} {}", self.replicas.max(1)),
            format!("auth-user {NAME} {USER}"),
            format!("auth-pass {NAME} {PASSWORD}"),
            // Of the other Sentinels.
            format!("sentinel-user {USER}"),
            format!("sentinel-pass {PASSWORD}"),
        ];
        let sentinel = watch.iter().fold(self.sentinels.linked_by_tls().sentinel(), |builder, line| {
            builder.config("sentinel", line)
        });
        let replicas = replicas.await?;
        let sentinels = try_join_all((0..SENTINELS).map(|_| sentinel.clone().start())).await?;
        let servers = std::iter::once(master).chain(replicas).collect();
        let all = RedisSentinels { servers, sentinels, lags: tokio::sync::Mutex::default() };
        all.meet().await?;
        Ok(all)
    }
}

/// A master, replicas of it, and three Sentinels that put a replica in its place when it fails.
///
/// All end when this value is dropped.
#[derive(Debug)]
pub struct RedisSentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
    /// Between a replica and its master.
    lags: tokio::sync::Mutex<Vec<TcpProxy>>,
}

impl RedisSentinels {
    /// How to start them.
    pub fn builder() -> RedisSentinelsBuilder {
        RedisSentinelsBuilder {
            replicas: 1,
            down_after: Duration::from_millis(1200),
            servers: RedisServer::builder(),
            sentinels: RedisServer::builder(),
        }
    }

    /// The name by which the Sentinels know the master.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The servers; the first one was the master at the start.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The three Sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// `127.0.0.1:PORT` of each Sentinel; its port for TLS where it has one.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.link_port())).collect()
    }

    /// `redis+sentinel://ADDRESS,ADDRESS,ADDRESS/NAME`; `rediss+sentinel` where the Sentinels have TLS.
    pub fn url(&self) -> String {
        let secure = if self.sentinels[0].tls_port().is_some() { "s" } else { "" };
        format!("redis{secure}+sentinel://{}/{NAME}", self.addresses().join(","))
    }

    /// The index of the server that most Sentinels name as the master, whether or not it runs.
    ///
    /// # Errors
    /// Where none of them answers, or they name a server of somebody else.
    pub async fn master(&self) -> io::Result<usize> {
        let mut votes = BTreeMap::new();
        for index in self.named_masters().await? {
            *votes.entry(index).or_insert(0_usize) += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(index, _)| index).ok_or_else(|| io::Error::other("no Sentinel answers"))
    }

    /// Waits until all running Sentinels name the same master, and none of them is still replacing another one.
    ///
    /// A Sentinel that is not done with one failover when the next master fails may wait for that one to come back.
    ///
    /// # Errors
    /// Where that is not so within a minute.
    pub async fn wait_settled(&self) -> io::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let named = self.named_masters().await?;
            let is_busy = self.is_failing_over().await.map_err(io::Error::other)?;
            if let [master, rest @ ..] = named.as_slice()
                && rest.iter().all(|other| other == master)
                && !is_busy
            {
                return Ok(*master);
            }
            if Instant::now() > deadline {
                let doing = if is_busy { "are busy with a failover" } else { "agree on no master" };
                let message = format!("the Sentinels {doing}: they name {named:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(POLL).await;
        }
    }

    /// Kills the master with `SIGKILL`; tells its index. [`wait_master_after`](Self::wait_master_after) tells who is next.
    ///
    /// Where another failover is not over yet, it waits for that first.
    ///
    /// # Errors
    /// As [`wait_settled`](Self::wait_settled).
    pub async fn kill_master(&self) -> io::Result<usize> {
        let master = self.wait_settled().await?;
        self.servers[master].kill();
        Ok(master)
    }

    /// Puts another server in the place of the master, which runs; tells the index of the new master.
    ///
    /// # Errors
    /// Where it does not happen within a minute.
    pub async fn failover(&self) -> io::Result<usize> {
        let old = self.wait_settled().await?;
        let sentinel = self.running_sentinels().next();
        let sentinel = sentinel.ok_or_else(|| io::Error::other("no Sentinel runs"))?;
        // Refused while another one is under way, or no replica is fit.
        sentinel
            .wait_for("start of a failover", async || {
                sentinel.query::<()>(&["SENTINEL", "FAILOVER", NAME]).await.map(|()| true)
            })
            .await?;
        self.wait_master_after(old).await
    }

    /// Waits until all running Sentinels name the same other server as master, and it is one; tells its index.
    ///
    /// # Errors
    /// Where that is not so within a minute.
    pub async fn wait_master_after(&self, old: usize) -> io::Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let named = self.named_masters().await?;
            if let [new, rest @ ..] = named.as_slice()
                && *new != old
                && rest.iter().all(|other| other == new)
                && self.servers[*new].info("role").await.ok().flatten().as_deref() == Some("master")
            {
                return Ok(*new);
            }
            if Instant::now() > deadline {
                let message = format!("no master after server {old}: the Sentinels name {named:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(POLL).await;
        }
    }

    /// From now on the replicas get nothing new, while they and the master take each other for well.
    ///
    /// What the master takes meanwhile is lost when a replica takes its place. The Sentinels undo this after some 8 s, by
    /// sending the replicas to the master again; [`relink_replicas`](Self::relink_replicas) does it earlier.
    ///
    /// # Errors
    /// Where the replicas cannot be sent to another place, or do not link there in time.
    pub async fn lag_replicas(&self) -> io::Result<()> {
        let master = self.wait_settled().await?;
        let mut lags = self.lags.lock().await;
        let mut proxies = Vec::new();
        for replica in self.running_replicas(master) {
            let proxy = TcpProxy::to_port(self.servers[master].link_port()).await?;
            link(replica, proxy.port()).await?;
            proxies.push(proxy);
        }
        proxies.iter().for_each(TcpProxy::stall);
        // What stalled before goes only now: what it holds must never arrive.
        *lags = proxies;
        Ok(())
    }

    /// Makes every running server but the master a replica of it, and waits until it is linked.
    ///
    /// Ends [`lag_replicas`](Self::lag_replicas); what was held back on the way to a server that is no replica any more is
    /// lost. The Sentinels would do the same to a former master that comes back, but only after some 10 to 20 s.
    ///
    /// # Errors
    /// As [`lag_replicas`](Self::lag_replicas).
    pub async fn relink_replicas(&self) -> io::Result<()> {
        let master = self.master().await?;
        let port = self.servers[master].link_port();
        for replica in self.running_replicas(master) {
            link(replica, port).await?;
        }
        self.lags.lock().await.clear();
        Ok(())
    }

    fn running_replicas(&self, master: usize) -> impl Iterator<Item = &RedisServer> {
        let servers = self.servers.iter().enumerate();
        servers
            .filter(move |(index, server)| *index != master && server.pid().is_some())
            .map(|(_, server)| server)
    }

    fn running_sentinels(&self) -> impl Iterator<Item = &RedisServer> {
        self.sentinels.iter().filter(|sentinel| sentinel.pid().is_some())
    }

    async fn is_failing_over(&self) -> Result<bool, RedisError> {
        for sentinel in self.running_sentinels() {
            let master: BTreeMap<String, String> = sentinel.query(&["SENTINEL", "MASTER", NAME]).await?;
            if master.get("flags").is_some_and(|flags| flags.contains("failover_in_progress")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The master that each running Sentinel names.
    async fn named_masters(&self) -> io::Result<Vec<usize>> {
        let mut named = Vec::new();
        for sentinel in self.running_sentinels() {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
            let (_, port): (String, u16) = sentinel.query(&words).await.map_err(io::Error::other)?;
            let index = self.servers.iter().position(|server| server.link_port() == port);
            named.push(index.ok_or_else(|| io::Error::other(format!("a strange master on port {port}")))?);
        }
        Ok(named)
    }

    /// Waits until every Sentinel knows the others and all replicas.
    async fn meet(&self) -> io::Result<()> {
        for sentinel in &self.sentinels {
            // They tell each other of themselves seldom, and look at the servers seldom; in the beginning that is what
            // takes long.
            Self::tune(sentinel, &["publish-period", "100", "info-period", "100"]).await?;
            // A machine that is busy must not make them think that their clock is wrong.
            Self::tune(sentinel, &["tilt-trigger", "15000"]).await?;
        }
        let wanted = [("num-slaves", self.servers.len() - 1), ("num-other-sentinels", SENTINELS - 1)];
        for sentinel in &self.sentinels {
            sentinel
                .wait_for("other Sentinels and the replicas", async || {
                    let seen: BTreeMap<String, String> =
                        sentinel.query(&["SENTINEL", "MASTER", NAME]).await?;
                    let is = |(field, count): &(&str, usize)| seen.get(*field) == Some(&count.to_string());
                    if !(wanted.iter().all(is) && seen.get("flags").is_some_and(|flags| flags == "master")) {
                        return Ok(false);
                    }
                    let replicas: Vec<BTreeMap<String, String>> =
                        sentinel.query(&["SENTINEL", "REPLICAS", NAME]).await?;
                    let is_up = |replica: &BTreeMap<String, String>| {
                        let is = |field, value| replica.get(field).is_some_and(|found| found == value);
                        is("flags", "slave") && is("master-link-status", "ok")
                    };
                    Ok(replicas.iter().all(is_up))
                })
                .await?;
        }
        for sentinel in &self.sentinels {
            Self::tune(sentinel, &["publish-period", "2000", "info-period", "1000"]).await?;
        }
        Ok(())
    }

    async fn tune(sentinel: &RedisServer, settings: &[&str]) -> io::Result<()> {
        let words: Vec<&str> = ["SENTINEL", "DEBUG"].iter().chain(settings).copied().collect();
        let outcome: Result<(), RedisError> = sentinel.query(&words).await;
        outcome.map_err(io::Error::other)
    }
}

/// Makes `replica` one of what answers on this port of 127.0.0.1, and waits until it is linked.
async fn link(replica: &RedisServer, port: u16) -> io::Result<()> {
    let port = port.to_string();
    replica.query::<()>(&["REPLICAOF", "127.0.0.1", &port]).await.map_err(io::Error::other)?;
    replica
        .wait_for("link to the master", async || {
            let is_there = replica.info("master_port").await?.as_ref() == Some(&port);
            Ok(is_there && replica.info("master_link_status").await?.as_deref() == Some("up"))
        })
        .await
}
