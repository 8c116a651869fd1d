//! The namespaces of this process, each with the adapters that serve it.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use hashbrown::HashMap;
use smallvec::SmallVec;
use socketioxide_core::{
    Sid, Str, Uid, Value,
    adapter::{
        BroadcastFlags, BroadcastOptions, CoreLocalAdapter, RemoteSocketData, Room, SocketEmitter,
        errors::SocketError,
    },
    packet::{Packet, PacketData},
};

use crate::op::answer::AckResult;

/// What sockets answered, as it comes.
pub(crate) type Acks = BoxStream<'static, (Sid, AckResult)>;

/// The sockets of one adapter, whatever they are made of.
pub(crate) trait Sockets: Send + Sync {
    fn broadcast(&self, packet: Packet, options: BroadcastOptions) -> Result<(), Vec<SocketError>>;
    fn broadcast_with_ack(&self, packet: Packet, options: BroadcastOptions, timeout: Duration)
    -> (Acks, u64);
    fn disconnect(&self, options: BroadcastOptions) -> Result<(), Vec<SocketError>>;
    fn join(&self, options: BroadcastOptions, rooms: Vec<Room>);
    fn leave(&self, options: BroadcastOptions, rooms: Vec<Room>);
    fn rooms(&self, options: BroadcastOptions) -> HashSet<Room>;
    fn fetch(&self, options: BroadcastOptions) -> Vec<RemoteSocketData>;
}

impl<E: SocketEmitter> Sockets for CoreLocalAdapter<E> {
    fn broadcast(&self, packet: Packet, options: BroadcastOptions) -> Result<(), Vec<SocketError>> {
        self.broadcast(packet, options)
    }

    fn broadcast_with_ack(
        &self,
        packet: Packet,
        options: BroadcastOptions,
        timeout: Duration,
    ) -> (Acks, u64) {
        let (acks, count) = self.broadcast_with_ack(packet, options, Some(timeout));
        let acks = acks.map(|(sid, result)| (sid, result.map_err(|error| error_json(&error))));
        (acks.boxed(), count.into())
    }

    fn disconnect(&self, options: BroadcastOptions) -> Result<(), Vec<SocketError>> {
        self.disconnect_socket(options)
    }

    /// Nothing where no socket is meant: socketioxide would keep a room without members, and the rooms of a socket that it
    /// does not have, for ever.
    fn join(&self, options: BroadcastOptions, rooms: Vec<Room>) {
        let selects = !options.rooms.is_empty() || options.has_flag(BroadcastFlags::Broadcast);
        let found = match selects {
            true => !self.sockets(options.clone()).is_empty(),
            // One that is named is taken at its word there.
            false => !self.fetch_sockets(options.clone()).is_empty(),
        };
        if found {
            self.add_sockets(options, rooms);
        }
    }

    fn leave(&self, options: BroadcastOptions, rooms: Vec<Room>) {
        self.del_sockets(options, rooms);
    }

    fn rooms(&self, options: BroadcastOptions) -> HashSet<Room> {
        self.rooms(options)
    }

    fn fetch(&self, options: BroadcastOptions) -> Vec<RemoteSocketData> {
        self.fetch_sockets(options)
    }
}

fn error_json(error: &impl serde::Serialize) -> String {
    // What cannot be written is an error that nobody can read, and is counted as such where it arrives.
    serde_json::to_string(error).unwrap_or_default()
}

/// What a parser makes of data, and takes as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Bytes,
}

impl Form {
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Str(..) => Self::Text,
            Value::Bytes(_) => Self::Bytes,
        }
    }
}

/// The adapters of one namespace at one moment.
///
/// There may be several: socketioxide makes one for each of the first connections to a dynamic namespace that come at
/// the same time, and each has sockets.
pub(crate) struct Namespace {
    path: Str,
    served: Vec<Served>,
}

#[derive(Clone)]
struct Served {
    key: u64,
    server: Uid,
    /// Of its parser, if known.
    form: Option<Form>,
    /// Weak: who is registered must not live for that alone.
    sockets: Weak<dyn Sockets>,
}

type Live = SmallVec<[Arc<dyn Sockets>; 1]>;

impl Namespace {
    pub(crate) fn path(&self) -> &Str {
        &self.path
    }

    /// Whether an adapter here is of `server`.
    pub(crate) fn serves(&self, server: Uid) -> bool {
        self.served.iter().any(|served| served.server == server)
    }

