//! What an application is promised, over any backplane: the rows of `docs/guarantees.md`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use scaleout_core::{
    AppName, Bus, BusConfig, ErrorKind, Gap, GapReason, Message, NodeId, Position, StreamState,
    frame::{Frame, FrameHead, Layout, encode_message, seal},
};

use crate::{
    conformance::{
        Outcome,
        client::{Client, channel_on, connect, connect_with, payloads, payloads_of, publish, publish_some},
        tools::{EVERYTHING, Reader, STREAM, Sender, inject, require, within},
    },
    fixture::{Fault, Fixture, Need},
};

/// Messages that several nodes publish to one channel at once come in the same order at all of them.
pub async fn promise_all_nodes_see_one_order(fixture: &dyn Fixture) -> Outcome {
    let buses = [connect(fixture).await, connect(fixture).await, connect(fixture).await];
    let mut clients = buses.each_ref().map(|bus| Client::subscribe(fixture, bus, "room"));
    let publishing = buses.iter().enumerate().map(|(index, bus)| async move {
        for payload in payloads(&format!("node{index}"), 40) {
            publish(fixture, bus, "room", &payload).await;
            tokio::task::yield_now().await;
        }
    });
    join_all(publishing).await;
    let mut orders = Vec::new();
    for client in &mut clients {
        let messages = client.messages(3 * 40, "every message").await;
        orders.push(messages.iter().map(place_of).collect::<Vec<_>>());
        client.expect_no_gap();
    }
    for bus in &buses {
        let counters = bus.counters();
        assert_eq!((counters.published, counters.delivered), (40, 3 * 40), "counted wrong");
    }
    assert_eq!(orders[0], orders[1], "two nodes see two orders");
    assert_eq!(orders[0], orders[2], "two nodes see two orders");
    Ok(())
}

fn place_of(message: &Message) -> (Position, NodeId, Bytes) {
    (message.position(), message.node(), message.payload().clone())
}

/// Each publisher's messages keep their order over a change of the epoch.
pub async fn promise_each_publishers_order_holds_across_epochs(fixture: &dyn Fixture) -> Outcome {
    let (here, there) = (connect(fixture).await, connect(fixture).await);
    let mut client = Client::subscribe(fixture, &there, "room");
    let mut expected = [Vec::new(), Vec::new()];
    for round in 0..3 {
        for (bus, expected) in [&here, &there].into_iter().zip(&mut expected) {
            let name = format!("{}-{round}", bus.node());
            expected.extend(publish_some(fixture, bus, "room", &name, 5).await);
        }
        inject(fixture, Fault::Restart).await?;
    }
    let messages = client.messages(2 * 3 * 5, "every message").await;
    for (bus, expected) in [&here, &there].into_iter().zip(&expected) {
        let own: Vec<_> = messages.iter().filter(|message| message.node() == bus.node()).cloned().collect();
        assert_eq!(payloads_of(&own), *expected);
    }
    Ok(())
}

/// Messages that one node publishes without waiting come in the order of the calls, whatever their sizes.
pub async fn promise_one_publishers_messages_keep_their_order(fixture: &dyn Fixture) -> Outcome {
    let (here, there) = (connect(fixture).await, connect(fixture).await);
    let mut client = Client::subscribe(fixture, &there, "room");
    let mut sent = Vec::new();
    let mut receipts = Vec::new();
    for number in 0..200_usize {
        // Some fill a frame by themselves, so that small ones stand between large ones.
        let size = if number % 20 == 7 { 70_000 } else { 10 };
        let payload = Bytes::from(format!("{number} {}", "x".repeat(size)));
        receipts.push(here.enqueue("room", payload.clone()).expect("there is room in the queue"));
        sent.push(payload);
    }
    let messages = client.messages(sent.len(), "every message").await;
    assert!(payloads_of(&messages) == sent, "the order, or a message, is not that of the calls");
    client.expect_no_gap();
    for outcome in within(fixture.patience(), "every receipt", join_all(receipts)).await {
        outcome.expect("the store has it");
    }
    Ok(())
}

