//! One client on one node: a WebSocket and a subscription.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use axum::extract::ws::{CloseCode, CloseFrame, Message as Frame, WebSocket, close_code};
use futures_util::{
    SinkExt, StreamExt,
    stream::{FuturesUnordered, SplitSink, SplitStream},
};
use scaleout::{Cursor, Publish, Received, StateWatch, StreamIndex, StreamState, Subscription};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::chat::{
    protocol::{Place, Query, Spoken, ToClient, text_of},
    server::Node,
};

/// Messages of one client that may wait for the backplane; no more of it is read until one is answered.
const MAX_UNANSWERED: usize = 64;
/// A client that takes nothing for so long is given up; its cursor lets it return.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that is silent for so long, pings unanswered, is gone.
const SILENCE: Duration = Duration::from_secs(45);
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// What a client gets to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a session ends: the code and the reason of the close frame, or the client is gone.
type End = Option<(CloseCode, &'static str)>;

/// Serves a client until it leaves or the node stops.
pub(super) async fn run(
    socket: WebSocket,
    node: Arc<Node>,
    query: Query,
    mut stopping: watch::Receiver<bool>,
) {
    let (mut outbox, mut inbox) = socket.split();
    let end = tokio::select! {
        end = serve(&mut outbox, &mut inbox, &node, &query) => end,
        _ = stopping.wait_for(|stopping| *stopping) => Some((close_code::RESTART, "the node stops; reconnect to another")),
    };
    let Some((code, reason)) = end else { return };
    let leave = async {
        outbox.send(Frame::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
        // Dropping a socket with unread input resets it, and the client may never see the close frame.
        while inbox.next().await.is_some_and(|frame| frame.is_ok()) {}
        Ok::<_, axum::Error>(())
    };
    let _ = timeout(CLOSE_TIMEOUT, leave).await;
}

async fn serve(
    outbox: &mut SplitSink<WebSocket, Frame>,
    inbox: &mut SplitStream<WebSocket>,
    node: &Node,
    query: &Query,
) -> End {
    let place = match query.place() {
        Ok(place) => place,
        Err(message) => {
            let _ = timeout(SEND_TIMEOUT, outbox.send(frame(&ToClient::Error { message }))).await;
            return Some((close_code::POLICY, "room or user refused"));
        }
    };
    let (subscription, problem) = subscribe(node, &place, query.cursor.as_deref());
    let session = Session {
        outbox,
        node,
        subscription,
        state: node.bus.state(),
        stream: node.bus.stream_of(&place.channel),
        place,
        told: String::new(),
        told_state: "",
        publishes: FuturesUnordered::new(),
    };
    match session.run(inbox, problem).await {
        ControlFlow::Break(end) => end,
        ControlFlow::Continue(never) => match never {},
    }
}

/// The subscription of a client, and what to tell it if its cursor could not be read.
fn subscribe(node: &Node, place: &Place, cursor: Option<&str>) -> (Subscription, Option<String>) {
    let channels = [&place.channel];
    match cursor.filter(|text| !text.is_empty()).map(str::parse::<Cursor>) {
        None => (node.bus.subscribe(channels), None),
        Some(Ok(cursor)) => (node.bus.resume(channels, &cursor), None),
        Some(Err(error)) => {
            let problem = format!("cursor not understood ({error}); you see the room from now on");
            (node.bus.subscribe(channels), Some(problem))
        }
    }
}

fn frame(message: &ToClient) -> Frame {
    Frame::Text(message.encode().into())
}

struct Session<'a> {
    outbox: &'a mut SplitSink<WebSocket, Frame>,
    node: &'a Node,
    place: Place,
    subscription: Subscription,
    state: StateWatch,
    /// The stream that carries the room.
    stream: StreamIndex,
    /// The cursor that the client was last sent.
    told: String,
    /// The state of the stream that the client was last sent.
    told_state: &'static str,
    publishes: FuturesUnordered<Publish>,
}

enum Never {}

impl Session<'_> {
    /// Runs until the break that says how it ended.
    async fn run(
        mut self,
        inbox: &mut SplitStream<WebSocket>,
        problem: Option<String>,
    ) -> ControlFlow<End, Never> {
        if let Some(message) = problem {
            self.send(&ToClient::Error { message }).await?;
        }
        self.told_state = self.state_now();
        let hello = ToClient::Hello {
            node: self.node.bus.node().to_string(),
            store: self.told_state,
            cursor: self.cursor(),
        };
        self.send(&hello).await?;

        let mut cursors = interval(self.node.settings.cursor_interval);
        cursors.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                input = inbox.next(), if self.publishes.len() < MAX_UNANSWERED => {
                    heard = Instant::now();
                    self.hear(input).await?;
                }
                Some(outcome) = self.publishes.next() => {
                    if let Err(error) = outcome {
                        self.send(&ToClient::Error { message: format!("your message was not sent: {error}") }).await?;
                    }
                }
                received = self.subscription.recv() => match received {
                    Some(received) => self.tell(received).await?,
                    None => return ControlFlow::Break(Some((close_code::RESTART, "the node stops; reconnect to another"))),
                },
                Some(_) = self.state.changed() => {
                    let state = self.state_now();
                    // One failure more is no change for a client.
                    if state != self.told_state {
                        self.told_state = state;
                        self.send(&ToClient::Store { state }).await?;
                    }
                }
                _ = cursors.tick() => {
                    // An idle client in a quiet room would else come back with a cursor that has left the ring.
                    let cursor = self.subscription.cursor().to_string();
                    if cursor != self.told {
                        self.told.clone_from(&cursor);
                        self.send(&ToClient::Cursor { cursor }).await?;
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE && self.publishes.len() < MAX_UNANSWERED {
                        return ControlFlow::Break(None);
                    }
                    self.put(Frame::Ping(Default::default())).await?;
                }
            }
        }
    }

    /// What the client sent.
    async fn hear(&mut self, input: Option<Result<Frame, axum::Error>>) -> ControlFlow<End, ()> {
        let text = match input {
            None | Some(Ok(Frame::Close(_))) => return ControlFlow::Break(None),
            Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => return ControlFlow::Continue(()),
            Some(Ok(Frame::Text(json))) => text_of(&json),
            Some(Ok(Frame::Binary(_))) => Err(r#"not understood; send {"text":"…"} as text"#.into()),
            Some(Err(error)) => {
                // Too large, or no WebSocket: what follows in the connection cannot be understood any more.
                self.send(&ToClient::Error { message: format!("connection closed: {error}") }).await?;
                return ControlFlow::Break(Some((close_code::SIZE, "message refused")));
            }
        };
        match text {
            Ok(text) => {
                // Published here, in the order of the client's messages; only the answer is awaited later.
                let spoken = Spoken { user: self.place.user.clone(), text };
                self.publishes.push(self.node.bus.publish(&self.place.channel, spoken.encode()));
                ControlFlow::Continue(())
            }
            Err(message) => self.send(&ToClient::Error { message }).await,
        }
    }

    /// What the room received.
    async fn tell(&mut self, received: Received) -> ControlFlow<End, ()> {
        let to_client = match received {
            Received::Message(message) => {
                let Some(Spoken { user, text }) = Spoken::decode(message.payload()) else {
                    tracing::debug!(node = %message.node(), "a payload in a room that is no chat");
                    return ControlFlow::Continue(());
                };
                self.told = message.cursor().to_string();
                ToClient::Message { user, text, node: message.node().to_string(), cursor: self.told.clone() }
            }
            Received::Gap(gap) => {
                self.told = gap.cursor().to_string();
                ToClient::Gap {
                    reason: gap.reason().to_string(),
                    missing: gap.frames(),
                    cursor: self.told.clone(),
                }
            }
        };
        self.send(&to_client).await
    }

    async fn send(&mut self, message: &ToClient) -> ControlFlow<End, ()> {
        self.put(frame(message)).await
    }

    /// Waits for a slow client, which delays nobody else: the subscription is a place in the node's ring, no queue.
    async fn put(&mut self, frame: Frame) -> ControlFlow<End, ()> {
        match timeout(SEND_TIMEOUT, self.outbox.send(frame)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) | Err(_) => ControlFlow::Break(None),
        }
    }

    /// How the room's stream is; a client needs no more, whatever the store has.
    fn state_now(&self) -> &'static str {
        self.state.of(self.stream).as_ref().map_or("closed", StreamState::name)
    }

    /// The cursor of the subscription, remembered as told.
    fn cursor(&mut self) -> String {
        self.told = self.subscription.cursor().to_string();
        self.told.clone()
    }
}
