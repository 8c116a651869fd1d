//! A client: a task that reads one subscription after the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    select,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use scaleout_core::{Bus, Cursor, CursorEntry, Received, Subscription};

use super::world::World;
use crate::{
    checker::{Client, HopItem, Item},
    observed::{gap_item, hop_entry, message_item},
};

/// What a client is told to do.
pub(super) enum Command {
    /// It may read that many items more.
    Read(u64),
    /// It listens to one more channel.
    Add(String),
    /// It leaves a channel.
    Remove(String),
    /// It goes on at another node.
    Hop { to: usize, bus: Bus, how: How },
    /// It says where it stands.
    Cursor(oneshot::Sender<Cursor>),
}

/// The cursor that a client hops with.
pub(super) enum How {
    /// That of its subscription.
    Own,
    /// That of a message it got a while ago; it forgets what came after.
    Earlier(usize),
    /// One that was made up.
    Forged(Cursor),
}

/// A running client.
pub(super) struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
    /// Its channels when it will have done what it was told.
    pub(super) channels: Vec<String>,
    pub(super) twin: Option<usize>,
    /// Whether it only ever stays or hops, so that it can be compared.
    pub(super) is_twin: bool,
}

/// What a client shares with the driver.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) items: Vec<Item>,
    pub(super) channels: Vec<String>,
    /// The node that serves it.
    pub(super) node: usize,
}

struct Reader {
    name: usize,
    world: World,
    shared: Arc<Mutex<Shared>>,
    subscription: Subscription,
    /// Items that it may still read.
    allowance: u64,
    /// Whether its bus is still open.
    open: bool,
    /// Cursors of what it got since its channels last changed, and how many items it had then.
    earlier: Vec<(usize, Cursor)>,
}

impl Handle {
    pub(super) fn start(world: &World, name: usize, node: usize, bus: &Bus, channels: Vec<String>) -> Self {
        let (commands, orders) = mpsc::unbounded_channel();
        let at = world.began.elapsed();
        let subscription = bus.subscribe(&channels);
        let items =
            channels.iter().map(|channel| Item::Joined { at, node, channel: channel.clone() }).collect();
        world.note(format!("client {name} subscribes to {channels:?} at node {node}"));
        let shared = Arc::new(Mutex::new(Shared { items, channels: channels.clone(), node }));
        let reader = Reader {
            name,
            world: world.clone(),
            shared: Arc::clone(&shared),
            subscription,
            allowance: 0,
            open: true,
            earlier: Vec::new(),
        };
        Self {
            commands,
            shared,
            task: tokio::spawn(reader.run(orders)),
            channels,
            twin: None,
            is_twin: false,
        }
    }

