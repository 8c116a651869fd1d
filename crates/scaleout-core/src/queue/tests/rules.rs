//! One rule each.

use std::{sync::Arc, time::Duration};

use super::{
    Fixture, NOW, TOO_LARGE, always, config, decode, error, fail, is_ok, next, ok, push, refused, send, texts,
};
use crate::{
    ErrorKind, Overflow, QueuePolicy, StreamIndex,
    frame::MAX_HEAD_BYTES,
    queue::{Abandoned, Finished},
};

// What is sent, and when.

#[test]
fn a_lone_message_is_not_delayed() {
    let mut fixture = Fixture::up(&always());
    let receipt = push(fixture.queue(), "a");
    let attempt = next(fixture.queue());
    assert_eq!((attempt.frame.number, attempt.frame.after, texts(&attempt)), (1, 0, vec!["a".into()]));
    assert_eq!(receipt.outcome().map(|_| ()), None);
    assert_eq!(ok(fixture.queue()), Finished::Accepted);
    assert!(is_ok(&receipt));
    fixture.assert_budgets_are_empty();
}

#[test]
fn one_attempt_is_out_at_a_time() {
    let mut fixture = Fixture::up(&always());
    let _receipts = [push(fixture.queue(), "a"), push(fixture.queue(), "b")];
    next(fixture.queue());
    fixture.queue().request_probe();
    assert!(fixture.queue().next(NOW, 0).is_none());
}

#[test]
fn what_waits_becomes_one_frame() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    let receipts: Vec<_> = ["a", "b", "c", "d"].map(|text| push(queue, text)).into();
    assert_eq!(texts(&next(queue)), ["a", "b", "c", "d"]);
    ok(queue);
    assert!(receipts.iter().all(is_ok));
    assert_eq!(queue.counters().published, 4);
}

#[test]
fn a_frame_stays_below_its_bound_and_a_larger_message_goes_alone() {
    let text = "x".repeat(100);
    let mut fixture = Fixture::up(&always().with_max_frame_bytes(MAX_HEAD_BYTES + 250));
    let queue = fixture.queue();
    let large = "y".repeat(1000);
    let _receipts = [&text, &text, &text, &large, &text].map(|text| push(queue, text));
    let mut sent = Vec::new();
    while let Some(attempt) = queue.next(NOW, 0) {
        sent.push(texts(&attempt).len());
        assert!(attempt.payload.len() <= MAX_HEAD_BYTES + 250 || texts(&attempt) == [large.clone()]);
        ok(queue);
    }
    assert_eq!(sent, [2, 1, 1, 1]);
}

#[test]
fn a_message_beyond_the_payload_limit_is_refused_at_the_call() {
    let mut fixture = Fixture::new(&always(), MAX_HEAD_BYTES + 100);
    let queue = fixture.queue();
    // One byte each for the length of channel and payload, the channel, and the count of extensions.
    let _receipt = push(queue, &"x".repeat(96));
    assert_eq!(
        refused(queue, &"x".repeat(97), true),
        ErrorKind::PayloadTooLarge { actual: MAX_HEAD_BYTES + 101, limit: MAX_HEAD_BYTES + 100 }
    );
    queue.set_open();
    assert!(next(queue).payload.len() <= MAX_HEAD_BYTES + 100);
    assert_eq!((queue.counters().too_large, queue.counters().refused), (1, 0));
}

#[test]
fn a_frame_never_exceeds_the_payload_limit() {
    let mut fixture = Fixture::new(&always(), MAX_HEAD_BYTES + 250);
    let queue = fixture.queue();
    queue.set_open();
    let _receipts = [(); 3].map(|()| push(queue, &"x".repeat(100)));
    assert_eq!(texts(&next(queue)).len(), 2);
}

#[test]
fn nothing_but_probes_goes_before_opening() {
    let mut fixture = Fixture::new(&always(), 1 << 20);
    let queue = fixture.queue();
    let receipt = push(queue, "a");
    assert!(queue.next(NOW, 0).is_none());
    queue.request_probe();
    let probe = next(queue);
    assert_eq!((probe.frame.number, probe.payload.len()), (0, 0));
    assert_eq!(ok(queue), Finished::Probed);
    assert!(queue.next(NOW, 0).is_none());
    queue.set_open();
    assert_eq!(next(queue).frame.number, 1);
    drop(receipt);
}

