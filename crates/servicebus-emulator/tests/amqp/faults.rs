//! What goes wrong when it is told to.

use std::time::Duration;

use servicebus_emulator::{Emulator, codec::Value};

use crate::{
    raw::{
        ACCEPTED, CLOSE, DETACH, DISPOSITION, FLOW, Mode, Peer, REJECTED, TRANSFER, bytes_of, code,
        condition, data, outcome,
    },
    support::{PATIENCE, make_orders, start, token, within},
};

const SUBSCRIPTION: &str = "orders/Subscriptions/all";

/// A peer with a sender on handle 0, and a receiver on handle 1 that has credit for a hundred messages.
async fn both_ways(emulator: &Emulator, mode: Mode) -> Peer {
    let mut peer = Peer::ready(emulator).await;
    assert_eq!(peer.attach_sender(0, 0, "orders").await.code, FLOW);
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", mode).await;
    peer.credit(0, 1, 0, 100).await;
    peer
}

/// The condition of a rejected send.
async fn rejection(peer: &mut Peer) -> String {
    let answer = peer.expect(DISPOSITION).await;
    assert_eq!(code(answer.field(4)), REJECTED, "{answer:?}");
    let Value::Described(state) = answer.field(4) else { panic!("{answer:?}") };
    condition(&state.1.elements()[0]).to_owned()
}

#[tokio::test]
async fn connections_are_killed_one_by_one_or_all() {
    let emulator = start().await;
    let (mut first, mut second, mut third) =
        (Peer::ready(&emulator).await, Peer::ready(&emulator).await, Peer::ready(&emulator).await);
    assert_eq!(emulator.faults().figures().connections, 3);
    assert!(emulator.faults().kill_connection());
    first.end().await;
    assert!(second.rest(0).await.is_empty());
    assert_eq!(emulator.faults().kill_connections(), 2);
    second.end().await;
    third.end().await;
    // Those that are asked for nothing more are counted off.
    within(async {
        while emulator.faults().figures().connections > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(emulator.faults().figures().links, 0);
}

#[tokio::test]
async fn a_frozen_connection_says_and_hears_nothing_until_it_thaws() {
    let emulator = start().await;
    let mut frozen = both_ways(&emulator, Mode::PeekLock).await;
    emulator.faults().freeze();
    frozen.send(0, 0, &data(b"held"), false).await;
    // Others go on, and see that nothing came.
    let mut other = both_ways(&emulator, Mode::ReceiveAndDelete).await;
    other.send(0, 0, &data(b"other"), false).await;
    assert_eq!(bytes_of(other.expect(TRANSFER).await.payload).as_ref(), b"other");
    assert_eq!(emulator.faults().figures().sends, 1);
    emulator.faults().thaw();
    assert_eq!(frozen.expect(DISPOSITION).await.field(4), &outcome(ACCEPTED));
    emulator.faults().freeze();
    emulator.faults().kill_connections();
    frozen.end().await;
}

#[tokio::test]
async fn links_are_detached_all_or_those_of_an_entity() {
    let emulator = start().await;
    emulator.namespace().create_topic("other", Default::default()).unwrap();
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    peer.attach_sender(0, 2, "other").await;
    emulator.faults().detach("orders");
    for _ in 0..2 {
        let detach = peer.expect(DETACH).await;
        assert_eq!(detach.condition(2), "amqp:link:detach-forced");
        assert!(detach.number(0) < 2);
    }
    peer.send(0, 2, &data(b"x"), false).await;
    peer.expect(DISPOSITION).await;
    emulator.faults().detach_all();
    assert_eq!(peer.expect(DETACH).await.number(0), 2);
    // The handles are free when the peer has answered; the session and the connection are as they were.
    for handle in 0..3 {
        peer.say(0, DETACH, vec![Value::Uint(handle), Value::Bool(true)]).await;
    }
    assert_eq!(peer.attach_sender(0, 0, "orders").await.code, FLOW);
}

#[tokio::test]
async fn sends_are_turned_away_while_the_server_is_busy() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    emulator.faults().server_busy(2);
    for _ in 0..2 {
        peer.send(0, 0, &data(b"no"), false).await;
        assert_eq!(rejection(&mut peer).await, "com.microsoft:server-busy");
    }
    peer.send(0, 0, &data(b"yes"), false).await;
    assert_eq!(peer.expect(DISPOSITION).await.field(4), &outcome(ACCEPTED));
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), b"yes");
}

#[tokio::test]
async fn an_outcome_can_be_lost_of_a_message_that_is_not() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    emulator.faults().lose_outcomes(1);
    peer.send(0, 0, &data(b"one"), false).await;
    let second = peer.send(0, 0, &data(b"two"), false).await;
    let answer = peer.expect(DISPOSITION).await;
    assert_eq!((answer.number(1), answer.number(2)), (second.into(), second.into()));
    for text in ["one", "two"] {
        assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), text.as_bytes());
    }
}

#[tokio::test]
async fn a_delivery_can_be_the_last_of_its_connection() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::ReceiveAndDelete).await;
    emulator.faults().cut_deliveries(1);
    peer.send(0, 0, &data(b"one"), true).await;
    peer.send(0, 0, &data(b"two"), true).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), b"one");
    peer.end().await;
    drop(peer);
    let mut peer = both_ways(&emulator, Mode::ReceiveAndDelete).await;
    assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), b"two");
}

