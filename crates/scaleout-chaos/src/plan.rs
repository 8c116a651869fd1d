//! What a seed decides: settings, and which fault strikes when.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use fastrand::Rng;

/// A store, and what stands in for it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// A real redis-server.
    Redis,
    /// The test server of SQL Server, which does in memory what the stored procedures do.
    Sqlserver,
    /// The emulator of Azure Service Bus.
    Servicebus,
}

/// All that one run does, but for time.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) persistence: Persistence,
    /// Bytes of the rings of all nodes.
    pub(crate) ring_bytes: usize,
    /// Messages a second of each node.
    pub(crate) rate: u32,
    pub(crate) steps: Vec<Step>,
}

/// What a Redis server keeps over its death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// An append-only file, written through by every command.
    Always,
    /// An append-only file, written through every second.
    EverySecond,
    /// Snapshots.
    Snapshots,
    /// Nothing.
    Nothing,
}

/// A fault, and whether the run waits until all clients get something new before the next one.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) fault: Fault,
    pub(crate) settles: bool,
}

/// What strikes. Nodes are slots that a killed node's successor takes over; times are how long it lasts.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Store(StoreFault),
    /// The store is away, and a node is killed meanwhile.
    KillInOutage {
        node: usize,
    },
    KillNode {
        node: usize,
    },
    FreezeNode {
        node: usize,
        lasts: Duration,
    },
    Cut {
        node: usize,
    },
    Refuse {
        node: usize,
        lasts: Duration,
    },
    HalfOpen {
        node: usize,
        lasts: Duration,
    },
    Delay {
        node: usize,
        delay: Duration,
        lasts: Duration,
    },
    HoldNode {
        node: usize,
        lasts: Duration,
    },
    SlowReader {
        client: usize,
        lasts: Duration,
    },
    LoseAnswer {
        node: usize,
    },
    LoseSend {
        node: usize,
    },
    DelaySend {
        node: usize,
    },
    Release {
        node: usize,
    },
    Hop {
        client: usize,
        to: usize,
    },
}

/// What befalls the store itself.
#[derive(Debug, Clone)]
pub(crate) enum StoreFault {
    /// Ends as it should (SIGTERM), and starts.
    Restart,
    /// SIGKILL, and starts at once.
    Kill,
    /// SIGKILL, and starts when all nodes have noticed.
    Outage,
    /// SIGSTOP until all nodes have noticed, SIGCONT.
    Freeze,
    /// SIGSTOP for some time, SIGCONT.
    Stutter {
        lasts: Duration,
    },
    /// FLUSHALL, or what is like it.
    Flush,
    /// Starts without what it had.
    Empty,
    /// Starts without the last frames of each stream, as after a failover.
    Forget {
        frames: usize,
    },
    /// All but the last entries of each stream are removed.
    Trim {
        keep: usize,
    },
    /// CLIENT KILL.
    KillClients,
    /// A node does not read, and the server's output buffers are small.
    SmallBuffers {
        node: usize,
        lasts: Duration,
    },
    Deadlocks {
        count: usize,
    },
    Throttle {
        count: usize,
    },
    Latency {
        latency: Duration,
    },
    Broker {
        on: bool,
    },
    EndConversations,
    Detach,
    LoseOutcomes {
        count: usize,
    },
    LoseSends {
        count: usize,
    },
    HoldSends {
        count: usize,
    },
    ReleaseSends,
    CutDeliveries {
        count: usize,
    },
    DuplicateDeliveries {
        count: usize,
    },
    ExpireTokens,
    DeleteTopic {
        topic: u16,
    },
}