#[test]
fn what_is_held_back_is_accepted_and_waits() {
    for policy in [QueuePolicy::Always, QueuePolicy::InitialOnly, QueuePolicy::Disabled] {
        let mut fixture = Fixture::up(&config(policy, Overflow::Reject));
        let queue = fixture.queue();
        queue.hold(true);
        let receipt = push(queue, "a");
        assert!(queue.next(NOW, 0).is_none());
        queue.request_probe();
        assert_eq!(next(queue).frame.number, 0);
        ok(queue);
        queue.hold(false);
        assert_eq!(texts(&next(queue)), ["a"]);
        ok(queue);
        assert!(is_ok(&receipt));
    }
}

#[test]
fn a_probe_tells_the_last_confirmed_number_and_goes_first() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    send(queue, "a");
    let _receipt = push(queue, "b");
    queue.request_probe();
    let probe = next(queue);
    assert_eq!((probe.frame.number, probe.frame.after), (0, 1));
    assert_eq!(ok(queue), Finished::Probed);
    assert_eq!(next(queue).frame.number, 2);
}

#[test]
fn a_failed_send_with_nothing_left_is_followed_by_a_probe() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Disabled, Overflow::Reject));
    let queue = fixture.queue();
    let receipt = push(queue, "a");
    next(queue);
    assert_eq!(fail(queue, ErrorKind::Timeout), Finished::Failed);
    assert_eq!(error(&receipt), Some(ErrorKind::Unconfirmed));
    queue.set_up(false);
    assert_eq!(refused(queue, "b", true), ErrorKind::Unavailable);
    for _ in 0..3 {
        assert_eq!(next(queue).frame.number, 0);
        assert_eq!(fail(queue, ErrorKind::Unavailable), Finished::Failed);
        assert!(queue.last_send_failed());
    }
    next(queue);
    assert_eq!(ok(queue), Finished::Probed);
    assert!(!queue.last_send_failed() && queue.next(NOW, 0).is_none());
    queue.set_up(true);
    send(queue, "c");
}

#[test]
fn a_failed_repair_whose_tail_is_gone_is_followed_by_a_probe() {
    for policy in [QueuePolicy::Always, QueuePolicy::InitialOnly, QueuePolicy::Disabled] {
        let mut fixture = Fixture::up(&config(policy, Overflow::Reject));
        let queue = fixture.queue();
        send(queue, "a");
        queue.request_probe();
        next(queue);
        assert_eq!(fail(queue, ErrorKind::Rewound { last: 0 }), Finished::Rewound { last: 0 });
        assert_eq!(next(queue).frame.number, 1);
        assert_eq!(fail(queue, ErrorKind::Timeout), Finished::Failed);
        queue.set_up(false);
        assert!(queue.evict_oldest_tail());
        // Under the stricter policies nothing is accepted until the stream is up, and only an answer brings it up.
        assert_eq!(next(queue).frame.number, 0);
        assert_eq!(fail(queue, ErrorKind::Timeout), Finished::Failed);
        assert_eq!(next(queue).frame.number, 0);
        assert_eq!(ok(queue), Finished::Probed);
        assert!(!queue.last_send_failed() && queue.next(NOW, 0).is_none());
    }
}

#[test]
fn a_probe_whose_attempt_was_dropped_is_due_again() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Disabled, Overflow::Reject));
    let queue = fixture.queue();
    queue.request_probe();
    next(queue);
    assert!(queue.set_up(false));
    assert_eq!(ok(queue), Finished::Stale);
    assert_eq!(next(queue).frame.number, 0);
}

// Frames and numbers.

#[test]
fn a_tried_frame_never_changes() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    send(queue, "a");
    let _receipt = push(queue, "b");
    let first = next(queue);
    let _later = push(queue, "c");
    for kind in
        [ErrorKind::Timeout, ErrorKind::Unauthorized, ErrorKind::Rewound { last: 0 }, ErrorKind::Closed]
    {
        fail(queue, kind);
        let mut again = next(queue);
        if again.frame.number == 1 {
            // The repair comes first.
            ok(queue);
            again = next(queue);
        }
        assert_eq!((again.frame, &again.payload), (first.frame, &first.payload), "{kind:?}");
    }
}