    /// Orders come in the order of the calls, before what it reads next.
    pub(super) fn order(&self, command: Command) {
        let _ended = self.commands.send(command);
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    pub(super) async fn cursor(&self) -> Option<Cursor> {
        let (answer, cursor) = oneshot::channel();
        self.order(Command::Cursor(answer));
        cursor.await.ok()
    }

    /// Ends the client, and its subscription.
    pub(super) async fn end(self) -> Client {
        drop(self.commands);
        let ended = self.task.await;
        ended.expect("a client does not panic");
        let items = std::mem::take(&mut lock(&self.shared).items);
        Client { items, drained: true, twin: self.twin, end: Vec::new() }
    }
}

impl Reader {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Command>) {
        loop {
            select! {
                biased;
                order = orders.recv() => match order {
                    Some(command) => self.obey(command),
                    None => return,
                },
                received = self.subscription.recv(), if self.allowance > 0 && self.open => match received {
                    Some(received) => self.got(received),
                    None => {
                        self.open = false;
                        self.world.note(format!("client {}: closed", self.name));
                    }
                },
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let at = self.world.began.elapsed();
        match command {
            Command::Read(more) => self.allowance = self.allowance.saturating_add(more),
            Command::Add(channel) => {
                self.world.note(format!("client {} adds {channel}", self.name));
                self.subscription.add(&channel);
                self.earlier.clear();
                let mut shared = lock(&self.shared);
                if !shared.channels.contains(&channel) {
                    shared.channels.push(channel.clone());
                    let node = shared.node;
                    shared.items.push(Item::Joined { at, node, channel });
                }
            }
            Command::Remove(channel) => {
                self.world.note(format!("client {} removes {channel}", self.name));
                self.subscription.remove(&channel);
                self.earlier.clear();
                let mut shared = lock(&self.shared);
                shared.channels.retain(|other| *other != channel);
                shared.items.push(Item::Left { channel });
            }
            Command::Hop { to, bus, how } => self.hop(to, &bus, how),
            Command::Cursor(answer) => {
                let _asker_left = answer.send(self.subscription.cursor());
            }
        }
    }

    fn hop(&mut self, to: usize, bus: &Bus, how: How) {
        let at = self.world.began.elapsed();
        let forged = matches!(how, How::Forged(_));
        let mut shared = lock(&self.shared);
        let cursor = match how {
            How::Own => self.subscription.cursor(),
            How::Forged(cursor) => cursor,
            How::Earlier(back) => match self.earlier.len().checked_sub(back + 1) {
                Some(place) => {
                    let (items, cursor) = self.earlier.swap_remove(place);
                    self.earlier.truncate(place);
                    shared.items.truncate(items);
                    self.world.count("hop: with an earlier cursor");
                    cursor
                }
                None => self.subscription.cursor(),
            },
        };
        let text = cursor.to_string();
        let cursor: Cursor = text.parse().expect("the text of a cursor is one");
        self.count_hop(&cursor, forged);
        self.world
            .note(format!("client {} hops from node {} to {to} with {cursor:?}", self.name, shared.node));
        shared.items.push(Item::Hop(HopItem {
            to,
            at,
            forged,
            entries: cursor.entries().map(hop_entry).collect(),
        }));
        if forged {
            self.earlier.clear();
        }
        self.subscription = bus.resume(&shared.channels, &cursor);
        self.open = true;
        shared.node = to;
    }

    fn count_hop(&self, cursor: &Cursor, forged: bool) {
        if forged {
            return self.world.count("hop: forged");
        }
        for (stream, entry) in cursor.entries() {
            let CursorEntry::At { position, stem } = entry else { continue };
            if position.index > 0 && !position.is_whole() {
                self.world.count("hop: inside a frame");
            }
            if position.epoch < self.world.store.head(stream).0 {
                self.world.count("hop: across epochs");
            }
            if stem.is_some() {
                self.world.count("hop: with a stem");
            }
        }
    }

    fn got(&mut self, received: Received) {
        self.allowance -= 1;
        let at = self.world.began.elapsed();
        let mut shared = lock(&self.shared);
        let node = shared.node;
        let (item, cursor) = match received {
            Received::Message(message) => {
                self.world.lock().yielded[node].messages += 1;
                let item = message_item(node, &message);
                let at = item.position;
                self.world.note(format!(
                    "client {} at node {node}: {:?} on stream {}, ({}, {}, {})",
                    self.name,
                    id_in(&item.bytes),
                    item.stream,
                    at.epoch,
                    at.id,
                    at.index
                ));
                (Item::Message(item), message.cursor())
            }
            Received::Gap(gap) => {
                let item = gap_item(node, at, &gap);
                let reason = item.reason;
                {
                    let mut state = self.world.lock();
                    *state.yielded[node].gaps_of(reason) += 1;
                    state.coverage.count(format!("gap: {reason:?}"), 1);
                }
                self.world.note(format!("client {}: {item:?}", self.name));
                (Item::Gap(item), gap.cursor())
            }
        };
        shared.items.push(item);
        self.earlier.push((shared.items.len(), cursor));
    }
}

/// The publish that a payload claims to be, for the trace.
fn id_in(bytes: &[u8]) -> Option<u64> {
    bytes.get(4..12).and_then(|id| id.try_into().ok()).map(u64::from_be_bytes)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
