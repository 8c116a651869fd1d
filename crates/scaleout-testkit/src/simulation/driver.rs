//! The driver of a run: nodes, clients, publishes and faults, step by step.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use scaleout_core::{
    Bus, BusBuilder, BusConfig, Cursor, CursorEntry, Epoch, Interest, MemoryStore, PayloadId, Position, Role,
    StreamIndex, StreamState, stream_of,
};

use super::{
    client::{Command, Handle, How},
    faults::{self, Fault, Faults},
    plan::{MAX_PAYLOAD, Plan, node_id},
    world::World,
};
use crate::{
    checker::{Coverage, NodeRecord, Outcome, Published, Recording, StateSample, publish_payload},
    observed::{self, Yielded},
    recorder::Recorder,
};

/// What a run leaves.
pub(super) struct Ended {
    pub(super) recording: Recording,
    pub(super) coverage: Coverage,
    pub(super) trace: Vec<String>,
}

pub(super) type Build = Arc<dyn Fn(BusBuilder) -> BusBuilder + Send + Sync>;

pub(super) struct Driver {
    pub(super) plan: Plan,
    pub(super) random: Rng,
    pub(super) build: Build,
    pub(super) world: World,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Handle>,
    pub(super) faults: Faults,
    /// The node whose receptions are held back, until when, and whether the store forks then.
    pub(super) stalled: Option<(Instant, usize, bool)>,
    /// How often a node stalled.
    pub(super) stalls: u32,
}

pub(super) struct Node {
    /// `None` once it was closed or dropped.
    pub(super) bus: Option<Bus>,
    pub(super) config: BusConfig,
    pub(super) recorder: Recorder,
    pub(super) record: NodeRecord,
    /// The order of its publishes.
    pub(super) order: u64,
    /// Whether a publish was dropped, so that its outcome is not known.
    pub(super) dropped_publish: bool,
    /// Whether its receptions were ever held back, so that it may not notice an outage at once.
    pub(super) stalled: bool,
}

/// Stalls of a run, each of at most two seconds: together shorter than any wait for a cursor that is ahead.
const MAX_STALLS: u32 = 2;

