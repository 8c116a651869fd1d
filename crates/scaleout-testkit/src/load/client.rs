//! A client: a task that reads one subscription after the other.

use std::{
    collections::HashMap,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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
    Leave(oneshot::Sender<Cursor>),
}

struct Task {
    /// Its place in the run.
    client: usize,
    shared: Arc<Shared>,
    items: Arc<Mutex<Vec<Item>>>,
    newest: watch::Sender<HashMap<NodeId, usize>>,
    channels: Vec<String>,
    /// `None` once it has left.
    subscription: Option<Subscription>,
    node: usize,
    paused: bool,
}

impl Reader {
    /// A client that begins, or, with the cursor that it got elsewhere, goes on.
    pub(super) fn start(
        shared: &Arc<Shared>,
        client: usize,
        node: usize,
        channels: &[String],
        subscription: Subscription,
        from: Option<&Cursor>,
    ) -> Self {
        let at = shared.began.elapsed();
        let items: Vec<Item> = match from {
            None => {
                let joined = |channel: &String| Item::Joined { at, node, channel: channel.clone() };
                channels.iter().map(joined).collect()
            }
            Some(cursor) => vec![hop_item(node, at, cursor)],
        };
        let cursor = from.cloned().unwrap_or_else(|| subscription.cursor());
        items.iter().for_each(|item| shared.journal.happened(client, item, &cursor));
        let items = Arc::new(Mutex::new(items));
        let (orders, ordered) = mpsc::unbounded_channel();
        let newest = watch::Sender::new(HashMap::new());
        let watched = newest.subscribe();
        let task = Task {
            client,
            shared: Arc::clone(shared),
            items: Arc::clone(&items),
            newest,
            channels: channels.to_vec(),
            subscription: Some(subscription),
            node,
            paused: false,
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

    /// Ends its subscription; where it stands.
    pub(super) async fn leave(&self) -> Cursor {
        self.order(Order::Leave).await
    }

    /// The newest publish of each node that it got.
    pub(super) fn newest(&self) -> HashMap<NodeId, usize> {
        self.newest.borrow().clone()
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
                received = next(&mut self.subscription), if self.subscription.is_some() && !self.paused => {
                    match received {
                        Some(received) => self.got(received),
                        None => self.subscription = None,
                    }
                }
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
                let cursor = self.cursor();
                self.keep(hop_item(to, self.shared.began.elapsed(), &cursor));
                self.subscription = Some(bus.resume(&self.channels, &cursor));
                self.node = to;
                let _ = done.send(());
            }
            Order::Cursor(done) => {
                let _ = done.send(self.cursor());
            }
            Order::Leave(done) => {
                let _ = done.send(self.cursor());
                self.subscription = None;
            }
        }
    }

    /// Where it stands; nowhere once it has left.
    fn cursor(&self) -> Cursor {
        match &self.subscription {
            Some(subscription) => subscription.cursor(),
            None => Cursor::new(NonZeroU16::MIN),
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
        self.keep(item);
    }

    fn keep(&self, item: Item) {
        self.shared.journal.happened(self.client, &item, &self.cursor());
        lock(&self.items).push(item);
    }
}

async fn next(subscription: &mut Option<Subscription>) -> Option<Received> {
    subscription.as_mut()?.recv().await
}

fn hop_item(to: usize, at: Duration, cursor: &Cursor) -> Item {
    Item::Hop(HopItem { to, at, forged: false, entries: cursor.entries().map(hop_entry).collect() })
}

/// The publish that a payload claims to be.
fn id_in(bytes: &[u8]) -> Option<usize> {
    let id = bytes.get(4..12)?.try_into().ok()?;
    usize::try_from(u64::from_be_bytes(id)).ok()
}

fn lock(items: &Mutex<Vec<Item>>) -> MutexGuard<'_, Vec<Item>> {
    items.lock().unwrap_or_else(PoisonError::into_inner)
}
