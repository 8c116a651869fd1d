//! What presence says to other nodes, and takes from them.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use scaleout_core::ErrorKind;
use tokio::time::sleep;

use super::{
    Presence,
    message::{Ask, Delta, Page},
    state::{MAX_NAME_BYTES, MAX_VALUE_BYTES, NextAsk, Question},
};
use crate::{Incoming, RequestError, Target, cluster::Inner, codec::DecodeError};

/// The subject of all messages of presence.
pub(crate) const SUBJECT: &str = "$presence";

/// Bytes of a delta or a page beyond which no further entry is put into it: about a frame.
const MESSAGE_BYTES: usize = 60 << 10;

/// An entry that is put into a message with one byte of room left, and what stands before the entries.
const MARGIN_BYTES: usize = 2 * MAX_NAME_BYTES + MAX_VALUE_BYTES + 512;

/// How long one page may take. A node that goes is not waited for.
const ASK_DEADLINE: Duration = Duration::from_secs(10);

/// The first and the longest wait before what failed is tried again.
const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Takes the messages of other nodes from now on.
pub(crate) fn register(inner: &Arc<Inner>) {
    let (presence, weak) = (inner.presence.clone(), Arc::downgrade(inner));
    let max_bytes = message_bytes(inner);
    let handler = move |incoming: Incoming| {
        let node = incoming.node;
        if let Err(error) = presence.take(incoming, max_bytes)
            && let Some(inner) = weak.upgrade()
            && inner.counters.unreadable.add_first()
        {
            let cluster = &inner.config.name;
            tracing::warn!(%error, %node, %cluster, "a message about presence cannot be read");
        }
    };
    inner.register(SUBJECT, Arc::new(handler)).forever();
}

/// Publishes what changes on this node, and asks others for what is missing here.
pub(crate) async fn run(inner: Arc<Inner>) {
    tokio::join!(publish(&inner), pull(&inner));
}

async fn publish(inner: &Arc<Inner>) {
    let (presence, max_bytes) = (&inner.presence, message_bytes(inner));
    let mut wait = MIN_WAIT;
    loop {
        let sent = {
            // Cast under the lock: a heartbeat that has the new version then goes behind the delta.
            let mut step = presence.step();
            let delta = step.state.next_delta(max_bytes);
            delta.map(|delta| inner.cast(SUBJECT, &delta.encode(), Target::Others))
        };
        let Some(sent) = sent else {
            presence.shared.changed.notified().await;
            continue;
        };
        let outcome = sent.await;
        presence.update(|state| state.settle(outcome.is_ok()));
        match outcome {
            Ok(()) => wait = MIN_WAIT,
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::debug!(%error, cluster = %inner.config.name, "changes of presence are published again");
                pause(&mut wait).await;
            }
        }
    }
}

async fn pull(inner: &Arc<Inner>) {
    let presence = &inner.presence;
    let mut pulls = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = presence.shared.questions.notified() => {
                pulls.extend(presence.step().state.questions().into_iter().map(|question| ask(inner, question)));
            }
            Some(()) = pulls.next() => {}
        }
    }
}

/// Asks a node page by page, for as long as there is something to ask.
async fn ask(inner: &Arc<Inner>, question: Question) {
    let (presence, node) = (&inner.presence, question.node);
    let mut wait = MIN_WAIT;
    while let Some(NextAsk { ask, series }) = presence.update(|state| state.ask(question)) {
        let answered = match inner.ask(node, SUBJECT, &ask.encode(), ASK_DEADLINE).await {
            Ok(page) => match Page::decode(page) {
                Ok(page) => presence.update(|state| state.answered(node, series, &page)),
                Err(error) => {
                    inner.counters.unreadable.add(1);
                    tracing::debug!(%node, %error, "a page of presence cannot be read");
                    false
                }
            },
            Err(RequestError::Closed) => return,
            Err(error) => {
                tracing::debug!(%node, %error, "a page of presence is asked for again");
                false
            }
        };
        if answered {
            wait = MIN_WAIT;
        } else {
            pause(&mut wait).await;
        }
    }
}

impl Presence {
    /// Takes a message of another node.
    fn take(&self, incoming: Incoming, max_bytes: usize) -> Result<(), DecodeError> {
        let (node, is_ask) = (incoming.node, incoming.wants_reply());
        let (payload, responder) = incoming.into_parts();
        if !is_ask {
            let delta = Delta::decode(payload)?;
            self.update(|state| state.delta(node, &delta));
            return Ok(());
        }
        match Ask::decode(payload) {
            Ok(ask) => {
                let page = self.step().state.page(ask, max_bytes);
                responder.reply(&page.encode());
                Ok(())
            }
            Err(error) => {
                responder.fail(&error.to_string());
                Err(error)
            }
        }
    }
}

/// Bytes of entries to put into a message, so that the bus takes it with the last one.
fn message_bytes(inner: &Inner) -> usize {
    let most = inner.bus.max_message_bytes(&inner.channel).saturating_sub(MARGIN_BYTES);
    most.clamp(1, MESSAGE_BYTES)
}

/// Waits, longer each time, and not all nodes alike.
async fn pause(wait: &mut Duration) {
    sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
    *wait = (*wait * 2).min(MAX_WAIT);
}
