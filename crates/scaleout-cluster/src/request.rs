//! Asking nodes, and what they answer.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::FusedStream};
use hashbrown::HashMap;
use scaleout_core::{Error, ErrorKind, NodeId, Publish};
use tokio::time::{Sleep, sleep};

use crate::{
    cluster::Inner,
    member::Departure,
    wire::{Reason, Wire},
};

/// A part of the answer of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The node that answered.
    pub node: NodeId,
    /// What it answered.
    pub payload: Bytes,
}

/// Why a node's answer is missing, or not whole.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Missing {
    /// It said goodbye.
    Left,
    /// Nothing was heard of it for as long as its lease.
    Expired,
    /// It did not finish before the deadline.
    Deadline,
    /// It handles no such subject.
    NoHandler,
    /// Its handler failed, and says why.
    Failed(String),
    /// Its handler went without an answer.
    Dropped,
    /// Parts of its answer did not arrive.
    Lost,
    /// Its answer came faster than it was read, beyond
    /// [`max_unread_parts`](crate::ClusterConfig::max_unread_parts).
    Unread,
    /// The request could not be sent, or was not confirmed by the store before the deadline.
    NotSent(Error),
    /// The cluster was closed here.
    Closed,
}

impl Missing {
    /// Whether the node is no member any more, so that it has no part in what was asked about.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Left | Self::Expired)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("it left"),
            Self::Expired => f.write_str("its lease expired"),
            Self::Deadline => f.write_str("it did not finish before the deadline"),
            Self::NoHandler => f.write_str("it handles no such subject"),
            Self::Failed(why) => write!(f, "its handler failed: {why}"),
            Self::Dropped => f.write_str("its handler gave no answer"),
            Self::Lost => f.write_str("parts of its answer were lost"),
            Self::Unread => f.write_str("its answer was not read fast enough"),
            Self::NotSent(error) => write!(f, "the request was not sent: {error}"),
            Self::Closed => f.write_str("the cluster was closed"),
        }
    }
}

/// The answers to one request, as they come.
///
/// A [`Stream`] of [`Reply`] that ends when every node that was asked and still lives has finished, or at the deadline.
/// Dropping it ends the request: what comes afterwards is counted and ignored.
#[derive(Debug)]
pub struct Replies {
    pending: Arc<Pending>,
    inner: Weak<Inner>,
    /// Until it resolves.
    sent: Option<Publish>,
    deadline: Pin<Box<Sleep>>,
    ended: bool,
    missing: Vec<(NodeId, Missing)>,
    members_known: bool,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The parts of all answers, in the order of their arrival.
    pub replies: Vec<Reply>,
    /// Whether every node answered in full that was to be asked.
    pub complete: bool,
    /// The nodes that did not, and why.
    pub missing: Vec<(NodeId, Missing)>,
    /// Whether all members were known when the wait ended; else there may be others, of whom `missing` tells nothing.
    pub members_known: bool,
}

impl Replies {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        pending: Arc<Pending>,
        sent: Option<Publish>,
        deadline: Duration,
    ) -> Self {
        Self {
            pending,
            inner: Arc::downgrade(inner),
            sent,
            deadline: Box::pin(sleep(deadline)),
            ended: false,
            missing: Vec::new(),
            members_known: false,
        }
    }

    /// How many nodes were asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.pending.lock().nodes.len()
    }

    /// The nodes whose answers are missing, and why; all of them once the stream has ended.
    #[must_use]
    pub fn missing(&self) -> &[(NodeId, Missing)] {
        &self.missing
    }

    /// Whether all members were known when the stream ended: `false` before that, and where this node had not heard who
    /// is there by the deadline. Then there may be others, of whom [`missing`](Self::missing) tells nothing.
    #[must_use]
    pub fn members_known(&self) -> bool {
        self.members_known
    }

    /// Waits for all answers.
    pub async fn collect(mut self) -> Collected {
        let mut replies = Vec::new();
        while let Some(reply) = self.next().await {
            replies.push(reply);
        }
        let missing = std::mem::take(&mut self.missing);
        let members_known = self.members_known;
        Collected { replies, complete: missing.is_empty() && members_known, missing, members_known }
    }

    fn forget(&self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.requests.remove(self.pending.id);
        }
    }

    /// Whether the request was not confirmed in time, or refused, as far as is known.
    fn poll_sent(&mut self, cx: &mut Context<'_>) {
        let Some(sent) = &mut self.sent else { return };
        let Poll::Ready(outcome) = Pin::new(sent).poll(cx) else { return };
        self.sent = None;
        match outcome {
            // Unconfirmed: perhaps they were asked, so they are waited for.
            Err(error) if error.kind() != ErrorKind::Unconfirmed => {
                self.pending.lock().give_up(|| Missing::NotSent(error.clone()));
            }
            _ => {}
        }
    }
}