#[test]
fn given_up_numbers_are_never_used_again() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Disabled, Overflow::Reject));
    let queue = fixture.queue();
    let unconfirmed = push(queue, "a");
    assert_eq!(next(queue).frame.number, 1);
    assert!(queue.set_up(false));
    queue.set_up(true);
    let too_large = push(queue, "b");
    assert_eq!(next(queue).frame.number, 2);
    assert_eq!(fail(queue, TOO_LARGE), Finished::GivenUp);
    assert!(!queue.last_send_failed(), "the store did answer");
    let _receipt = push(queue, "c");
    let attempt = next(queue);
    assert_eq!((attempt.frame.number, attempt.frame.after), (3, 0));
    assert_eq!((error(&unconfirmed), error(&too_large)), (Some(ErrorKind::Unconfirmed), Some(TOO_LARGE)));
}

#[test]
fn a_frame_given_up_is_no_hole() {
    let mut fixture = Fixture::up(&config(QueuePolicy::InitialOnly, Overflow::Reject));
    let queue = fixture.queue();
    send(queue, "a");
    let _receipt = push(queue, "b");
    next(queue);
    queue.set_up(false);
    queue.set_up(true);
    let _receipt = push(queue, "c");
    let (head, _) = decode(&next(queue).payload);
    assert_eq!((head.number, head.after), (3, 1));
}

#[test]
fn a_frame_that_may_be_there_is_unconfirmed_even_if_it_is_too_large_now() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    let receipt = push(queue, "a");
    next(queue);
    fail(queue, ErrorKind::Timeout);
    next(queue);
    assert_eq!(fail(queue, TOO_LARGE), Finished::GivenUp);
    assert_eq!(error(&receipt), Some(ErrorKind::Unconfirmed));
}

// Repair.

#[test]
fn a_rewound_store_gets_the_tail_again_before_what_is_new() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    for text in ["a", "b", "c"] {
        send(queue, text);
    }
    let receipt = push(queue, "d");
    next(queue);
    assert_eq!(fail(queue, ErrorKind::Rewound { last: 1 }), Finished::Rewound { last: 1 });
    assert!(!queue.last_send_failed());
    let mut sent = Vec::new();
    while let Some(attempt) = queue.next(NOW, 0) {
        let head = decode(&attempt.payload).0;
        assert_eq!(head.number, attempt.frame.number);
        sent.push((head.number, attempt.frame.after, head.after, texts(&attempt)[0].clone()));
        ok(queue);
    }
    let expected = [(2, 1, 1, "b"), (3, 2, 2, "c"), (4, 3, 3, "d")];
    assert_eq!(sent, expected.map(|(number, after, shown, text)| (number, after, shown, text.to_owned())));
    assert!(is_ok(&receipt));
    assert_eq!((queue.confirmed(), queue.counters().rewound, queue.counters().published), (4, 1, 4));
}

#[test]
fn a_store_may_rewind_again_in_the_middle_of_a_repair() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    for text in ["a", "b", "c"] {
        send(queue, text);
    }
    queue.request_probe();
    next(queue);
    fail(queue, ErrorKind::Rewound { last: 1 });
    assert_eq!(next(queue).frame.number, 2);
    assert_eq!(fail(queue, ErrorKind::Rewound { last: 0 }), Finished::Rewound { last: 0 });
    let numbers: Vec<_> = std::iter::from_fn(|| {
        let attempt = queue.next(NOW, 0)?;
        assert_eq!(ok(queue), Finished::Repaired);
        Some((attempt.frame.number, attempt.frame.after))
    })
    .collect();
    assert_eq!(numbers, [(1, 0), (2, 1), (3, 2)]);
}

