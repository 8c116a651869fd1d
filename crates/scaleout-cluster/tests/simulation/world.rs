//! The driver of a run: nodes, requests, casts, groups and faults, step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use scaleout_cluster::Target;
use scaleout_core::{Epoch, MemoryConfig, MemoryStore, NodeId, SendFault, StreamIndex};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    node::{Node, SUBJECTS},
    requests::{Asked, Ended, ask},
};

/// What came of a seed.
pub(crate) struct Run {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
    /// Requests that were complete, and not; expulsions, gaps, casts.
    pub(crate) seen: [u64; 5],
}

/// What may happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Outage,
    StreamOutage,
    Cut,
    Flush,
    Failover,
    Refused,
    Landed,
    Lost,
    Silent,
    Blocked,
    SlowSends,
    SlowReceives,
    /// A node is cut off, both ways or one.
    Partition,
    PartitionSends,
    PartitionReceives,
    /// A process dies.
    Crash,
    /// A node says goodbye, and its bus is closed.
    Leave,
    /// A node says goodbye, and joins again on the same bus.
    Rejoin,
    Start,
}

const FAULTS: [Fault; 19] = [
    Fault::Outage,
    Fault::StreamOutage,
    Fault::Cut,
    Fault::Flush,
    Fault::Failover,
    Fault::Refused,
    Fault::Landed,
    Fault::Lost,
    Fault::Silent,
    Fault::Blocked,
    Fault::SlowSends,
    Fault::SlowReceives,
    Fault::Partition,
    Fault::PartitionSends,
    Fault::PartitionReceives,
    Fault::Crash,
    Fault::Leave,
    Fault::Rejoin,
    Fault::Start,
];

/// What it takes at most until all know all: links back, leases over, whoever was given up taken in again.
const CONVERGED: Duration = Duration::from_secs(30);
/// Nodes of a run at most.
const MAX_NODES: usize = 10;

type Request = JoinHandle<(Ended, Vec<String>)>;

pub(crate) struct World {
    random: Rng,
    began: Instant,
    store: MemoryStore,
    nodes: Vec<Node>,
    enabled: Vec<Fault>,
    /// What ends, when.
    ends: Vec<(Instant, usize, Fault)>,
    requests: Vec<Request>,
    run: Run,
}

impl World {
    pub(crate) async fn run(seed: u64) -> Run {
        let mut random = Rng::with_seed(seed);
        let streams = NonZeroU16::new(random.u16(1..=4)).expect("not 0");
        let config = MemoryConfig::default().with_streams(streams).with_first_epoch(Epoch(1));
        // Some stores replay nothing, and tell what was missed as a gap.
        let replay = random.u8(..3) > 0;
        let capabilities = config.capabilities.with_replay(replay);
        let config = config.with_capabilities(capabilities);
        let share = [0.0, 0.2, 0.4, 1.0][random.usize(..4)];
        let enabled = FAULTS.into_iter().filter(|_| random.f64() < share).collect();
        let mut world = Self {
            began: Instant::now(),
            store: MemoryStore::new(config),
            nodes: Vec::new(),
            enabled,
            ends: Vec::new(),
            requests: Vec::new(),
            run: Run { violations: Vec::new(), trace: Vec::new(), seen: [0; 5] },
            random,
        };
        for _ in 0..world.random.usize(3..=6) {
            world.start();
        }
        let (steps, rate) = (world.random.usize(30..80), 0.4 * world.random.f64());
        for _ in 0..steps {
            world.step(rate).await;
        }
        world.settle().await;
        world.run
    }

    async fn step(&mut self, rate: f64) {
        self.end_faults(false);
        if self.random.f64() < rate {
            self.strike().await;
        }
        for _ in 0..self.random.usize(..4) {
            let node = self.some_node();
            let target = self.some_target();
            self.nodes[node].cast(target);
            self.run.seen[4] += 1;
        }
        for _ in 0..self.random.usize(..3) {
            self.request();
        }
        self.track();
        sleep(Duration::from_millis(self.random.u64(1..800))).await;
    }

