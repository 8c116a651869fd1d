//! Who awaits a receipt is woken, once and without a lock.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use super::{Fixture, always, config, error, is_ok, next, ok, push, texts};
use crate::{ErrorKind, Overflow, QueuePolicy, Receipt, queue::SharedQueue};

#[test]
fn receipts_are_plain_futures() {
    static_assertions::assert_impl_all!(Receipt: Send, Sync, Unpin, std::fmt::Debug);
}

#[test]
fn receipts_resolve_across_batches_in_any_order() {
    let mut fixture =
        Fixture::up(&config(QueuePolicy::Always, Overflow::DropOldest).with_max_queue_messages(1000));
    let queue = fixture.queue();
    let tried = push(queue, "a");
    next(queue);
    let receipts: Vec<_> = (0..1500).map(|_| push(queue, "b")).collect();
    let dropped = receipts.iter().take_while(|receipt| error(receipt) == Some(ErrorKind::Dropped)).count();
    assert_eq!(dropped, 501);
    assert!(tried.outcome().is_none() && receipts[501..].iter().all(|receipt| receipt.outcome().is_none()));
    ok(queue);
    assert!(is_ok(&tried));
    next(queue);
    ok(queue);
    assert!(receipts[501..].iter().all(is_ok));
}

#[test]
fn awaiting_a_receipt_wakes_once_it_is_resolved() {
    let mut fixture = Fixture::up(&always());
    let shared = SharedQueue::new(fixture.queues.remove(0));
    let mut receipts = shared.with(|queue| ["a", "b"].map(|text| push(queue, text)));
    let (waker, woken) = counting_waker();
    let mut context = Context::from_waker(&waker);
    for _ in 0..2 {
        assert!(Pin::new(&mut receipts[0]).poll(&mut context).is_pending());
    }
    shared.with(|queue| drop(next(queue)));
    assert_eq!(*woken.0.lock().unwrap(), 0);
    shared.with(ok);
    assert_eq!(*woken.0.lock().unwrap(), 1, "a receipt polled twice has one waker");
    for receipt in receipts {
        assert!(matches!(pin!(receipt).poll(&mut context), Poll::Ready(Ok(()))));
    }
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    let mut receipt = push(queue, "a");
    let ((first, not_woken), (second, woken)) = (counting_waker(), counting_waker());
    assert!(Pin::new(&mut receipt).poll(&mut Context::from_waker(&first)).is_pending());
    assert!(Pin::new(&mut receipt).poll(&mut Context::from_waker(&second)).is_pending());
    drop(first);
    assert_eq!(Arc::strong_count(&not_woken), 1, "the replaced waker is let go");
    next(queue);
    ok(queue);
    queue.take_wakes().wake();
    assert_eq!((*not_woken.0.lock().unwrap(), *woken.0.lock().unwrap()), (0, 1));
}

#[test]
fn a_dropped_receipt_withdraws_nothing_and_leaves_no_waker() {
    let mut fixture = Fixture::up(&always());
    let queue = fixture.queue();
    let (waker, woken) = counting_waker();
    let mut receipt = push(queue, "a");
    assert!(Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker)).is_pending());
    drop((waker, receipt));
    assert_eq!(Arc::strong_count(&woken), 1);
    assert_eq!(texts(&next(queue)), ["a"]);
    ok(queue);
    assert!(queue.take_wakes().is_empty());
}

#[test]
fn a_waker_may_use_the_queue() {
    struct Pusher(Arc<SharedQueue>);
    impl Wake for Pusher {
        fn wake(self: Arc<Self>) {
            drop(self.0.with(|queue| push(queue, "from the waker")));
        }
    }
    let mut fixture = Fixture::up(&always());
    let shared = Arc::new(SharedQueue::new(fixture.queues.remove(0)));
    let mut receipt = shared.with(|queue| push(queue, "a"));
    let waker = Waker::from(Arc::new(Pusher(Arc::clone(&shared))));
    assert!(Pin::new(&mut receipt).poll(&mut Context::from_waker(&waker)).is_pending());
    shared.with(|queue| drop(next(queue)));
    shared.with(ok);
    assert_eq!(shared.with(|queue| texts(&next(queue))), ["from the waker"]);
}

#[derive(Default)]
struct Count(Mutex<usize>);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() += 1;
    }
}

fn counting_waker() -> (Waker, Arc<Count>) {
    let count = Arc::<Count>::default();
    (Waker::from(Arc::clone(&count)), count)
}
