//! Seeded runs of several nodes on one log, with faults, judged all along and at the end.
//!
//! `SCALEOUT_TEST_SEEDS` sets how many seeds are run, `SCALEOUT_TEST_SEED` the only one, with its trace.

use std::collections::{HashMap, HashSet, VecDeque};

use fastrand::Rng;

use super::*;

const SEEDS: u64 = 1_000;

/// Intervals and leases; in a run all nodes have the same, or each its own.
const SETTINGS: [(Duration, Duration); 3] = [
    (Duration::from_secs(3), Duration::from_secs(10)),
    (Duration::from_secs(1), Duration::from_secs(5)),
    (Duration::from_secs(8), Duration::from_secs(25)),
];
/// What a clock is fast or slow at most.
const DRIFT: f64 = 0.05;
/// What a bus gives up waits to be sent for.
const QUEUE_AGE: Duration = Duration::from_secs(30);
/// The longest step of a run, and what reading and sending take at most where nothing is slow.
const STEP: Duration = Duration::from_millis(400);

/// What is wrong with a node, or with all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A node neither reads nor sends.
    Cut,
    /// A node does not read.
    CutReads,
    /// What a node sends waits.
    CutSends,
    /// A node does nothing at all, while its clock goes on.
    Freeze,
    /// A node reads late.
    SlowReads,
    /// A node sends late.
    SlowSends,
    /// Nobody reads or sends.
    Outage,
    /// As an outage, of the stream of the cluster only; on another one nodes still hear each other.
    StreamOutage,
    /// What comes to a node is lost.
    Lose,
    /// A node ends; what it has not sent is never sent.
    Crash,
    /// A node says goodbye.
    Leave,
    /// A node says goodbye, and joins again on the same bus.
    Rejoin,
    /// One more node.
    Start,
}

const FAULTS: [Fault; 13] = [
    Fault::Cut,
    Fault::CutReads,
    Fault::CutSends,
    Fault::Freeze,
    Fault::SlowReads,
    Fault::SlowSends,
    Fault::Outage,
    Fault::StreamOutage,
    Fault::Lose,
    Fault::Crash,
    Fault::Leave,
    Fault::Rejoin,
    Fault::Start,
];

