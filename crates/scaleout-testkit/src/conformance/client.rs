//! What the promise cases are written with: buses, and clients that count gaps.

use std::time::Duration;

use bytes::Bytes;
use scaleout_core::{Bus, BusConfig, Cursor, Gap, Message, Received, StreamIndex, Subscription};

use crate::{conformance::tools::within, fixture::Fixture};

/// The bus of a new node, caught up with the store.
pub(super) async fn connect(fixture: &dyn Fixture) -> Bus {
    connect_with(fixture, BusConfig::default()).await
}

/// The bus of a new node with settings of its own, caught up with the store.
pub(super) async fn connect_with(fixture: &dyn Fixture, config: BusConfig) -> Bus {
    let connecting = fixture.bus().config(config).connect();
    within(fixture.patience(), "a bus to connect", connecting).await.expect("the bus connects")
}

/// Publishes `payload`, and waits until the store has it.
pub(super) async fn publish(fixture: &dyn Fixture, bus: &Bus, channel: &str, payload: &Bytes) {
    let publish = bus.publish(channel, payload.clone());
    within(fixture.patience(), "a publish to resolve", publish).await.expect("the store takes it");
}

/// Publishes messages one by one, so that each has a frame of its own; answers their payloads.
pub(super) async fn publish_some(
    fixture: &dyn Fixture,
    bus: &Bus,
    channel: &str,
    name: &str,
    count: usize,
) -> Vec<Bytes> {
    let payloads = payloads(name, count);
    for payload in &payloads {
        publish(fixture, bus, channel, payload).await;
    }
    payloads
}

/// Payloads `name-0`, `name-1`, …
pub(super) fn payloads(name: &str, count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("{name}-{number}"))).collect()
}

/// A channel that is carried by `stream`.
pub(super) fn channel_on(bus: &Bus, stream: StreamIndex) -> String {
    let mut names = (0..10_000).map(|number| format!("room:{number}"));
    names.find(|name| bus.stream_of(name) == stream).expect("10,000 channels cover every stream")
}

/// The payloads of messages.
pub(super) fn payloads_of(messages: &[Message]) -> Vec<Bytes> {
    messages.iter().map(|message| message.payload().clone()).collect()
}

/// A subscription that is read with patience.
pub(super) struct Client {
    subscription: Subscription,
    patience: Duration,
    /// Every gap so far.
    pub(super) gaps: Vec<Gap>,
}

impl Client {
    /// A client of one channel, from now on.
    pub(super) fn subscribe(fixture: &dyn Fixture, bus: &Bus, channel: &str) -> Self {
        Self { subscription: bus.subscribe([channel]), patience: fixture.patience(), gaps: Vec::new() }
    }

    /// A client of one channel that was at another node before, and comes with the text of its cursor.
    pub(super) fn resume(fixture: &dyn Fixture, bus: &Bus, channel: &str, text: &str) -> Self {
        let cursor: Cursor = text.parse().expect("a cursor's own text");
        let subscription = bus.resume([channel], &cursor);
        Self { subscription, patience: fixture.patience(), gaps: Vec::new() }
    }

    /// The text of the cursor that the client would take to another node.
    pub(super) fn cursor(&self) -> String {
        self.subscription.cursor().to_string()
    }

    /// The next message or gap.
    pub(super) async fn item(&mut self, what: &str) -> Received {
        let item = within(self.patience, what, self.subscription.recv()).await;
        let item = item.unwrap_or_else(|| panic!("the subscription ended while waiting for {what}"));
        if let Received::Gap(gap) = &item {
            self.gaps.push(gap.clone());
        }
        item
    }

    /// The next message; gaps before it are recorded.
    pub(super) async fn message(&mut self, what: &str) -> Message {
        loop {
            if let Received::Message(message) = self.item(what).await {
                return message;
            }
        }
    }

    /// The next gap, which must come before any message.
    pub(super) async fn gap(&mut self, what: &str) -> Gap {
        match self.item(what).await {
            Received::Gap(gap) => gap,
            Received::Message(message) => panic!("{:?} instead of {what}", message.payload()),
        }
    }

    /// The next `count` messages.
    pub(super) async fn messages(&mut self, count: usize, what: &str) -> Vec<Message> {
        let mut messages = Vec::with_capacity(count);
        for index in 0..count {
            messages.push(self.message(&format!("{what}, {index} of {count} came")).await);
        }
        messages
    }

    /// What comes up to `marker`, which is left out.
    pub(super) async fn until(&mut self, marker: &Bytes, what: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.message(what).await;
            if message.payload() == marker {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Fails the case if a gap was told.
    pub(super) fn expect_no_gap(&self) {
        assert!(self.gaps.is_empty(), "gaps were told where nothing is missing: {:?}", self.gaps);
    }
}