/// A message whose answer was lost, and one that was lost itself, are retried, and come once.
pub async fn promise_no_duplicate_even_after_a_retried_send(fixture: &dyn Fixture) -> Outcome {
    let (here, there) = (connect(fixture).await, connect(fixture).await);
    let channel = channel_on(&here, STREAM);
    let mut client = Client::subscribe(fixture, &there, &channel);
    let mut sent = Vec::new();
    for round in 0..4 {
        for fault in [Fault::LoseAnswer, Fault::LoseSend] {
            inject(fixture, fault).await?;
            let name = format!("{fault:?}{round}");
            sent.extend(publish_some(fixture, &here, &channel, &name, 2).await);
        }
    }
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &here, &channel, &marker).await;
    let messages = client.until(&marker, "a marker").await;
    assert_eq!(payloads_of(&messages), sent);
    client.expect_no_gap();
    Ok(())
}

/// What was accepted before and during an outage arrives once the store is back.
///
/// Where the store does not replay, what a node missed while it was away is told to its clients instead.
pub async fn promise_an_outage_loses_nothing_accepted(fixture: &dyn Fixture) -> Outcome {
    let (here, there) = (connect(fixture).await, connect(fixture).await);
    let mut client = Client::subscribe(fixture, &there, "room");
    let mut sent = publish_some(fixture, &here, "room", "before", 10).await;
    inject(fixture, Fault::Outage).await?;
    let during = payloads("during", 20);
    let receipts: Vec<_> = during
        .iter()
        .map(|payload| here.enqueue("room", payload.clone()).expect("there is room in the queue"))
        .collect();
    sent.extend(during);
    inject(fixture, Fault::Restored).await?;
    for outcome in within(fixture.patience(), "every receipt", join_all(receipts)).await {
        outcome.expect("what waited is sent after the outage");
    }
    wait_until_up(fixture, &there).await;
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &here, "room", &marker).await;
    let seen = payloads_of(&client.until(&marker, "a marker").await);
    if require(fixture, Need::Replay).is_ok() {
        assert_eq!(seen, sent);
        client.expect_no_gap();
    } else {
        assert!(seen == sent || !client.gaps.is_empty(), "messages are missing, and no gap was told");
        let mut rest = sent.iter();
        assert!(seen.iter().all(|payload| rest.any(|sent| sent == payload)), "not in order, or twice");
    }
    Ok(())
}

/// An outage shows in the state of the streams and in the readiness of the node, and so does its end.
pub async fn promise_an_outage_shows_in_the_state(fixture: &dyn Fixture) -> Outcome {
    let config = BusConfig::default().with_degraded_grace(Duration::ZERO);
    let bus = connect_with(fixture, config).await;
    assert!(bus.health().ready, "a connected bus is not ready");
    inject(fixture, Fault::Outage).await?;
    let mut state = bus.state();
    let down = async {
        while state.current().iter().any(StreamState::is_up) {
            state.changed().await.expect("the bus is open");
        }
    };
    within(fixture.patience(), "every stream to be degraded", down).await;
    assert!(!bus.health().ready, "a node without its store is ready");
    inject(fixture, Fault::Restored).await?;
    wait_until_up(fixture, &bus).await;
    assert!(bus.health().ready, "a node whose store is back is not ready");
    Ok(())
}

async fn wait_until_up(fixture: &dyn Fixture, bus: &Bus) {
    let mut state = bus.state();
    let up = async {
        while !state.current().iter().all(StreamState::is_up) {
            state.changed().await.expect("the bus is open");
        }
    };
    within(fixture.patience(), "every stream to be up", up).await;
}

