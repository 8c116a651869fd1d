//! What all tasks of a run write to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use scaleout_core::{Error, MemoryStore};

use crate::{
    checker::{Coverage, Outcome, Published},
    observed::{Yielded, outcome_of},
};

/// The record of a run; a cheap clone.
#[derive(Clone)]
pub(super) struct World {
    pub(super) store: MemoryStore,
    pub(super) began: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) publishes: Vec<Published>,
    pub(super) trace: Vec<String>,
    pub(super) coverage: Coverage,
    /// What the subscriptions of each node yielded.
    pub(super) yielded: Vec<Yielded>,
}

impl World {
    pub(super) fn new(store: MemoryStore) -> Self {
        Self { store, began: Instant::now(), state: Arc::default() }
    }

    /// The record; the lock is held for one entry.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, line: impl AsRef<str>) {
        let at = self.began.elapsed().as_secs_f64();
        self.lock().trace.push(format!("{at:10.4} {}", line.as_ref()));
    }

    pub(super) fn count(&self, what: impl Into<String>) {
        self.lock().coverage.count(what, 1);
    }

    /// Writes down how a publish ended; asks the store whether it is there.
    pub(super) fn resolved(&self, id: usize, result: &Result<(), Error>) {
        self.ended(id, outcome_of(result));
    }

    pub(super) fn ended(&self, id: usize, outcome: Outcome) {
        let (stream, bytes) = {
            let state = self.lock();
            (state.publishes[id].stream, state.publishes[id].bytes.clone())
        };
        let in_log = outcome == Outcome::Ok
            && self.store.log(stream).iter().rev().any(|entry| {
                entry.bytes.len() >= bytes.len()
                    && entry.bytes.windows(bytes.len()).any(|window| window == bytes)
            });
        let name = match outcome {
            Outcome::Refused(kind) => {
                format!("{kind:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
            }
            other => format!("{other:?}"),
        };
        self.note(format!("publish {id}: {name}"));
        self.count(format!("outcome: {name}"));
        let mut state = self.lock();
        let publish = &mut state.publishes[id];
        publish.resolved = Some(self.began.elapsed());
        publish.outcome = outcome;
        publish.in_log = in_log;
    }
}
