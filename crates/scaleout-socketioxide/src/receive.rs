//! What other nodes send, done and answered here.

use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use scaleout_cluster::{
    Incoming, Responder,
    codec::{DecodeError, Reader},
};
use scaleout_core::NodeId;
use socketioxide_core::{Sid, adapter::errors::SocketError};

use crate::{
    op::{
        self, Kind, Operation,
        answer::{self, Ack, AckResult},
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
        let outcome = match op::read_kind(&mut reader) {
            Ok(Kind::ServerEvent) => self.receive_event(node, reader, responder),
            Ok(kind) => self.receive_operation(kind, reader, responder),
            Err(error) => Err((error, responder)),
        };
        if let Err((error, responder)) = outcome {
            self.refuse(node, error, responder);
        }
    }

    fn receive_operation(
        &self,
        kind: Kind,
        mut reader: Reader,
        responder: Responder,
    ) -> Result<(), (DecodeError, Responder)> {
        let namespace = match reader.text() {
            Ok(path) => self.registry.get(path),
            Err(error) => return Err((error, responder)),
        };
        // What nobody here has is read no further.
        let Some(namespace) = namespace else {
            self.skip(responder);
            return Ok(());
        };
        let operation = match op::read_operation(kind, reader, namespace.path()) {
            Ok(operation) => operation,
            Err(error) => return Err((error, responder)),
        };
        if operation.options().server_id.is_some_and(|server| !namespace.serves(server)) {
            self.skip(responder);
            return Ok(());
        }
        if let Operation::Broadcast { packet, .. } | Operation::BroadcastWithAck { packet, .. } = &operation
            && !namespace.takes(&packet.inner)
        {
            let value = packet.inner.index() as u8;
            return Err((
                DecodeError::Unknown { field: "packet for the parser of this node", value },
                responder,
            ));
        }
        self.counts.received.add(1);
        perform(&namespace, operation, responder);
        Ok(())
    }

    fn receive_event(
        &self,
        node: NodeId,
        mut reader: Reader,
        responder: Responder,
    ) -> Result<(), (DecodeError, Responder)> {
        match reader.text().map(drop).and_then(|()| op::read_server_event(reader)) {
            Ok((event, json)) => {
                self.counts.received.add(1);
                self.events.dispatch(node, &event, json, responder);
                Ok(())
            }
            Err(error) => Err((error, responder)),
        }
    }

    /// Who asks is told at once that nothing will come.
    fn skip(&self, responder: Responder) {
        self.counts.skipped.add(1);
        responder.finish();
    }

    fn refuse(&self, node: NodeId, error: DecodeError, responder: Responder) {
        let newer = matches!(error, DecodeError::Version(_) | DecodeError::Unknown { field: "kind", .. });
        if newer {
            self.counts.newer.add(1);
            tracing::debug!(%node, %error, "skipped an operation of a later release");
        } else {
            self.counts.unreadable.add(1);
            tracing::warn!(%node, %error, "an operation cannot be read");
        }
        responder.fail(&error.to_string());
    }
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
            let mut parts = answer::sockets_by_server(namespace.fetch(&options));
            if let (Some(server), true) = (options.server_id, parts.is_empty()) {
                // It is here, without such a socket.
                parts = answer::sockets(server, &[]);
            }
            return answer_parts(parts, responder);
        }
    }
    responder.finish();
}

/// Passes acks on as they come; each socket has one, be it that it took too long.
async fn answer_acks(
    mut acks: impl Stream<Item = (Sid, AckResult)> + Unpin,
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
fn log(outcome: Result<(), Vec<SocketError>>) {
    if let Err(errors) = outcome {
        tracing::debug!(errors = errors.len(), "sockets did not take what another node sent");
    }
}
