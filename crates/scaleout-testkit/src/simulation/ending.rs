//! The end of a run: quiet, markers, what is left, and what it all amounts to.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use scaleout_core::{CursorEntry, Interest, Role, StreamState, stream_of};

use super::{
    client::{Command, How},
    driver::{Driver, Ended, Node},
    plan::MAX_LINGER,
};
use crate::{
    checker::{Account, Arrived, Client, End, Item, LogFrame, Outcome, Recording, publish_payload},
    observed,
    recorder::{content, layout},
};

impl Driver {
    /// Ends all faults, and waits until nothing more happens.
    pub(super) async fn settle(&mut self) {
        self.end_faults(true);
        self.world.note("faults are off");
        // Hops that were ordered are done before those who serve nobody are left.
        sleep(Duration::from_millis(1)).await;
        for at in 0..self.clients.len() {
            self.clients[at].order(Command::Read(u64::MAX));
            let node = self.clients[at].shared().node;
            if self.nodes[node].bus.is_none() {
                let hop = self.hop(How::Own);
                self.clients[at].order(hop);
            }
        }
        self.wait_for_publishes().await;
        // A frame of another stream count, and a fatal error, are felt for a minute.
        sleep(Duration::from_secs(140)).await;
        if self.plan.moves_on {
            self.move_on();
            // Where a stream is opened again, a frame of another stream count is heard only now.
            sleep(Duration::from_secs(70)).await;
        }
        let mut markers = Vec::new();
        for stream in self.world.store.streams() {
            let channel = self.plan.markers[stream.index()].clone();
            for client in &self.clients {
                let streams = self.plan.store.streams;
                let follows =
                    client.shared().channels.iter().any(|channel| stream_of(channel, streams) == stream);
                if follows {
                    client.order(Command::Add(channel.clone()));
                }
            }
        }
        sleep(Duration::from_millis(10)).await;
        for stream in self.world.store.streams() {
            for at in 0..self.nodes.len() {
                let Some(bus) = self.nodes[at].bus.clone() else { continue };
                let channel = self.plan.markers[stream.index()].clone();
                let (id, channel, bytes) = self.record_publish(at, channel, 12);
                markers.push((id, channel.clone()));
                let world = self.world.clone();
                let publish = bus.publish(&channel, bytes);
                tokio::spawn(async move { world.resolved(id, &publish.await) });
            }
        }
        self.wait_for_publishes().await;
        // Nobody listens to these: cursors pass them all the same.
        let node = self.random_node(Role::Full);
        for channel in self.plan.quiet.clone() {
            let Some(bus) = &self.nodes[node].bus else { continue };
            let bus = bus.clone();
            let world = self.world.clone();
            let (id, channel, bytes) = self.record_publish(node, channel, 12);
            tokio::spawn(async move { world.resolved(id, &bus.publish(&channel, bytes).await) });
        }
        self.wait_for_publishes().await;
        let deadline = Instant::now() + Duration::from_secs(40);
        while Instant::now() < deadline && !self.markers_are_seen(&markers) {
            sleep(Duration::from_millis(200)).await;
        }
        sleep(Duration::from_secs(1)).await;
    }

    /// Sends clients to nodes that perhaps have none by now, and gave up their streams.
    fn move_on(&mut self) {
        for at in 0..self.clients.len() {
            let stays = self.clients[at].is_twin && self.clients[at].twin.is_none();
            if !stays {
                let hop = self.hop(How::Own);
                self.clients[at].order(hop);
            }
        }
    }

