//! Which streams are received: all of them, or those that somebody here reads.
//!
//! On demand a stream is wanted from its first reader on, until its store has had none for `interest_linger`. Whoever
//! finds the stream's store unopened says so by [`Inner::want`], which holds back what this node sends, so that it lies
//! behind the head where "from now" begins; the task that receives the stream opens it, and gives it up.

use std::future::pending;

use super::{Inner, Ring, StreamIndex};
use crate::{Interest, Role, mutant::Mutant};

impl Inner {
    /// Whether streams are received only while somebody reads them.
    pub(super) fn is_on_demand(&self) -> bool {
        self.config.role == Role::Full && self.config.interest == Interest::OnDemand
    }

    /// Sees to it that a stream is received, after a reader joined it that found it unopened.
    pub(crate) fn want(&self, stream: StreamIndex) {
        let lane = self.lane(stream);
        if !self.is_on_demand() || lane.status().is_received() {
            return;
        }
        self.update(stream, |status| status.want());
        lane.interest.notify_one();
    }

    /// Waits until a stream is to be received.
    pub(super) async fn wanted(&self, stream: StreamIndex) {
        let lane = self.lane(stream);
        while !lane.status().is_received() {
            lane.interest.notified().await;
        }
    }

    /// Waits until a stream is no longer to be received, and forgets it.
    pub(super) async fn unwanted(&self, stream: StreamIndex) {
        if !self.is_on_demand() {
            return pending().await;
        }
        loop {
            self.lane(stream).interest.notified().await;
            if self.forget(stream) {
                return;
            }
        }
    }

    /// Wakes the task that receives a stream if nobody has read that for so long that it is to be given up.
    pub(super) fn give_up_unread(&self, stream: StreamIndex) {
        let lane = self.lane(stream);
        if self.is_on_demand() && lane.status().is_received() && self.is_unread(&mut lane.ring()) {
            lane.interest.notify_one();
        }
    }

    fn is_unread(&self, ring: &mut Ring) -> bool {
        let linger = self.config.interest_linger;
        ring.unread_for(self.now()).is_some_and(|time| time >= linger)
            && !self.mutation.is(Mutant::KeepUnread)
    }

    /// Forgets a stream, as if this node had just started, unless somebody came to read it.
    ///
    /// Under the status lock: who joins a store finds it either open, and then it stays, or unopened and not wanted.
    fn forget(&self, stream: StreamIndex) -> bool {
        let lane = self.lane(stream);
        let mut forgotten = None;
        self.update(stream, |status| {
            let mut ring = lane.ring();
            if self.is_unread(&mut ring) {
                forgotten = Some(ring.forget());
                self.settle_budget(stream, &mut ring);
                status.unwant();
            }
        });
        if forgotten.is_none() {
            return false;
        }
        tracing::debug!(stream = stream.0, "reception closed: nobody reads it");
        // What is known of the store is as old as the reception now.
        lane.queue.with(|queue| queue.request_probe());
        lane.wake_sender.notify_one();
        true
    }
}
