//! Emitting from processes that have no sockets.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

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
    /// It is on its way when this returns, and the future tells when the store has it.
    ///
    /// # Errors
    /// [`ScaleoutError::Json`], [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn server_emit<T: ?Sized + Serialize>(&self, event: &str, data: &T) -> Sent {
        Sent(match serde_json::to_string(data) {
            Ok(json) => Ok(self.cast(&op::server_event(event, &json))),
            Err(error) => Err(Some(error.into())),
        })
    }

    fn cast(&self, operation: &[u8]) -> Publish {
        self.caster.cast(SUBJECT, operation, Target::All)
    }
}

/// Sockets of a namespace, on all nodes.
///
/// What it does is on its way when the call returns, and the futures tell when the store has it.
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
    pub fn emit<T: ?Sized + Serialize>(self, event: impl AsRef<str>, data: &T) -> Sent {
        let value = match self.emitter.parser.encode_value(data, Some(event.as_ref())) {
            Ok(value) => value,
            Err(error) => return Sent(Err(Some(error.into()))),
        };
        let packet = Packet::event(self.namespace.clone(), value);
        self.send(&op::broadcast(&self.namespace, &self.options, &packet))
    }

    /// Lets the sockets join `rooms`.
    ///
    /// # Errors
    /// [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn join(self, rooms: impl RoomParam) -> Sent {
        self.change(Kind::Join, rooms)
    }

    /// Lets the sockets leave `rooms`.
    ///
    /// # Errors
    /// [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn leave(self, rooms: impl RoomParam) -> Sent {
        self.change(Kind::Leave, rooms)
    }

    /// Disconnects the sockets from the namespace.
    ///
    /// # Errors
    /// [`ScaleoutError::NotSent`] and [`ScaleoutError::Unconfirmed`].
    pub fn disconnect(self) -> Sent {
        self.send(&op::select(Kind::Disconnect, &self.namespace, &self.options))
    }

    fn change(self, kind: Kind, rooms: impl RoomParam) -> Sent {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        self.send(&op::membership(kind, &self.namespace, &self.options, &rooms))
    }

    fn send(&self, operation: &[u8]) -> Sent {
        Sent(Ok(self.emitter.cast(operation)))
    }
}

/// What becomes of something that is on its way: ready when the store has it. Dropping it withdraws nothing.
#[derive(Debug)]
#[must_use = "it is on its way, but its failure would go unnoticed"]
pub struct Sent(Result<Publish, Option<ScaleoutError>>);

impl Future for Sent {
    type Output = Result<(), ScaleoutError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(publish) => Pin::new(publish).poll(cx).map(outcome),
            Err(error) => Poll::Ready(Err(error.take().expect("`Sent` is not polled after it is ready"))),
        }
    }
}

fn outcome(outcome: Result<(), Error>) -> Result<(), ScaleoutError> {
    outcome.map_err(|error| match error.kind() {
        ErrorKind::Unconfirmed => ScaleoutError::Unconfirmed(error),
        _ => ScaleoutError::NotSent(error),
    })
}
