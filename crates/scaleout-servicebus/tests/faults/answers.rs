//! Sends that are turned away, whose answers are lost, or that come late; and a service that takes its time.

use std::{num::NonZeroU16, time::Duration};

use scaleout_core::{ErrorKind, StreamState};
use scaleout_testkit::{
    checker::{Invariant, Outcome},
    load::Verdict,
};
use servicebus_emulator::{SubscriptionProperties, TopicProperties};

use crate::{
    Scene, channel_of_stream, eventually, expect_confirmed, expect_no_gap, frames_in_log, said, trouble,
};

/// How long a send may go unanswered here.
const ANSWER: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_busy_for_a_moment_loses_nothing() {
    let scene = Scene::new().await;
    let load = scene.load(3).await;
    for sends in [1, 6] {
        scene.faults().server_busy(sends);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_busy_is_left_alone_meanwhile_and_health_tells_it() {
    const STREAMS: u64 = 2 * crate::TOPICS as u64;
    let scene = Scene::new().await;
    let load = scene.load(2).await;
    scene.faults().server_busy_until_told(true);
    for node in 0..2 {
        load.state(node, "busy", |states| !states.iter().any(StreamState::is_up)).await;
        let error = trouble(load.bus(node), ErrorKind::Unavailable).await;
        assert!(said(&error).contains("busy") || said(&error).contains("wait"), "{}", said(&error));
    }
    let (sends, published) = (scene.faults().figures().sends, load.published());
    // That takes about a second, in which each stream would try again some ten times.
    eventually("more is published", async || load.published() > published + 120).await;
    let more = scene.faults().figures().sends - sends;
    assert!(more <= 2 * STREAMS, "{more} sends of {STREAMS} streams");
    scene.faults().server_busy_until_told(false);
    load.flows().await;
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_service_is_only_slow() {
    // All links of a node together take longer to open than a request may take.
    let topics = NonZeroU16::new(8).expect("it is not 0");
    let scene =
        Scene::new().await.with(|config| config.with_topic_count(topics).with_operation_timeout(2 * ANSWER));
    scene.faults().delay(Duration::from_millis(150));
    let load = scene.load(2).await;
    scene.faults().delay(Duration::from_millis(20));
    load.flows().await;
    scene.faults().delay(Duration::ZERO);
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
    assert!(verdict.counters.iter().all(|counters| counters.faults == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_outcome_or_send_neither_loses_nor_doubles_a_frame() {
    let scene = Scene::new().await.with(|config| config.with_operation_timeout(ANSWER));
    let load = scene.load(2).await;
    for _ in 0..2 {
        scene.faults().lose_outcomes(1);
        load.flows().await;
        scene.faults().lose_sends(1);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
    // The topic saw to it: no receiver had to.
    assert!(verdict.counters.iter().all(|counters| counters.duplicates == 0), "{:?}", verdict.counters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_drop_the_copies_of_a_topic_that_does_not_detect_them() {
    let scene = Scene::new().await.with(|config| config.with_operation_timeout(ANSWER));
    for index in (0..crate::TOPICS).rev() {
        scene.namespace().create_topic(&scene.topic(index), TopicProperties::default()).expect("it is new");
    }
    let load = scene.quiet(2).await;
    for _ in 0..3 {
        for node in 0..2 {
            load.is_up(node).await;
        }
        scene.faults().lose_outcomes(1);
        scene.say(&load).await;
    }
    let verdict = load.settle(async |stream| scene.log(stream)).await;
    // The checker does not know that this store may have copies; nothing else is wrong.
    assert_eq!(found(&verdict, Invariant::Uniqueness, "is there again as"), 3, "{:?}", verdict.violations);
    assert_eq!(found(&verdict, Invariant::Repair, "stands behind its frame"), 3, "{:?}", verdict.violations);
    assert_eq!(verdict.violations.len(), 6, "{:?}", verdict.violations);
    verdict.expect_all();
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
    assert!(verdict.counters.iter().all(|counters| counters.duplicates == 3), "{:?}", verdict.counters);
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_comes_after_its_retry_is_not_added() {
    let scene = Scene::new().await.with(|config| config.with_operation_timeout(ANSWER));
    let load = scene.load(2).await;
    for _ in 0..2 {
        scene.faults().hold_sends(1);
        // The node gives the connection up, and sends the frame again by another one.
        eventually("a send is held", async || scene.faults().held_sends() == 1).await;
        load.flows().await;
        load.flows().await;
        assert_eq!(scene.faults().release_sends(), 1);
        load.flows().await;
    }
    let verdict = scene.settle(load).await;
    expect_confirmed(&verdict);
    expect_no_gap(&verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_comes_after_its_frame_was_given_up_is_no_gap_and_comes_at_most_once() {
    // A frame is good for no longer than the topic remembers its id, less the time that attempts may be on their way.
    let scene = Scene::new().await.with(|config| {
        config.with_operation_timeout(6 * ANSWER).with_duplicate_window(Duration::from_secs(20))
    });
    let load = scene.quiet(2).await;
    let channel = channel_of_stream(0);
    load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
    scene.faults().hold_sends(1);
    let given_up = load.publish(0, &channel, 32);
    eventually("the send is held", async || scene.faults().held_sends() == 1).await;
    // Nobody can say whether a busy service has it.
    scene.faults().server_busy_until_told(true);
    let error = given_up.await.expect("it does not panic").expect_err("it is given up");
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{}", said(&error));
    scene.faults().server_busy_until_told(false);
    load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
    // It is behind a newer frame of its node now.
    assert_eq!(scene.faults().release_sends(), 1);
    load.publish(0, &channel, 32).await.expect("it does not panic").expect("it is sent");
    let verdict = load.settle(async |stream| scene.log(stream)).await;
    // It is out of order, and receivers pass it over; the checker knows stores that refuse it.
    assert_eq!(found(&verdict, Invariant::Repair, "stands behind its frame"), 1, "{:?}", verdict.violations);
    assert_eq!(verdict.violations.len(), 1, "{:?}", verdict.violations);
    verdict.expect_all();
    expect_no_gap(&verdict);
    assert_eq!((verdict.outcomes(Outcome::Ok), frames_in_log(&verdict)), (3, 4));
    assert!(verdict.counters.iter().all(|counters| counters.duplicates == 1), "{:?}", verdict.counters);
    scene.nothing_is_left().await;
}

/// How often the checker found this.
fn found(verdict: &Verdict, invariant: Invariant, what: &str) -> usize {
    verdict.violations.iter().filter(|it| it.invariant == invariant && it.detail.contains(what)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_full_takes_messages_again_when_there_is_room() {
    let scene = Scene::on(servicebus_emulator::Emulator::builder().max_topic_bytes(64 << 10)).await;
    let load = scene.quiet(2).await;
    // Somebody's subscription that nobody receives from.
    let topic = scene.topic(0);
    let properties = SubscriptionProperties::default();
    scene.namespace().create_subscription(&topic, "abandoned", properties).expect("it is new");
    let channel = channel_of_stream(0);
    let publishes: Vec<_> = (0..12).map(|_| load.publish(0, &channel, 8 << 10)).collect();
    let error = trouble(load.bus(0), ErrorKind::Unavailable).await;
    assert!(said(&error).contains("full"), "{}", said(&error));
    scene.namespace().delete_subscription(&topic, "abandoned").expect("it is there");
    for publish in publishes {
        publish.await.expect("it does not panic").expect("it is sent");
    }
    expect_no_gap(&scene.settle(load).await);
}