    /// Ends all faults, and judges once all should be well.
    async fn settle(&mut self) {
        self.note("all faults end");
        self.end_faults(true);
        sleep(CONVERGED).await;
        let first = self.check_views("after the faults");
        self.check_presence();
        sleep(Duration::from_secs(10)).await;
        if self.check_views("a while after the faults") != first {
            self.violate("members come and go though all is well".into());
        }
        for request in std::mem::take(&mut self.requests) {
            let (ended, problems) = request.await.expect("a request does not panic");
            if let Ended::Collected(collected) = ended {
                self.run.seen[usize::from(!collected.complete)] += 1;
            }
            problems.into_iter().for_each(|problem| self.violate(problem));
        }
        self.check_casts();
        for node in &self.nodes {
            let counters = node.cluster.counters();
            self.run.seen[2] += counters.expelled;
            self.run.seen[3] += counters.gaps;
            if counters.panics + counters.unreadable > 0 {
                self.run.violations.push(format!("{counters:?}"));
            }
        }
    }

    fn check_views(&mut self, when: &str) -> BTreeMap<NodeId, u64> {
        let living = self.living();
        let ids: BTreeSet<_> = living.iter().map(|node| self.nodes[*node].bus.node()).collect();
        let mut first: Option<BTreeMap<NodeId, u64>> = None;
        for node in living {
            let view: BTreeMap<_, _> = {
                let members = self.nodes[node].cluster.members();
                members.iter().map(|member| (member.node(), member.incarnation())).collect()
            };
            if !view.keys().eq(&ids) {
                self.violate(format!("{when}, node {node} sees {view:?}, and {ids:?} live"));
            }
            let expected = first.get_or_insert_with(|| view.clone());
            if *expected != view {
                let problem = format!("{when}, node {node} sees {view:?}, and another one {expected:?}");
                self.violate(problem);
            }
        }
        first.unwrap_or_default()
    }

    fn check_presence(&mut self) {
        let living = self.living();
        let mut expected: Vec<_> = living
            .iter()
            .flat_map(|&node| {
                let node = &self.nodes[node];
                let id = node.bus.node();
                node.tracked
                    .iter()
                    .map(move |((group, member), value)| (group.clone(), member.clone(), id, vec![*value]))
            })
            .collect();
        expected.sort();
        for node in living {
            let presence = self.nodes[node].cluster.presence();
            let entries = presence.groups().into_iter().flat_map(|group| presence.list(&group));
            let mut seen: Vec<_> = entries
                .map(|entry| {
                    (entry.group.to_string(), entry.member.to_string(), entry.node, entry.value.to_vec())
                })
                .collect();
            seen.sort();
            if seen != expected {
                self.violate(format!("node {node} sees in groups {seen:?}, not {expected:?}"));
            }
        }
    }

    fn check_casts(&mut self) {
        let sent = self.nodes.iter().map(|node| (node.bus.node(), Arc::clone(&node.casts))).collect();
        let problems: Vec<_> = self.nodes.iter().filter_map(|node| node.check_casts(&sent)).collect();
        problems.into_iter().for_each(|problem| self.violate(problem));
    }

    fn start(&mut self) {
        let id = NodeId(self.random.u128(1..));
        self.note(&format!("node {} starts: {id}", self.nodes.len()));
        self.nodes.push(Node::start(&self.store, id));
    }

    fn request(&mut self) {
        let (subject, parts) = SUBJECTS[self.random.usize(..SUBJECTS.len())];
        let (target, node) = (self.some_target(), self.some_node());
        let asked = Asked {
            subject,
            parts,
            target,
            payload: Bytes::copy_from_slice(&[self.random.u8(..), self.random.u8(..)]),
            deadline: Duration::from_millis(self.random.u64(50..12_000)),
        };
        self.note(&format!("node {node} asks {target:?} for {subject} within {:?}", asked.deadline));
        let cluster = self.nodes[node].cluster.clone();
        self.requests.push(tokio::spawn(ask(cluster, asked)));
    }

    fn track(&mut self) {
        let (index, group, member) = (self.some_node(), self.random.u8(..3), self.random.u8(..6));
        let (group, member) = (format!("group {group}"), format!("member {member}"));
        let value = self.random.u8(..);
        let (tracks, all) = (self.random.bool(), self.random.u8(..8) == 0);
        let node = &mut self.nodes[index];
        let presence = node.cluster.presence();
        if tracks {
            presence.track(&group, &member, [value]).expect("it fits, and the cluster is open");
            node.tracked.insert((group, member), value);
        } else if all {
            presence.untrack_all(&member);
            node.tracked.retain(|(_, other), _| *other != member);
        } else {
            presence.untrack(&group, &member);
            node.tracked.remove(&(group, member));
        }
    }

