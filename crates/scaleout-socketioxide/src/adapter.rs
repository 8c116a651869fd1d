//! The adapter of one namespace.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream::SelectAll;
use scaleout_cluster::{Replies, Target};
use socketioxide_core::{
    Uid,
    adapter::{
        BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, RemoteSocketData, Room, RoomParam,
        SocketEmitter, Spawnable, errors::BroadcastError,
    },
    packet::Packet,
    parser::Parse,
};

use crate::{
    AckStream, Partial, ScaleoutCtr, ScaleoutError,
    op::{self, Kind},
    registry::{Form, Namespace},
    requests::request_error,
    shared::{Route, SUBJECT, Shared},
};

/// Joins a namespace of this process with those of the same path on all nodes.
///
/// It is given to socketioxide by type, with a [`ScaleoutCtr`] as its state:
/// `SocketIo::builder().with_adapter::<ScaleoutAdapter<_>>(ctr)`.
pub struct ScaleoutAdapter<E: SocketEmitter> {
    shared: Arc<Shared>,
    local: Arc<CoreLocalAdapter<E>>,
    /// What the registry knows this adapter by, from `init` to `close`. Held only while that changes.
    key: Mutex<Option<u64>>,
}

impl<E: SocketEmitter> DefinedAdapter for ScaleoutAdapter<E> {}

impl<E: SocketEmitter> CoreAdapter<E> for ScaleoutAdapter<E> {
    type Error = ScaleoutError;
    type State = ScaleoutCtr;
    type AckStream = AckStream<E>;
    type InitRes = Init;

    fn new(ctr: &ScaleoutCtr, local: CoreLocalAdapter<E>) -> Self {
        Self { shared: Arc::clone(ctr.shared()), local: Arc::new(local), key: Mutex::new(None) }
    }

    /// Ready at once, whatever the backplane does. Nothing is left to the future: socketioxide serves sockets of several
    /// adapters of one namespace where this takes time.
    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) -> Init {
        let sockets = Arc::downgrade(&self.local);
        // The two kinds of parsers cannot encode each other's values.
        let sample = self.local.parser().encode_value(&(), None).ok();
        let form = sample.map(|value| Form::of(&value));
        let key = self.shared.registry.add(self.local.path(), self.local.server_id(), form, sockets);
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        on_success();
        Init(())
    }

    /// Done when it is first polled: socketioxide does not poll it again.
    async fn close(&self) -> Result<(), ScaleoutError> {
        self.leave_registry();
        Ok(())
    }

    /// The members of the cluster, this node included; those without this namespace as well.
    async fn server_count(&self) -> Result<u16, ScaleoutError> {
        // This node is one from the start.
        let members = self.shared.cluster.members().len().max(1);
        Ok(members.try_into().unwrap_or(u16::MAX))
    }

    async fn broadcast(&self, packet: Packet, options: BroadcastOptions) -> Result<(), BroadcastError> {
        let path = self.path();
        let Route { here, there } = self.shared.route(path, &options)?;
        let sent = there.map(|target| (op::broadcast(path, &options, &packet), target));
        let local = match (here, self.shared.registry.get(path)) {
            (true, Some(namespace)) => namespace.broadcast(packet, options),
            _ => Ok(()),
        };
        let remote = self.send(sent, here).await;
        self.shared.tell(local, remote)
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        options: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<AckStream<E>, ScaleoutError> {
        let path = self.path();
        let Route { here, there } = self.shared.route(path, &options)?;
        let timeout = timeout.unwrap_or_else(|| self.local.ack_timeout());
        let sent = there.map(|target| {
            let operation = op::broadcast_with_ack(path, &options, timeout, &packet);
            (operation, target)
        });
        let mut siblings = SelectAll::new();
        if here && let Some(namespace) = self.shared.registry.get(path) {
            let key = *self.key.lock().unwrap_or_else(PoisonError::into_inner);
            (siblings, _) = namespace.broadcast_with_ack(&packet, &options, timeout, key);
        }
        let server = options.server_id;
        let meant = here && server.is_none_or(|server| server == self.local.server_id());
        let local = meant.then(|| self.local.broadcast_with_ack(packet, options, Some(timeout)).0);
        let remote = match sent {
            Some((operation, target)) => self.ask_for_acks(&operation, target, timeout, server)?,
            None => None,
        };
        Ok(AckStream::new(Arc::clone(&self.shared), local, siblings, remote))
    }

    async fn disconnect_socket(&self, options: BroadcastOptions) -> Result<(), BroadcastError> {
        let path = self.path();
        let Route { here, there } = self.shared.route(path, &options)?;
        let sent = there.map(|target| (op::select(Kind::Disconnect, path, &options), target));
        let local = match (here, self.shared.registry.get(path)) {
            (true, Some(namespace)) => namespace.disconnect(&options),
            _ => Ok(()),
        };
        let remote = self.send(sent, here).await;
        self.shared.tell(local, remote)
    }

    async fn add_sockets(
        &self,
        options: BroadcastOptions,
        rooms: impl RoomParam,
    ) -> Result<(), ScaleoutError> {
        self.change_rooms(Kind::Join, options, rooms, Namespace::join).await
    }

    async fn del_sockets(
        &self,
        options: BroadcastOptions,
        rooms: impl RoomParam,
    ) -> Result<(), ScaleoutError> {
        self.change_rooms(Kind::Leave, options, rooms, Namespace::leave).await
    }

    async fn rooms(&self, options: BroadcastOptions) -> Result<Vec<Room>, ScaleoutError> {
        self.shared.rooms(self.path(), &options).await
    }

    async fn fetch_sockets(&self, options: BroadcastOptions) -> Result<Vec<RemoteSocketData>, ScaleoutError> {
        let fetched = self.shared.fetch(self.path(), &options).await?;
        self.shared.check_complete(fetched.complete, fetched.missing)?;
        Ok(fetched.sockets)
    }

    fn get_local(&self) -> &CoreLocalAdapter<E> {
        &self.local
    }
}

