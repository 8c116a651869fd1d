//! The frames of a stream that the store accepted lately, kept to repair it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{StreamIndex, budget::SharedBudget};

/// Accepted frames, oldest first; their numbers increase.
#[derive(Debug)]
pub(super) struct Tail {
    stream: StreamIndex,
    budget: Arc<SharedBudget>,
    frames: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    payload: Bytes,
    at: Duration,
}

impl Tail {
    pub(super) fn new(stream: StreamIndex, budget: Arc<SharedBudget>) -> Self {
        Self { stream, budget, frames: VecDeque::new() }
    }

    pub(super) fn push(&mut self, now: Duration, number: u64, payload: Bytes) {
        self.budget.add(cost(&payload));
        self.frames.push_back(Kept { number, payload, at: now });
        self.note_oldest();
    }

    /// The first frame with a number above `number`.
    pub(super) fn first_above(&self, number: u64) -> Option<(u64, Bytes)> {
        let at = self.frames.partition_point(|frame| frame.number <= number);
        self.frames.get(at).map(|frame| (frame.number, frame.payload.clone()))
    }

    /// Whether a frame has a number above `number`.
    pub(super) fn reaches_above(&self, number: u64) -> bool {
        self.frames.back().is_some_and(|frame| frame.number > number)
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Ok(at) = self.frames.binary_search_by_key(&number, |frame| frame.number)
            && let Some(frame) = self.frames.remove(at)
        {
            self.let_go(&frame);
        }
    }

    pub(super) fn pop_oldest(&mut self) -> bool {
        let Some(frame) = self.frames.pop_front() else { return false };
        self.let_go(&frame);
        true
    }

    /// When the oldest frame was accepted.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.frames.front().map(|frame| frame.at)
    }

    fn let_go(&self, frame: &Kept) {
        self.budget.sub(cost(&frame.payload));
        self.note_oldest();
    }

    fn note_oldest(&self) {
        let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1);
        self.budget.set_oldest(self.stream, self.oldest().map(micros));
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        while self.pop_oldest() {}
    }
}

/// What a kept frame takes of the budget, in bytes: small frames cost their bookkeeping too.
fn cost(payload: &Bytes) -> usize {
    payload.len() + size_of::<Kept>()
}
