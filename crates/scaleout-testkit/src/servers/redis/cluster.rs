//! Masters that share the keys among them, and their replicas: [`RedisCluster`].

use std::{io, ops::RangeInclusive, time::Duration};

use futures_util::future::try_join_all;
use redis::RedisError;
use tokio::time::{Instant, sleep};

use super::{
    builder::RedisServerBuilder,
    control::{PASSWORD, USER},
    server::RedisServer,
    slots::{SLOTS, slot_of},
};
use crate::servers::POLL;

/// How long a move of a key may take; also an answer that never comes.
const MIGRATE_TIMEOUT_MS: &str = "5000";

/// How long a master may take to hand over; it gives up after 5 s.
const HANDING_OVER: Duration = Duration::from_secs(6);

/// How often it is asked to.
const ATTEMPTS: usize = 5;

/// How to start a [`RedisCluster`].
#[derive(Debug, Clone)]
#[must_use = "servers start with `start`"]
pub struct RedisClusterBuilder {
    masters: usize,
    replicas_per_master: usize,
    node_timeout: Duration,
    servers: RedisServerBuilder,
}

impl RedisClusterBuilder {
    /// Masters; 3 unless told otherwise, which is the least number with which a replica can be elected.
    pub fn masters(mut self, count: usize) -> Self {
        self.masters = count;
        self
    }

    /// Replicas of each master; none unless told otherwise.
    pub fn replicas_per_master(mut self, count: usize) -> Self {
        self.replicas_per_master = count;
        self
    }

    /// How long a server says nothing before it counts as down; 1 s unless told otherwise.
    pub fn node_timeout(mut self, duration: Duration) -> Self {
        self.node_timeout = duration;
        self
    }

    /// How the servers are started; with TLS they use it among themselves as well.
    pub fn servers(mut self, builder: RedisServerBuilder) -> Self {
        self.servers = builder;
        self
    }

    /// Starts all, and waits until every one of them takes the cluster for well.
    ///
    /// # Errors
    /// Where one does not start, or they do not find each other in time.
    ///
    /// # Panics
    /// Where there is no master.
    pub async fn start(self) -> io::Result<RedisCluster> {
        assert!(self.masters > 0, "a cluster needs a master");
        let timeout = self.node_timeout.as_millis().to_string();
        let server = self.servers.cluster().config("cluster-node-timeout", &timeout);
        let count = self.masters * (1 + self.replicas_per_master);
        let servers = try_join_all((0..count).map(|_| server.clone().start())).await?;
        let cluster = RedisCluster { servers };
        cluster.meet(self.masters).await.map_err(io::Error::other)?;
        cluster.wait_ready().await?;
        Ok(cluster)
    }
}

