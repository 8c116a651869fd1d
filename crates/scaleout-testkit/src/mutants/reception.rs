//! A reception with a mutant in front of it: what comes from the store.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::{
    Stream,
    stream::{self, BoxStream, StreamExt},
};
use scaleout_core::{Epoch, Event, PayloadId};
use tokio::sync::{Mutex, mpsc};

use crate::mutants::{
    Mutant,
    node::{Shared, hide},
};

pub(super) struct Reception {
    /// `None` once it has ended for whoever reads.
    events: Option<BoxStream<'static, Event>>,
    mutant: Mutant,
    node: usize,
    is_backlog: bool,
    shared: Arc<Shared>,
    ready: VecDeque<Event>,
    is_silent: bool,
    first_epoch: Option<Epoch>,
    epoch: Epoch,
    /// The head at the first `Opened`, and at the last one.
    heads: Option<[(Epoch, Option<PayloadId>); 2]>,
    last: Option<(Epoch, PayloadId, Bytes)>,
    openings: usize,
    faults: usize,
    payloads: u64,
    held_back: Option<Event>,
    hidden_ids: u64,
}

impl Reception {
    pub(super) fn new(
        events: BoxStream<'static, Event>,
        mutant: Mutant,
        node: usize,
        is_backlog: bool,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            events: Some(events),
            mutant,
            node,
            is_backlog,
            shared,
            ready: VecDeque::new(),
            is_silent: false,
            first_epoch: None,
            epoch: Epoch(0),
            heads: None,
            last: None,
            openings: 0,
            faults: 0,
            payloads: 0,
            held_back: None,
            hidden_ids: 0,
        }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(self, async |mut reception| {
            let event = reception.next().await?;
            Some((event, reception))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.is_silent {
                return std::future::pending().await;
            }
            match self.events.as_mut()?.next().await {
                Some(event) => self.change(event),
                None if self.mutant == Mutant::OutlivesClose => self.is_silent = true,
                None => return None,
            }
        }
    }

    /// Puts what the mutant makes of `event` into `ready`.
    fn change(&mut self, event: Event) {
        match event {
            Event::Faulted(error) => {
                self.faults += 1;
                match self.mutant {
                    Mutant::SwallowsFaults => return,
                    Mutant::EndsAtAFault => self.events = None,
                    Mutant::GivesUp => self.is_silent = self.faults >= 3,
                    Mutant::GivesUpWhenRefused => self.is_silent = error.is_fatal(),
                    Mutant::HammersWhenRefused if !error.is_fatal() => {}
                    Mutant::Hammers | Mutant::HammersWhenRefused => {
                        self.ready.extend(vec![Event::Faulted(error.clone()); 200]);
                    }
                    _ => {}
                }
                let error = if self.mutant == Mutant::HidesFatalErrors { hide(error) } else { error };
                self.ready.push_back(Event::Faulted(error));
            }
            Event::Opened { epoch, after, head, unbroken } => self.open(epoch, after, head, unbroken),
            Event::Payload { id, bytes } => self.pay(id, bytes),
        }
    }

