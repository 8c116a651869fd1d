//! What other nodes send, done and answered here.

use std::sync::Arc;

use futures_util::StreamExt;
use scaleout_cluster::{
    Incoming, Responder,
    codec::{DecodeError, Reader},
};
use scaleout_core::NodeId;

use crate::{
    op::{
        self, Kind, Operation,
        answer::{self, Ack},
    },
    registry::Namespace,
    shared::Shared,
};

impl Shared {
    /// Does one operation. Called in the order of the channel, so it never waits.
    pub(crate) fn receive(self: &Arc<Self>, incoming: Incoming) {
        let node = incoming.node;
        let (payload, responder) = incoming.into_parts();
        let mut reader = Reader::new(payload);
        match self.read(node, &mut reader) {
            Ok(Some(Read::Event(event, json))) => {
                self.counts.received.add();
                self.events.dispatch(node, &event, json, responder);
            }
            Ok(Some(Read::Operation(namespace, operation))) => {
                self.counts.received.add();
                perform(&namespace, operation, responder);
            }
            Ok(None) => {
                self.counts.skipped.add();
                responder.finish();
            }
            Err(error) => self.refuse(node, error, responder),
        }
    }

    /// What there is to do; nothing, and read no further, where this node has none of it.
    fn read(&self, node: NodeId, reader: &mut Reader) -> Result<Option<Read>, DecodeError> {
        let kind = op::read_kind(reader)?;
        let path = reader.text()?;
        if kind == Kind::ServerEvent {
            let (event, json) = op::read_server_event(reader.clone())?;
            return Ok(Some(Read::Event(event, json)));
        }
        let Some(namespace) = self.registry.get(path) else { return Ok(None) };
        let operation = op::read_operation(kind, reader.clone(), namespace.path())?;
        tracing::trace!(%node, ?kind, "received an operation");
        let elsewhere = operation.options().server_id.is_some_and(|server| !namespace.serves(server));
        Ok((!elsewhere).then_some(Read::Operation(namespace, operation)))
    }

    fn refuse(&self, node: NodeId, error: DecodeError, responder: Responder) {
        let newer = matches!(error, DecodeError::Version(_) | DecodeError::Unknown { field: "kind", .. });
        if newer {
            self.counts.newer.add();
            tracing::debug!(%node, %error, "skipped an operation of a later release");
        } else {
            self.counts.unreadable.add();
            tracing::warn!(%node, %error, "an operation cannot be read");
        }
        responder.fail(&error.to_string());
    }
}

enum Read {
    Operation(Arc<Namespace>, Operation),
    Event(String, String),
}

/// Does what is asked for, and answers where somebody waits.
fn perform(namespace: &Namespace, operation: Operation, mut responder: Responder) {
    match operation {
        Operation::Broadcast { options, packet } => log(namespace.broadcast(packet, options)),
        Operation::BroadcastWithAck { options, timeout, packet } => {
            let (acks, count) = namespace.broadcast_with_ack(&packet, &options, timeout, None);
            if count > 0 {
                responder.part(&Ack::Count(count).encode());
                tokio::spawn(answer_acks(acks, count, responder));
                return;
            }
        }
        Operation::Disconnect { options } => log(namespace.disconnect(&options)),
        Operation::Join { options, rooms } => namespace.join(&options, &rooms),
        Operation::Leave { options, rooms } => namespace.leave(&options, &rooms),
        Operation::Rooms { options } => {
            return answer_parts(answer::rooms(&namespace.rooms(&options)), responder);
        }
        Operation::Fetch { options } => {
            return answer_parts(answer::sockets_by_server(namespace.fetch(&options)), responder);
        }
    }
    responder.finish();
}

/// Passes acks on as they come; each socket has one, be it that it took too long.
async fn answer_acks(
    mut acks: impl futures_core::Stream<Item = (socketioxide_core::Sid, answer::AckResult)> + Unpin,
    count: u64,
    mut responder: Responder,
) {
    for _ in 1..count {
        let Some((sid, result)) = acks.next().await else { break };
        responder.part(&Ack::Of(sid, result).encode());
    }
    match acks.next().await {
        Some((sid, result)) => responder.reply(&Ack::Of(sid, result).encode()),
        None => responder.finish(),
    }
}

/// The last part ends the answer.
fn answer_parts(mut parts: Vec<Vec<u8>>, mut responder: Responder) {
    let last = parts.pop();
    for part in parts {
        responder.part(&part);
    }
    match last {
        Some(part) => responder.reply(&part),
        None => responder.finish(),
    }
}

/// A socket that is too slow, or just closed, is its own node's matter: who emitted elsewhere is not told.
fn log(outcome: Result<(), Vec<socketioxide_core::adapter::errors::SocketError>>) {
    if let Err(errors) = outcome {
        tracing::debug!(errors = errors.len(), "sockets did not take what another node sent");
    }
}