/// A cluster of servers; all end when this value is dropped.
///
/// Servers are named by their index: masters come first, then the replicas of the first one, and so on.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// How to start one.
    pub fn builder() -> RedisClusterBuilder {
        RedisClusterBuilder {
            masters: 3,
            replicas_per_master: 0,
            node_timeout: Duration::from_secs(1),
            servers: RedisServer::builder(),
        }
    }

    /// The servers.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// `127.0.0.1:PORT` of each server; its port for TLS where it has one.
    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(|server| format!("127.0.0.1:{}", server.link_port())).collect()
    }

    /// `redis+cluster://ADDRESS,ADDRESS,…`; `rediss+cluster` where the servers have TLS.
    pub fn url(&self) -> String {
        let secure = if self.servers[0].tls_port().is_some() { "s" } else { "" };
        format!("redis{secure}+cluster://{}", self.addresses().join(","))
    }

    /// The slot of a key, 0 to 16,383; where the key has a tag in braces, the slot of the tag.
    pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
        slot_of(key.as_ref())
    }

    /// The index of the master that has the slot, as most servers that run see it.
    ///
    /// # Errors
    /// Where nobody has it, or no server answers.
    pub async fn owner(&self, slot: u16) -> io::Result<usize> {
        let mut votes = vec![0_usize; self.servers.len()];
        for server in self.running() {
            let nodes: String = server.query(&["CLUSTER", "NODES"]).await.map_err(io::Error::other)?;
            let owner = Node::all(&nodes).find(|node| node.has(slot));
            let index = owner.and_then(|node| self.servers.iter().position(|server| node.is_at(server)));
            index.into_iter().for_each(|index| votes[index] += 1);
        }
        let most = votes.into_iter().enumerate().max_by_key(|(_, count)| *count);
        let owner = most.filter(|(_, count)| *count > 0).map(|(index, _)| index);
        owner.ok_or_else(|| io::Error::other(format!("nobody has slot {slot}")))
    }

    /// Waits until every server that runs takes the cluster for well, and knows all that run; and replicas are linked.
    ///
    /// # Errors
    /// Where that is not so within a minute.
    pub async fn wait_ready(&self) -> io::Result<()> {
        for server in self.running() {
            server
                .wait_for("health of the cluster", async || {
                    let info: String = server.query(&["CLUSTER", "INFO"]).await?;
                    let known = format!("cluster_known_nodes:{}", self.servers.len());
                    let has = |line: &str| info.lines().any(|found| found == line);
                    let link = server.info("master_link_status").await?;
                    Ok(has("cluster_state:ok") && has(&known) && link.is_none_or(|link| link == "up"))
                })
                .await?;
        }
        Ok(())
    }

    /// Puts replica `index` in the place of its master, which runs, and waits until all that run know it.
    ///
    /// # Errors
    /// Where it is no replica, or does not become master within a minute.
    pub async fn failover(&self, index: usize) -> io::Result<()> {
        let replica = &self.servers[index];
        // A master that does not hand over in time, because the machine is busy, goes on as if nothing had been said.
        for _ in 0..ATTEMPTS {
            replica.query::<()>(&["CLUSTER", "FAILOVER"]).await.map_err(io::Error::other)?;
            let deadline = Instant::now() + HANDING_OVER;
            while Instant::now() < deadline {
                let nodes: String = replica.query(&["CLUSTER", "NODES"]).await.map_err(io::Error::other)?;
                if Node::all(&nodes).any(|node| node.is_at(replica) && node.is("master")) {
                    return self.wait_master(index).await;
                }
                sleep(POLL).await;
            }
        }
        self.wait_master(index).await
    }

    /// Waits until all servers that run take server `index` for a master that has slots.
    ///
    /// # Errors
    /// Where that is not so within a minute.
    pub async fn wait_master(&self, index: usize) -> io::Result<()> {
        let new = &self.servers[index];
        for server in self.running() {
            server
                .wait_for("new master", async || {
                    let nodes: String = server.query(&["CLUSTER", "NODES"]).await?;
                    let mut masters = Node::all(&nodes).filter(|node| node.is("master"));
                    Ok(masters.any(|node| node.is_at(new) && node.slots().next().is_some()))
                })
                .await?;
        }
        Ok(())
    }

    /// Moves a slot with all its keys to master `to`, if it is not there already.
    ///
    /// # Errors
    /// Where a step fails.
    pub async fn move_slot(&self, slot: u16, to: usize) -> io::Result<()> {
        let Some(moving) = self.begin_move(slot, to).await? else { return Ok(()) };
        while moving.move_keys(100).await? > 0 {}
        moving.finish().await
    }

    /// Begins to move a slot to master `to`; `None` where it is there already.
    ///
    /// From now on the old master answers `ASK` for keys that it has not, and both answer `TRYAGAIN` for several keys of
    /// which each has some.
    ///
    /// # Errors
    /// Where a step fails.
    pub async fn begin_move(&self, slot: u16, to: usize) -> io::Result<Option<SlotMove<'_>>> {
        let from = self.owner(slot).await?;
        if from == to {
            return Ok(None);
        }
        let moving = SlotMove { cluster: self, slot, from, to };
        let (old, new) = (self.id_of(from).await?, self.id_of(to).await?);
        moving.set_slot(to, &["IMPORTING", &old]).await?;
        moving.set_slot(from, &["MIGRATING", &new]).await?;
        Ok(Some(moving))
    }

    fn running(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers.iter().filter(|server| server.pid().is_some())
    }

    async fn id_of(&self, index: usize) -> io::Result<String> {
        self.servers[index].query(&["CLUSTER", "MYID"]).await.map_err(io::Error::other)
    }

    async fn meet(&self, masters: usize) -> Result<(), RedisError> {
        let mut begin = 0;
        for (index, server) in self.servers.iter().take(masters).enumerate() {
            let end = usize::from(SLOTS) * (index + 1) / masters;
            let (first, last) = (begin.to_string(), (end - 1).to_string());
            server.query::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
            server.query::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await?;
            begin = end;
        }
        // Each is told of all, so that nobody has to wait for gossip.
        for server in &self.servers {
            for other in &self.servers {
                let port = other.link_port().to_string();
                let bus = other.bus_port().expect("a server of a cluster has a bus").to_string();
                server.query::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
            }
        }
        for (index, replica) in self.servers.iter().skip(masters).enumerate() {
            let replicas_per_master = self.servers.len() / masters - 1;
            let master: String =
                self.servers[index / replicas_per_master].query(&["CLUSTER", "MYID"]).await?;
            let wait = replica.wait_for("acquaintance of its master", async || {
                replica.query::<()>(&["CLUSTER", "REPLICATE", &master]).await.map(|()| true)
            });
            wait.await.map_err(RedisError::from)?;
        }
        Ok(())
    }
}