/// What an outage takes at most to be noticed.
const NOTICED: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) async fn run(plan: Plan, build: Build) -> Ended {
        let world = World::new(MemoryStore::new(plan.store.clone()));
        let random = plan.random.clone();
        let mut driver = Self {
            plan,
            random,
            build,
            world,
            nodes: Vec::new(),
            clients: Vec::new(),
            faults: Faults::default(),
            stalled: None,
            stalls: 0,
        };
        driver.begin().await;
        for _ in 0..driver.plan.steps {
            driver.step().await;
        }
        driver.settle().await;
        driver.finish().await
    }

    async fn begin(&mut self) {
        let capabilities = self.plan.store.capabilities;
        let store = match (capabilities.replay, capabilities.dense_ids, capabilities.asks_held) {
            (true, true, true) => "store: replay, dense ids, asks held",
            (false, ..) => "store: no replay",
            (_, false, _) => "store: ids with holes",
            (.., false) => "store: cannot be asked",
        };
        self.world.count(store);
        if self.plan.is_faultless() {
            self.world.count("run: no faults");
        }
        self.world.note(format!(
            "{store}, {} streams, faults {:?}",
            self.world.store.stream_count(),
            self.plan.faults
        ));
        for config in std::mem::take(&mut self.plan.nodes) {
            self.join(config);
        }
        if self.plan.is_faultless() || self.random.bool() {
            sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..self.plan.clients {
            let channels = self.some_channels();
            self.listen(channels);
        }
        for _ in 0..self.plan.twins {
            let channels = self.some_channels();
            let node = self.random_node(Role::Full);
            let stays = self.clients.len();
            for twin in [None, Some(stays)] {
                self.listen_at(node, channels.clone());
                if let Some(client) = self.clients.last_mut() {
                    client.twin = twin;
                    client.is_twin = true;
                }
            }
        }
    }

    async fn step(&mut self) {
        self.end_faults(false);
        for _ in 0..self.random.usize(..4) {
            self.publish();
        }
        if !self.clients.is_empty() {
            self.disturb_client();
        }
        if !self.plan.faults.is_empty() && self.random.u32(..100) < self.plan.fault_rate {
            let fault = self.plan.faults[self.random.usize(..self.plan.faults.len())];
            if self.strike(fault) {
                self.world.note(format!("{fault:?}"));
                if !faults::counts_itself(fault) {
                    self.world.count(fault.name());
                }
            }
        }
        // Half of the steps follow at once, so that messages meet in a frame.
        if self.random.bool() {
            let pause = self.plan.pause.mul_f64(self.random.f64());
            sleep(pause).await;
        }
        self.sample();
    }

    fn strike(&mut self, fault: Fault) -> bool {
        let of_role =
            |role| self.nodes.iter().filter(|node| node.bus.is_some() && node.config.role == role).count();
        match fault {
            Fault::Close | Fault::Die => {
                if of_role(Role::Full) < 2 {
                    return false;
                }
                let victim = self.random_node(Role::Full);
                self.leave(victim, fault == Fault::Close);
                true
            }
            Fault::Broken => {
                let node = self.random_node(Role::Full);
                self.nodes[node].recorder.lock().to_break += 1;
                true
            }
            Fault::Stall | Fault::StallAndFork => {
                let node = self.random_node(Role::Full);
                self.stall(node, fault == Fault::StallAndFork)
            }
            Fault::Join => match self.plan.late_nodes.pop() {
                Some(config) => {
                    self.join(config.with_role(Role::Full));
                    true
                }
                None => false,
            },
            _ => self.faults.strike(fault, &self.world, &mut self.random),
        }
    }

    /// Holds a node's receptions back for less than the shortest wait for a cursor that is ahead.
    fn stall(&mut self, node: usize, forks: bool) -> bool {
        if self.stalled.is_some() || self.stalls == MAX_STALLS {
            return false;
        }
        self.stalls += 1;
        self.nodes[node].recorder.hold(true);
        self.nodes[node].stalled = true;
        let until = Instant::now() + Duration::from_millis(self.random.u64(1..2000));
        self.stalled = Some((until, node, forks));
        true
    }

    fn end_stall(&mut self, all: bool) {
        let Some((until, node, forks)) = self.stalled else { return };
        if !all && Instant::now() < until {
            return;
        }
        self.stalled = None;
        if forks {
            let stream = StreamIndex(self.random.u16(..self.plan.store.streams.get()));
            self.world.store.failover(stream, self.random.usize(1..4));
        }
        self.world.note(format!("node {node} goes on, forks: {forks}"));
        self.nodes[node].recorder.hold(false);
    }

    fn join(&mut self, config: BusConfig) {
        let at = self.nodes.len();
        let id = node_id(self.plan.seed, at);
        self.world.note(format!("node {at} starts: {config:?}"));
        let opening = match config.interest {
            Interest::OnDemand => self.plan.opening,
            _ => Duration::ZERO,
        };
        let recorder = Recorder::new(Arc::new(self.world.store.backplane()), self.world.began, opening);
        let builder = Bus::builder(recorder.clone()).config(config.clone()).node(id);
        let bus = (self.build)(builder).start().expect("the settings of a plan are good");
        self.world.lock().yielded.push(Yielded::default());
        let capabilities = self.plan.store.capabilities;
        let ample_tail = config.max_tail_bytes > 1 << 20;
        let record = NodeRecord {
            id,
            ended: None,
            replay: capabilities.replay,
            dense_ids: capabilities.dense_ids,
            ring_bytes: Some(config.max_ring_bytes),
            ring_age: config.max_ring_age,
            tail_age: if ample_tail { config.max_tail_age } else { Duration::ZERO },
            arrivals: Vec::new(),
            up: Vec::new(),
            states: Vec::new(),
            samples: Vec::new(),
            accounts: Vec::new(),
        };
        self.nodes.push(Node {
            bus: Some(bus),
            config,
            recorder,
            record,
            order: 0,
            dropped_publish: false,
            stalled: false,
        });
    }

    fn leave(&mut self, at: usize, closes: bool) {
        let deadline = Duration::from_millis(self.random.u64(..2000));
        let node = &mut self.nodes[at];
        node.record.ended = Some(self.world.began.elapsed());
        let Some(bus) = node.bus.take() else { return };
        self.world.note(format!("node {at} leaves, closing: {closes}"));
        if closes {
            tokio::spawn(async move {
                bus.close(deadline).await;
            });
        }
    }

    fn publish(&mut self) {
        let Some(at) = self.any_node() else { return };
        let count = if self.random.u8(..6) == 0 { self.random.usize(2..6) } else { 1 };
        let calls: Vec<_> = (0..count).map(|_| self.new_publish(at)).collect();
        let kind = if count > 1 { 3 } else { self.random.u8(..3) };
        let dropped = self.random.u8(..20) == 0;
        let node = &mut self.nodes[at];
        let Some(bus) = node.bus.clone() else { return };
        let world = self.world.clone();
        match kind {
            0 | 1 => {
                let (id, channel, bytes) = calls.into_iter().next().expect("one publish was made");
                let publish = bus.publish(&channel, bytes);
                if dropped {
                    node.dropped_publish = true;
                    world.ended(id, Outcome::Unconfirmed);
                } else {
                    tokio::spawn(async move { world.resolved(id, &publish.await) });
                }
            }
            2 => {
                let (id, channel, bytes) = calls.into_iter().next().expect("one publish was made");
                match bus.enqueue(&channel, bytes) {
                    Ok(receipt) => {
                        tokio::spawn(async move { world.resolved(id, &receipt.await) });
                    }
                    Err(error) => world.resolved(id, &Err(error)),
                }
            }
            _ => {
                let ids: Vec<_> = calls.iter().map(|(id, ..)| *id).collect();
                let publishes =
                    bus.publish_many(calls.into_iter().map(|(_, channel, bytes)| (channel, bytes)));
                tokio::spawn(async move {
                    let mut failed = match publishes.await {
                        Ok(()) => Vec::new(),
                        Err(error) => error.failed,
                    };
                    for (place, id) in ids.into_iter().enumerate() {
                        let error = failed.iter().position(|(index, _)| *index == place);
                        let result = error.map_or(Ok(()), |error| Err(failed.swap_remove(error).1));
                        world.resolved(id, &result);
                    }
                });
            }
        }
    }

    fn new_publish(&mut self, at: usize) -> (usize, String, bytes::Bytes) {
        let channel = self.plan.channels[self.random.usize(..self.plan.channels.len())].clone();
        let len = match self.random.u8(..40) {
            0 => MAX_PAYLOAD + 1,
            1..4 => self.random.usize(500..2500),
            _ => self.random.usize(12..100),
        };
        self.record_publish(at, channel, len)
    }

    pub(super) fn record_publish(
        &mut self,
        at: usize,
        channel: String,
        len: usize,
    ) -> (usize, String, bytes::Bytes) {
        let node = &mut self.nodes[at];
        node.order += 1;
        let mut state = self.world.lock();
        let id = state.publishes.len();
        let bytes = publish_payload(id, len);
        state.publishes.push(Published {
            node: at,
            stream: stream_of(&channel, self.plan.store.streams),
            channel: channel.clone(),
            order: node.order,
            bytes: bytes.clone(),
            began: self.world.began.elapsed(),
            resolved: None,
            outcome: Outcome::Unresolved,
            in_log: false,
        });
        drop(state);
        self.world.note(format!("publish {id} to {channel} at node {at}, {len} bytes"));
        (id, channel, bytes)
    }

    fn disturb_client(&mut self) {
        let at = self.random.usize(..self.clients.len());
        let mut orders = Vec::new();
        let is_twin = self.clients[at].is_twin;
        let stays = is_twin && self.clients[at].twin.is_none();
        match self.random.u8(..12) {
            0..5 => orders.push(Command::Read(self.random.u64(..20))),
            5 => orders.push(Command::Read(1)),
            6 | 7 if !stays => {
                let how = match self.random.u8(..10) {
                    0..6 => How::Own,
                    6..9 => How::Earlier(self.random.usize(..4)),
                    _ if is_twin || self.plan.is_faultless() => How::Own,
                    _ => How::Forged(self.forged_cursor(at)),
                };
                orders.push(self.hop(how));
            }
            8 if !is_twin => {
                let channel = self.plan.channels[self.random.usize(..self.plan.channels.len())].clone();
                orders.extend(self.toggle(at, channel));
            }
            _ => orders.push(Command::Read(1000)),
        }
        orders.into_iter().for_each(|order| self.clients[at].order(order));
    }

    /// Adds a channel that a client does not have, or removes one that it has.
    ///
    /// Not the last one of a stream: who left a stream and comes back begins anew, and may see again what it saw.
    fn toggle(&mut self, client: usize, channel: String) -> Option<Command> {
        let streams = self.plan.store.streams;
        let ordered = &mut self.clients[client].channels;
        let Some(place) = ordered.iter().position(|other| *other == channel) else {
            ordered.push(channel.clone());
            return Some(Command::Add(channel));
        };
        let of_stream = |other: &&String| stream_of(other, streams) == stream_of(&channel, streams);
        if ordered.iter().filter(of_stream).count() < 2 {
            return None;
        }
        ordered.remove(place);
        Some(Command::Remove(channel))
    }

    pub(super) fn hop(&mut self, how: How) -> Command {
        let to = self.random_node(Role::Full);
        let bus = self.nodes[to].bus.clone().expect("a node that was just picked is there");
        if self.nodes[to].order == 0 && to > 3 {
            self.world.count("hop: to a fresh node");
        }
        Command::Hop { to, bus, how }
    }

    fn forged_cursor(&mut self, client: usize) -> Cursor {
        let ours = self.plan.store.streams;
        let other = self.random.u8(..8) == 0;
        let count = if other { ours.saturating_add(1) } else { ours };
        let mut cursor = Cursor::new(count);
        let channels = self.clients[client].shared().channels.clone();
        for channel in channels {
            let stream = stream_of(&channel, ours);
            let (epoch, id) = self.world.store.head(stream);
            let position = Position {
                epoch: Epoch(match self.random.u8(..6) {
                    0 => self.random.u64(..=epoch.0),
                    1 => epoch.0 + self.random.u64(1..100),
                    _ => epoch.0,
                }),
                id: PayloadId(
                    id.map_or(0, |id| id.0).saturating_add(self.random.u64(..20)).saturating_sub(10),
                ),
                index: [0, 1, 7, Position::WHOLE, Position::TOLD][self.random.usize(..5)],
            };
            let stem = (self.random.u8(..6) == 0).then(|| (Epoch(self.random.u64(..=epoch.0)), PayloadId(3)));
            match self.random.u8(..8) {
                0 => cursor.set(stream, CursorEntry::Unpositioned),
                1 => {}
                _ => cursor.set(stream, CursorEntry::At { position, stem }),
            }
        }
        cursor
    }

    fn some_channels(&mut self) -> Vec<String> {
        let mut channels = self.plan.channels.clone();
        self.random.shuffle(&mut channels);
        let count = self.random.usize(1..=channels.len());
        channels.truncate(count);
        channels
    }

    fn listen(&mut self, channels: Vec<String>) {
        let node = self.random_node(Role::Full);
        self.listen_at(node, channels);
    }

    fn listen_at(&mut self, node: usize, channels: Vec<String>) {
        let Some(bus) = &self.nodes[node].bus else { return };
        let client = Handle::start(&self.world, self.clients.len(), node, bus, channels);
        if self.random.bool() {
            client.order(Command::Read(u64::MAX));
        }
        self.clients.push(client);
    }

    /// A node that is there.
    pub(super) fn random_node(&mut self, role: Role) -> usize {
        let there = |(_, node): &(usize, &Node)| node.bus.is_some() && node.config.role == role;
        let nodes: Vec<_> = self.nodes.iter().enumerate().filter(there).map(|(at, _)| at).collect();
        nodes[self.random.usize(..nodes.len())]
    }

    fn any_node(&mut self) -> Option<usize> {
        let nodes: Vec<_> =
            self.nodes.iter().enumerate().filter(|(_, node)| node.bus.is_some()).map(|(at, _)| at).collect();
        (!nodes.is_empty()).then(|| nodes[self.random.usize(..nodes.len())])
    }

    /// Ends faults; looks first whether the nodes noticed the outages.
    pub(super) fn end_faults(&mut self, all: bool) {
        for (stream, since) in self.faults.due(all) {
            if since.elapsed() < NOTICED {
                continue;
            }
            let at = self.world.began.elapsed();
            // What nobody reads there, a node that receives on demand need not know.
            let receives = |node: &Node| {
                node.config.role == Role::Full && node.recorder.lock().receiving.contains(&stream)
            };
            let notices = |node: &&mut Node| receives(node) && !node.stalled;
            for node in self.nodes.iter_mut().filter(notices) {
                let Some(bus) = &node.bus else { continue };
                let up = bus.state().current().get(stream.index()).is_some_and(StreamState::is_up);
                node.record.states.push(StateSample { at, stream, up });
            }
        }
        self.faults.end(&self.world, all);
        self.end_stall(all);
    }

    /// Looks at the budgets.
    pub(super) fn sample(&mut self) {
        for node in &mut self.nodes {
            let Some(bus) = &node.bus else { continue };
            let samples = observed::budgets(bus, &node.config);
            if node.record.samples.is_empty() {
                node.record.samples = samples;
                continue;
            }
            for (kept, seen) in node.record.samples.iter_mut().zip(samples) {
                kept.used = kept.used.max(seen.used);
            }
        }
    }
}
