//! The namespace `/admin`: what reaches into the rooms of all nodes.

use std::fmt;

use serde_json::json;
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{AckSender, SocketRef, State, TryData},
};

use crate::socketio::{
    answer::{Delivered, Refusal, answer},
    protocol::{Kick, Move, Name, Pass, Text},
};

/// What opens the namespace; `None`: nothing does.
#[derive(Clone)]
pub(super) struct Token(pub(super) Option<String>);

/// What a client without the token is told.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong token")
    }
}

pub(super) async fn check(State(token): State<Token>, TryData(pass): TryData<Pass>) -> Result<(), Refused> {
    match (token.0, pass) {
        (Some(token), Ok(pass)) if token == pass.token => Ok(()),
        _ => Err(Refused),
    }
}

pub(super) async fn connected<A: Adapter>(socket: SocketRef<A>) {
    socket.on("rooms", rooms);
    socket.on("announce", announce);
    socket.on("move", move_socket);
    socket.on("kick", kick);
    // What a client emits sooner than this meets no handler.
    if let Err(error) = socket.emit("welcome", &json!({ "id": socket.id })) {
        tracing::debug!(%error, socket = %socket.id, "gone at once");
    }
}

async fn rooms<A: Adapter>(io: SocketIo<A>, ack: AckSender<A>) {
    let rooms = io.rooms().await.map_err(Refusal::new);
    answer(
        ack,
        rooms.map(|rooms| {
            let mut names: Vec<_> = rooms.iter().filter_map(|room| Name::of_room(room)).collect();
            names.sort();
            json!({ "rooms": names })
        }),
    );
}

async fn announce<A: Adapter>(io: SocketIo<A>, TryData(texts): TryData<Vec<Text>>, ack: AckSender<A>) {
    let outcome = async {
        let mut delivered = Delivered::Everywhere;
        for text in texts? {
            delivered = Delivered::of(io.emit("announced", text.as_str()).await)?;
        }
        Ok(delivered)
    };
    answer(ack, outcome.await);
}

/// The socket is in the room before the room is told, wherever it is.
async fn move_socket<A: Adapter>(io: SocketIo<A>, TryData(asked): TryData<Move>, ack: AckSender<A>) {
    let outcome = async {
        let Move { id, from, to } = asked?;
        io.to(id).join(to.room()).await.map_err(Refusal::new)?;
        if let Some(from) = from {
            io.to(id).leave(from.room()).await.map_err(Refusal::new)?;
        }
        Delivered::of(io.to(to.room()).emit("moved", &json!({ "room": to, "id": id })).await)?;
        Ok(json!({ "moved": true }))
    };
    answer(ack, outcome.await);
}

/// The socket learns why, and then it is disconnected.
async fn kick<A: Adapter>(io: SocketIo<A>, TryData(asked): TryData<Kick>, ack: AckSender<A>) {
    let outcome = async {
        let Kick { id, why } = asked?;
        Delivered::of(io.to(id).emit("kicked", why.as_str()).await)?;
        io.to(id).disconnect().await.map_err(Refusal::new)?;
        Ok(json!({ "kicked": true }))
    };
    answer(ack, outcome.await);
}
