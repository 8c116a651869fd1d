//! A client of server-sent events, as anybody could write it: HTTP and lines of text.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    time::timeout,
};

use crate::DEADLINE;

/// A stream of events from a node, and the id that came last.
#[derive(Debug)]
pub struct Events {
    lines: Lines<BufReader<TcpStream>>,
    /// The id of the last event: what a browser says as `Last-Event-ID` when it comes back.
    pub last_id: String,
}

/// What a node tells.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// Its type.
    pub kind: String,
    /// Its data.
    pub data: Value,
}

impl Events {
    /// Asks a node for a user's events from now on, and waits for the greeting.
    pub async fn of(node: SocketAddr, user: &str) -> Self {
        let mut events = Self::open(node, user, None).await;
        assert_eq!(events.expect("hello").await["user"], user);
        events
    }

    /// Asks a node for what came after the event of this id, and waits for the greeting.
    pub async fn after(node: SocketAddr, user: &str, last_id: &str) -> Self {
        let mut events = Self::open(node, user, Some(last_id)).await;
        events.expect("hello").await;
        events
    }

    /// Asks a node for a user's events, and waits for nothing but the status.
    ///
    /// # Panics
    /// Where the status is not 200.
    pub async fn open(node: SocketAddr, user: &str, last_id: Option<&str>) -> Self {
        let header = last_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        // Of HTTP/1.0, so that the answer comes as it is, and not in chunks.
        let request = format!("GET /events?user={user} HTTP/1.0\r\nhost: {node}\r\n{header}\r\n");
        let exchange = async {
            let mut socket = TcpStream::connect(node).await?;
            socket.write_all(request.as_bytes()).await?;
            let mut lines = BufReader::new(socket).lines();
            let mut head = Vec::new();
            while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
                head.push(line);
            }
            Ok::<_, std::io::Error>((lines, head))
        };
        let (lines, head) = timeout(DEADLINE, exchange).await.expect("answered in time").expect("it answers");
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        Self { lines, last_id: String::new() }
    }

    /// What is told next; `None` once the node has ended the stream.
    pub async fn next(&mut self) -> Option<Told> {
        timeout(DEADLINE, self.next_any()).await.expect("something was expected from the node")
    }

    async fn next_any(&mut self) -> Option<Told> {
        let (mut kind, mut data) = (String::new(), String::new());
        // A connection that breaks ends a stream as well.
        while let Ok(Some(line)) = self.lines.next_line().await {
            match line.split_once(": ") {
                Some(("event", value)) => kind = value.to_owned(),
                Some(("id", value)) => self.last_id = value.to_owned(),
                Some(("data", value)) => data.push_str(value),
                _ if line.is_empty() && !data.is_empty() => {
                    return Some(Told {
                        kind,
                        data: serde_json::from_str(&data).expect("a node tells JSON"),
                    });
                }
                // A comment, or how soon to come back.
                _ => {}
            }
        }
        None
    }

    /// The data of the next event of `kind`; only cursors may come before it.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Some(told) if told.kind == kind => return told.data,
                Some(told) if told.kind == "cursor" => {}
                other => panic!("a {kind} was expected, not {other:?}"),
            }
        }
    }

    /// The text of the next notification; only cursors may come before it.
    ///
    /// # Panics
    /// When something else comes, a gap for instance.
    pub async fn text(&mut self) -> String {
        self.expect("done").await["text"].as_str().expect("a notification has a text").to_owned()
    }

    /// Expects these notifications.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn texts(&mut self, expected: &[String]) {
        for text in expected {
            assert_eq!(self.text().await, *text);
        }
    }

    /// Waits until the node ends the stream; whatever comes before is read over.
    pub async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }
}
