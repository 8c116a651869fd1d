//! What sockets answer to a broadcast, of all nodes together.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::{FusedStream, Stream};
use futures_util::{StreamExt, stream::SelectAll};
use scaleout_cluster::{Replies, Reply};
use socketioxide_core::{
    Value,
    adapter::{AckStreamItem, SocketEmitter},
};

use crate::{
    op::answer::{Ack, AckResult},
    registry::Acks,
    shared::Shared,
};

/// The acknowledgements of a broadcast, as they come, from the sockets of all nodes.
///
/// It ends when every socket of this node has answered or taken too long, and every other node that still lives has told
/// the same of its own: a node that leaves, or dies, ends its part. At the latest it ends after the time-out of the acks
/// plus [`request_timeout`](crate::AdapterConfig::request_timeout); nodes that were silent until then are logged and
/// counted ([`partial_answers`](crate::AdapterCounters::partial_answers)).
pub struct AckStream<E: SocketEmitter> {
    shared: Arc<Shared>,
    local: Option<Pin<Box<E::AckStream>>>,
    siblings: SelectAll<Acks>,
    remote: Option<Replies>,
}

impl<E: SocketEmitter> AckStream<E> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        local: Option<E::AckStream>,
        siblings: SelectAll<Acks>,
        remote: Option<Replies>,
    ) -> Self {
        Self { shared, local: local.map(Box::pin), siblings, remote }
    }

    fn poll_local(&mut self, cx: &mut Context<'_>) -> Poll<Option<AckStreamItem<E::AckError>>> {
        let Some(local) = &mut self.local else { return Poll::Ready(None) };
        let item = ready!(local.as_mut().poll_next(cx));
        if item.is_none() {
            self.local = None;
        }
        Poll::Ready(item)
    }

    fn poll_siblings(&mut self, cx: &mut Context<'_>) -> Poll<Option<AckStreamItem<E::AckError>>> {
        while let Some((sid, result)) = ready!(self.siblings.poll_next_unpin(cx)) {
            if let Some(result) = read_error::<E>(&self.shared, result) {
                return Poll::Ready(Some((sid, result)));
            }
        }
        Poll::Ready(None)
    }

    fn poll_remote(&mut self, cx: &mut Context<'_>) -> Poll<Option<AckStreamItem<E::AckError>>> {
        let Some(remote) = &mut self.remote else { return Poll::Ready(None) };
        while let Some(reply) = ready!(remote.poll_next_unpin(cx)) {
            let Some(ack) = read(&self.shared, reply) else { continue };
            let Ack::Of(sid, result) = ack else { continue };
            if let Some(result) = read_error::<E>(&self.shared, result) {
                return Poll::Ready(Some((sid, result)));
            }
        }
        let missing: Vec<_> = remote.missing().iter().filter(|(_, why)| !why.is_gone()).collect();
        if !missing.is_empty() || !remote.members_known() {
            self.shared.counts.partial_answers.add(1);
            tracing::warn!(nodes = missing.len(), first = ?missing.first(), "acks of nodes are missing");
        }
        self.remote = None;
        Poll::Ready(None)
    }
}

impl<E: SocketEmitter> Stream for AckStream<E> {
    type Item = AckStreamItem<E::AckError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let parts = [Self::poll_local, Self::poll_siblings, Self::poll_remote];
        let mut pending = false;
        for poll in parts {
            match poll(this, cx) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                Poll::Ready(None) => {}
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl<E: SocketEmitter> FusedStream for AckStream<E> {
    fn is_terminated(&self) -> bool {
        self.local.is_none() && self.siblings.is_empty() && self.remote.is_none()
    }
}

impl<E: SocketEmitter> fmt::Debug for AckStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckStream")
            .field("local", &self.local.is_some())
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

fn read(shared: &Shared, reply: Reply) -> Option<Ack> {
    let node = reply.node;
    Ack::decode(reply.payload)
        .inspect_err(|error| {
            shared.counts.unreadable.add(1);
            tracing::warn!(%node, %error, "an ack cannot be read");
        })
        .ok()
}

/// An error of another node, as one of socketioxide's here.
fn read_error<E: SocketEmitter>(shared: &Shared, result: AckResult) -> Option<Result<Value, E::AckError>> {
    let json = match result {
        Ok(value) => return Some(Ok(value)),
        Err(json) => json,
    };
    serde_json::from_str(&json)
        .inspect_err(|error| {
            shared.counts.unreadable.add(1);
            tracing::warn!(%error, "the error of an ack cannot be read");
        })
        .ok()
        .map(Err)
}