    /// Whether this is an event that the parsers here can encode: they panic at anything else.
    pub(crate) fn takes(&self, packet: &PacketData) -> bool {
        let (PacketData::Event(value, _) | PacketData::BinaryEvent(value, _)) = packet else { return false };
        let form = Form::of(value);
        self.served.iter().all(|served| served.form.is_none_or(|takes| takes == form))
    }

    pub(crate) fn broadcast(
        &self,
        packet: Packet,
        options: BroadcastOptions,
    ) -> Result<(), Vec<SocketError>> {
        let live = self.live(&options, None);
        if let [only] = &*live {
            return only.broadcast(packet, options);
        }
        collect(live.iter().map(|sockets| sockets.broadcast(packet.clone(), options.clone())))
    }

    /// The acks of all adapters but the one registered as `but`, and how many to expect.
    pub(crate) fn broadcast_with_ack(
        &self,
        packet: &Packet,
        options: &BroadcastOptions,
        timeout: Duration,
        but: Option<u64>,
    ) -> (SelectAll<Acks>, u64) {
        let mut all = SelectAll::new();
        let mut count = 0;
        for sockets in self.live(options, but) {
            let (acks, expected) = sockets.broadcast_with_ack(packet.clone(), options.clone(), timeout);
            if expected > 0 {
                all.push(acks);
                count += expected;
            }
        }
        (all, count)
    }

    pub(crate) fn disconnect(&self, options: &BroadcastOptions) -> Result<(), Vec<SocketError>> {
        collect(self.live(options, None).iter().map(|sockets| sockets.disconnect(options.clone())))
    }

    pub(crate) fn join(&self, options: &BroadcastOptions, rooms: &[Room]) {
        for sockets in self.live(options, None) {
            sockets.join(options.clone(), rooms.to_vec());
        }
    }

    pub(crate) fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) {
        for sockets in self.live(options, None) {
            sockets.leave(options.clone(), rooms.to_vec());
        }
    }

    pub(crate) fn rooms(&self, options: &BroadcastOptions) -> HashSet<Room> {
        self.live(options, None).iter().flat_map(|sockets| sockets.rooms(options.clone())).collect()
    }

    pub(crate) fn fetch(&self, options: &BroadcastOptions) -> Vec<RemoteSocketData> {
        self.live(options, None).iter().flat_map(|sockets| sockets.fetch(options.clone())).collect()
    }

    /// The adapters that `options` are for.
    fn live(&self, options: &BroadcastOptions, but: Option<u64>) -> Live {
        let meant = |served: &&Served| {
            options.server_id.is_none_or(|server| server == served.server) && but != Some(served.key)
        };
        self.served.iter().filter(meant).filter_map(|served| served.sockets.upgrade()).collect()
    }
}

/// All errors together, or none.
fn collect(outcomes: impl Iterator<Item = Result<(), Vec<SocketError>>>) -> Result<(), Vec<SocketError>> {
    let errors: Vec<_> = outcomes.filter_map(Result::err).flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// All namespaces of this process, by path.
#[derive(Default)]
pub(crate) struct Registry {
    namespaces: RwLock<HashMap<Str, Arc<Namespace>>>,
    next_key: AtomicU64,
}

impl Registry {
    #[inline]
    pub(crate) fn get(&self, path: &str) -> Option<Arc<Namespace>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(path).map(Arc::clone)
    }

    /// How many namespaces there are.
    pub(crate) fn len(&self) -> usize {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Adds an adapter to a namespace; answers what to give to [`remove`](Self::remove).
    pub(crate) fn add(&self, path: &Str, server: Uid, form: Option<Form>, sockets: Weak<dyn Sockets>) -> u64 {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.change(path, |served| served.push(Served { key, server, form, sockets }));
        key
    }

    pub(crate) fn remove(&self, path: &Str, key: u64) {
        self.change(path, |served| served.retain(|served| served.key != key));
    }

    fn change(&self, path: &Str, change: impl FnOnce(&mut Vec<Served>)) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let mut served = namespaces.get(path).map(|held| held.served.clone()).unwrap_or_default();
        change(&mut served);
        if served.is_empty() {
            namespaces.remove(path);
        } else {
            namespaces.insert(path.clone(), Arc::new(Namespace { path: path.clone(), served }));
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_map().entries(namespaces.iter().map(|(path, held)| (path, held.served.len()))).finish()
    }
}
