//! How the outcome of a message reaches whoever published it, without an allocation per message.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::Error;

/// The outcome of a message that was accepted for sending: a future that resolves once, to what became of it.
///
/// `Ok` means that the store has the message. [`Unconfirmed`](crate::ErrorKind::Unconfirmed) means that it may have
/// it; every other error is sure that it has not. It may be dropped at any time, which withdraws nothing.
#[must_use = "a receipt tells whether the message was sent; drop it where that does not matter"]
pub struct Receipt {
    batch: Arc<Batch>,
    place: u32,
    /// Whether the batch holds a waker of this receipt.
    registered: bool,
}

impl Receipt {
    /// The outcome, if there is one already.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        self.batch.lock().outcome(self.place)
    }
}

impl Future for Receipt {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.batch.lock();
        if let Some(outcome) = state.outcome(this.place) {
            this.registered = false;
            return Poll::Ready(outcome);
        }
        if !this.registered {
            state.wakers.push((this.place, context.waker().clone()));
            this.registered = true;
            return Poll::Pending;
        }
        let known = state.wakers.iter_mut().find(|(place, _)| *place == this.place);
        let replaced = match known {
            Some((_, waker)) if !waker.will_wake(context.waker()) => {
                Some(std::mem::replace(waker, context.waker().clone()))
            }
            _ => None,
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.registered {
            return;
        }
        let mut state = self.batch.lock();
        let found = state.wakers.iter().position(|(place, _)| *place == self.place);
        let waker = found.map(|index| state.wakers.swap_remove(index));
        // Dropping a waker may run code of its runtime: never under the lock.
        drop(state);
        drop(waker);
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("outcome", &self.outcome()).finish_non_exhaustive()
    }
}

/// Wakers of receipts that were resolved, to be woken once no lock is held.
#[derive(Debug, Default)]
#[must_use = "whoever awaits the receipts sleeps on"]
pub(crate) struct Wakes(Vec<Waker>);

impl Wakes {
    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The open receipts of a stream. Messages are numbered in the order they were accepted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Batches with a message that is not settled, and the one that is being filled.
    batches: VecDeque<Arc<Batch>>,
    /// The message at place 0 of the first batch.
    first: u64,
    /// The number of the next message.
    next: u64,
}

impl Ledger {
    /// The number that the next message will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Opens the receipt of the next message.
    pub(super) fn open(&mut self) -> Receipt {
        let (batch, place) = locate(self.next - self.first);
        if batch == self.batches.len() {
            self.batches.push_back(Arc::default());
        }
        self.next += 1;
        Receipt { batch: Arc::clone(&self.batches[batch]), place, registered: false }
    }

    /// Resolves the receipts of `messages`, none of which is settled yet.
    pub(super) fn settle(&mut self, messages: Range<u64>, outcome: &Result<(), Error>, wakes: &mut Wakes) {
        let mut from = messages.start;
        while from < messages.end {
            let (batch, place) = locate(from - self.first);
            let count = (messages.end - from).min(u64::from(BATCH - place));
            // At most BATCH, which is a u32.
            let end = place + count as u32;
            self.batches[batch].lock().settle(place..end, outcome, wakes);
            from += count;
        }
    }

    /// How many batches are kept.
    #[cfg(test)]
    pub(super) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Lets go of batches whose messages are all settled; `oldest` is the oldest message that is not.
    pub(super) fn trim(&mut self, oldest: u64) {
        while self.first + u64::from(BATCH) <= oldest {
            self.batches.pop_front();
            self.first += u64::from(BATCH);
        }
    }
}

/// Messages that share one allocation: enough that it costs nothing beside a message, few enough that a receipt
/// kept for long pins little.
const BATCH: u32 = 256;

/// The batch and the place in it of a message, counted from the first batch.
fn locate(message: u64) -> (usize, u32) {
    // The remainder is below BATCH, and there are fewer batches in memory than a usize counts.
    ((message / u64::from(BATCH)) as usize, (message % u64::from(BATCH)) as u32)
}

#[derive(Debug, Default)]
struct Batch(Mutex<BatchState>);

impl Batch {
    /// Held for a look-up or a push; no waker is woken or dropped under it.
    fn lock(&self) -> MutexGuard<'_, BatchState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct BatchState {
    /// Settled places, sorted, without overlap; neighbours that are `Ok` are one range.
    settled: Vec<(Range<u32>, Result<(), Error>)>,
    wakers: Vec<(u32, Waker)>,
}

impl BatchState {
    fn outcome(&self, place: u32) -> Option<Result<(), Error>> {
        let at = self.settled.partition_point(|(places, _)| places.end <= place);
        let (places, outcome) = self.settled.get(at)?;
        places.contains(&place).then(|| outcome.clone())
    }

    fn settle(&mut self, places: Range<u32>, outcome: &Result<(), Error>, wakes: &mut Wakes) {
        let resolved = self.wakers.extract_if(.., |(place, _)| places.contains(place));
        wakes.0.extend(resolved.map(|(_, waker)| waker));
        let at = self.settled.partition_point(|(settled, _)| settled.end <= places.start);
        if outcome.is_ok()
            && let Some((before, Ok(()))) = at.checked_sub(1).and_then(|at| self.settled.get_mut(at))
            && before.end == places.start
        {
            before.end = places.end;
            return;
        }
        self.settled.insert(at, (places, outcome.clone()));
    }
}