    fn open(
        &mut self,
        mut epoch: Epoch,
        mut after: Option<(Epoch, PayloadId)>,
        mut head: (Epoch, Option<PayloadId>),
        mut unbroken: bool,
    ) {
        let is_new = epoch != self.epoch && self.openings > 0;
        self.openings += 1;
        self.epoch = epoch;
        let first_epoch = *self.first_epoch.get_or_insert(epoch);
        self.heads = Some([self.heads.map_or(head, |heads| heads[0]), head]);
        match self.mutant {
            Mutant::OpensSilently if self.openings == 1 => return,
            Mutant::ReopensSilently if self.openings > 1 && !is_new => return,
            Mutant::ForgetsTheHead => head.1 = None,
            Mutant::IsAlwaysUnbroken => unbroken = true,
            Mutant::IsNeverUnbroken => unbroken = self.openings == 1,
            Mutant::KeepsTheEpoch => (epoch, head.0) = (first_epoch, first_epoch),
            Mutant::HidesWhatItContinues => after = None,
            Mutant::InventsWhatItContinues if is_new => {
                after = after.or(self.last.as_ref().map(|(epoch, id, _)| (*epoch, *id)));
            }
            Mutant::OpensAnEpochPerNode => {
                let own = self.node as u64;
                (epoch.0, head.0.0) = (epoch.0 + own, head.0.0 + own);
            }
            _ => {}
        }
        let opened = Event::Opened { epoch, after, head, unbroken };
        if self.mutant == Mutant::OpensEpochsLate && is_new {
            self.held_back = Some(opened);
            return;
        }
        self.ready.push_back(opened);
        if let (Mutant::Redelivers, Some((_, id, bytes))) = (self.mutant, self.last.clone()) {
            self.ready.push_back(Event::Payload { id, bytes });
        }
    }

    fn pay(&mut self, mut id: PayloadId, mut bytes: Bytes) {
        let count = self.payloads;
        self.payloads += 1;
        let place = (self.epoch, Some(id));
        let [first_head, head] = self.heads.unwrap_or([(Epoch(0), None); 2]);
        let was_backlog = self.last.as_ref().is_some_and(|(epoch, id, _)| (*epoch, Some(*id)) <= first_head);
        let before = self.last.replace((self.epoch, id, bytes.clone()));
        match self.mutant {
            Mutant::TakesBytesForText => bytes = String::from_utf8_lossy(&bytes).into_owned().into(),
            Mutant::Truncates => bytes.truncate(64 << 10),
            Mutant::HidesWhatRetentionDropped => {
                let expected =
                    before.filter(|(epoch, ..)| *epoch == self.epoch).map(|(_, last, _)| last.0 + 1);
                self.hidden_ids += expected.map_or(0, |expected| id.0.saturating_sub(expected));
                id.0 -= self.hidden_ids;
            }
            Mutant::RepeatsIds => id.0 &= !1,
            Mutant::LeavesIdsOut => id.0 *= 2,
            Mutant::CountsFromOne => id.0 += 1,
            Mutant::CountsIdsPerReception => id.0 = count,
            Mutant::HidesOwnPayloads if self.shared.has_sent(&bytes) => return,
            Mutant::SwapsNeighbours if self.node % 2 == 1 && self.held_back.is_none() => {
                self.held_back = Some(Event::Payload { id, bytes });
                return;
            }
            Mutant::LeavesAHoleBehindTheBacklog if self.is_backlog && was_backlog && place > first_head => {
                return;
            }
            Mutant::OverlapsTheBacklog if self.is_backlog && was_backlog && place > first_head => {
                let again = before.map(|(_, id, bytes)| Event::Payload { id, bytes });
                self.ready.extend(again);
            }
            Mutant::RepeatsIdsOfEmptyPayloads if before.is_none_or(|(epoch, ..)| epoch < self.epoch) => {
                self.ready.push_back(Event::Payload { id, bytes: Bytes::new() });
            }
            Mutant::ForgetsEarlierEpochs if self.is_backlog && self.epoch < first_head.0 => return,
            Mutant::StartsOverAtNow if self.openings > 1 && place <= head => return,
            _ => {}
        }
        self.ready.push_back(Event::Payload { id, bytes });
        self.ready.extend(self.held_back.take());
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        if self.mutant == Mutant::LeavesDeadReceptions {
            std::mem::forget(self.events.take());
        }
    }
}

/// A passage that one reception at a time can go through, and that stays occupied until what came is read.
#[derive(Debug, Default)]
pub(super) struct Lane {
    passage: Mutex<()>,
}

impl Lane {
    pub(super) fn pass(self: Arc<Self>, mut events: BoxStream<'static, Event>) -> BoxStream<'static, Event> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let _passing = self.passage.lock().await;
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed()
    }
}