/// What a failover or a flush took is sent again by those who sent it, before anything new, and nobody sees it twice.
pub async fn promise_a_store_that_forgot_is_repaired(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let (here, there) = (connect(fixture).await, connect(fixture).await);
    let channel = channel_on(&here, STREAM);
    let mut client = Client::subscribe(fixture, &there, &channel);
    let mut sent = Vec::new();
    for (round, fault) in [Fault::Failover, Fault::Flush, Fault::Failover].into_iter().enumerate() {
        sent.extend(publish_some(fixture, &here, &channel, &format!("round{round}"), 10).await);
        client.messages(10, "what was published before the store forgot").await;
        inject(fixture, fault).await?;
        let marker = Bytes::from(format!("marker{round}"));
        publish(fixture, &here, &channel, &marker).await;
        let seen = client.until(&marker, "a marker").await;
        assert_eq!(payloads_of(&seen), Vec::<Bytes>::new(), "{fault:?}: the repair reached a client again");
        sent.push(marker);
        assert_eq!(held(fixture, &here).await, sent, "{fault:?}: the store was not repaired");
    }
    assert!(here.counters().rewound >= 3, "the publisher did not notice: {:?}", here.counters());
    Ok(())
}

/// The messages in what the store retains of [`STREAM`], copies left out.
async fn held(fixture: &dyn Fixture, bus: &Bus) -> Vec<Bytes> {
    let node = fixture.node();
    let marker = Sender::new(fixture, &node).send().await;
    let mut reader = Reader::start(fixture, &node, EVERYTHING);
    let layout = Layout { app: AppName::default().hash(), stream_count: bus.stream_count() };
    let mut messages = Vec::new();
    for got in reader.until(&marker, "a marker behind the frames").await {
        let Ok(frame) = Frame::decode(&got.bytes, &layout) else { continue };
        for message in frame.messages {
            let payload = got.bytes.slice(message.payload.start as usize..message.payload.end as usize);
            if !messages.contains(&payload) {
                messages.push(payload);
            }
        }
    }
    messages
}

/// What died with the store and its publisher is told to the client that had not seen it.
pub async fn promise_whatever_is_missing_is_told(fixture: &dyn Fixture) -> Outcome {
    let (here, there) = (connect(fixture).await, connect(fixture).await);
    let mut client = Client::subscribe(fixture, &there, "room");
    publish_some(fixture, &here, "room", "lost", 5).await;
    client.messages(2, "the first messages").await;
    let cursor = client.cursor();
    for bus in [here, there] {
        bus.close(fixture.patience()).await;
    }
    inject(fixture, Fault::Flush).await?;
    let fresh = connect(fixture).await;
    let mut client = Client::resume(fixture, &fresh, "room", &cursor);
    let gap = client.gap("the gap of what was lost").await;
    assert_eq!(gap.reason(), GapReason::Reset);
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &fresh, "room", &marker).await;
    assert_eq!(client.message("a message behind the gap").await.payload(), &marker);
    Ok(())
}

/// A subscriber that reads too slowly for its node's memory is told so, and goes on without a further hole.
pub async fn promise_a_slow_subscriber_is_told(fixture: &dyn Fixture) -> Outcome {
    let config = BusConfig::default().with_max_ring_bytes(64 << 10);
    let (here, there) = (connect(fixture).await, connect_with(fixture, config).await);
    let mut slow = Client::subscribe(fixture, &there, "room");
    let mut brisk = Client::subscribe(fixture, &there, "room");
    let mut sent = Vec::new();
    for number in 0..100 {
        let payload = Bytes::from(format!("{number:>4000}"));
        publish(fixture, &here, "room", &payload).await;
        assert_eq!(brisk.message("a message at a brisk subscriber").await.payload(), &payload);
        sent.push(payload);
    }
    brisk.expect_no_gap();
    let gap = slow.gap("the gap of a slow subscriber").await;
    assert_eq!(gap.reason(), GapReason::Lagged);
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &here, "room", &marker).await;
    let seen = payloads_of(&slow.until(&marker, "a marker").await);
    let missed = sent.len() - seen.len();
    assert!(seen == sent[missed..], "what follows a gap has a hole");
    expect_extent(&gap, missed, sent.len());
    Ok(())
}

/// Each message was in a frame of its own, and there were no others.
fn expect_extent(gap: &Gap, missed: usize, sent: usize) {
    let fits = |frames| (missed as u64..=sent as u64).contains(&frames);
    assert!(gap.frames().is_none_or(fits), "{missed} of {sent} are missing: {gap:?}");
}

