//! Asking other nodes which sockets and rooms they have.

use std::collections::HashSet;

use bytes::Bytes;
use scaleout_cluster::{Collected, Missing, RequestError, Target, codec::DecodeError};
use scaleout_core::NodeId;
use socketioxide_core::{
    Str, Uid,
    adapter::{BroadcastOptions, RemoteSocketData, Room},
};

use crate::{
    Partial, ScaleoutError,
    op::{self, Kind, answer},
    shared::{SUBJECT, Shared},
};

/// What was found on all nodes, and whether all of them answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fetched {
    /// The sockets.
    pub sockets: Vec<RemoteSocketData>,
    /// Whether every node answered that is a member still; `false` also where this node does not know the members yet.
    pub complete: bool,
    /// Those that did not, and why.
    pub missing: Vec<(NodeId, Missing)>,
}

impl Shared {
    /// The sockets of a namespace, of all nodes.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        options: &BroadcastOptions,
    ) -> Result<Fetched, ScaleoutError> {
        let here = || self.registry.get(path).map(|namespace| namespace.fetch(options)).unwrap_or_default();
        let Some(target) = self.route_to_ask(path, options)?.there else {
            return Ok(Fetched { sockets: here(), complete: true, missing: Vec::new() });
        };
        let Answers { answers, missing, is_here_missing, complete } =
            self.ask(Kind::Fetch, path, options, target, answer::read_sockets).await?;
        let mut sockets = if is_here_missing { here() } else { Vec::new() };
        let (members, me) = (self.cluster.members(), self.cluster.node());
        let ns = Str::copy_from_slice(path);
        for (node, (server_id, sids)) in answers {
            if node != me {
                self.servers.learn(server_id, node, &members);
            }
            let found = sids.into_iter().map(|id| RemoteSocketData { id, server_id, ns: ns.clone() });
            sockets.extend(found);
        }
        Ok(Fetched { sockets, complete, missing })
    }

    /// The rooms of the sockets that are meant, of all nodes, each once.
    pub(crate) async fn rooms(
        &self,
        path: &str,
        options: &BroadcastOptions,
    ) -> Result<Vec<Room>, ScaleoutError> {
        let here = || self.registry.get(path).map(|namespace| namespace.rooms(options)).unwrap_or_default();
        let Some(target) = self.route_to_ask(path, options)?.there else {
            return Ok(here().into_iter().collect());
        };
        let Answers { answers, missing, is_here_missing, complete } =
            self.ask(Kind::Rooms, path, options, target, answer::read_rooms).await?;
        self.check_complete(complete, missing)?;
        let mut rooms = if is_here_missing { here() } else { HashSet::new() };
        rooms.extend(answers.into_iter().flat_map(|(_, rooms)| rooms));
        Ok(rooms.into_iter().collect())
    }

    /// Lets a partial answer pass where the configuration says so.
    pub(crate) fn check_complete(
        &self,
        complete: bool,
        missing: Vec<(NodeId, Missing)>,
    ) -> Result<(), ScaleoutError> {
        match self.config.partial {
            _ if complete => Ok(()),
            Partial::Error => Err(ScaleoutError::Incomplete { missing }),
            Partial::Accept => {
                tracing::warn!(nodes = missing.len(), first = ?missing.first(), "an answer is not complete");
                Ok(())
            }
        }
    }

    /// What nodes answered, and which of those that still are members did not.
    async fn ask<T>(
        &self,
        kind: Kind,
        path: &str,
        options: &BroadcastOptions,
        target: Target,
        read: impl Fn(Bytes) -> Result<T, DecodeError>,
    ) -> Result<Answers<T>, ScaleoutError> {
        let operation = op::select(kind, path, options);
        self.counts.published.add(1);
        let timeout = self.config.request_timeout;
        let replies = self
            .cluster
            .request(SUBJECT, &operation, target, timeout)
            .map_err(|error| request_error(error, options.server_id))?;
        let Collected { replies, mut missing, members_known, .. } = replies.collect().await;
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            match read(reply.payload) {
                Ok(answer) => answers.push((reply.node, answer)),
                Err(error) => {
                    self.counts.unreadable.add(1);
                    missing.push((reply.node, Missing::Failed(error.to_string())));
                }
            }
        }
        let me = self.cluster.node();
        let is_here_missing = missing.iter().any(|(node, _)| *node == me);
        if is_here_missing {
            // This node is asked once more, without the backplane.
            answers.retain(|(node, _)| *node != me);
        }
        missing.retain(|(node, why)| *node != me && !why.is_gone());
        let complete = members_known && missing.is_empty();
        if !complete {
            self.counts.partial_answers.add(1);
        }
        if let (Some(server), true, true) = (options.server_id, answers.is_empty(), complete) {
            return Err(ScaleoutError::NoSuchServer(server));
        }
        Ok(Answers { answers, missing, is_here_missing, complete })
    }
}

struct Answers<T> {
    answers: Vec<(NodeId, T)>,
    /// Members whose answer is not there, or not whole; never this node.
    missing: Vec<(NodeId, Missing)>,
    /// Whether this node was asked, and its answer did not come back.
    is_here_missing: bool,
    /// Whether nothing is missing: nobody, and nobody who is not known.
    complete: bool,
}

/// A node that is gone is the server that was meant.
pub(crate) fn request_error(error: RequestError, server: Option<Uid>) -> ScaleoutError {
    match (error, server) {
        (RequestError::NoSuchNode(_), Some(server)) => ScaleoutError::NoSuchServer(server),
        (error, _) => error.into(),
    }
}
