//! What a seed decides before a run begins.

use std::{num::NonZeroU16, time::Duration};

use fastrand::Rng;

use scaleout_core::{
    BusConfig, Capabilities, Epoch, Interest, MemoryConfig, NodeId, Overflow, QueuePolicy, Role, StreamIndex,
    stream_of,
};

use super::faults::Fault;

/// A run, decided by its seed.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) random: Rng,
    pub(super) store: MemoryConfig,
    pub(super) nodes: Vec<BusConfig>,
    /// Settings of nodes that join later.
    pub(super) late_nodes: Vec<BusConfig>,
    pub(super) clients: usize,
    /// Pairs of a client that stays and one that hops.
    pub(super) twins: usize,
    pub(super) channels: Vec<String>,
    /// One channel per stream, of messages that end the run.
    pub(super) markers: Vec<String>,
    /// One channel per stream that nobody listens to.
    pub(super) quiet: Vec<String>,
    pub(super) steps: usize,
    /// The faults that may strike; none: a run without faults.
    pub(super) faults: Vec<Fault>,
    /// Faults per hundred steps.
    pub(super) fault_rate: u32,
    /// Whether clients go to other nodes once more after a long quiet.
    pub(super) moves_on: bool,
    /// What it takes to open a stream on demand.
    pub(super) opening: Duration,
    /// Longest pause between steps.
    pub(super) pause: Duration,
}

/// How long a node keeps a stream at most that nobody reads.
pub(super) const MAX_LINGER: Duration = Duration::from_secs(2);

/// Bytes of the largest payload that the store takes.
pub(super) const MAX_PAYLOAD: usize = 4096;

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let streams = NonZeroU16::new(random.u16(1..=3)).unwrap_or(NonZeroU16::MIN);
        let rare = |random: &mut Rng| random.u8(..5) == 0;
        let capabilities = Capabilities::default()
            .with_max_payload_bytes(MAX_PAYLOAD)
            .with_replay(!rare(&mut random))
            .with_dense_ids(!rare(&mut random))
            .with_asks_held(!rare(&mut random));
        let mut store = MemoryConfig::default()
            .with_first_epoch(Epoch(1))
            .with_streams(streams)
            .with_capabilities(capabilities)
            .with_keep_log(true);
        if rare(&mut random) {
            store = store.with_retained_payloads(random.usize(3..30));
        }
        let faultless = random.u8(..10) == 0;
        let faults: Vec<Fault> = if faultless {
            Vec::new()
        } else {
            // A run in which everything happens hides what a few faults do together.
            let share = random.u8(1..=10);
            let mut faults: Vec<_> = Fault::ALL.iter().copied().filter(|_| random.u8(..10) < share).collect();
            if faults.is_empty() {
                faults.push(Fault::ALL[random.usize(..Fault::ALL.len())]);
            }
            faults
        };
        // Drawn apart, so that a seed means the same otherwise.
        let mut apart = Rng::with_seed(!seed);
        // How many of four nodes receive on demand.
        let on_demand = if capabilities.replay { [0, 0, 1, 4][apart.usize(..4)] } else { 0 };
        let moves_on = apart.bool();
        let opening = Duration::from_millis([0, 5, 100, 1_000][apart.usize(..4)]);
        let mut config = |at: usize| {
            let mut config = if faultless { BusConfig::default() } else { node_config(&mut random, at) };
            if apart.u8(..4) < on_demand {
                let linger = [Duration::ZERO, Duration::from_millis(100), MAX_LINGER][apart.usize(..3)];
                config = config.with_interest(Interest::OnDemand).with_interest_linger(linger);
            }
            config
        };
        let nodes: Vec<_> = (0..4).map(&mut config).collect();
        let late_nodes = (4..6).map(&mut config).collect();
        let count = random.usize(2..=4);
        let one_per_stream =
            |name| (0..streams.get()).map(|stream| channel_on(name, StreamIndex(stream), streams)).collect();
        Self {
            seed,
            store,
            nodes: nodes.into_iter().take(count).collect(),
            late_nodes,
            clients: random.usize(1..=3),
            twins: random.usize(..=2),
            channels: (0..random.usize(1..=6)).map(|n| format!("c{n}")).collect(),
            markers: one_per_stream("marker"),
            quiet: one_per_stream("quiet"),
            steps: random.usize(15..60),
            faults,
            fault_rate: random.u32(5..40),
            moves_on,
            opening,
            pause: Duration::from_millis([1, 20, 200, 800][random.usize(..4)]),
            random,
        }
    }

    pub(super) fn is_faultless(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The id of the node that is started as the `at`th of a run.
pub(super) fn node_id(seed: u64, at: usize) -> NodeId {
    NodeId((u128::from(seed) << 64) | (at as u128 + 1))
}

fn node_config(random: &mut Rng, at: usize) -> BusConfig {
    let mut one_in = |n: u32| random.u32(..n) == 0;
    let mut config = BusConfig::default()
        .with_max_tail_age(Duration::from_secs(300))
        .with_send_timeout(Duration::from_secs(2))
        .with_max_backoff(Duration::from_secs(1));
    if one_in(3) {
        config = config.with_max_ring_bytes(if one_in(2) { 4 << 10 } else { 12 << 10 });
    }
    if one_in(8) {
        config = config.with_max_ring_age(Duration::from_secs(3));
    }
    if one_in(4) {
        config = config.with_max_queue_messages(5);
    }
    if one_in(8) {
        config = config.with_max_queue_bytes(2 << 10);
    }
    if one_in(3) {
        config = config.with_max_queue_age(Duration::from_secs(2));
    }
    if one_in(8) {
        config = config.with_max_tail_bytes(2 << 10);
    }
    if one_in(10) {
        let shortest = config.max_queue_age;
        config = config.with_max_tail_age(shortest);
    }
    if one_in(3) {
        config = config.with_max_frame_bytes(if one_in(2) { 150 } else { 600 });
    }
    if one_in(2) {
        config = config.with_ahead_wait(Duration::from_secs(5));
    }
    if one_in(6) && at > 1 {
        config = config.with_role(Role::PublishOnly);
    }
    if one_in(5) {
        config = config.with_queue_policy(QueuePolicy::InitialOnly);
    } else if one_in(5) {
        config = config.with_queue_policy(QueuePolicy::Disabled);
    }
    if one_in(4) {
        config = config.with_overflow(Overflow::DropOldest);
    } else if one_in(4) {
        config = config.with_overflow(Overflow::Wait);
    }
    config
}

fn channel_on(name: &str, stream: StreamIndex, streams: NonZeroU16) -> String {
    let mut names = (0..).map(|n: u32| format!("{name}{n}"));
    names.find(|name| stream_of(name, streams) == stream).expect("there are enough names for every stream")
}
