//! A client: a task that reads one subscription after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use scaleout_core::{Bus, Cursor, NodeId, Received, Subscription};
use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::Shared;
use crate::{
    checker::{GapItem, HopItem, Item},
    observed::{gap_item, hop_entry, message_item},
};

/// A running client.
#[derive(Debug)]
pub(super) struct Reader {
    orders: mpsc::UnboundedSender<Order>,
    items: Arc<Mutex<Vec<Item>>>,
    /// The newest publish of each node that it got.
    newest: watch::Receiver<HashMap<NodeId, usize>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Pause { paused: bool, done: oneshot::Sender<()> },
    Hop { to: usize, bus: Bus, done: oneshot::Sender<()> },
    Cursor(oneshot::Sender<Cursor>),
}

struct Task {
    shared: Arc<Shared>,
    items: Arc<Mutex<Vec<Item>>>,
    newest: watch::Sender<HashMap<NodeId, usize>>,
    channels: Vec<String>,
    subscription: Subscription,
    node: usize,
    paused: bool,
    open: bool,
}

impl Reader {
    pub(super) fn start(
        shared: &Arc<Shared>,
        node: usize,
        channels: &[String],
        subscription: Subscription,
    ) -> Self {
        let at = shared.began.elapsed();
        let joined = channels.iter().map(|channel| Item::Joined { at, node, channel: channel.clone() });
        let items = Arc::new(Mutex::new(joined.collect()));
        let (orders, ordered) = mpsc::unbounded_channel();
        let newest = watch::Sender::new(HashMap::new());
        let watched = newest.subscribe();
        let task = Task {
            shared: Arc::clone(shared),
            items: Arc::clone(&items),
            newest,
            channels: channels.to_vec(),
            subscription,
            node,
            paused: false,
            open: true,
        };
        Self { orders, items, newest: watched, task: tokio::spawn(task.run(ordered)) }
    }

    pub(super) async fn pause(&self, paused: bool) {
        self.order(|done| Order::Pause { paused, done }).await;
    }

    pub(super) async fn hop(&self, to: usize, bus: Bus) {
        self.order(|done| Order::Hop { to, bus, done }).await;
    }

    pub(super) async fn cursor(&self) -> Cursor {
        self.order(Order::Cursor).await
    }

    pub(super) fn gaps(&self) -> Vec<GapItem> {
        let items = lock(&self.items);
        items
            .iter()
            .filter_map(|item| if let Item::Gap(gap) = item { Some(gap.clone()) } else { None })
            .collect()
    }

    /// Waits for the publish `id` of a node, or a newer one.
    pub(super) async fn has_got(&self, origin: NodeId, id: usize) {
        let got = |newest: &HashMap<_, _>| newest.get(&origin).is_some_and(|newest| *newest >= id);
        let waited = self.newest.clone().wait_for(got).await.is_ok();
        assert!(waited, "a client reads as long as it lives");
    }

    /// Ends the client; what happened to it.
    pub(super) async fn end(self) -> Vec<Item> {
        drop(self.orders);
        self.task.await.expect("a client does not panic");
        std::mem::take(&mut lock(&self.items))
    }

    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, answer) = oneshot::channel();
        let obeyed = self.orders.send(order(done)).is_ok();
        assert!(obeyed, "a client obeys as long as it lives");
        answer.await.expect("a client obeys every order")
    }
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                received = self.subscription.recv(), if self.open && !self.paused => match received {
                    Some(received) => self.got(received),
                    None => self.open = false,
                },
            }
        }
    }

    fn obey(&mut self, order: Order) {
        // Whoever gave the order may have left.
        match order {
            Order::Pause { paused, done } => {
                self.paused = paused;
                let _ = done.send(());
            }
            Order::Hop { to, bus, done } => {
                let cursor = self.subscription.cursor();
                let at = self.shared.began.elapsed();
                let entries = cursor.entries().map(hop_entry).collect();
                lock(&self.items).push(Item::Hop(HopItem { to, at, forged: false, entries }));
                self.subscription = bus.resume(&self.channels, &cursor);
                self.node = to;
                let _ = done.send(());
            }
            Order::Cursor(done) => {
                let _ = done.send(self.subscription.cursor());
            }
        }
    }

    fn got(&mut self, received: Received) {
        let item = match received {
            Received::Message(message) => {
                self.shared.yielded()[self.node].messages += 1;
                if let Some(id) = id_in(message.payload()) {
                    self.newest.send_modify(|newest| {
                        let newest = newest.entry(message.node()).or_default();
                        *newest = id.max(*newest);
                    });
                }
                Item::Message(message_item(self.node, &message))
            }
            Received::Gap(gap) => {
                let item = gap_item(self.node, self.shared.began.elapsed(), &gap);
                *self.shared.yielded()[self.node].gaps_of(item.reason) += 1;
                Item::Gap(item)
            }
        };
        lock(&self.items).push(item);
    }
}

/// The publish that a payload claims to be.
fn id_in(bytes: &[u8]) -> Option<usize> {
    let id = bytes.get(4..12)?.try_into().ok()?;
    usize::try_from(u64::from_be_bytes(id)).ok()
}

fn lock(items: &Mutex<Vec<Item>>) -> MutexGuard<'_, Vec<Item>> {
    items.lock().unwrap_or_else(PoisonError::into_inner)
}