impl Plan {
    /// The same for a seed, every time.
    pub(crate) fn new(provider: Provider, seed: u64, nodes: usize, clients: usize, steps: usize) -> Self {
        let mut random = Rng::with_seed(seed);
        let persistence = match random.u8(..10) {
            0..=4 => Persistence::Always,
            5 | 6 => Persistence::EverySecond,
            7 => Persistence::Snapshots,
            _ => Persistence::Nothing,
        };
        let ring_bytes = if random.u8(..4) == 0 { 64 << 10 } else { 64 << 20 };
        let rate = match provider {
            Provider::Redis => 100,
            Provider::Sqlserver => 60,
            Provider::Servicebus => 40,
        };
        let step = |random: &mut Rng| Step {
            fault: fault(provider, persistence, nodes, clients, random),
            settles: random.u8(..3) > 0,
        };
        let steps = (0..steps).map(|_| step(&mut random)).collect();
        Self { seed, persistence, ring_bytes, rate, steps }
    }

    /// Whether the store may lose something that it had confirmed, by itself or because it is made to.
    pub(crate) fn may_forget(&self) -> bool {
        self.steps.iter().any(|step| match &step.fault {
            Fault::Store(fault) => match fault {
                StoreFault::Flush
                | StoreFault::Empty
                | StoreFault::Forget { .. }
                | StoreFault::Trim { .. }
                | StoreFault::DeleteTopic { .. } => true,
                StoreFault::Restart | StoreFault::Kill | StoreFault::Outage => {
                    self.persistence != Persistence::Always
                }
                _ => false,
            },
            Fault::KillInOutage { .. } => self.persistence != Persistence::Always,
            _ => false,
        })
    }
}

fn fault(
    provider: Provider,
    persistence: Persistence,
    nodes: usize,
    clients: usize,
    random: &mut Rng,
) -> Fault {
    let node = random.usize(..nodes);
    let client = random.usize(..clients);
    let lasts = Duration::from_millis(random.u64(100..900));
    match random.u8(..30) {
        0..=11 => Fault::Store(match provider {
            Provider::Redis => of_redis(persistence, node, random),
            Provider::Sqlserver => of_sqlserver(random),
            Provider::Servicebus => of_servicebus(random),
        }),
        12 => Fault::KillInOutage { node },
        13 | 14 => Fault::KillNode { node },
        15 | 16 => Fault::FreezeNode { node, lasts: 3 * lasts },
        17 => Fault::Cut { node },
        18 => Fault::Refuse { node, lasts },
        19 => Fault::HalfOpen { node, lasts: 3 * lasts },
        20 => Fault::Delay { node, delay: Duration::from_millis(random.u64(5..60)), lasts },
        21 => Fault::HoldNode { node, lasts },
        22 => Fault::SlowReader { client, lasts },
        23 | 24 => Fault::LoseAnswer { node },
        25 => Fault::LoseSend { node },
        26 => Fault::DelaySend { node },
        27 => Fault::Release { node },
        _ => Fault::Hop { client, to: random.usize(..nodes) },
    }
}

fn of_redis(persistence: Persistence, node: usize, random: &mut Rng) -> StoreFault {
    match random.u8(..12) {
        0 => StoreFault::Restart,
        1 => StoreFault::Kill,
        2 => StoreFault::Outage,
        3 => StoreFault::Freeze,
        4 => StoreFault::Stutter { lasts: Duration::from_millis(random.u64(50..900)) },
        5 => StoreFault::Flush,
        6 => StoreFault::Empty,
        // What is forgotten is cut from the append-only file.
        7 | 8 if persistence == Persistence::Always => StoreFault::Forget { frames: random.usize(1..30) },
        7 | 8 => StoreFault::Kill,
        9 => StoreFault::Trim { keep: random.usize(..20) },
        10 => StoreFault::KillClients,
        _ => StoreFault::SmallBuffers { node, lasts: Duration::from_millis(random.u64(200..900)) },
    }
}