#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = number("SCALEOUT_TEST_SEED") {
        let run = World::run(seed, true);
        run.trace.iter().for_each(|line| println!("{line}"));
        assert!(run.violations.is_empty(), "{:#?}", run.violations);
        return;
    }
    let seeds = number("SCALEOUT_TEST_SEEDS").unwrap_or(SEEDS);
    let (mut bad, mut own_expiries, mut expelled) = (Vec::new(), 0, 0);
    for seed in 0..seeds {
        let run = World::run(seed, false);
        own_expiries += run.expiries;
        expelled += run.lives_lost;
        if let Some(first) = run.violations.first() {
            println!("seed {seed}: {first}");
            println!(
                "    SCALEOUT_TEST_SEED={seed} cargo test -p scaleout-cluster --lib membership::simulation -- --nocapture"
            );
            bad.push(seed);
        }
    }
    assert!(bad.is_empty(), "{} of {seeds} seeds failed: {:?}", bad.len(), &bad[..bad.len().min(50)]);
    // Runs in which nobody is given up would show nothing.
    assert!(seeds < 100 || own_expiries > seeds / 2 && expelled > seeds / 10, "{own_expiries} {expelled}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

struct World {
    random: Rng,
    time: Duration,
    /// What everybody reads in one order, and when it came.
    log: Vec<(Duration, NodeId, Vec<u8>)>,
    /// Frames on another stream: signs of life, and no more.
    chatter: Vec<(Duration, NodeId)>,
    nodes: Vec<Node>,
    outage: Outage,
    /// When all should be back after one.
    steady_at: Duration,
    ends: Vec<(Duration, usize, Fault)>,
    enabled: Vec<Fault>,
    chatters: bool,
    settings: Option<(Duration, Duration)>,
    tells: bool,
    trace: Vec<String>,
    violations: Vec<String>,
    expiries: u64,
    lives_lost: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    No,
    Channel,
    All,
}

struct Node {
    id: NodeId,
    machine: Membership,
    interval: Duration,
    lease: Duration,
    /// Its clock: what it showed when it started, and how fast it goes.
    offset: Duration,
    rate: f64,
    born: Duration,
    read: usize,
    chatter_read: usize,
    heard: HashMap<NodeId, Duration>,
    unsent: VecDeque<(Duration, Vec<u8>)>,
    fault: Option<Fault>,
    slow: Duration,
    /// When it is back after an outage.
    back_at: Duration,
    lives: Life,
    /// Since when nothing is wrong with it.
    well_since: Duration,
    lost_at: Option<Duration>,
    view: View,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// It has said goodbye, which may still wait to be sent.
    Leaving,
    Dead,
}

/// What a node's effects have shown.
#[derive(Default)]
struct View {
    members: BTreeMap<NodeId, u64>,
    /// The greatest incarnation shown of each.
    greatest: HashMap<NodeId, u64>,
    goodbyes: HashSet<(NodeId, u64)>,
}

impl World {
    fn run(seed: u64, tells: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        let share = [0.2, 0.5, 1.0][random.usize(..3)];
        let enabled = FAULTS.into_iter().filter(|_| random.f64() < share).collect();
        let mut world = Self {
            time: Duration::ZERO,
            log: Vec::new(),
            chatter: Vec::new(),
            nodes: Vec::new(),
            outage: Outage::No,
            steady_at: Duration::ZERO,
            ends: Vec::new(),
            enabled,
            chatters: random.bool(),
            settings: (random.u8(..4) > 0).then(|| SETTINGS[random.usize(..3)]),
            tells,
            trace: Vec::new(),
            violations: Vec::new(),
            expiries: 0,
            lives_lost: 0,
            random,
        };
        for _ in 0..world.random.usize(2..=6) {
            world.start();
        }
        let (length, rate) = (world.random.u64(20..120), world.random.f64() * 0.2);
        while world.time < Duration::from_secs(length) {
            if world.random.f64() < rate {
                world.strike();
            }
            world.step();
        }
        world.settle();
        world
    }

    /// Ends all faults, and waits until everybody should know everybody.
    fn settle(&mut self) {
        self.note(|_| "all faults end".into());
        for (_, node, fault) in std::mem::take(&mut self.ends) {
            self.end(node, fault);
        }
        let turns = self.nodes.len().ilog2() + 1;
        // Who hears itself again begins all leases anew; the ghosts that only some know come back in turns.
        let (interval, lease) = (self.longest(|node| node.interval), self.longest(|node| node.lease));
        let bound = lease + interval * (3 + turns) + 8 * STEP;
        self.pass(bound.mul_f64(1.0 + DRIFT));
        let living = self.living();
        let expected: BTreeMap<_, _> =
            living.iter().map(|&node| (self.nodes[node].id, self.nodes[node].machine.incarnation)).collect();
        self.check_views(&expected, "after the faults");
        let settled = self.log.len();
        self.pass(lease * 2);
        self.check_views(&expected, "a while after the faults");
        let other = self.log[settled..].iter().find(|(_, _, bytes)| bytes[1] != 0);
        if let Some((at, from, bytes)) = other {
            let problem =
                format!("{at:?}: {} says {} though all is well", self.name(*from), self.tell(bytes));
            self.violate(problem);
        }
    }

    fn check_views(&mut self, expected: &BTreeMap<NodeId, u64>, when: &str) {
        for node in self.living() {
            let machine = &self.nodes[node].machine;
            let view: BTreeMap<_, _> =
                machine.members.iter().map(|(id, entry)| (*id, entry.member.incarnation())).collect();
            if view != *expected {
                let (view, expected) = (self.names(&view), self.names(expected));
                self.violate(format!("{when}, node {node} sees {view:?}, and {expected:?} live"));
            } else if view != self.nodes[node].view.members {
                self.violate(format!("{when}, node {node} has told other members than it has"));
            } else if !machine.is_ready() {
                self.violate(format!("{when}, node {node} is not ready"));
            }
        }
    }

    fn start(&mut self) {
        let id = NodeId(self.random.u128(1..));
        let incarnation = self.random.u64(1..1000);
        let offset = Duration::from_millis(self.random.u64(..1_000_000));
        let rate = 1.0 + DRIFT * (2.0 * self.random.f64() - 1.0);
        let (interval, lease) = self.settings.unwrap_or_else(|| SETTINGS[self.random.usize(..3)]);
        self.note(|world| format!("node {} starts as {incarnation}, {lease:?}", world.nodes.len()));
        self.nodes.push(Node {
            id,
            machine: machine(id, incarnation, interval, lease, offset),
            interval,
            lease,
            offset,
            rate,
            born: self.time,
            read: self.log.len(),
            chatter_read: self.chatter.len(),
            heard: HashMap::new(),
            unsent: VecDeque::new(),
            fault: None,
            slow: Duration::ZERO,
            back_at: Duration::ZERO,
            lives: Life::Running,
            well_since: self.time,
            lost_at: None,
            view: View::default(),
        });
    }

    fn pass(&mut self, time: Duration) {
        let until = self.time + time;
        while self.time < until {
            self.step();
        }
    }

    fn step(&mut self) {
        self.time += Duration::from_millis(self.random.u64(20..=STEP.as_millis() as u64));
        let due: Vec<_> = {
            let time = self.time;
            self.ends.extract_if(.., |(at, ..)| *at <= time).collect()
        };
        for (_, node, fault) in due {
            self.end(node, fault);
        }
        let (count, first) = (self.nodes.len(), self.random.usize(..self.nodes.len()));
        for node in (0..count).map(|node| (node + first) % count) {
            if self.nodes[node].lives != Life::Dead && self.nodes[node].fault != Some(Fault::Freeze) {
                self.step_node(node);
            }
        }
    }

    fn step_node(&mut self, index: usize) {
        self.send(index);
        if self.nodes[index].lives == Life::Leaving {
            if self.nodes[index].unsent.is_empty() {
                self.nodes[index].lives = Life::Dead;
            }
            return;
        }
        // After a pause either task may be the first to run.
        let ticks_first = self.random.bool();
        if ticks_first {
            self.tick(index);
        }
        self.read(index);
        if !ticks_first {
            self.tick(index);
        }
    }

    fn send(&mut self, index: usize) {
        let (time, node) = (self.time, &mut self.nodes[index]);
        let local = time;
        node.unsent.retain(|(at, _)| local.saturating_sub(*at) <= QUEUE_AGE);
        if matches!(node.fault, Some(Fault::Cut | Fault::CutSends))
            || self.outage == Outage::All
            || time < node.back_at
        {
            return;
        }
        let slow = if node.fault == Some(Fault::SlowSends) { node.slow } else { Duration::ZERO };
        if self.chatters && index == 0 && node.lives == Life::Running {
            self.chatter.push((time, node.id));
        }
        if self.outage == Outage::Channel {
            return;
        }
        while node.unsent.front().is_some_and(|(at, _)| *at + slow <= time) {
            let Some((_, bytes)) = node.unsent.pop_front() else { break };
            self.log.push((time, node.id, bytes));
        }
    }

    fn read(&mut self, index: usize) {
        let (time, node) = (self.time, &mut self.nodes[index]);
        if matches!(node.fault, Some(Fault::Cut | Fault::CutReads))
            || self.outage == Outage::All
            || time < node.back_at
        {
            return;
        }
        let slow = if node.fault == Some(Fault::SlowReads) { node.slow } else { Duration::ZERO };
        let now = node.now(time);
        while let Some((at, from)) = self.chatter.get(node.chatter_read)
            && *at + slow <= time
        {
            node.chatter_read += 1;
            node.heard.insert(*from, now);
        }
        while self.outage == Outage::No
            && let Some((at, from, bytes)) = self.log.get(self.nodes[index].read)
            && *at + slow <= time
        {
            let (from, node) = (*from, &mut self.nodes[index]);
            let message = message(bytes);
            node.read += 1;
            if node.fault == Some(Fault::Lose) {
                node.lost_at = Some(time);
                continue;
            }
            if let Wire::Goodbye { incarnation } = &message {
                node.view.goodbyes.insert((from, *incarnation));
            }
            node.heard.insert(from, now);
            node.machine.receive(now, from, message);
            self.settle_effects(index, false);
        }
    }

    fn tick(&mut self, index: usize) {
        let time = self.time;
        let node = &mut self.nodes[index];
        let now = node.now(time);
        let heard = &node.heard;
        node.machine.tick(now, 0, |node| heard.get(&node).map(|at| now - *at));
        self.settle_effects(index, true);
    }

    fn settle_effects(&mut self, index: usize, in_tick: bool) {
        let (time, me) = (self.time, self.nodes[index].id);
        for effect in self.nodes[index].machine.take_effects() {
            match effect {
                Effect::Send(bytes) => {
                    self.note(|world| format!("node {index} says {}", world.tell(&bytes)));
                    self.nodes[index].unsent.push_back((time, bytes));
                }
                Effect::Joined { node, .. } => {
                    let incarnation = self.nodes[index].machine.members[&node].member.incarnation();
                    self.note(|world| format!("node {index} takes in {} as {incarnation}", world.name(node)));
                    if let Some(problem) = self.nodes[index].view.joined(node, incarnation) {
                        self.violate(format!("node {index} takes in {}: {problem}", self.name(node)));
                    }
                }
                Effect::Gone(node, how) => {
                    self.note(|world| format!("node {index} gives up {}: {how:?}", world.name(node)));
                    if !self.nodes[index].view.went(node) {
                        self.violate(format!("node {index} gives up {}, who was not there", self.name(node)));
                    }
                    self.lives_lost += u64::from(node == me);
                    if in_tick {
                        self.expiries += 1;
                        self.check_expiry(index, node);
                    }
                }
                Effect::PresenceVersion { .. } | Effect::PresenceUnknown(_) => {}
            }
        }
    }

    /// Nobody may notice the silence of a node that was not silent.
    fn check_expiry(&mut self, observer: usize, gone: NodeId) {
        let Some(other) = self.nodes.iter().find(|node| node.id == gone) else { return };
        // One that reads late knows no better.
        let late = Some(&self.nodes[observer]).filter(|node| node.fault == Some(Fault::SlowReads));
        let late = late.map_or(Duration::ZERO, |node| node.slow);
        let recently = other.lease.mul_f64(2.0 + DRIFT);
        let lost = |node: &Node| node.lost_at.is_some_and(|at| self.time - at < recently);
        // An outage is no reason either.
        let is_well = other.lives == Life::Running
            && other.fault.is_none_or(|fault| matches!(fault, Fault::SlowReads | Fault::CutReads))
            && self.time - other.well_since >= other.lease + late;
        if is_well && !lost(&self.nodes[observer]) {
            let (name, since) = (self.name(gone), other.well_since);
            self.violate(format!("node {observer} gives up {name}, who has been well since {since:?}"));
        }
    }

    fn strike(&mut self) {
        let Some(&fault) = self.random.choice(&self.enabled) else { return };
        let running: Vec<_> =
            self.living().into_iter().filter(|node| self.nodes[*node].fault.is_none()).collect();
        let Some(&index) = self.random.choice(&running) else { return };
        let longest = [2_000, 8_000, 40_000][self.random.usize(..3)];
        let until = self.time + Duration::from_millis(self.random.u64(100..longest));
        match fault {
            Fault::Outage | Fault::StreamOutage => {
                // With one after the other, some may never be back in between.
                if self.outage != Outage::No || self.time < self.steady_at {
                    return;
                }
                self.outage = if fault == Fault::Outage { Outage::All } else { Outage::Channel };
            }
            Fault::Start if self.nodes.len() >= 12 => return,
            Fault::Start => return self.start(),
            // Somebody stays.
            Fault::Crash | Fault::Leave if self.living().len() < 2 => return,
            Fault::Crash => {
                self.nodes[index].lives = Life::Dead;
                return self.note(|_| format!("node {index} dies"));
            }
            Fault::Leave | Fault::Rejoin => {
                self.note(|_| format!("node {index}: {fault:?}"));
                let time = self.time;
                let node = &mut self.nodes[index];
                let incarnation = node.machine.incarnation;
                node.unsent.push_back((time, wire::goodbye(incarnation)));
                node.lives = Life::Leaving;
                if fault == Fault::Rejoin {
                    node.lives = Life::Running;
                    node.machine =
                        machine(node.id, incarnation + 1, node.interval, node.lease, node.now(time));
                    node.view = View::default();
                    node.read = self.log.len();
                    node.well_since = time;
                }
                return;
            }
            _ => {
                let slow = Duration::from_millis(self.random.u64(..15_000));
                let node = &mut self.nodes[index];
                (node.fault, node.slow) = (Some(fault), slow);
            }
        }
        self.note(|_| format!("node {index}: {fault:?} until {until:?}"));
        self.ends.push((until, index, fault));
    }

    fn end(&mut self, index: usize, fault: Fault) {
        let time = self.time;
        self.note(|_| format!("node {index}: end of {fault:?}"));
        match fault {
            Fault::Outage | Fault::StreamOutage => {
                self.outage = Outage::No;
                self.steady_at = time + self.longest(|node| node.lease) / 2;
                for node in &mut self.nodes {
                    node.back_at = time
                        + Duration::from_millis(self.random.u64(..1 + node.lease.as_millis() as u64 / 5));
                }
            }
            _ => {
                let loses = matches!(fault, Fault::Cut | Fault::CutReads | Fault::Freeze)
                    && self.enabled.contains(&Fault::Lose)
                    && self.random.bool();
                let lost = self.random.usize(..=self.log.len() - self.nodes[index].read);
                let node = &mut self.nodes[index];
                node.fault = None;
                node.well_since = time;
                if loses {
                    (node.lost_at, node.read) = (Some(time), node.read + lost);
                    self.note(|_| format!("node {index} misses {lost} messages"));
                }
            }
        }
    }

    fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].lives == Life::Running).collect()
    }

    fn longest(&self, of: impl Fn(&Node) -> Duration) -> Duration {
        self.nodes.iter().map(of).max().unwrap_or_default()
    }

    fn violate(&mut self, problem: String) {
        self.note(|_| format!("VIOLATION: {problem}"));
        self.violations.push(format!("{:?}: {problem}", self.time));
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.tells {
            let line = format!("{:8.3} {}", self.time.as_secs_f64(), line(self));
            self.trace.push(line);
        }
    }

    fn name(&self, id: NodeId) -> String {
        self.nodes
            .iter()
            .position(|node| node.id == id)
            .map_or("nobody".into(), |node| format!("node {node}"))
    }

    fn names(&self, view: &BTreeMap<NodeId, u64>) -> Vec<(String, u64)> {
        let mut names: Vec<_> = view.iter().map(|(id, life)| (self.name(*id), *life)).collect();
        names.sort();
        names
    }

    fn tell(&self, bytes: &[u8]) -> String {
        match message(bytes) {
            Wire::Heartbeat { state, hello } => format!("heartbeat {}, hello {hello}", state.incarnation),
            Wire::Goodbye { incarnation } => format!("goodbye {incarnation}"),
            Wire::Expulsion { node, incarnation } => {
                format!("expulsion of {} {incarnation}", self.name(node))
            }
            Wire::Members(list) => {
                let list = list.into_iter().map(|(node, state)| (node, state.incarnation)).collect();
                format!("members {:?}", self.names(&list))
            }
            other => format!("{other:?}"),
        }
    }
}