    async fn wait_for_publishes(&self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let open =
            || self.world.lock().publishes.iter().any(|publish| publish.outcome == Outcome::Unresolved);
        while Instant::now() < deadline && open() {
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn markers_are_seen(&self, markers: &[(usize, String)]) -> bool {
        self.clients.iter().all(|client| {
            let shared = client.shared();
            let mut of_client = markers.iter().filter(|(_, channel)| shared.channels.contains(channel));
            of_client.all(|(id, _)| {
                let bytes = publish_payload(*id, 12);
                shared
                    .items
                    .iter()
                    .rev()
                    .any(|item| matches!(item, Item::Message(message) if message.bytes == bytes))
            })
        })
    }

    pub(super) async fn finish(mut self) -> Ended {
        let mut recording = Recording { resolve_within: Duration::from_secs(250), ..Recording::default() };
        let streams = self.plan.store.streams;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let Some(bus) = &node.bus else { continue };
            let states = bus.state().current();
            node.record.up = states.iter().map(StreamState::is_up).collect();
            for (stream, state) in states.iter().enumerate().filter(|(_, state)| !state.is_up()) {
                self.world.note(format!("node {at}, stream {stream} is {state:?}"));
            }
        }
        let mut ends = Vec::new();
        for client in &self.clients {
            let mut end = Vec::new();
            if let Some(cursor) = client.cursor().await {
                for (stream, entry) in cursor.entries() {
                    let (epoch, Some(id)) = self.world.store.head(stream) else { continue };
                    let cursor = match entry {
                        CursorEntry::At { position, .. } => Some(*position),
                        CursorEntry::Unpositioned => None,
                    };
                    end.push(End { stream, cursor, head: (epoch, id) });
                }
            }
            ends.push(end);
        }
        for (client, end) in std::mem::take(&mut self.clients).into_iter().zip(ends) {
            recording.clients.push(Client { end, ..client.end().await });
        }
        // Longer than any node keeps what nobody reads.
        sleep(MAX_LINGER + Duration::from_secs(2)).await;
        let unread: Vec<_> = self.nodes.iter().filter_map(kept_unread).collect();
        for at in 0..self.nodes.len() {
            self.account(at);
            if let Some(bus) = self.nodes[at].bus.take() {
                bus.close(Duration::from_secs(5)).await;
            }
        }
        sleep(Duration::from_secs(1)).await;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        recording.left_over = vec![("tasks", tasks), ("receptions", self.world.store.open_receptions())];
        recording
            .left_over
            .extend(unread.into_iter().map(|kept| ("bytes or receptions that nobody reads", kept)));
        for stream in self.world.store.streams() {
            let layout = layout(streams);
            for entry in self.world.store.log(stream) {
                recording.log.push(LogFrame {
                    stream,
                    epoch: entry.epoch,
                    id: entry.id,
                    content: content(&entry.bytes, &layout),
                    forgotten_in: entry.forgotten_in,
                    injected: self.faults.injected.contains(&(stream, entry.epoch, entry.id)),
                });
            }
        }
        for node in self.nodes {
            recording.nodes.push(node.record);
        }
        let mut state = self.world.lock();
        recording.publishes = std::mem::take(&mut state.publishes);
        Ended {
            recording,
            coverage: std::mem::take(&mut state.coverage),
            trace: std::mem::take(&mut state.trace),
        }
    }
    /// Compares the counters of a node with what was observed.
    fn account(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let arrivals = std::mem::take(&mut node.recorder.lock().arrivals);
        node.record.arrivals = arrivals;
        let Some(bus) = &node.bus else { return };
        let counters = bus.counters();
        let streams = self.plan.store.streams.get();
        let arrived = Arrived::at(&node.record, streams);
        let mut state = self.world.lock();
        let yielded = state.yielded[at];
        observed::count_look_ups(&counters, &mut state.coverage);
        if node.config.interest == Interest::OnDemand {
            observed::count_receptions(&node.record.arrivals, streams, &mut state.coverage);
        }
        node.record.accounts = observed::arrivals(&counters, &arrived, &yielded);
        if !node.dropped_publish {
            node.record.accounts.extend(observed::outcomes(&counters, at, &state.publishes));
        }
        let rewound = node.recorder.lock().rewound;
        node.record.accounts.push(Account { what: "rewound", counted: counters.rewound, observed: rewound });
    }
}

/// What a node that receives on demand keeps of streams, now that there are no subscriptions.
fn kept_unread(node: &Node) -> Option<usize> {
    let bus = node.bus.as_ref().filter(|_| node.config.interest == Interest::OnDemand)?;
    Some(bus.usage().ring_bytes + node.recorder.lock().receiving.len())
}
