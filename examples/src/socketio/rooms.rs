//! The namespace `/`: rooms, and who is in them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use socketioxide::{
    ParserError, SocketIo,
    adapter::Adapter,
    extract::{AckSender, Extension, SocketRef, TryData},
    operators::BroadcastOperators,
};

use crate::socketio::{
    answer::{Delivered, Refusal, answer, users},
    protocol::{
        Answer, Answers, Ask, File, Login, MAX_WAIT, Message, Name, Place, Say, SendFile, Show, Tell,
    },
};

/// Lets in who tells a name.
pub(super) async fn check<A: Adapter>(
    socket: SocketRef<A>,
    TryData(login): TryData<Login>,
) -> Result<(), ParserError> {
    socket.extensions.insert(login?.user);
    Ok(())
}

pub(super) async fn connected<A: Adapter>(
    socket: SocketRef<A>,
    io: SocketIo<A>,
    Extension(user): Extension<Name>,
) {
    // A room of its own, by which any node reaches this socket alone. The server of JavaScript does so by itself.
    socket.join(socket.id);
    socket.on("join", join);
    socket.on("leave", leave);
    socket.on("say", say);
    socket.on("typing", typing);
    socket.on("tell", tell);
    socket.on("file", file);
    socket.on("who", who);
    socket.on("ask", ask);
    socket.on("show", show);
    // What a client emits sooner than this meets no handler.
    let server = io.config().server_id.to_string();
    if let Err(error) = socket.emit("welcome", &json!({ "id": socket.id, "server": server, "user": user })) {
        tracing::debug!(%error, socket = %socket.id, "gone at once");
    }
}

async fn join<A: Adapter>(socket: SocketRef<A>, TryData(room): TryData<Name>, ack: AckSender<A>) {
    answer(
        ack,
        room.map_err(Refusal::from).map(|room| {
            socket.join(room.room());
            rooms_of(&socket)
        }),
    );
}

async fn leave<A: Adapter>(socket: SocketRef<A>, TryData(room): TryData<Name>, ack: AckSender<A>) {
    answer(
        ack,
        room.map_err(Refusal::from).map(|room| {
            socket.leave(room.room());
            rooms_of(&socket)
        }),
    );
}

fn rooms_of<A: Adapter>(socket: &SocketRef<A>) -> Value {
    let mut rooms: Vec<_> = socket.rooms().iter().filter_map(|room| Name::of_room(room)).collect();
    rooms.sort();
    json!({ "rooms": rooms })
}

async fn say<A: Adapter>(
    io: SocketIo<A>,
    Extension(user): Extension<Name>,
    TryData(said): TryData<Say>,
    ack: AckSender<A>,
) {
    let outcome = async {
        let Say { room, text, except } = said?;
        let message = Message { room: &room, user: &user, text: &text };
        let mut to = users(&io)?.to(room.room());
        if let Some(except) = except {
            to = to.except(except.room());
        }
        Delivered::of(to.emit("message", &message).await)
    };
    answer(ack, outcome.await);
}

async fn typing<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<Name>,
    TryData(room): TryData<Name>,
) {
    let Ok(room) = room else { return };
    let told = json!({ "room": room, "user": user });
    if let Err(error) = socket.to(room.room()).volatile().emit("typing", &told).await {
        tracing::debug!(%error, "not told that somebody types");
    }
}

async fn tell<A: Adapter>(
    socket: SocketRef<A>,
    io: SocketIo<A>,
    Extension(user): Extension<Name>,
    TryData(told): TryData<Tell>,
    ack: AckSender<A>,
) {
    let outcome = async {
        let Tell { to, text } = told?;
        let told = json!({ "from": socket.id, "user": user, "text": text });
        Delivered::of(users(&io)?.to(to).emit("told", &told).await)
    };
    answer(ack, outcome.await);
}

async fn file<A: Adapter>(
    io: SocketIo<A>,
    Extension(user): Extension<Name>,
    TryData(sent): TryData<SendFile>,
    ack: AckSender<A>,
) {
    let outcome = async {
        let SendFile { room, name, data } = sent?;
        let file = File { room: &room, user: &user, name: &name, data: &data };
        Delivered::of(users(&io)?.to(room.room()).emit("file", &file).await)
    };
    answer(ack, outcome.await);
}

async fn who<A: Adapter>(io: SocketIo<A>, TryData(room): TryData<Option<Name>>, ack: AckSender<A>) {
    let outcome = async {
        let sockets = match room? {
            Some(room) => users(&io)?.to(room.room()).fetch_sockets().await,
            None => users(&io)?.fetch_sockets().await,
        };
        let mut sockets: Vec<_> = sockets
            .map_err(Refusal::new)?
            .iter()
            .map(|socket| {
                let data = socket.data();
                Place { id: data.id, server: data.server_id.to_string() }
            })
            .collect();
        sockets.sort_by_key(|place| place.id);
        Ok(json!({ "sockets": sockets }))
    };
    answer(ack, outcome.await);
}

async fn ask<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<Name>,
    TryData(asked): TryData<Ask>,
    ack: AckSender<A>,
) {
    let outcome = async {
        let Ask { room, question, wait_ms } = asked?;
        let question = json!({ "user": user, "question": question });
        answers::<A, Value>(socket.to(room.room()), wait_ms, "question", &question).await
    };
    answer(ack, outcome.await);
}

async fn show<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<Name>,
    TryData(asked): TryData<Show>,
    ack: AckSender<A>,
) {
    let outcome = async {
        let Show { room, wait_ms } = asked?;
        answers::<A, Bytes>(socket.to(room.room()), wait_ms, "show", &json!({ "user": user })).await
    };
    answer(ack, outcome.await);
}

/// Emits to sockets of all nodes, and waits until each has answered, or is gone, or the time is over.
async fn answers<A: Adapter, T: DeserializeOwned>(
    asked: BroadcastOperators<A>,
    wait_ms: u64,
    event: &str,
    data: &impl Serialize,
) -> Result<Answers<T>, Refusal> {
    let asked = asked.timeout(Duration::from_millis(wait_ms).min(MAX_WAIT));
    let stream = asked.emit_with_ack::<_, T>(event, data).await.map_err(Refusal::new)?;
    let mut stream = std::pin::pin!(stream);
    let mut told = Answers { answers: Vec::new(), silent: Vec::new() };
    while let Some((id, answer)) = stream.next().await {
        match answer {
            Ok(answer) => told.answers.push(Answer { id, answer }),
            Err(error) => {
                tracing::debug!(%error, socket = %id, "no answer");
                told.silent.push(id);
            }
        }
    }
    Ok(told)
}
