//! The namespace `/admin`: what reaches into the rooms of all nodes.

use std::fmt;

use scaleout::NodeId;
use scaleout_socketioxide::{EventRegistration, ScaleoutCtr, ServerAnswers};
use serde_json::json;
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{AckSender, SocketRef, State, TryData},
};

use crate::socketio::{
    answer::{Delivered, Refusal, answer, users},
    protocol::{Kick, Move, Name, Pass, Text},
};

/// The event by which nodes ask each other how many sockets they have.
const SOCKETS: &str = "sockets";

/// What the handlers of this namespace share.
#[derive(Clone)]
pub(super) struct Admin {
    /// What opens the namespace; `None`: nothing does.
    pub(super) token: Option<String>,
    pub(super) ctr: ScaleoutCtr,
}

/// What a client without the token is told.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong token")
    }
}

pub(super) async fn check(State(admin): State<Admin>, TryData(pass): TryData<Pass>) -> Result<(), Refused> {
    match (admin.token, pass) {
        (Some(token), Ok(pass)) if token == pass.token => Ok(()),
        _ => Err(Refused),
    }
}

pub(super) async fn connected<A: Adapter>(socket: SocketRef<A>) {
    socket.on("nodes", nodes);
    socket.on("rooms", rooms);
    socket.on("announce", announce);
    socket.on("move", move_socket);
    socket.on("kick", kick);
    // What a client emits sooner than this meets no handler.
    if let Err(error) = socket.emit("welcome", &json!({ "id": socket.id })) {
        tracing::debug!(%error, socket = %socket.id, "gone at once");
    }
}

/// Asks the other nodes, by an event that no client sees.
async fn nodes<A: Adapter>(State(admin): State<Admin>, io: SocketIo<A>, ack: AckSender<A>) {
    let outcome = async {
        let own = (admin.ctr.cluster().node(), sockets(&io));
        let timeout = admin.ctr.config().request_timeout;
        let others = admin.ctr.server_emit_with_ack::<_, usize>(SOCKETS, &(), timeout).await;
        let ServerAnswers { answers, complete, .. } = others.map_err(Refusal::new)?;
        let mut nodes: Vec<_> = answers.into_iter().chain([own]).collect();
        nodes.sort();
        let told =
            |(node, sockets): &(NodeId, usize)| json!({ "node": node.to_string(), "sockets": sockets });
        let nodes: Vec<_> = nodes.iter().map(told).collect();
        Ok(json!({ "nodes": nodes, "complete": complete }))
    };
    answer(ack, outcome.await);
}

/// Tells other nodes how many sockets this one has, for as long as what it returns lives.
pub(super) fn count_sockets<A: Adapter>(ctr: &ScaleoutCtr, io: SocketIo<A>) -> EventRegistration {
    ctr.on_server_event(SOCKETS, move |event| {
        if let Err(error) = event.answer(&sockets(&io)) {
            tracing::warn!(%error, "not answered");
        }
    })
}

/// How many sockets `/` has on this node.
fn sockets<A: Adapter>(io: &SocketIo<A>) -> usize {
    io.of("/").map_or(0, |namespace| namespace.sockets().len())
}

async fn rooms<A: Adapter>(io: SocketIo<A>, ack: AckSender<A>) {
    let outcome = async {
        let rooms = users(&io)?.rooms().await.map_err(Refusal::new)?;
        let mut names: Vec<_> = rooms.iter().filter_map(|room| Name::of_room(room)).collect();
        names.sort();
        Ok(json!({ "rooms": names }))
    };
    answer(ack, outcome.await);
}

async fn announce<A: Adapter>(io: SocketIo<A>, TryData(texts): TryData<Vec<Text>>, ack: AckSender<A>) {
    let outcome = async {
        let mut delivered = Delivered::Everywhere;
        for text in texts? {
            delivered = Delivered::of(users(&io)?.emit("announced", text.as_str()).await)?;
        }
        Ok(delivered)
    };
    answer(ack, outcome.await);
}

/// The socket is in the room before the room is told, wherever it is.
async fn move_socket<A: Adapter>(io: SocketIo<A>, TryData(asked): TryData<Move>, ack: AckSender<A>) {
    let outcome = async {
        let Move { id, from, to } = asked?;
        users(&io)?.to(id).join(to.room()).await.map_err(Refusal::new)?;
        if let Some(from) = from {
            users(&io)?.to(id).leave(from.room()).await.map_err(Refusal::new)?;
        }
        Delivered::of(users(&io)?.to(to.room()).emit("moved", &json!({ "room": to, "id": id })).await)?;
        Ok(json!({ "moved": true }))
    };
    answer(ack, outcome.await);
}

/// The socket learns why, and then it is disconnected.
async fn kick<A: Adapter>(io: SocketIo<A>, TryData(asked): TryData<Kick>, ack: AckSender<A>) {
    let outcome = async {
        let Kick { id, why } = asked?;
        Delivered::of(users(&io)?.to(id).emit("kicked", why.as_str()).await)?;
        users(&io)?.to(id).disconnect().await.map_err(Refusal::new)?;
        Ok(json!({ "kicked": true }))
    };
    answer(ack, outcome.await);
}