#[tokio::test]
async fn deliveries_can_come_twice() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::ReceiveAndDelete).await;
    emulator.faults().duplicate_deliveries(1);
    for text in [b"one", b"two"] {
        peer.send(0, 0, &data(text), true).await;
    }
    for text in ["one", "one", "two"] {
        assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), text.as_bytes());
    }
}

#[tokio::test]
async fn answers_can_take_longer_and_keep_their_order() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    emulator.faults().delay(Duration::from_millis(50));
    let started = std::time::Instant::now();
    peer.send(0, 0, &data(b"slow"), false).await;
    peer.expect(DISPOSITION).await;
    assert!(started.elapsed() >= Duration::from_millis(50));
    emulator.faults().delay(Duration::ZERO);
    for n in 0..10u8 {
        peer.send(0, 0, &data(&[n]), true).await;
    }
    peer.expect(TRANSFER).await;
    for n in 0..10u8 {
        assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload).as_ref(), [n]);
    }
}

#[tokio::test]
async fn connections_can_be_refused() {
    let emulator = start().await;
    emulator.faults().refuse_connections(true);
    Peer::connect(&emulator).await.end().await;
    emulator.faults().refuse_connections(false);
    Peer::ready(&emulator).await;
}

#[tokio::test]
async fn tokens_that_are_declared_expired_take_their_links_along() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    emulator.faults().expire_tokens();
    for _ in 0..2 {
        assert_eq!(peer.expect(DETACH).await.condition(2), "amqp:unauthorized-access");
    }
}

#[tokio::test]
async fn an_entity_that_is_deleted_takes_its_links_along() {
    let emulator = start().await;
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    emulator.faults().delete_entity(SUBSCRIPTION).expect("it is there");
    let detach = peer.expect(DETACH).await;
    assert_eq!((detach.number(0), detach.condition(2)), (1, "amqp:not-found"));
    emulator.faults().delete_entity("orders").expect("it is there");
    let detach = peer.expect(DETACH).await;
    assert_eq!((detach.number(0), detach.condition(2)), (0, "amqp:not-found"));
}

#[tokio::test]
async fn idle_links_are_detached_and_connections_stay() {
    let emulator =
        Emulator::builder().link_idle(Duration::from_millis(300)).start().await.expect("free ports");
    make_orders(&emulator);
    // A receiver that waits for messages is not idle.
    let mut peer = both_ways(&emulator, Mode::PeekLock).await;
    let detach = peer.expect(DETACH).await;
    assert_eq!((detach.number(0), detach.condition(2)), (0, "amqp:link:detach-forced"));
    assert!(peer.rest(0).await.is_empty());
    peer.credit(0, 1, 0, 0).await;
    let detach = peer.expect(DETACH).await;
    assert_eq!((detach.number(0), detach.condition(2)), (1, "amqp:link:detach-forced"));
    assert_eq!(peer.attach_sender(0, 2, "orders").await.code, FLOW);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_link_is_closed() {
    let emulator = start().await;
    let mut peer = Peer::connect(&emulator).await;
    peer.open(vec![]).await;
    let started = tokio::time::Instant::now();
    // The time stands still while something is to be done; the patience of the test is as long as that of the server.
    let close = loop {
        match tokio::time::timeout(PATIENCE / 2, peer.next_frame()).await {
            Ok(frame) if frame.code == CLOSE => break frame,
            _ => assert!(started.elapsed() < PATIENCE * 2),
        }
    };
    assert_eq!(close.condition(0), "amqp:connection:forced");
}

#[tokio::test]
async fn peers_are_kept_from_giving_up_and_given_up_when_they_are_silent() {
    let mut settings = servicebus_emulator::Settings::default();
    settings.idle_time_out = Duration::from_millis(200);
    let emulator = Emulator::builder().settings(settings).start().await.expect("free ports");
    let mut peer = Peer::connect(&emulator).await;
    // Max-frame-size, channel-max, and idle-time-out.
    let open = peer.open(vec![Value::Null, Value::Null, Value::Uint(300)]).await;
    assert_eq!(open.number(4), 200);
    assert_eq!(peer.next().await.expect("a frame").code, 0);
    let mut frame = peer.next().await.expect("a frame");
    while frame.code == 0 {
        frame = peer.next().await.expect("a frame");
    }
    assert_eq!((frame.code, frame.condition(0)), (CLOSE, "amqp:resource-limit-exceeded"));
    peer.end().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_does_not_make_the_server_grow() {
    let emulator = start().await;
    let mut peer = Peer::ready(&emulator).await;
    peer.attach_receiver(0, 1, SUBSCRIPTION, "", Mode::PeekLock).await;
    peer.credit(0, 1, 0, 10_000).await;
    peer.rest(0).await;
    let mut sender = Peer::ready(&emulator).await;
    sender.attach_sender(0, 0, "orders").await;
    for n in 0..400u32 {
        sender.send(0, 0, &data(&[n as u8; 60_000]), true).await;
    }
    sender.rest(0).await;
    // 24 MB were sent: what the sockets hold and a quarter of a megabyte are on their way, and the rest waits in the
    // subscription.
    let counts = emulator.namespace().counts("orders", "all").unwrap();
    assert!(counts.active > 0, "{counts:?}");
    for n in 0..400u32 {
        assert_eq!(bytes_of(peer.expect(TRANSFER).await.payload)[0], n as u8);
    }
    assert_eq!(emulator.namespace().counts("orders", "all").unwrap().active, 0);
    assert_eq!(peer.put_token("sb://localhost/", &token()).await, 202);
}
