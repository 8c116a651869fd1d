//! A node of a run, and what it is asked and told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use scaleout_cluster::{Cluster, ClusterConfig, Incoming, Registration, Target};
use scaleout_core::{Bus, MemoryStore, NodeId};
use tokio::time::sleep;

use crate::gate::{Gate, Gated};

/// How many parts an answer to each subject has; `silent` gives none, ever.
pub(crate) const SUBJECTS: [(&str, usize); 4] = [("echo", 1), ("parts", 3), ("served", 1), ("silent", 0)];

/// The casts that came: from whom, and their numbers.
type Told = Arc<Mutex<Vec<(NodeId, u64)>>>;

/// The casts of a node by their numbers: the target, and whether the store confirmed each.
type Casts = Arc<Mutex<Vec<(Target, bool)>>>;

pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) cluster: Cluster,
    pub(crate) gate: Gate,
    pub(crate) told: Told,
    /// Told by the lives of this node that are over, and whether each had a gap.
    pub(crate) earlier: Vec<(Vec<(NodeId, u64)>, bool)>,
    pub(crate) tracked: BTreeMap<(String, String), u8>,
    pub(crate) casts: Casts,
    pub(crate) alive: bool,
    _handlers: Vec<Registration>,
}

impl Node {
    pub(crate) fn start(store: &MemoryStore, id: NodeId) -> Self {
        let gate = Gate::default();
        let backplane = Gated { inner: store.backplane(), gate: gate.clone() };
        let bus = Bus::builder(backplane).node(id).start().expect("the settings are good");
        let (cluster, told, handlers) = join(&bus);
        Self {
            bus,
            cluster,
            gate,
            told,
            earlier: Vec::new(),
            tracked: BTreeMap::new(),
            casts: Arc::default(),
            alive: true,
            _handlers: handlers,
        }
    }

    /// Leaves the cluster, and joins it again on the same bus.
    pub(crate) async fn rejoin(&mut self) {
        self.cluster.close(Duration::from_secs(1)).await;
        self.end_life();
        (self.cluster, self.told, self._handlers) = join(&self.bus);
        self.tracked.clear();
    }

    fn end_life(&mut self) {
        let told = std::mem::take(&mut *self.told.lock().expect("nobody panics"));
        self.earlier.push((told, self.cluster.counters().gaps > 0));
    }

    pub(crate) fn cast(&self, target: Target) {
        let mut casts = self.casts.lock().expect("nobody panics");
        let number = casts.len();
        casts.push((target, false));
        let sent = self.cluster.cast("told", &(number as u64).to_be_bytes(), target);
        let casts = Arc::clone(&self.casts);
        tokio::spawn(async move {
            if sent.await.is_ok() {
                casts.lock().expect("nobody panics")[number].1 = true;
            }
        });
    }

    /// What is wrong with the casts that came here, of which `sent` are the senders' records.
    pub(crate) fn check_casts(&self, sent: &BTreeMap<NodeId, Casts>) -> Option<String> {
        let now = (self.told.lock().expect("nobody panics").clone(), self.cluster.counters().gaps > 0);
        for (told, had_gaps) in self.earlier.iter().chain([&now]) {
            let senders: BTreeSet<_> = told.iter().map(|(from, _)| *from).collect();
            for from in senders {
                let numbers: Vec<_> =
                    told.iter().filter(|(other, _)| *other == from).map(|(_, number)| *number).collect();
                if !numbers.is_sorted_by(|one, next| one < next) {
                    return Some(format!("casts of {from} come out of order, or twice: {numbers:?}"));
                }
                let casts = sent[&from].lock().expect("nobody panics");
                let meant = |target| match target {
                    Target::All => true,
                    Target::Others => from != self.bus.node(),
                    Target::Node(node) => node == self.bus.node(),
                };
                if let Some(number) = numbers.iter().find(|number| !meant(casts[**number as usize].0)) {
                    return Some(format!("cast {number} of {from} was not meant for this node"));
                }
                let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { continue };
                let missing = (*first..*last).find(|number| {
                    let (target, confirmed) = casts[*number as usize];
                    confirmed && meant(target) && !numbers.contains(number)
                });
                if let Some(number) = missing.filter(|_| !had_gaps) {
                    return Some(format!("cast {number} of {from} is missing, and no gap was told"));
                }
            }
        }
        None
    }
}

fn join(bus: &Bus) -> (Cluster, Told, Vec<Registration>) {
    let config = ClusterConfig::default()
        .with_heartbeat_interval(Duration::from_secs(1))
        .with_lease(Duration::from_secs(4))
        .with_join_wait(Duration::from_millis(300));
    let cluster = Cluster::start(bus, config).expect("the settings are good");
    let told = Told::default();
    let tell = Arc::clone(&told);
    let held = Mutex::new(Vec::new());
    let handlers = vec![
        cluster.handle("told", move |incoming| {
            let number = incoming.payload[..].try_into().expect("it is a number");
            tell.lock().expect("nobody panics").push((incoming.node, u64::from_be_bytes(number)));
        }),
        cluster.handle("echo", |incoming| {
            let (payload, responder) = incoming.into_parts();
            responder.reply(&payload);
        }),
        cluster.handle("parts", |incoming: Incoming| {
            let (payload, mut responder) = incoming.into_parts();
            tokio::spawn(async move {
                for _ in 0..3 {
                    sleep(Duration::from_millis(u64::from(payload[0]) * 4)).await;
                    responder.part(&payload);
                }
                responder.finish();
            });
        }),
        cluster.serve("served", |_, payload: Bytes| async move {
            sleep(Duration::from_millis(u64::from(payload[0]))).await;
            Ok(payload)
        }),
        cluster.handle("silent", move |incoming| held.lock().expect("nobody panics").push(incoming)),
    ];
    (cluster, told, handlers)
}
