//! Emitting from processes that have no sockets.

use std::future::Future;

use scaleout_cluster::{Caster, Target};
use scaleout_core::{Bus, Error, ErrorKind, Publish};
use serde::Serialize;
use socketioxide_core::{
    Str,
    adapter::{BroadcastFlags, BroadcastOptions, Room, RoomParam},
    packet::Packet,
    parser::Parse,
};
use socketioxide_parser_common::CommonParser;

use crate::{
    ScaleoutError,
    ctr::CLUSTER,
    op::{self, Kind},
    shared::SUBJECT,
};

/// Emits to the sockets of all nodes from a process that has none: a job, a command line tool, another service.
///
/// It is no member of the cluster: nobody counts it or waits for it. Any bus will do, one with
/// [`Role::PublishOnly`](scaleout_core::Role::PublishOnly) is the cheapest.
#[derive(Debug, Clone)]
pub struct Emitter<P = CommonParser> {
    caster: Caster,
    parser: P,
}

impl Emitter {
    /// Emits to the servers whose adapters are in the cluster `socketio` of `bus`, with the common parser.
    ///
    /// # Errors
    /// Those of [`Caster::new`].
    pub fn new(bus: &Bus) -> Result<Self, Error> {
        Self::on(bus, CLUSTER, CommonParser)
    }
}

impl<P: Parse> Emitter<P> {
    /// Emits to the servers whose adapters are in `cluster`, with the parser that they use.
    ///
    /// # Errors
    /// Those of [`Caster::new`].
    pub fn on(bus: &Bus, cluster: &str, parser: P) -> Result<Self, Error> {
        Ok(Self { caster: Caster::new(bus, cluster)?, parser })
    }

    /// All sockets of a namespace.
    pub fn of(&self, namespace: impl Into<String>) -> Selection<'_, P> {
        let mut options = BroadcastOptions::default();
        options.add_flag(BroadcastFlags::Broadcast);
        Selection { emitter: self, namespace: namespace.into().into(), options }
    }

    /// Sends an event to the servers themselves.
    ///
    /// It is on its way when this returns; the future tells when the store has it, and need not be awaited.
    ///
    /// # Errors
    /// [`ScaleoutError::Json`], [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn server_emit<T: ?Sized + Serialize>(
        &self,
        event: &str,
        data: &T,
    ) -> impl Future<Output = Result<(), ScaleoutError>> + Send + use<P, T> {
        let sent = serde_json::to_string(data).map(|json| self.cast(&op::server_event(event, &json)));
        async move { outcome(sent?.await) }
    }

    fn cast(&self, operation: &[u8]) -> Publish {
        self.caster.cast(SUBJECT, operation, Target::All)
    }
}

/// Sockets of a namespace, on all nodes.
///
/// What it does is on its way when the call returns; the futures tell when the store has it, and need not be awaited.
#[derive(Debug, Clone)]
#[must_use = "it does nothing by itself"]
pub struct Selection<'a, P = CommonParser> {
    emitter: &'a Emitter<P>,
    namespace: Str,
    options: BroadcastOptions,
}

impl<P: Parse> Selection<'_, P> {
    /// Only those in one of `rooms`, or of the rooms named before.
    pub fn to(mut self, rooms: impl RoomParam) -> Self {
        self.options.rooms.extend(rooms.into_room_iter());
        self
    }

    /// Not those in one of `rooms`.
    pub fn except(mut self, rooms: impl RoomParam) -> Self {
        self.options.except.extend(rooms.into_room_iter());
        self
    }

    /// Lets sockets that cannot take it at once go without.
    pub fn volatile(mut self) -> Self {
        self.options.add_flag(BroadcastFlags::Volatile);
        self
    }

    /// Emits an event.
    ///
    /// # Errors
    /// [`ScaleoutError::Encode`], [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn emit<T: ?Sized + Serialize>(
        self,
        event: impl AsRef<str>,
        data: &T,
    ) -> impl Future<Output = Result<(), ScaleoutError>> + Send + use<P, T> {
        let value = self.emitter.parser.encode_value(data, Some(event.as_ref()));
        let sent = value.map(|value| {
            let packet = Packet::event(self.namespace.clone(), value);
            self.emitter.cast(&op::broadcast(&self.namespace, &self.options, &packet))
        });
        async move { outcome(sent?.await) }
    }

    /// Lets the sockets join `rooms`.
    ///
    /// # Errors
    /// [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn join(self, rooms: impl RoomParam) -> impl Future<Output = Result<(), ScaleoutError>> + Send {
        self.change(Kind::Join, rooms)
    }

    /// Lets the sockets leave `rooms`.
    ///
    /// # Errors
    /// [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn leave(self, rooms: impl RoomParam) -> impl Future<Output = Result<(), ScaleoutError>> + Send {
        self.change(Kind::Leave, rooms)
    }

    /// Disconnects the sockets from the namespace.
    ///
    /// # Errors
    /// [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn disconnect(self) -> impl Future<Output = Result<(), ScaleoutError>> + Send {
        let sent = self.emitter.cast(&op::select(Kind::Disconnect, &self.namespace, &self.options));
        async move { outcome(sent.await) }
    }

    fn change(
        self,
        kind: Kind,
        rooms: impl RoomParam,
    ) -> impl Future<Output = Result<(), ScaleoutError>> + Send {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let sent = self.emitter.cast(&op::membership(kind, &self.namespace, &self.options, &rooms));
        async move { outcome(sent.await) }
    }
}

fn outcome(outcome: Result<(), Error>) -> Result<(), ScaleoutError> {
    outcome.map_err(|error| match error.kind() {
        ErrorKind::Unconfirmed => ScaleoutError::Unconfirmed(error),
        _ => ScaleoutError::NotSent(error),
    })
}