/// A client that comes back with a cursor older than its node's memory is told so.
pub async fn promise_an_expired_cursor_is_told(fixture: &dyn Fixture) -> Outcome {
    let bus = connect_with(fixture, BusConfig::default().with_max_ring_bytes(64 << 10)).await;
    let mut client = Client::subscribe(fixture, &bus, "room");
    let (mut sent, mut cursor) = (Vec::new(), String::new());
    for number in 0..100 {
        let payload = Bytes::from(format!("{number:>4000}"));
        publish(fixture, &bus, "room", &payload).await;
        client.message("a message").await;
        if number == 0 {
            cursor = client.cursor();
        } else {
            sent.push(payload);
        }
    }
    client.expect_no_gap();
    let mut late = Client::resume(fixture, &bus, "room", &cursor);
    let gap = late.gap("the gap of an expired cursor").await;
    assert_eq!(gap.reason(), GapReason::Expired);
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &bus, "room", &marker).await;
    let seen = payloads_of(&late.until(&marker, "a marker").await);
    let missed = sent.len() - seen.len();
    assert!(missed > 0 && seen == sent[missed..], "what follows a gap has a hole");
    expect_extent(&gap, missed, sent.len() + 1);
    Ok(())
}

/// A client of a quiet channel that renews its cursor never expires, however busy its neighbours are.
pub async fn promise_an_idle_client_never_expires(fixture: &dyn Fixture) -> Outcome {
    let config = BusConfig::default().with_max_ring_bytes(64 << 10);
    let (here, there) = (connect_with(fixture, config.clone()).await, connect_with(fixture, config).await);
    let (stream, names) = (here.stream_of("room"), (0..1_000).map(|number| format!("quiet:{number}")));
    let mut quiet = names.filter(|name| here.stream_of(name) == stream);
    let quiet = quiet.next().expect("1,000 channels cover every stream");
    let mut neighbour = Client::subscribe(fixture, &there, "room");
    let mut idle = Client::subscribe(fixture, &here, &quiet);
    for turn in 0..3 {
        // Each time the ring turns over more than once.
        for number in 0..40 {
            let payload = Bytes::from(format!("{number:>4000}"));
            publish(fixture, &there, "room", &payload).await;
            neighbour.message("a message next door").await;
        }
        let marker = Bytes::from(format!("marker{turn}"));
        publish(fixture, &here, &quiet, &marker).await;
        assert_eq!(idle.message("a rare message").await.payload(), &marker);
        let before = idle.cursor();
        for number in 0..40 {
            let payload = Bytes::from(format!("{number:>4000}"));
            publish(fixture, &there, "room", &payload).await;
            neighbour.message("a message next door").await;
        }
        let advancing = async {
            while idle.cursor() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(fixture.patience(), "the cursor of an idle client to advance", advancing).await;
        let bus = if turn % 2 == 0 { &there } else { &here };
        idle = Client::resume(fixture, bus, &quiet, &idle.cursor());
    }
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &here, &quiet, &marker).await;
    assert_eq!(idle.message("a last message").await.payload(), &marker);
    idle.expect_no_gap();
    Ok(())
}

/// A frame that the store does not hold shows by its publisher's next one; a frame that was given up does not.
pub async fn promise_a_hole_in_a_publishers_frames_is_told(fixture: &dyn Fixture) -> Outcome {
    let bus = connect(fixture).await;
    let channel = channel_on(&bus, STREAM);
    let mut client = Client::subscribe(fixture, &bus, &channel);
    let mut publisher = Sender::new(fixture, &fixture.node());
    // Frame 2 was given up before it was confirmed: 3 follows 1. Frame 4 was confirmed and is gone: 5 follows 4.
    for (number, after) in [(1, 0), (3, 1), (5, 4)] {
        let mut messages = Vec::new();
        encode_message(&mut messages, &channel, format!("frame {number}").as_bytes(), &[]);
        let head = FrameHead {
            app: AppName::default().hash(),
            stream_count: bus.stream_count().get(),
            node: publisher.node(),
            number,
            after,
            sent_at_micros: 0,
        };
        publisher.send_bytes(seal(&head, 1, &messages)).await;
    }
    assert_eq!(client.message("frame 1").await.payload(), "frame 1");
    assert_eq!(client.message("frame 3").await.payload(), "frame 3");
    client.expect_no_gap();
    assert_eq!(client.gap("the gap of frame 4").await.reason(), GapReason::Lost);
    assert_eq!(client.message("frame 5").await.payload(), "frame 5");
    Ok(())
}