    async fn strike(&mut self) {
        let Some(&fault) = self.random.choice(&self.enabled) else { return };
        let longest = [1_000, 5_000, 20_000][self.random.usize(..3)];
        let until = Instant::now() + Duration::from_millis(self.random.u64(20..longest));
        let stream = StreamIndex(self.random.u16(..self.store.stream_count().get()));
        let node = self.some_node();
        self.note(&format!("{fault:?} of node {node} or stream {stream}, until {:?}", until - self.began));
        let sends = self.random.usize(1..4);
        match fault {
            Fault::Outage => self.store.outage(self.store.streams()),
            Fault::StreamOutage => self.store.outage([stream]),
            Fault::Cut => self.store.cut_receivers(),
            Fault::Flush => self.store.flush(),
            Fault::Failover => drop(self.store.failover(stream, self.random.usize(1..8))),
            Fault::Refused => self.store.fail_sends(stream, sends, SendFault::Refused),
            Fault::Landed => self.store.fail_sends(stream, sends, SendFault::Landed),
            Fault::Lost => self.store.fail_sends(stream, sends, SendFault::Lost),
            Fault::Silent => self.store.fail_sends(stream, sends, SendFault::Silent),
            Fault::Blocked => self.store.block_sends(true),
            Fault::SlowSends => self.store.set_send_delay(Duration::from_millis(self.random.u64(1..800))),
            Fault::SlowReceives => {
                self.store.set_receive_delay(Duration::from_millis(self.random.u64(1..50)));
            }
            Fault::Partition => self.nodes[node].gate.close(true, true),
            Fault::PartitionSends => self.nodes[node].gate.close(true, false),
            Fault::PartitionReceives => self.nodes[node].gate.close(false, true),
            Fault::Crash | Fault::Leave if self.living().len() < 2 => {}
            Fault::Crash => {
                self.nodes[node].alive = false;
                self.nodes[node].bus.close(Duration::ZERO).await;
            }
            Fault::Leave => {
                self.nodes[node].alive = false;
                self.nodes[node].cluster.close(Duration::from_secs(1)).await;
                self.nodes[node].bus.close(Duration::from_secs(1)).await;
            }
            Fault::Rejoin => self.nodes[node].rejoin().await,
            Fault::Start if self.nodes.len() >= MAX_NODES => {}
            Fault::Start => self.start(),
        }
        self.ends.push((until, node, fault));
    }

    fn end_faults(&mut self, all: bool) {
        let now = Instant::now();
        let due: Vec<_> = self.ends.extract_if(.., |(until, ..)| all || *until <= now).collect();
        for (_, node, fault) in due {
            match fault {
                Fault::Outage | Fault::StreamOutage => self.store.restore(self.store.streams()),
                Fault::Blocked => self.store.block_sends(false),
                Fault::SlowSends => self.store.set_send_delay(Duration::ZERO),
                Fault::SlowReceives => self.store.set_receive_delay(Duration::ZERO),
                Fault::Partition | Fault::PartitionSends | Fault::PartitionReceives => {
                    self.nodes[node].gate.close(false, false);
                }
                _ => continue,
            }
            self.note(&format!("end of {fault:?} of node {node}"));
        }
        if all {
            for stream in self.store.streams() {
                self.store.clear_send_faults(stream);
            }
        }
    }

    fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].alive).collect()
    }

    fn some_node(&mut self) -> usize {
        let living = self.living();
        living[self.random.usize(..living.len())]
    }

    fn some_target(&mut self) -> Target {
        match self.random.u8(..3) {
            0 => Target::All,
            1 => Target::Others,
            _ => Target::Node(self.nodes[self.random.usize(..self.nodes.len())].bus.node()),
        }
    }

    fn violate(&mut self, problem: String) {
        self.note(&format!("VIOLATION: {problem}"));
        self.run.violations.push(problem);
    }

    fn note(&mut self, line: &str) {
        let at = self.began.elapsed().as_secs_f64();
        self.run.trace.push(format!("{at:8.3} {line}"));
    }
}