fn of_sqlserver(random: &mut Rng) -> StoreFault {
    match random.u8(..13) {
        0 => StoreFault::Restart,
        1 => StoreFault::Outage,
        2 | 3 => StoreFault::Forget { frames: random.usize(..30) },
        4 => StoreFault::Flush,
        5 => StoreFault::KillClients,
        6 => StoreFault::Freeze,
        7 => StoreFault::Trim { keep: random.usize(..20) },
        8 => StoreFault::Deadlocks { count: random.usize(1..20) },
        9 => StoreFault::Throttle { count: random.usize(1..20) },
        10 => StoreFault::Latency { latency: Duration::from_millis(random.u64(1..30)) },
        11 => StoreFault::Broker { on: random.bool() },
        _ => StoreFault::EndConversations,
    }
}

fn of_servicebus(random: &mut Rng) -> StoreFault {
    let count = random.usize(1..4);
    match random.u8(..15) {
        0 => StoreFault::KillClients,
        1 => StoreFault::Outage,
        // Only the connections that there are: some nodes are back before others notice.
        2 => StoreFault::Stutter { lasts: Duration::from_millis(random.u64(500..3000)) },
        3 => StoreFault::Detach,
        4 => StoreFault::Throttle { count },
        5 => StoreFault::Latency { latency: Duration::from_millis(random.u64(1..30)) },
        6 | 7 => StoreFault::LoseOutcomes { count },
        8 => StoreFault::LoseSends { count },
        9 => StoreFault::HoldSends { count },
        10 => StoreFault::ReleaseSends,
        11 => StoreFault::CutDeliveries { count },
        12 => StoreFault::DuplicateDeliveries { count },
        13 => StoreFault::ExpireTokens,
        _ => StoreFault::DeleteTopic { topic: random.u16(..super::store::STREAMS) },
    }
}

impl Fault {
    /// Its name in tables.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.kind(),
            Self::KillInOutage { .. } => "node killed while the store is away",
            Self::KillNode { .. } => "node killed (SIGKILL)",
            Self::FreezeNode { .. } => "node frozen (SIGSTOP)",
            Self::Cut { .. } => "connections of a node cut",
            Self::Refuse { .. } => "connections of a node refused",
            Self::HalfOpen { .. } => "connections of a node half open",
            Self::Delay { .. } => "connections of a node delayed",
            Self::HoldNode { .. } => "reception of a node held back",
            Self::SlowReader { .. } => "client that does not read",
            Self::LoseAnswer { .. } => "cut right after a write",
            Self::LoseSend { .. } => "cut right before a write",
            Self::DelaySend { .. } => "write held back",
            Self::Release { .. } => "write let go late",
            Self::Hop { .. } => "client moves to another node",
        }
    }
}

impl StoreFault {
    fn kind(&self) -> &'static str {
        match self {
            Self::Restart => "store restarted (SIGTERM)",
            Self::Kill => "store killed (SIGKILL)",
            Self::Outage => "store away until noticed",
            Self::Freeze => "store frozen until noticed",
            Self::Stutter { .. } => "store frozen for a moment",
            Self::Flush => "store flushed",
            Self::Empty => "store restarted empty",
            Self::Forget { .. } => "store forgets its last frames",
            Self::Trim { .. } => "store trimmed",
            Self::KillClients => "all connections ended by the store",
            Self::SmallBuffers { .. } => "slow node, small output buffers",
            Self::Deadlocks { .. } => "deadlocks",
            Self::Throttle { .. } => "throttling",
            Self::Latency { .. } => "slow store",
            Self::Broker { .. } => "broker switched",
            Self::EndConversations => "conversations ended",
            Self::Detach => "links detached",
            Self::LoseOutcomes { .. } => "outcomes lost",
            Self::LoseSends { .. } => "sends lost",
            Self::HoldSends { .. } => "sends held back",
            Self::ReleaseSends => "sends let go late",
            Self::CutDeliveries { .. } => "deliveries cut",
            Self::DuplicateDeliveries { .. } => "deliveries doubled",
            Self::ExpireTokens => "tokens expired",
            Self::DeleteTopic { .. } => "topic deleted",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(fault) => write!(f, "{}: {fault:?}", fault.kind()),
            _ => write!(f, "{}: {self:?}", self.kind()),
        }
    }
}
