//! Events that servers send each other, which no socket sees.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use scaleout_cluster::{Collected, Missing, Responder, Target};
use scaleout_core::NodeId;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ScaleoutError, op,
    shared::{SUBJECT, Shared},
};

/// An event of another server.
///
/// Dropped without an [`answer`](Self::answer), it tells the server that asked that there will be none.
#[derive(Debug)]
pub struct ServerEvent {
    node: NodeId,
    json: String,
    responder: Responder,
}

impl ServerEvent {
    /// The node that sent it.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What it sent.
    ///
    /// # Errors
    /// [`Json`](ScaleoutError::Json) where that is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ScaleoutError> {
        Ok(serde_json::from_str(&self.json)?)
    }

    /// Whether the other server waits for an answer.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        self.responder.deadline().is_some()
    }

    /// Answers, at once or later; does nothing where no answer is wanted.
    ///
    /// # Errors
    /// [`Json`](ScaleoutError::Json) where `data` has no JSON; the other server is told.
    pub fn answer<T: ?Sized + Serialize>(self, data: &T) -> Result<(), ScaleoutError> {
        match serde_json::to_vec(data) {
            Ok(json) => self.responder.reply(&json),
            Err(error) => {
                self.responder.fail("its answer has no JSON");
                return Err(error.into());
            }
        }
        Ok(())
    }
}

/// What other servers answered to an event.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerAnswers<T> {
    /// The answers, in the order of their arrival.
    pub answers: Vec<(NodeId, T)>,
    /// Whether every server answered that is a member still; `false` also where the members are not known yet.
    pub complete: bool,
    /// Those that did not, and why.
    pub missing: Vec<(NodeId, Missing)>,
}

/// Keeps a handler of a server event registered; dropping it ends that.
#[must_use = "dropping it unregisters the handler at once"]
pub struct EventRegistration {
    shared: Weak<Shared>,
    event: Box<str>,
    key: u64,
}

impl Drop for EventRegistration {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.events.remove(&self.event, self.key);
        }
    }
}

impl fmt::Debug for EventRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRegistration").field("event", &self.event).finish_non_exhaustive()
    }
}

type Handler = Arc<dyn Fn(ServerEvent) + Send + Sync>;

/// The handlers of server events, by event: the last one registered gets it.
#[derive(Default)]
pub(crate) struct Events {
    handlers: RwLock<HashMap<Box<str>, (u64, Handler)>>,
    next_key: AtomicU64,
}

impl Events {
    pub(crate) fn dispatch(&self, node: NodeId, event: &str, json: String, responder: Responder) {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(handler) = handlers.get(event).map(|(_, handler)| Arc::clone(handler)) else {
            return responder.fail("it has no handler of that event");
        };
        drop(handlers);
        handler(ServerEvent { node, json, responder });
    }

    fn remove(&self, event: &str, key: u64) {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        let is_held = handlers.get(event).is_some_and(|(held, _)| *held == key);
        let removed = is_held.then(|| handlers.remove(event));
        drop(handlers);
        // Without the lock: it may hold a registration, which takes it.
        drop(removed);
    }
}

impl Shared {
    pub(crate) fn on_server_event(
        self: &Arc<Self>,
        event: &str,
        handler: impl Fn(ServerEvent) + Send + Sync + 'static,
    ) -> EventRegistration {
        let key = self.events.next_key.fetch_add(1, Ordering::Relaxed);
        let mut handlers = self.events.handlers.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = handlers.insert(event.into(), (key, Arc::new(handler)));
        drop(handlers);
        drop(earlier);
        EventRegistration { shared: Arc::downgrade(self), event: event.into(), key }
    }

    pub(crate) async fn server_emit<T: ?Sized + Serialize>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), ScaleoutError> {
        let operation = op::server_event(event, &serde_json::to_string(data)?);
        self.send(&operation, Target::Others, false).await
    }

    pub(crate) async fn server_emit_with_ack<T: ?Sized + Serialize, R: DeserializeOwned>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> Result<ServerAnswers<R>, ScaleoutError> {
        let operation = op::server_event(event, &serde_json::to_string(data)?);
        self.counts.published.add(1);
        let replies = self.cluster.request(SUBJECT, &operation, Target::Others, timeout)?;
        let Collected { replies, mut missing, members_known, .. } = replies.collect().await;
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            match serde_json::from_slice(&reply.payload) {
                Ok(answer) => answers.push((reply.node, answer)),
                Err(error) => {
                    self.counts.unreadable.add(1);
                    missing.push((reply.node, Missing::Failed(error.to_string())));
                }
            }
        }
        missing.retain(|(_, why)| !why.is_gone());
        let complete = members_known && missing.is_empty();
        if !complete {
            self.counts.partial_answers.add(1);
        }
        Ok(ServerAnswers { answers, complete, missing })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(handlers.keys()).finish()
    }
}
