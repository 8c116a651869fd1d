//! What an application is promised where streams are received on demand.

use std::time::Duration;

use bytes::Bytes;
use scaleout_core::{Bus, BusConfig, Interest, StreamState};

use crate::{
    conformance::{
        Outcome,
        client::{Client, connect, connect_with, payloads_of, publish, publish_some},
        tools::{require, within},
    },
    fixture::{Fixture, Need},
};

/// A node that receives on demand, and gives up soon what nobody reads.
async fn connect_on_demand(fixture: &dyn Fixture) -> Bus {
    let config = BusConfig::default()
        .with_interest(Interest::OnDemand)
        .with_interest_linger(Duration::from_millis(100));
    connect_with(fixture, config).await
}

/// A first subscription gets what its own node publishes at once, and what others publish once the stream is up.
pub async fn promise_a_stream_on_demand_gives_what_comes_after_its_opening(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let (here, there) = (connect(fixture).await, connect_on_demand(fixture).await);
    publish_some(fixture, &here, "room", "before", 5).await;
    assert_eq!(there.counters().received, 0, "a stream is received that nobody reads");
    let mut client = Client::subscribe(fixture, &there, "room");
    assert!(there.health().ready, "a node is not ready while it opens a stream");
    let mut sent = publish_some(fixture, &there, "room", "there", 5).await;
    within(fixture.patience(), "the stream to be up", until_up(&there, "room")).await;
    sent.extend(publish_some(fixture, &here, "room", "here", 5).await);
    let seen = client.messages(sent.len(), "what was published after the subscription").await;
    assert_eq!(payloads_of(&seen), sent);
    client.expect_no_gap();
    Ok(())
}

/// A stream that nobody reads is given up, and a client that comes back finds everything in the store.
pub async fn promise_a_stream_given_up_is_resumed_without_a_gap(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let (here, there) = (connect(fixture).await, connect_on_demand(fixture).await);
    let mut client = Client::subscribe(fixture, &there, "room");
    let (mut sent, mut seen) = (Vec::new(), Vec::new());
    for round in 0..3 {
        sent.extend(publish_some(fixture, &there, "room", &format!("there{round}"), 3).await);
        within(fixture.patience(), "the stream to be up", until_up(&there, "room")).await;
        sent.extend(publish_some(fixture, &here, "room", &format!("here{round}"), 3).await);
        // It leaves in the middle of what it could have read.
        seen.extend(client.messages(sent.len() - seen.len() - 1, "what was published").await);
        client.expect_no_gap();
        let cursor = client.cursor();
        drop(client);
        let giving_up = async {
            while there.usage().ring_bytes > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(fixture.patience(), "a stream that nobody reads to be given up", giving_up).await;
        sent.extend(publish_some(fixture, &here, "room", &format!("meanwhile{round}"), 3).await);
        client = Client::resume(fixture, &there, "room", &cursor);
    }
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &here, "room", &marker).await;
    seen.extend(client.until(&marker, "a marker").await);
    assert_eq!(payloads_of(&seen), sent);
    client.expect_no_gap();
    assert_eq!(there.counters().holes, 0, "a reopened stream has holes");
    Ok(())
}

async fn until_up(bus: &Bus, channel: &str) {
    let (stream, mut state) = (bus.stream_of(channel).index(), bus.state());
    while !state.current().get(stream).is_some_and(StreamState::is_up) {
        state.changed().await.expect("the bus is open");
    }
}
