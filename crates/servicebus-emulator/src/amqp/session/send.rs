//! What goes to the peer: messages of subscriptions, and answers; and how it settles them.

use bytes::Bytes;
use uuid::Uuid;

use crate::namespace::{DeadLetter, Delivery, Mode, Settlement};

use super::{
    super::{
        delivery::{bare, write_front},
        link::{Consumer, Kind, Node, tag_of},
        performative::{Disposition, Error, REJECTED, State},
        wait::LinkKey,
        wire::{HIGH_WATER, TransferHead},
    },
    Context, Session, Unsettled,
};

/// Messages that are locked at a time.
const MAX_TAKEN: usize = 16;

/// Deliveries of a session that may wait for their outcome. With more, nothing is sent until some are settled.
const MAX_UNSETTLED: usize = 100_000;

impl Session {
    /// Sends what can be sent, the links in turn. Says whether something was sent.
    pub(in super::super) fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        let mut sent = false;
        while self.ready {
            self.ready = false;
            let first = self.last_sent.wrapping_add(1);
            let mut handles: Vec<u32> = self.links.range(first..).map(|(handle, _)| *handle).collect();
            handles.extend(self.links.range(..first).map(|(handle, _)| *handle));
            for handle in handles {
                if cx.wire.is_full() || *cx.cut {
                    self.ready = true;
                    return sent;
                }
                if self.pump_link(handle, cx) {
                    self.ready = true;
                    self.last_sent = handle;
                    sent = true;
                }
            }
            if cx.wire.is_full() {
                // Perhaps in the middle of a message.
                self.ready = true;
                return sent;
            }
        }
        sent
    }

    /// Puts an answer where the request wants it, if that link is here.
    pub(in super::super) fn reply(
        &mut self,
        node: &Node,
        reply_to: Option<&str>,
        reply: &Bytes,
        cx: &mut Context<'_>,
    ) -> bool {
        let found = self.links.iter_mut().find_map(|(handle, link)| match &mut link.kind {
            Kind::Replies(replies)
                if replies.node == *node
                    && (reply_to.is_none() || replies.reply_to.as_deref() == reply_to) =>
            {
                Some((*handle, replies))
            }
            _ => None,
        });
        let Some((handle, replies)) = found else { return false };
        let has_room = replies.push(reply.clone());
        self.ready = true;
        if !has_room {
            let description = "Too many answers wait for the link to have credit.";
            self.detach_link(handle, &Error::new("amqp:resource-limit-exceeded", description), cx);
        }
        true
    }

    /// Hears what the peer did with messages.
    pub(in super::super) fn disposition(&mut self, disposition: &Disposition, cx: &mut Context<'_>) {
        if !disposition.of_receiver {
            // It settles what it sent, of which nothing is kept.
            return;
        }
        self.ready |= self.unsettled.len() >= MAX_UNSETTLED;
        let Disposition { first, last, settled, .. } = *disposition;
        let state = match &disposition.state {
            Some(State::Received) => return,
            // Nothing is decided: the lock will be over some time.
            None | Some(State::Other) if settled => {
                self.in_range(first, last).for_each(|id| {
                    self.unsettled.remove(&id);
                });
                return;
            }
            None | Some(State::Other) => return,
            Some(state) => state,
        };
        // What is to be said about a row of deliveries: the first, the last, and an error.
        let mut row: Option<(u32, u32, Option<Error>)> = None;
        let channel = self.channel;
        let answer = |row: Option<(u32, u32, Option<Error>)>, cx: &mut Context<'_>| {
            if let Some((first, last, error)) = row.filter(|_| !settled) {
                // The same outcome: some clients look at it.
                let code = if error.is_some() { REJECTED } else { state.code() };
                cx.wire.disposition(channel, false, (first, last), true, (code, error.as_ref()));
            }
        };
        for id in self.in_range(first, last) {
            let error = match self.unsettled.remove(&id) {
                Some(Unsettled { lock, .. }) => match cx.namespace.settle(lock, settlement(state)) {
                    Ok(()) => {
                        cx.faults.counters().settled();
                        None
                    }
                    Err(refusal) => Some(Error::from(refusal)),
                },
                None => continue,
            };
            match &mut row {
                Some((_, last, same)) if last.wrapping_add(1) == id && *same == error => *last = id,
                _ => answer(row.replace((id, id, error)), cx),
            }
        }
        answer(row, cx);
    }

    /// The deliveries in a range that wait for their outcome.
    fn in_range(&self, first: u32, last: u32) -> std::vec::IntoIter<u32> {
        let span = last.wrapping_sub(first);
        let mut found: Vec<u32> = if span as usize >= self.unsettled.len() {
            // The peer can say any range: looking at what there is takes less time.
            self.unsettled.keys().copied().filter(|id| id.wrapping_sub(first) <= span).collect()
        } else {
            (0..=span).map(|n| first.wrapping_add(n)).filter(|id| self.unsettled.contains_key(id)).collect()
        };
        found.sort_unstable_by_key(|id| id.wrapping_sub(first));
        found.into_iter()
    }

    /// Sends what a link has. Says whether there may be more.
    fn pump_link(&mut self, handle: u32, cx: &mut Context<'_>) -> bool {
        let Some(link) = self.links.get_mut(&handle) else { return false };
        let Some(outbound) = link.kind.outbound_mut() else { return false };
        if !outbound.go_on(&mut self.window, cx.wire) || self.window.remote == 0 {
            // The rest of a message waits for the peer to read, or to make its window wider.
            return false;
        }
        if outbound.credit == 0 {
            return false;
        }
        link.last_used = cx.now;
        let channel = self.channel;
        match &mut link.kind {
            Kind::Consumer(consumer) => {
                if self.unsettled.len() >= MAX_UNSETTLED {
                    return false;
                }
                if consumer.taken.is_empty() {
                    let most = match consumer.mode {
                        Mode::PeekLock => (HIGH_WATER / consumer.last_len.max(1)).clamp(1, MAX_TAKEN),
                        // What is taken and cannot be sent is lost: it must not be more than one.
                        Mode::ReceiveAndDelete => 1,
                    };
                    let allowed = consumer.outbound.credit.min(self.window.remote);
                    let count = usize::try_from(allowed).unwrap_or(usize::MAX).min(most);
                    consumer.taken.extend(consumer.receiver.take(count));
                }
                if consumer.taken.is_empty() {
                    if consumer.waiting.is_none() {
                        let key = LinkKey { channel, handle };
                        consumer.waiting = Some(cx.waits.for_messages(key, &consumer.receiver));
                    }
                    self.finish_drain(handle, cx);
                    return false;
                }
                while consumer.outbound.credit > 0
                    && self.window.remote > 0
                    && !consumer.outbound.is_sending()
                    && !*cx.cut
                    && let Some(delivery) = consumer.taken.pop_front()
                {
                    let delivery_id = self.window.next_delivery_id;
                    if let Some(lock) = lock_of(consumer, &delivery) {
                        self.unsettled.insert(delivery_id, Unsettled { lock, handle });
                    }
                    self.front.clear();
                    write_front(&mut self.front, &delivery);
                    let bare = bare(&delivery);
                    consumer.last_len = self.front.len() + bare.len();
                    let head = TransferHead {
                        channel,
                        handle,
                        delivery_id,
                        tag: match lock_of(consumer, &delivery) {
                            Some(lock) => tag_of(lock),
                            None => u128::from(delivery_id).to_be_bytes(),
                        },
                        settled: consumer.mode == Mode::ReceiveAndDelete,
                    };
                    consumer.outbound.send(head, &self.front, &bare, &mut self.window, cx.wire);
                    cx.faults.counters().delivered(1);
                    *cx.cut |= cx.faults.cuts_delivery();
                }
                true
            }
            Kind::Replies(replies) => {
                let Some(reply) = replies.queue.pop_front() else {
                    self.finish_drain(handle, cx);
                    return false;
                };
                let delivery_id = self.window.next_delivery_id;
                let tag = u128::from(delivery_id).to_be_bytes();
                let head = TransferHead { channel, handle, delivery_id, tag, settled: true };
                replies.outbound.send(head, &reply, &[], &mut self.window, cx.wire);
                true
            }
            Kind::Publisher(_) | Kind::Requests(..) | Kind::Detached => false,
        }
    }

    /// Where the peer wants its credit back: there is nothing to use it for.
    fn finish_drain(&mut self, handle: u32, cx: &mut Context<'_>) {
        let outbound = self.links.get_mut(&handle).and_then(|link| link.kind.outbound_mut());
        let Some(outbound) = outbound.filter(|outbound| outbound.drain) else { return };
        outbound.give_credit_back();
        self.write_flow(Some(handle), cx.wire);
        if let Some(outbound) = self.links.get_mut(&handle).and_then(|link| link.kind.outbound_mut()) {
            outbound.drain = false;
        }
    }
}

fn lock_of(consumer: &Consumer, delivery: &Delivery) -> Option<Uuid> {
    (consumer.mode == Mode::PeekLock).then_some(delivery.lock_token)
}

/// What a receiver wants with an outcome (Microsoft's AMQP protocol guide, "Receiving messages").
fn settlement(state: &State) -> Settlement {
    match state {
        State::Accepted | State::Received | State::Other => Settlement::Complete,
        State::Released => Settlement::Release,
        State::Modified { undeliverable_here: true, .. } => Settlement::Defer,
        State::Modified { .. } => Settlement::Abandon,
        State::Rejected { condition, description, info } => {
            let text = |key: &str, or: &str| {
                let own = info.entry(key).and_then(|value| value.as_str());
                own.or_else(|| Some(or).filter(|or| !or.is_empty())).map(str::to_owned)
            };
            Settlement::DeadLetter(DeadLetter {
                reason: text("DeadLetterReason", condition),
                description: text("DeadLetterErrorDescription", description),
            })
        }
    }
}
