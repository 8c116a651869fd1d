//! A client that speaks Engine.IO 4 over WebSocket, over a pipe.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::world::{Pipe, soon};

pub(crate) struct Client {
    socket: WebSocketStream<DuplexStream>,
    path: String,
    /// Empty for those that speak MessagePack.
    pub(crate) sid: String,
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Bytes(Bytes),
}

impl Client {
    /// Connects to a namespace.
    pub(crate) async fn connect(pipe: &Pipe, path: &str) -> Self {
        let mut client = Self::open(pipe, path).await;
        let (hello, prefix) = match path {
            "/" => ("40".to_owned(), "0".to_owned()),
            path => (format!("40{path},"), format!("0{path},")),
        };
        client.send(&hello).await;
        let Got::Text(text) = client.raw().await else { panic!("the answer is text") };
        let json = text.strip_prefix(&prefix).unwrap_or_else(|| panic!("not connected: {text}"));
        let answer: serde_json::Value = serde_json::from_str(json).expect("JSON");
        client.sid = answer["sid"].as_str().expect("an id").to_owned();
        client
    }

    /// Connects to `/`, with the parser of MessagePack.
    pub(crate) async fn connect_by_msgpack(pipe: &Pipe) -> Self {
        let mut client = Self::open(pipe, "/").await;
        // {"type": 0, "nsp": "/", "data": {}}
        let hello = b"\x83\xA4type\x00\xA3nsp\xA1/\xA4data\x80";
        soon(client.socket.send(Message::binary(Bytes::from_static(hello)))).await.expect("it is open");
        let Got::Bytes(_) = client.raw().await else { panic!("the answer is MessagePack") };
        client
    }

    async fn open(pipe: &Pipe, path: &str) -> Self {
        let (here, there) = tokio::io::duplex(1 << 20);
        pipe(there);
        let socket = WebSocketStream::from_raw_socket(here, Role::Client, None).await;
        let mut client = Self { socket, path: path.to_owned(), sid: String::new() };
        let Some(Ok(Message::Text(open))) = soon(client.socket.next()).await else { panic!("not opened") };
        assert!(open.starts_with('0'), "{open}");
        client
    }

    /// The next packet, without the digit that says that it is one.
    pub(crate) async fn raw(&mut self) -> Got {
        loop {
            match soon(self.socket.next()).await.expect("it is open").expect("it is open") {
                Message::Text(text) if text.as_str() == "2" => self.send("3").await,
                Message::Text(text) => {
                    return Got::Text(text.strip_prefix('4').expect("a packet").to_owned());
                }
                Message::Binary(bytes) => return Got::Bytes(bytes),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next event's JSON, whose namespace must be this client's.
    pub(crate) async fn event(&mut self) -> String {
        let (id, json) = self.packet("2").await;
        assert_eq!(id, "", "no ack is asked for");
        json
    }

    /// Expects an event of one text next.
    pub(crate) async fn expect(&mut self, event: &str, data: &str) {
        assert_eq!(self.event().await, format!(r#"["{event}","{data}"]"#));
    }

    /// The next event that asks for an ack: what answers it, and its JSON.
    pub(crate) async fn question(&mut self) -> (String, String) {
        let (id, json) = self.packet("2").await;
        assert_ne!(id, "", "an ack is asked for");
        (id, json)
    }

    /// Answers a question, with the JSON of a list.
    pub(crate) async fn answer(&mut self, id: &str, json: &str) {
        let path = self.prefix();
        self.send(&format!("43{path}{id}{json}")).await;
    }

    /// Answers a question with bytes.
    pub(crate) async fn answer_bytes(&mut self, id: &str, bytes: Bytes) {
        let path = self.prefix();
        self.send(&format!(r#"461-{path}{id}[{{"_placeholder":true,"num":0}}]"#)).await;
        soon(self.socket.send(Message::binary(bytes))).await.expect("it is open");
    }

    /// Expects to be disconnected next.
    pub(crate) async fn disconnected(&mut self) {
        let path = self.prefix();
        assert_eq!(self.raw().await, Got::Text(format!("1{path}")));
    }

    async fn send(&mut self, text: &str) {
        soon(self.socket.send(Message::text(text))).await.expect("it is open");
    }

    async fn packet(&mut self, kind: &str) -> (String, String) {
        let Got::Text(text) = self.raw().await else { panic!("text is expected") };
        let prefix = format!("{kind}{}", self.prefix());
        let rest = text.strip_prefix(&prefix).unwrap_or_else(|| panic!("another packet: {text}"));
        let start = rest.find('[').expect("a list");
        (rest[..start].to_owned(), rest[start..].to_owned())
    }

    fn prefix(&self) -> String {
        match self.path.as_str() {
            "/" => String::new(),
            path => format!("{path},"),
        }
    }
}