impl Node {
    fn now(&self, time: Duration) -> Duration {
        self.offset + (time - self.born).mul_f64(self.rate)
    }
}

impl View {
    fn joined(&mut self, node: NodeId, incarnation: u64) -> Option<String> {
        if let Some(known) = self.members.insert(node, incarnation) {
            return Some(format!("it was there as {known}"));
        }
        let greatest = self.greatest.entry(node).or_default();
        if *greatest >= incarnation {
            return Some(format!("life {incarnation} after life {greatest}"));
        }
        *greatest = incarnation;
        self.goodbyes.contains(&(node, incarnation)).then(|| "it had said goodbye".into())
    }

    fn went(&mut self, node: NodeId) -> bool {
        self.members.remove(&node).is_some()
    }
}

fn machine(id: NodeId, incarnation: u64, interval: Duration, lease: Duration, now: Duration) -> Membership {
    let about = About {
        started_at_micros: 0,
        lease,
        label: String::new(),
        role: String::new(),
        version: String::new(),
    };
    let mut machine = Membership::new(id, incarnation, about, interval, Duration::from_millis(500));
    machine.last_tick = now;
    machine
}

fn message(bytes: &[u8]) -> Wire {
    wire::read(bytes.to_vec().into()).expect("what a machine sends can be read")
}