impl Stream for Replies {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.poll_sent(cx);
        let mut progress = this.pending.lock();
        // Before the replies, or a node that never ends its answer would be read for ever.
        if !progress.is_done() && this.deadline.as_mut().poll(cx).is_ready() {
            match this.sent.is_some() {
                true => {
                    let error =
                        Error::new(ErrorKind::Timeout, "the store did not confirm the request in time");
                    progress.give_up(|| Missing::NotSent(error.clone()));
                }
                false => progress.give_up(|| Missing::Deadline),
            }
        }
        if let Some(reply) = progress.replies.pop_front() {
            return Poll::Ready(Some(reply));
        }
        if !progress.is_done() {
            progress.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        this.missing = std::mem::take(&mut progress.missing);
        this.members_known = !progress.gave_up_joining;
        drop(progress);
        this.ended = true;
        // However long it is kept: it is not unanswered any more.
        this.forget();
        Poll::Ready(None)
    }
}

impl FusedStream for Replies {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.forget();
    }
}

/// One request whose answers are awaited.
#[derive(Debug)]
pub(crate) struct Pending {
    id: u64,
    /// Whether the application made it, not the cluster itself.
    counts: bool,
    max_unread: usize,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Who was asked.
    nodes: HashMap<NodeId, Answer>,
    /// How many of them have not finished.
    open: usize,
    /// Whether this node does not know the members yet, so that more may be waited for.
    joining: bool,
    /// Whether that was so when the wait ended.
    gave_up_joining: bool,
    /// Whether the request is in the log, so that whoever comes now does not get it.
    is_back: bool,
    replies: VecDeque<Reply>,
    missing: Vec<(NodeId, Missing)>,
    waker: Option<Waker>,
}

/// How far a node's answer has come.
#[derive(Debug, Default)]
struct Answer {
    parts: u64,
    finished: bool,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.open == 0 && !self.joining
    }

    /// Waits for one more node.
    fn ask(&mut self, node: NodeId) {
        if self.nodes.try_insert(node, Answer::default()).is_ok() {
            self.open += 1;
        }
    }

    /// The answer of a node that is waited for.
    fn answer(&mut self, node: NodeId) -> Option<&mut Answer> {
        if self.joining {
            // It knew of this node before this one knew of it.
            self.ask(node);
        }
        self.nodes.get_mut(&node).filter(|answer| !answer.finished)
    }

    /// Ends the wait for a node; the answer is how many parts came, if it was waited for.
    fn finish(&mut self, node: NodeId) -> Option<u64> {
        let answer = self.answer(node)?;
        answer.finished = true;
        let parts = answer.parts;
        self.open -= 1;
        Some(parts)
    }

    /// Ends the wait for a node that did not answer.
    fn miss(&mut self, node: NodeId, why: Missing) {
        if self.finish(node).is_some() {
            self.missing.push((node, why));
        }
    }

    /// Ends the wait for all.
    fn give_up(&mut self, why: impl Fn() -> Missing) {
        self.gave_up_joining |= std::mem::replace(&mut self.joining, false);
        let open = self.nodes.iter().filter(|(_, answer)| !answer.finished);
        let mut open: Vec<_> = open.map(|(node, _)| *node).collect();
        open.sort_unstable();
        open.into_iter().for_each(|node| self.miss(node, why()));
    }
}

