//! Every cell of policy × overflow × outcome × close, with what each publish resolves to.

use super::{Fixture, NOW, TOO_LARGE, config, decode, error, fail, is_ok, next, ok, push, refused, send};
use crate::{
    ErrorKind, Overflow,
    Overflow::{DropOldest, Reject, Wait},
    QueuePolicy, Receipt,
    queue::SendQueue,
};

/// What happens to the attempt that is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Transient,
    Timeout,
    Fatal,
    TooLarge,
    Unconfirmed,
    RewoundInTail,
    RewoundBeyondTail,
    RewoundToZero,
    /// The stream goes down by its reception, and the bus drops the attempt where it is told to.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    None,
    Drained,
    Abandoned,
}

/// The outcomes of five publishes on a queue with four places: `t` was tried, three waited, the last found it full.
///
/// `o` ok, `u` unconfirmed, `n` unavailable, `f` queue full, `d` dropped, `c` closed, `l` too large.
/// In the order of [`Close`].
fn expected(policy: QueuePolicy, overflow: Overflow, outcome: Outcome) -> [&'static str; 3] {
    use Outcome::{
        Dropped, Fatal, Ok, RewoundBeyondTail, RewoundInTail, RewoundToZero, Timeout, TooLarge, Transient,
        Unconfirmed,
    };
    use QueuePolicy::{Always, Disabled, InitialOnly};
    match (policy, overflow, outcome) {
        (_, Reject, Ok) => ["oooof", "oooof", "occcf"],
        (_, Wait, Ok) => ["ooooo", "ooooo", "occcc"],
        (_, DropOldest, Ok) => ["odooo", "odooo", "odccc"],

        (_, Reject, TooLarge) => ["looof", "looof", "lcccf"],
        (_, Wait, TooLarge) => ["loooo", "loooo", "lcccc"],
        (_, DropOldest, TooLarge) => ["ldooo", "ldooo", "ldccc"],

        (_, Reject, Unconfirmed) => ["uooof", "uooof", "ucccf"],
        (_, Wait, Unconfirmed) => ["uoooo", "uoooo", "ucccc"],
        (_, DropOldest, Unconfirmed) => ["udooo", "udooo", "udccc"],

        (_, Reject, RewoundInTail | RewoundBeyondTail | RewoundToZero) => ["oooof", "oooof", "ucccf"],
        (_, Wait, RewoundInTail | RewoundBeyondTail | RewoundToZero) => ["ooooo", "ooooc", "ucccc"],
        (_, DropOldest, RewoundInTail | RewoundBeyondTail | RewoundToZero) => ["odooo", "odooo", "udccc"],

        (Always, Reject, Transient | Timeout | Fatal | Dropped) => ["oooof", "oooof", "ucccf"],
        (Always, Wait, Transient | Timeout | Fatal | Dropped) => ["ooooo", "ooooc", "ucccc"],
        (Always, DropOldest, Transient | Timeout | Fatal | Dropped) => ["odooo", "odooo", "udccc"],

        (InitialOnly | Disabled, Reject, Transient | Timeout | Fatal | Dropped) => {
            ["unnnf", "unnnf", "unnnf"]
        }
        (InitialOnly | Disabled, Wait, Transient | Timeout | Fatal | Dropped) => ["unnnn", "unnnn", "unnnn"],
        (InitialOnly | Disabled, DropOldest, Transient | Timeout | Fatal | Dropped) => {
            ["udnnn", "udnnn", "udnnn"]
        }
    }
}