impl<E: SocketEmitter> ScaleoutAdapter<E> {
    fn path(&self) -> &str {
        self.local.path()
    }

    async fn change_rooms(
        &self,
        kind: Kind,
        options: BroadcastOptions,
        rooms: impl RoomParam,
        change: fn(&Namespace, &BroadcastOptions, &[Room]),
    ) -> Result<(), ScaleoutError> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let path = self.path();
        let Route { here, there } = self.shared.route(path, &options)?;
        if here && let Some(namespace) = self.shared.registry.get(path) {
            change(&namespace, &options, &rooms);
        }
        let sent = there.map(|target| (op::membership(kind, path, &options, &rooms), target));
        self.send(sent, here).await
    }

    async fn send(&self, sent: Option<(Vec<u8>, Target)>, here: bool) -> Result<(), ScaleoutError> {
        match sent {
            Some((operation, target)) => self.shared.send(&operation, target, here).await,
            None => Ok(()),
        }
    }

    /// Asks for acks; where that cannot be done and partial answers are accepted, there are those of this node alone.
    fn ask_for_acks(
        &self,
        operation: &[u8],
        target: Target,
        timeout: Duration,
        server: Option<Uid>,
    ) -> Result<Option<Replies>, ScaleoutError> {
        self.shared.counts.published.add(1);
        let deadline = timeout.saturating_add(self.shared.config.request_timeout);
        match self.shared.cluster.request(SUBJECT, operation, target, deadline) {
            Ok(replies) => Ok(Some(replies)),
            Err(error) if self.shared.config.partial == Partial::Accept && server.is_none() => {
                self.shared.counts.partial_answers.add(1);
                tracing::warn!(%error, "other nodes could not be asked for acks");
                Ok(None)
            }
            Err(error) => Err(request_error(error, server)),
        }
    }

    fn leave_registry(&self) {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(key) = key {
            self.shared.registry.remove(self.local.path(), key);
        }
    }
}

/// Adapters that socketioxide replaced are dropped without a close.
impl<E: SocketEmitter> Drop for ScaleoutAdapter<E> {
    fn drop(&mut self) {
        self.leave_registry();
    }
}

impl<E: SocketEmitter> fmt::Debug for ScaleoutAdapter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScaleoutAdapter")
            .field("namespace", &self.path())
            .field("node", &self.shared.cluster.node())
            .finish_non_exhaustive()
    }
}

/// The outcome of adding a namespace, which is ready already: awaiting it costs nothing, and it cannot fail.
#[derive(Debug)]
pub struct Init(());

impl Future for Init {
    type Output = Result<(), Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

impl Spawnable for Init {
    fn spawn(self) {}
}