impl Pending {
    pub(crate) fn new(
        id: u64,
        asked: impl IntoIterator<Item = NodeId>,
        joining: bool,
        max_unread: usize,
        counts: bool,
    ) -> Self {
        let mut progress = Progress { joining, ..Progress::default() };
        asked.into_iter().for_each(|node| progress.ask(node));
        Self { id, counts, max_unread, progress: Mutex::new(progress) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether anybody is waited for.
    pub(crate) fn is_open(&self) -> bool {
        !self.lock().is_done()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.lock();
        change(&mut progress);
        let waker = progress.waker.take();
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes a part; `false` for one too many.
    fn take_part(&self, progress: &mut Progress, node: NodeId, payload: Bytes) -> bool {
        let fits = progress.replies.len() < self.max_unread;
        if fits {
            progress.replies.push_back(Reply { node, payload });
        }
        fits
    }

    fn take(&self, node: NodeId, message: Wire) {
        self.change(|progress| match message {
            Wire::Part { payload, .. } => {
                if let Some(answer) = progress.answer(node) {
                    answer.parts += 1;
                    if !self.take_part(progress, node, payload) {
                        progress.miss(node, Missing::Unread);
                    }
                }
            }
            Wire::Finish { parts, last, .. } => {
                let Some(came) = progress.finish(node) else { return };
                let is_read = last.is_none_or(|payload| self.take_part(progress, node, payload));
                if !is_read {
                    progress.missing.push((node, Missing::Unread));
                } else if came != parts {
                    progress.missing.push((node, Missing::Lost));
                }
            }
            Wire::Failure { reason, why, .. } => {
                let why = match reason {
                    Reason::NoHandler => Missing::NoHandler,
                    Reason::Failed => Missing::Failed(why),
                    Reason::Dropped => Missing::Dropped,
                };
                progress.miss(node, why);
            }
            _ => {}
        });
    }
}

/// The requests of a node that are not answered.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<u64, Arc<Pending>>,
    /// Those that the application made, which are bounded.
    counted: usize,
}

impl Requests {
    /// Adds a request, unless there are `limit` of them that count.
    pub(crate) fn add(&self, pending: &Arc<Pending>, limit: usize) -> bool {
        let mut open = self.lock();
        if pending.counts {
            if open.counted >= limit {
                return false;
            }
            open.counted += 1;
        }
        open.by_id.insert(pending.id, Arc::clone(pending));
        true
    }

    /// Takes what a node answered; `false` if nobody waits for it.
    pub(crate) fn take(&self, id: u64, node: NodeId, message: Wire) -> bool {
        let pending = self.lock().by_id.get(&id).cloned();
        if let Some(pending) = &pending {
            pending.take(node, message);
        }
        pending.is_some()
    }

    /// Notes that a node is no member any more.
    pub(crate) fn gone(&self, node: NodeId, how: Departure) {
        let why = match how {
            Departure::Left => Missing::Left,
            Departure::Expired => Missing::Expired,
        };
        self.each(|progress| {
            // Of one that came after the request nothing is awaited.
            if progress.nodes.contains_key(&node) {
                progress.miss(node, why.clone());
            }
        });
    }

    /// Notes that a request of this node came back.
    pub(crate) fn came_back(&self, id: u64) {
        let pending = self.lock().by_id.get(&id).cloned();
        if let Some(pending) = pending {
            pending.lock().is_back = true;
        }
    }

    /// Notes a member; `new` if it has only come, else it was there before this node knew of it.
    pub(crate) fn joined(&self, node: NodeId, new: bool) {
        self.each(|progress| {
            if progress.joining && !(new && progress.is_back) {
                progress.ask(node);
            }
        });
    }

    /// Notes that the members are known.
    pub(crate) fn ready(&self) {
        self.each(|progress| progress.joining = false);
    }

    /// Ends all of them.
    pub(crate) fn close(&self) {
        self.each(|progress| progress.give_up(|| Missing::Closed));
    }

    fn each(&self, change: impl Fn(&mut Progress)) {
        let all: Vec<_> = self.lock().by_id.values().cloned().collect();
        for pending in all {
            pending.change(&change);
        }
    }

    fn remove(&self, id: u64) {
        let mut open = self.lock();
        if open.by_id.remove(&id).is_some_and(|pending| pending.counts) {
            open.counted -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
