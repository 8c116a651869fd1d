//! Who handles what comes.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak},
};

use bytes::Bytes;
use hashbrown::HashMap;
use scaleout_core::{ErrorKind, Gap, NodeId};
use tokio::time::Instant;

use crate::{
    cluster::Inner,
    wire::{self, Reason},
};

/// A cast or a request, as its handler gets it.
#[derive(Debug)]
pub struct Incoming {
    /// The node that sent it; one that is no member may cast too.
    pub node: NodeId,
    /// What it sent.
    pub payload: Bytes,
    pub(crate) responder: Responder,
}

impl Incoming {
    /// Whether it is a request: somebody waits for an answer.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.responder.asked.is_some()
    }

    /// What answers it, and its payload.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Responder) {
        (self.payload, self.responder)
    }
}

/// Answers one request, at once or later, in one part or in many.
///
/// Dropped before it finished, it tells the node that asked that there will be no answer. For a cast it does nothing.
pub struct Responder {
    asked: Option<Asked>,
}

struct Asked {
    inner: Weak<Inner>,
    /// The channel of the node that asked.
    channel: Arc<str>,
    id: u64,
    parts: u64,
    deadline: Instant,
}

/// Bytes of the reason for a failure at most.
const MAX_WHY_BYTES: usize = 4_096;

impl Responder {
    pub(crate) fn none() -> Self {
        Self { asked: None }
    }

    pub(crate) fn new(inner: Weak<Inner>, channel: Arc<str>, id: u64, deadline: Instant) -> Self {
        Self { asked: Some(Asked { inner, channel, id, parts: 0, deadline }) }
    }

    /// When the node that asked stops waiting, by this node's clock; `None` for a cast.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.deadline)
    }

    /// Sends a part of the answer.
    pub fn part(&mut self, payload: &[u8]) {
        let Some(asked) = &mut self.asked else { return };
        asked.parts += 1;
        let Some(inner) = asked.inner.upgrade() else { return };
        // One that the bus refuses is missing in the count that the last message carries.
        drop(inner.bus.enqueue(&*asked.channel, wire::part(asked.id, payload)));
    }

    /// Ends the answer.
    pub fn finish(mut self) {
        self.end(|asked| wire::finish(asked.id, asked.parts, None));
    }

    /// Sends the last part, or the only one; one too large for the store makes the request fail.
    pub fn reply(mut self, payload: &[u8]) {
        self.end(|asked| wire::finish(asked.id, asked.parts, Some(payload)));
    }

    /// Tells that the request failed, and why, in one line; what goes beyond 4 KiB of it is not told.
    pub fn fail(mut self, why: &str) {
        let why = &why[..why.floor_char_boundary(MAX_WHY_BYTES)];
        self.end(|asked| wire::failure(asked.id, Reason::Failed, why));
    }

    pub(crate) fn refuse(mut self) {
        self.end(|asked| wire::failure(asked.id, Reason::NoHandler, ""));
    }

    fn end(&mut self, message: impl FnOnce(&Asked) -> Vec<u8>) {
        let Some(asked) = self.asked.take() else { return };
        let Some(inner) = asked.inner.upgrade() else { return };
        let Err(error) = inner.try_control(&asked.channel, &message(&asked)) else { return };
        inner.note_unsent(&error);
        if matches!(error.kind(), ErrorKind::PayloadTooLarge { .. }) {
            // Or it would be waited for until the deadline.
            let why = wire::failure(asked.id, Reason::Failed, &format!("the answer was not sent: {error}"));
            inner.control(&asked.channel, &why);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.end(|asked| wire::failure(asked.id, Reason::Dropped, ""));
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("id", &self.asked.as_ref().map(|asked| asked.id)).finish()
    }
}

type Handler = Arc<dyn Fn(Incoming) + Send + Sync>;
type GapHandler = Arc<dyn Fn(&Gap) + Send + Sync>;

/// The handlers of a cluster, by subject.
///
/// What a handler holds may be whatever: a registration, the last handle of this cluster. So none is dropped under a lock.
#[derive(Default)]
pub(crate) struct Handlers {
    subjects: RwLock<BySubject>,
    gaps: RwLock<Gaps>,
}