/// A frame that this release cannot read is told as lost; bytes that are no frame are nobody's loss.
pub async fn promise_an_unreadable_frame_is_told(fixture: &dyn Fixture) -> Outcome {
    let bus = connect(fixture).await;
    let channel = channel_on(&bus, STREAM);
    let mut client = Client::subscribe(fixture, &bus, &channel);
    let mut stranger = Sender::new(fixture, &fixture.node());
    stranger.send_bytes(Bytes::from_static(b"no frame of ours")).await;
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &bus, &channel, &marker).await;
    assert_eq!(client.message("a marker").await.payload(), &marker);
    client.expect_no_gap();
    stranger.send_bytes(Bytes::from_static(b"SO\xffof a later release")).await;
    let gap = client.gap("the gap of an unreadable frame").await;
    assert_eq!(gap.reason(), GapReason::Lost);
    publish(fixture, &bus, &channel, &marker).await;
    assert_eq!(client.message("a marker behind the gap").await.payload(), &marker);
    Ok(())
}

/// Without a fault nobody is told of a gap: not busy clients, not quiet ones, not those that hop.
pub async fn promise_no_fault_no_gap(fixture: &dyn Fixture) -> Outcome {
    let buses = [connect(fixture).await, connect(fixture).await, connect(fixture).await];
    let mut staying = Client::subscribe(fixture, &buses[0], "room");
    let mut quiet = Client::subscribe(fixture, &buses[1], "a quiet room");
    let mut hopping = Client::subscribe(fixture, &buses[2], "room");
    let mut sent = Vec::new();
    let mut seen = Vec::new();
    for round in 0..30 {
        let bus = &buses[round % 2];
        let (messages, elsewhere) = (payloads(&round.to_string(), 5), payloads("elsewhere", 5));
        let batch = messages.iter().map(|payload| ("room", payload.clone()));
        let batch = batch.chain(elsewhere.into_iter().map(|payload| ("another room", payload)));
        within(fixture.patience(), "a batch", bus.publish_many(batch)).await.expect("the store takes it");
        sent.extend(messages);
        // It leaves in the middle of what it could have read.
        seen.extend(hopping.messages(1 + round % 5, "messages of a hopping client").await);
        hopping.expect_no_gap();
        hopping = Client::resume(fixture, &buses[(round + 1) % 3], "room", &hopping.cursor());
        let idle = quiet.cursor();
        quiet = Client::resume(fixture, &buses[round % 3], "a quiet room", &idle);
    }
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &buses[0], "room", &marker).await;
    publish(fixture, &buses[0], "a quiet room", &marker).await;
    seen.extend(hopping.until(&marker, "a marker at the hopping client").await);
    let stayed = staying.until(&marker, "a marker at the staying client").await;
    assert_eq!(payloads_of(&seen), sent);
    assert_eq!(payloads_of(&stayed), sent);
    assert_eq!(quiet.message("a marker at the quiet client").await.payload(), &marker);
    for client in [&staying, &quiet, &hopping] {
        client.expect_no_gap();
    }
    Ok(())
}