#[test]
fn where_the_tail_no_longer_reaches_the_frame_itself_shows_the_hole() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    for text in ["a", "b", "c"] {
        send(queue, text);
    }
    queue.evict_oldest_tail();
    queue.evict_oldest_tail();
    queue.request_probe();
    next(queue);
    fail(queue, ErrorKind::Rewound { last: 0 });
    let oldest = next(queue);
    assert_eq!((oldest.frame.number, oldest.frame.after, decode(&oldest.payload).0.after), (3, 0, 2));
    queue.evict_oldest_tail();
    assert_eq!(fail(queue, ErrorKind::Timeout), Finished::Failed);

    // Now the tail is gone altogether.
    assert_eq!(next(queue).frame.number, 0, "nothing is left to retry");
    ok(queue);
    let _receipt = push(queue, "d");
    let new = next(queue);
    assert_eq!((new.frame.number, new.frame.after, decode(&new.payload).0.after), (4, 0, 3));
}

#[test]
fn a_rewound_that_lowers_nothing_is_a_failure_and_no_loop() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    send(queue, "a");
    let _receipt = push(queue, "b");
    for last in [1, 2, u64::MAX] {
        let attempt = next(queue);
        assert_eq!((attempt.frame.number, attempt.frame.after), (2, 1));
        assert_eq!(fail(queue, ErrorKind::Rewound { last }), Finished::Failed);
    }
    assert_eq!((queue.confirmed(), queue.counters().rewound), (1, 0));
}

#[test]
fn a_tail_frame_that_became_too_large_is_not_repaired() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    for text in ["a", "b"] {
        send(queue, text);
    }
    queue.request_probe();
    next(queue);
    fail(queue, ErrorKind::Rewound { last: 0 });
    assert_eq!(next(queue).frame.number, 1);
    assert_eq!(fail(queue, TOO_LARGE), Finished::GivenUp);
    assert_eq!(next(queue).frame.number, 2);
}

#[test]
fn a_failed_repair_goes_on_under_every_policy() {
    for policy in [QueuePolicy::Always, QueuePolicy::InitialOnly, QueuePolicy::Disabled] {
        let mut fixture = Fixture::up(&config(policy, Overflow::Reject));
        let queue = fixture.queue();
        send(queue, "a");
        queue.request_probe();
        next(queue);
        fail(queue, ErrorKind::Rewound { last: 0 });
        assert_eq!(next(queue).frame.number, 1);
        fail(queue, ErrorKind::Timeout);
        assert!(!queue.is_drained());
        assert_eq!(next(queue).frame.number, 1, "{policy:?}");
        assert_eq!(ok(queue), Finished::Repaired);
        assert!(queue.is_drained());
    }
}

#[test]
fn the_tail_is_bounded_by_age_and_told_to_the_bus() {
    let mut fixture = Fixture::up(&always().with_max_tail_bytes(1000));
    let (tail, at) = (Arc::clone(&fixture.tail), |seconds| Duration::from_secs(seconds));
    for (stream, second) in [(1, 1), (0, 2), (1, 3)] {
        let queue = &mut fixture.queues[stream];
        let _receipt = queue.push(at(second), "c", &[0; 300], &[], false).unwrap();
        queue.next(at(second), 0).unwrap();
        queue.finished(at(second), Ok(()));
    }
    assert!(tail.over());
    assert_eq!(tail.oldest_stream(), Some(StreamIndex(1)));
    assert!(fixture.queues[1].evict_oldest_tail());
    assert!(!tail.over());
    assert_eq!(tail.oldest_stream(), Some(StreamIndex(0)));

    assert_eq!(fixture.queues[0].next_deadline(), Some(at(62)));
    fixture.queues[0].expire(at(62));
    assert!(fixture.queues[0].tail_is_empty() && !fixture.queues[0].evict_oldest_tail());
    fixture.queues[1].expire(at(62));
    assert!(!fixture.queues[1].tail_is_empty());
    drop(fixture);
    assert_eq!((tail.used(), tail.oldest_stream()), (0, None));
}

// Who may wait.