type Gaps = Vec<(u64, GapHandler)>;

/// Each with the key of its registration.
type BySubject = HashMap<Box<[u8]>, (u64, Handler)>;

impl Handlers {
    /// Sets the handler of a subject; one that was set before gets nothing any more.
    fn set(&self, subject: &str, key: u64, handler: Handler) {
        let earlier = self.subjects().insert(subject.as_bytes().into(), (key, handler));
        drop(earlier);
    }

    fn remove(&self, subject: &[u8], key: u64) {
        let mut handlers = self.subjects();
        let is_held = handlers.get(subject).is_some_and(|(held, _)| *held == key);
        let removed = is_held.then(|| handlers.remove(subject));
        drop(handlers);
        drop(removed);
    }

    fn remove_gap(&self, key: u64) {
        let mut handlers = self.gaps();
        let place = handlers.iter().position(|(held, _)| *held == key);
        let removed = place.map(|place| handlers.remove(place));
        drop(handlers);
        drop(removed);
    }

    /// Removes all of them.
    pub(crate) fn clear(&self) {
        let subjects = std::mem::take(&mut *self.subjects());
        let gaps = std::mem::take(&mut *self.gaps());
        drop((subjects, gaps));
    }

    fn subjects(&self) -> RwLockWriteGuard<'_, BySubject> {
        self.subjects.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn gaps(&self) -> RwLockWriteGuard<'_, Gaps> {
        self.gaps.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, subject: &[u8]) -> Option<Handler> {
        let handlers = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
        handlers.get(subject).map(|(_, handler)| Arc::clone(handler))
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.subjects.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(handlers.keys().map(|subject| String::from_utf8_lossy(subject))).finish()
    }
}

impl Inner {
    pub(crate) fn register(self: &Arc<Self>, subject: &str, handler: Handler) -> Registration {
        let key = self.next_id();
        // A closed one has none, or they would keep what they hold.
        if !self.is_closed() {
            self.handlers.set(subject, key, handler);
        }
        Registration { inner: Arc::downgrade(self), subject: Some(subject.as_bytes().into()), key }
    }

    pub(crate) fn register_gap(self: &Arc<Self>, handler: GapHandler) -> Registration {
        let key = self.next_id();
        if !self.is_closed() {
            self.handlers.gaps().push((key, handler));
        }
        Registration { inner: Arc::downgrade(self), subject: None, key }
    }

    /// Gives a gap to those who want to know.
    pub(crate) fn tell_gap(&self, gap: &Gap) {
        let handlers = self.handlers.gaps.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, handler) in handlers {
            if catch_unwind(AssertUnwindSafe(|| handler(gap))).is_err() {
                self.counters.panics.add(1);
                tracing::error!(cluster = %self.config.name, "a handler of gaps panicked");
            }
        }
    }

    /// Gives a cast or request to its handler.
    pub(crate) fn dispatch(&self, subject: &[u8], incoming: Incoming) {
        let Some(handler) = self.handlers.get(subject) else {
            if incoming.wants_reply() {
                incoming.responder.refuse();
            } else {
                self.counters.unhandled.add(1);
            }
            return;
        };
        self.counters.handled.add(1);
        if catch_unwind(AssertUnwindSafe(|| handler(incoming))).is_err() {
            self.counters.panics.add(1);
            let subject = String::from_utf8_lossy(subject);
            tracing::error!(%subject, cluster = %self.config.name, "a handler panicked");
        }
    }
}

/// Keeps a handler registered; dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping it unregisters the handler at once"]
pub struct Registration {
    inner: Weak<Inner>,
    /// `None` for gaps.
    subject: Option<Box<[u8]>>,
    key: u64,
}

impl Registration {
    /// Keeps the handler for as long as the cluster lives.
    pub fn forever(mut self) {
        self.inner = Weak::new();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        match &self.subject {
            Some(subject) => inner.handlers.remove(subject, self.key),
            None => inner.handlers.remove_gap(self.key),
        }
    }
}