/// A slot on its way from one master to another.
///
/// A move that is dropped before it is [finished](Self::finish) stays under way.
#[derive(Debug)]
#[must_use = "a move ends with `finish`"]
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: usize,
    to: usize,
}

impl SlotMove<'_> {
    /// Moves up to `count` keys; tells how many it moved.
    ///
    /// # Errors
    /// Where a server refuses.
    pub async fn move_keys(&self, count: usize) -> io::Result<usize> {
        let server = &self.cluster.servers[self.from];
        let (slot, count) = (self.slot.to_string(), count.to_string());
        let keys: Vec<String> =
            server.query(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]).await.map_err(io::Error::other)?;
        if keys.is_empty() {
            return Ok(0);
        }
        let port = self.cluster.servers[self.to].link_port().to_string();
        // A server that does not hear the end of a step takes it again, and finds what it has sent: so it may replace
        // that. Where it replaced what a client wrote to the new master, that client would miss it.
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", MIGRATE_TIMEOUT_MS, "REPLACE"];
        words.extend(["AUTH2", USER, PASSWORD, "KEYS"]);
        words.extend(keys.iter().map(String::as_str));
        server.query::<()>(&words).await.map_err(io::Error::other)?;
        Ok(keys.len())
    }

    /// Gives the slot to its new master, and waits until every server that runs knows it.
    ///
    /// # Errors
    /// Where a key is left, or a server refuses.
    pub async fn finish(self) -> io::Result<()> {
        let id = self.cluster.id_of(self.to).await?;
        self.set_slot(self.to, &["NODE", &id]).await?;
        self.set_slot(self.from, &["NODE", &id]).await?;
        let new = &self.cluster.servers[self.to];
        for server in self.cluster.running() {
            server
                .wait_for("slot's new master", async || {
                    let nodes: String = server.query(&["CLUSTER", "NODES"]).await?;
                    Ok(Node::all(&nodes).any(|node| node.is_at(new) && node.has(self.slot)))
                })
                .await?;
        }
        Ok(())
    }

    async fn set_slot(&self, index: usize, state: &[&str]) -> io::Result<()> {
        let slot = self.slot.to_string();
        let words: Vec<&str> = ["CLUSTER", "SETSLOT", &slot].iter().chain(state).copied().collect();
        self.cluster.servers[index].query::<()>(&words).await.map_err(io::Error::other)
    }
}

/// A line of `CLUSTER NODES`:
/// `<id> <ip:port@bus[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> <slots>…`
struct Node<'a>(Vec<&'a str>);

impl<'a> Node<'a> {
    fn all(lines: &'a str) -> impl Iterator<Item = Self> {
        lines.lines().map(|line| Self(line.split(' ').collect()))
    }

    /// Which of its ports the line names depends on how the server was asked.
    fn is_at(&self, server: &RedisServer) -> bool {
        let address = self.0.get(1).and_then(|address| address.split_once('@'));
        let port = address.and_then(|(address, _)| address.rsplit_once(':')?.1.parse().ok());
        port.is_some() && [Some(server.port()), server.tls_port()].contains(&port)
    }

    fn has(&self, slot: u16) -> bool {
        self.slots().any(|slots| slots.contains(&slot))
    }

    fn is(&self, flag: &str) -> bool {
        self.0.get(2).is_some_and(|flags| flags.split(',').any(|found| found == flag))
    }

    /// Slots on their way are in brackets, and stand beside the whole.
    fn slots(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        let ranges = self.0.iter().skip(8).filter(|range| !range.starts_with('['));
        ranges.filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
    }
}