#[test]
fn initial_only_keeps_messages_until_the_first_opening_and_no_longer() {
    let mut fixture = Fixture::new(&config(QueuePolicy::InitialOnly, Overflow::Reject), 1 << 20);
    let queue = fixture.queue();
    let receipt = push(queue, "a");
    queue.request_probe();
    next(queue);
    assert_eq!(fail(queue, ErrorKind::Unavailable), Finished::Failed);
    queue.set_up(false);
    assert_eq!(receipt.outcome().map(|_| ()), None);
    queue.set_open();
    assert_eq!(refused(queue, "b", true), ErrorKind::Unavailable, "open, but not up");
    queue.request_probe();
    next(queue);
    ok(queue);
    queue.set_up(true);
    assert_eq!(next(queue).frame.number, 1);
    ok(queue);
    assert!(is_ok(&receipt));
    assert!(!queue.set_up(false), "nothing runs");
    assert_eq!(refused(queue, "b", true), ErrorKind::Unavailable);
}

#[test]
fn disabled_refuses_whenever_the_stream_is_not_up() {
    let mut fixture = Fixture::new(&config(QueuePolicy::Disabled, Overflow::Wait), 1 << 20);
    let queue = fixture.queue();
    assert_eq!(refused(queue, "a", true), ErrorKind::Unavailable);
    queue.set_open();
    assert_eq!(refused(queue, "a", true), ErrorKind::Unavailable);
    queue.set_up(true);
    send(queue, "a");
    assert_eq!((queue.counters().unavailable, queue.counters().refused), (2, 0));
}

#[test]
fn the_cause_of_an_outage_is_told_with_what_it_ended() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Disabled, Overflow::Reject));
    let queue = fixture.queue();
    let tried = push(queue, "a");
    next(queue);
    let waiting = push(queue, "b");
    fail(queue, ErrorKind::Unauthorized);
    for receipt in [tried, waiting] {
        let error = receipt.outcome().unwrap().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "the backplane refuses the credentials");
    }
}

#[test]
fn age_counts_for_what_was_not_tried() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Always, Overflow::Wait).with_max_queue_messages(2));
    let queue = fixture.queue();
    let tried = push(queue, "a");
    next(queue);
    fail(queue, ErrorKind::Timeout);
    let waiting = push(queue, "b");
    let in_room = queue.push(NOW + Duration::from_secs(1), "c", b"c", &[], true).unwrap();
    let expires = NOW + Duration::from_secs(30);
    assert_eq!(queue.next_deadline(), Some(expires));
    queue.expire(expires - Duration::from_nanos(1));
    assert!(waiting.outcome().is_none());
    queue.expire(expires);
    assert_eq!(error(&waiting), Some(ErrorKind::Expired));
    assert!(in_room.outcome().is_none());
    queue.expire(expires + Duration::from_secs(1));
    assert_eq!(error(&in_room), Some(ErrorKind::Expired));
    assert!(tried.outcome().is_none());
    assert_eq!((queue.counters().expired, queue.queued().0), (2, 1));
}

#[test]
fn what_is_too_old_is_not_sent_even_if_no_timer_fired() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    let receipt = push(queue, "a");
    assert!(queue.next(NOW + Duration::from_secs(30), 0).is_none());
    assert_eq!(error(&receipt), Some(ErrorKind::Expired));
}

#[test]
fn those_who_wait_for_room_enter_in_order_and_nobody_overtakes() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Always, Overflow::Wait).with_max_queue_messages(1));
    let queue = fixture.queue();
    let receipts: Vec<_> =
        ["a", "b"].map(|text| queue.push(NOW, "c", text.as_bytes(), &[], true).unwrap()).into();
    assert_eq!(refused(queue, "x", false), ErrorKind::QueueFull, "enqueue never waits");
    assert_eq!(refused(queue, "x", true), ErrorKind::QueueFull, "the room is bounded too");
    assert_eq!(texts(&next(queue)), ["a"]);
    ok(queue);
    assert_eq!(fixture.budget.used().0, 0);
    assert_eq!(
        refused(fixture.queue(), "x", false),
        ErrorKind::QueueFull,
        "there is room, but b has waited for it"
    );
    let other = fixture.queues[1].push(NOW, "c", b"c", &[], true);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::QueueFull, "on no stream");
    let queue = fixture.queue();
    assert_eq!(texts(&next(queue)), ["b"]);
    ok(queue);
    assert!(receipts.iter().all(is_ok));
    fixture.assert_budgets_are_empty();
}