#[test]
fn every_publish_of_every_cell_resolves_as_the_table_says() {
    let mut cells = 0;
    for policy in [QueuePolicy::Always, QueuePolicy::InitialOnly, QueuePolicy::Disabled] {
        for overflow in [Reject, Wait, DropOldest] {
            for outcome in OUTCOMES {
                let closes = [Close::None, Close::Drained, Close::Abandoned];
                for (close, expected) in closes.into_iter().zip(expected(policy, overflow, outcome)) {
                    let cell = format!("{policy:?} × {overflow:?} × {outcome:?} × {close:?}");
                    assert_eq!(run(policy, overflow, outcome, close, &cell), expected, "{cell}");
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 3 * 3 * 10 * 3);
}

const OUTCOMES: [Outcome; 10] = [
    Outcome::Ok,
    Outcome::Transient,
    Outcome::Timeout,
    Outcome::Fatal,
    Outcome::TooLarge,
    Outcome::Unconfirmed,
    Outcome::RewoundInTail,
    Outcome::RewoundBeyondTail,
    Outcome::RewoundToZero,
    Outcome::Dropped,
];

fn run(policy: QueuePolicy, overflow: Overflow, outcome: Outcome, close: Close, cell: &str) -> String {
    let mut fixture = Fixture::up(&config(policy, overflow).with_max_queue_messages(4));
    let queue = fixture.queue();
    send(queue, "a");
    send(queue, "b");
    if outcome == Outcome::RewoundBeyondTail {
        assert!(queue.evict_oldest_tail());
    }

    let mut receipts = vec![Some(push(queue, "t"))];
    assert_eq!(next(queue).frame.number, 3, "{cell}");
    receipts.extend(["1", "2", "3"].map(|text| Some(push(queue, text))));
    receipts.push(queue.push(NOW, "c", b"x", &[], true).ok());

    let numbers = end_attempt(queue, outcome);
    assert_eq!(numbers.is_some(), outcome != Outcome::Dropped || policy != QueuePolicy::Always, "{cell}");
    queue.admit(NOW);
    match close {
        Close::None => {
            let sent = settle_down(queue);
            assert!(sent.is_sorted_by(|a, b| a < b), "{cell}: {sent:?}");
            // The queue serves on.
            send(queue, "y");
        }
        Close::Drained => {
            queue.stop_accepting();
            assert_eq!(refused(queue, "y", true), ErrorKind::Closed, "{cell}");
            settle_down(queue);
            assert!(queue.is_drained(), "{cell}");
        }
        Close::Abandoned => {
            let unresolved =
                |receipt: &&Option<Receipt>| receipt.as_ref().is_some_and(|r| r.outcome().is_none());
            let open = receipts.iter().filter(unresolved).count();
            queue.stop_accepting();
            let closed_waiting =
                receipts.last().and_then(Option::as_ref).and_then(error) == Some(ErrorKind::Closed);
            let abandoned = queue.abandon();
            let told = abandoned.unsent + abandoned.unconfirmed + usize::from(closed_waiting);
            assert_eq!(told, open, "{cell}");
            assert!(queue.next(NOW, 0).is_none(), "{cell}");
        }
    }
    let outcomes =
        receipts.iter().map(|receipt| receipt.as_ref().map_or('f', |receipt| letter(receipt, cell)));
    let outcomes = outcomes.collect();
    fixture.assert_budgets_are_empty();
    outcomes
}

/// Ends the outstanding attempt; `None` where it runs on.
fn end_attempt(queue: &mut SendQueue, outcome: Outcome) -> Option<()> {
    let kind = match outcome {
        Outcome::Ok => {
            ok(queue);
            return Some(());
        }
        Outcome::Dropped => return queue.set_up(false).then_some(()),
        Outcome::Transient => ErrorKind::Unavailable,
        Outcome::Timeout => ErrorKind::Timeout,
        Outcome::Fatal => ErrorKind::Unauthorized,
        Outcome::TooLarge => TOO_LARGE,
        Outcome::Unconfirmed => ErrorKind::Unconfirmed,
        Outcome::RewoundInTail => ErrorKind::Rewound { last: 1 },
        Outcome::RewoundBeyondTail | Outcome::RewoundToZero => ErrorKind::Rewound { last: 0 },
    };
    fail(queue, kind);
    queue.set_up(!queue.last_send_failed());
    Some(())
}

/// Lets a healthy store answer until nothing is left to send; the frames it got.
fn settle_down(queue: &mut SendQueue) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        if let Some(attempt) = queue.next(NOW, 0)
            && attempt.frame.number > 0
        {
            assert_eq!(decode(&attempt.payload).0.number, attempt.frame.number);
            assert!(attempt.frame.after < attempt.frame.number);
            numbers.push(attempt.frame.number);
        }
        if ok(queue) == super::Finished::Stale {
            break;
        }
        queue.set_up(true);
    }
    queue.set_up(true);
    numbers
}

fn letter(receipt: &Receipt, cell: &str) -> char {
    if is_ok(receipt) {
        return 'o';
    }
    match error(receipt) {
        Some(ErrorKind::Unconfirmed) => 'u',
        Some(ErrorKind::Unavailable) => 'n',
        Some(ErrorKind::QueueFull) => 'f',
        Some(ErrorKind::Dropped) => 'd',
        Some(ErrorKind::Closed) => 'c',
        Some(ErrorKind::PayloadTooLarge { .. }) => 'l',
        other => panic!("{cell}: {other:?}"),
    }
}
