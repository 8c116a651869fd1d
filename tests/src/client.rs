//! A client of the chat, as anybody could write it: WebSockets, JSON and a little HTTP.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::DEADLINE;

/// A WebSocket to a node, and the cursor that came last.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The last cursor that the node sent.
    pub cursor: String,
}

/// What a client was sent.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A message of the protocol.
    Json(Value),
    /// The node closed the connection, with the code of its close frame where there was one.
    Closed(Option<u16>),
}

impl Client {
    /// Connects without waiting for anything; `query` is the part of the URL behind the question mark.
    pub async fn connect(node: SocketAddr, query: &str) -> Self {
        let url = format!("ws://{node}/ws?{query}");
        let (socket, _) = timeout(DEADLINE, tokio_tungstenite::connect_async(url))
            .await
            .expect("the node answers in time")
            .expect("the node accepts a WebSocket");
        Self { socket, cursor: String::new() }
    }

    /// Enters a room from now on, and waits for the greeting.
    pub async fn join(node: SocketAddr, room: &str, user: &str) -> Self {
        let mut client = Self::connect(node, &format!("room={room}&user={user}")).await;
        client.expect("hello").await;
        client
    }

    /// Enters a room from where `cursor` stands, and waits for the greeting.
    pub async fn resume(node: SocketAddr, room: &str, user: &str, cursor: &str) -> Self {
        let mut client = Self::connect(node, &format!("room={room}&user={user}&cursor={cursor}")).await;
        client.expect("hello").await;
        client
    }

    /// Says something in the room.
    pub async fn say(&mut self, text: &str) {
        self.send(Message::text(serde_json::json!({ "text": text }).to_string())).await;
    }

    /// Sends a WebSocket message as it is.
    pub async fn send(&mut self, message: Message) {
        timeout(DEADLINE, self.socket.send(message))
            .await
            .expect("sent in time")
            .expect("the connection stands");
    }

    /// What comes next.
    pub async fn hear(&mut self) -> Heard {
        timeout(DEADLINE, self.hear_any()).await.expect("something was expected from the node")
    }

    async fn hear_any(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(json))) => {
                    let json: Value = serde_json::from_str(&json).expect("a node sends JSON");
                    if let Some(cursor) = json["cursor"].as_str() {
                        self.cursor = cursor.to_owned();
                    }
                    return Heard::Json(json);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// The next message of `kind`; only cursors and states of the store may come before it.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match timeout_at(deadline, self.hear_any()).await {
                Ok(Heard::Json(json)) if json["type"] == kind => return json,
                Ok(Heard::Json(json)) if json["type"] == "cursor" || json["type"] == "store" => {}
                other => panic!("a {kind} was expected, not {:.300}", format!("{other:?}")),
            }
        }
    }

    /// The next message's text; only cursors and states of the store may come before it.
    ///
    /// # Panics
    /// When something else comes, a gap for instance.
    pub async fn text(&mut self) -> String {
        self.expect("message").await["text"].as_str().expect("a message has a text").to_owned()
    }

    /// Waits until the node has read all that was sent: it answers in order what it does not understand.
    pub async fn reached(&mut self) {
        self.send(Message::text("no JSON")).await;
        self.expect("error").await;
    }

    /// Waits for the end of the connection, and answers its code; whatever comes before is read over.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }
}

/// `GET path`: the status and the body.
pub async fn get(node: SocketAddr, path: &str) -> (u16, String) {
    let exchange = async {
        let mut socket = TcpStream::connect(node).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {node}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        socket.read_to_string(&mut response).await?;
        Ok::<_, std::io::Error>(response)
    };
    let response = timeout(DEADLINE, exchange).await.expect("answered in time").expect("the node answers");
    let (head, body) = response.split_once("\r\n\r\n").expect("a response has a head and a body");
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a response has a status");
    (status, body.to_owned())
}