#[test]
fn room_freed_on_one_stream_admits_on_another() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Always, Overflow::Wait).with_max_queue_messages(1));
    let first = push(fixture.queue(), "a");
    let waiting = fixture.queues[1].push(NOW, "c", b"b", &[], true).unwrap();
    assert!(fixture.queues[1].next(NOW, 0).is_none());
    next(fixture.queue());
    ok(fixture.queue());
    assert!(fixture.queues[1].admit(NOW) && !fixture.queues[1].admit(NOW));
    next(&mut fixture.queues[1]);
    ok(&mut fixture.queues[1]);
    assert!(is_ok(&first) && is_ok(&waiting));
}

#[test]
fn drop_oldest_drops_what_helps_and_no_more() {
    let config = config(QueuePolicy::Always, Overflow::DropOldest).with_max_queue_bytes(40);
    let mut fixture = Fixture::up(&config);
    // Each message is its text and four bytes.
    let queue = fixture.queue();
    let receipts = ["0123456789", "01", "0123"].map(|text| push(queue, text));
    let newest = push(queue, "0123456789");
    assert_eq!(receipts.each_ref().map(error), [Some(ErrorKind::Dropped), None, None]);
    assert_eq!(refused(queue, &"x".repeat(37), true), ErrorKind::QueueFull, "it can never fit");
    assert!(receipts[1].outcome().is_none(), "so nothing is dropped for it");
    next(queue);
    assert_eq!(
        refused(queue, &"x".repeat(20), true),
        ErrorKind::QueueFull,
        "nothing waits that could be dropped"
    );
    ok(queue);
    assert!(is_ok(&receipts[1]) && is_ok(&receipts[2]) && is_ok(&newest));
    assert_eq!((queue.counters().dropped, queue.counters().refused), (1, 2));
}

#[test]
fn drop_oldest_spares_other_streams() {
    let mut fixture =
        Fixture::up(&config(QueuePolicy::Always, Overflow::DropOldest).with_max_queue_messages(1));
    let receipt = push(&mut fixture.queues[1], "a");
    assert_eq!(refused(fixture.queue(), "b", true), ErrorKind::QueueFull);
    assert!(receipt.outcome().is_none());
}

// The end.

#[test]
fn closing_flushes_what_waits_and_turns_away_who_waits_for_room() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Always, Overflow::Wait).with_max_queue_messages(2));
    let queue = fixture.queue();
    let waiting = [push(queue, "a"), push(queue, "b")];
    let in_room = queue.push(NOW, "c", b"c", &[], true).unwrap();
    queue.stop_accepting();
    assert_eq!(error(&in_room), Some(ErrorKind::Closed));
    assert!(!queue.is_drained());
    next(queue);
    ok(queue);
    assert!(waiting.iter().all(is_ok) && queue.is_drained());
    assert_eq!(queue.abandon(), Abandoned::default());
    fixture.assert_budgets_are_empty();
}

#[test]
fn dropping_the_queue_resolves_everything() {
    let mut fixture = Fixture::up(&config(QueuePolicy::Always, Overflow::Wait).with_max_queue_messages(2));
    let queue = fixture.queue();
    let tried = push(queue, "a");
    next(queue);
    let waiting = push(queue, "b");
    let in_room = queue.push(NOW, "c", b"c", &[], true).unwrap();
    fixture.queues.clear();
    assert_eq!(error(&tried), Some(ErrorKind::Unconfirmed));
    assert_eq!([&waiting, &in_room].map(error), [Some(ErrorKind::Closed); 2]);
    fixture.assert_budgets_are_empty();
}

#[test]
fn an_outage_leaves_no_memory_behind() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    for _ in 0..1000 {
        drop(push(queue, &"x".repeat(10_000)));
    }
    while queue.next(NOW, 0).is_some() {
        ok(queue);
    }
    assert!(queue.waiting.capacity() <= 64 << 10, "{}", queue.waiting.capacity());
    assert!(queue.ledger.batches() <= 1);
}