/// A client that changes its node goes on right behind the last message it saw, also inside a frame.
pub async fn promise_a_client_resumes_on_any_node(fixture: &dyn Fixture) -> Outcome {
    let buses = [connect(fixture).await, connect(fixture).await, connect(fixture).await];
    let mut client = Client::subscribe(fixture, &buses[0], "room");
    let sent = payloads("message", 30);
    let batch = sent.iter().map(|payload| ("room", payload.clone()));
    within(fixture.patience(), "a batch", buses[0].publish_many(batch)).await.expect("the store takes it");
    let mut seen = Vec::new();
    for hop in 0..sent.len() {
        let message = client.message("the next message after a hop").await;
        client.expect_no_gap();
        // The cursor of the subscription, and the one of the message, say the same.
        let text = if hop % 2 == 0 { client.cursor() } else { message.cursor().to_string() };
        seen.push(message);
        client = Client::resume(fixture, &buses[hop % 3], "room", &text);
    }
    assert_eq!(payloads_of(&seen), sent);
    let indices: Vec<_> = seen.iter().map(|message| message.position().index).collect();
    assert_eq!(indices[0], 0, "a first message is not the first of its frame");
    assert!(indices.iter().any(|index| *index > 0), "no hop was inside a frame: {indices:?}");
    Ok(())
}

/// A node that just started gives clients of others what they had not seen yet.
pub async fn promise_a_fresh_node_resumes_clients_of_others(fixture: &dyn Fixture) -> Outcome {
    require(fixture, Need::Replay)?;
    let bus = connect(fixture).await;
    let mut client = Client::subscribe(fixture, &bus, "room");
    let mut sent = publish_some(fixture, &bus, "room", "early", 10).await;
    let seen = client.messages(4, "the first messages").await;
    let cursor = client.cursor();
    let fresh = connect(fixture).await;
    let mut client = Client::resume(fixture, &fresh, "room", &cursor);
    sent.extend(publish_some(fixture, &bus, "room", "late", 3).await);
    let rest = client.messages(sent.len() - seen.len(), "the rest at a fresh node").await;
    assert_eq!([payloads_of(&seen), payloads_of(&rest)].concat(), sent);
    client.expect_no_gap();
    Ok(())
}

/// During an outage messages wait, as many as the queue may hold, and what does not fit is refused for sure.
pub async fn promise_messages_wait_in_a_bounded_queue_during_an_outage(fixture: &dyn Fixture) -> Outcome {
    let here = connect_with(fixture, BusConfig::default().with_max_queue_messages(10)).await;
    let there = connect(fixture).await;
    let mut client = Client::subscribe(fixture, &there, "room");
    inject(fixture, Fault::Outage).await?;
    let (mut accepted, mut receipts) = (Vec::new(), Vec::new());
    for payload in payloads("message", 30) {
        match here.enqueue("room", payload.clone()) {
            Ok(receipt) => {
                accepted.push(payload);
                receipts.push(receipt);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::QueueFull),
        }
    }
    assert_eq!(accepted, payloads("message", 10), "the queue has room for ten messages");
    inject(fixture, Fault::Restored).await?;
    wait_until_up(fixture, &there).await;
    for outcome in within(fixture.patience(), "every receipt", join_all(receipts)).await {
        outcome.expect("what waited is sent after the outage");
    }
    let marker = Bytes::from_static(b"marker");
    publish(fixture, &here, "room", &marker).await;
    let seen = payloads_of(&client.until(&marker, "a marker").await);
    assert!(seen == accepted || !client.gaps.is_empty(), "messages are missing, and no gap was told");
    Ok(())
}

/// A closed bus leaves nothing in the store, has sent what waited, and ends its subscriptions.
pub async fn promise_close_sends_what_waits_and_leaves_nothing(fixture: &dyn Fixture) -> Outcome {
    let there = connect(fixture).await;
    let mut client = Client::subscribe(fixture, &there, "room");
    let before = fixture.registrations().await;
    let here = connect(fixture).await;
    let mut ended = here.subscribe(["room"]);
    let sent = payloads("message", 50);
    for payload in &sent {
        drop(here.enqueue("room", payload.clone()).expect("there is room in the queue"));
    }
    let report = within(fixture.patience(), "close", here.close(fixture.patience())).await;
    assert_eq!((report.unsent, report.unconfirmed), (0, 0));
    while within(fixture.patience(), "the end of a subscription", ended.recv()).await.is_some() {}
    let seen = client.messages(sent.len(), "what waited").await;
    assert_eq!(payloads_of(&seen), sent);
    assert_eq!(fixture.registrations().await, before, "a closed bus left registrations");
    let error = here.publish("room", "too late").await.expect_err("the bus is closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    Ok(())
}
