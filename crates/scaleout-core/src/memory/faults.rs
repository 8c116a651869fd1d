//! The switches that make a memory store fail.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::store::LaneState;
use crate::{Epoch, Error, ErrorKind, FrameId, MemoryStore, NodeId, PayloadId, StreamIndex};

/// What happens to a send that [`MemoryStore::fail_sends`] picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendFault {
    /// Nothing is added, and the send fails with `Unavailable`.
    Refused,
    /// The payload is added, and the send fails with `Unavailable` all the same: the link broke before the answer.
    Landed,
    /// Nothing is added, and the send fails with `Timeout`.
    Lost,
    /// The send fails with `Timeout`; [`MemoryStore::land_late`] adds the payload later.
    LandsLate,
    /// The payload is added, and no answer ever comes.
    Silent,
}

/// What is wrong with one stream at the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) outage: bool,
    pub(super) fatal: Option<ErrorKind>,
    /// Names the links of now; a reception with another number has lost its link.
    pub(super) links: u64,
    pub(super) sends_blocked: bool,
    pub(super) send_delay: Duration,
    pub(super) receive_delay: Duration,
    pub(super) redelivery: Redelivery,
    planned: VecDeque<SendFault>,
    late: Vec<Late>,
}

/// The latest [`MemoryStore::redeliver`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Redelivery {
    /// Counts the calls, so that a reception sees each once.
    pub(super) count: u64,
    pub(super) payloads: usize,
}

/// A frame on its way, which its sender has given up on.
#[derive(Debug)]
struct Late {
    epoch: Epoch,
    frame: FrameId,
    payload: Bytes,
    /// Whether a retry of the same frame arrived first.
    landed: bool,
}

/// What the way into a store does to one send.
pub(super) enum Answer {
    Told(Result<(), Error>),
    /// None, ever.
    Silence,
}

impl MemoryStore {
    /// Takes `streams` down: sends fail with `Unavailable`, links break, and reconnecting fails until [`restore`](Self::restore).
    ///
    /// `store.outage(store.streams())` takes all down.
    pub fn outage(&self, streams: impl IntoIterator<Item = StreamIndex>) {
        self.set(streams, |faults| {
            faults.outage = true;
            faults.links += 1;
        });
    }

    /// Ends an outage of `streams`: sends work at once, receptions return with their next attempt.
    pub fn restore(&self, streams: impl IntoIterator<Item = StreamIndex>) {
        self.set(streams, |faults| faults.outage = false);
    }

    /// Breaks every link once; receptions reconnect at once.
    pub fn cut_receivers(&self) {
        self.set(self.streams(), |faults| faults.links += 1);
    }

    /// Refuses everything with a fatal `kind` until cleared with `None`: links break, sends and reconnecting fail.
    ///
    /// Receptions try again once a minute.
    pub fn fatal(&self, kind: Option<ErrorKind>) {
        self.set(self.streams(), |faults| {
            faults.fatal = kind;
            faults.links += u64::from(kind.is_some());
        });
    }

    /// Delays every later send before it reaches the store; one that is dropped meanwhile adds nothing.
    pub fn set_send_delay(&self, delay: Duration) {
        self.set(self.streams(), |faults| faults.send_delay = delay);
    }

    /// Delays every later payload of every reception, which makes it a slow link.
    pub fn set_receive_delay(&self, delay: Duration) {
        self.set(self.streams(), |faults| faults.receive_delay = delay);
    }

    /// Holds sends back before they reach the store, until called with `false`; one that is dropped meanwhile adds nothing.
    pub fn block_sends(&self, blocked: bool) {
        self.set(self.streams(), |faults| faults.sends_blocked = blocked);
    }

    /// As [`block_sends`](Self::block_sends), for one stream.
    pub fn block_stream(&self, stream: StreamIndex, blocked: bool) {
        self.set([stream], |faults| faults.sends_blocked = blocked);
    }

    /// Gives each of the next `sends` sends on `stream` the fate `fault`; probes are spared and not counted.
    ///
    /// Calls add up: the second one's sends come after the first one's.
    pub fn fail_sends(&self, stream: StreamIndex, sends: usize, fault: SendFault) {
        self.set([stream], |faults| faults.planned.extend(std::iter::repeat_n(fault, sends)));
    }

    /// Ends what [`fail_sends`](Self::fail_sends) still has in store for `stream`; answers how many sends that spares.
    pub fn clear_send_faults(&self, stream: StreamIndex) -> usize {
        self.lane(stream).update(|state| std::mem::take(&mut state.faults.planned).len())
    }

    /// Lets the frames of [`SendFault::LandsLate`] arrive, in the order they were sent; answers how many were added.
    ///
    /// The store looks at a frame's number in the same step as it appends, so that a number up to the greatest one
    /// held adds nothing. Frames sent in an earlier epoch are refused.
    pub fn land_late(&self, stream: StreamIndex) -> usize {
        self.lane(stream).update(|state| state.land_late(true))
    }

    /// As [`land_late`](Self::land_late), for a store that does not look at numbers in the same step.
    ///
    /// A frame that its sender gave up on lands behind later ones; one that was retried and is there adds nothing. A
    /// frame whose `after` is not held is refused all the same: connections ask for that before their first append.
    pub fn land_late_unchecked(&self, stream: StreamIndex) -> usize {
        self.lane(stream).update(|state| state.land_late(false))
    }

    /// Forgets everything on every stream; each begins an epoch that continues nothing. Links stay up.
    pub fn flush(&self) {
        for stream in self.streams() {
            self.flush_stream(stream);
        }
    }

    /// As [`flush`](Self::flush), for one stream; answers its new epoch.
    pub fn flush_stream(&self, stream: StreamIndex) -> Epoch {
        self.lane(stream).update(|state| state.log.flush())
    }

    /// Forgets the last `forget` retained payloads, and opens an epoch that continues what is left. Links stay up.
    ///
    /// The store then holds of each node what the payloads that are left show, retained ones and older.
    pub fn failover(&self, stream: StreamIndex, forget: usize) -> Epoch {
        self.lane(stream).update(|state| state.log.fork(forget))
    }

    /// Opens an epoch that continues everything, as after a restart that could have forgotten, and did not.
    pub fn new_epoch(&self, stream: StreamIndex) -> Epoch {
        self.failover(stream, 0)
    }

    /// Drops the oldest retained payloads but for `keep`, and never the newest.
    pub fn trim(&self, stream: StreamIndex, keep: usize) {
        self.lane(stream).update(|state| state.log.trim(keep));
    }

    /// Makes every reception of `stream` yield its last `payloads` payloads again: a breach of rule 3.
    ///
    /// It reaches back as far as the current link's epoch, what the reception yielded, and retention go.
    pub fn redeliver(&self, stream: StreamIndex, payloads: usize) {
        self.set([stream], |faults| {
            faults.redelivery = Redelivery { count: faults.redelivery.count + 1, payloads };
        });
    }

    /// Appends somebody else's bytes.
    pub fn append_raw(&self, stream: StreamIndex, bytes: impl Into<Bytes>) -> (Epoch, PayloadId) {
        self.lane(stream).update(|state| state.log.append(None, bytes.into()))
    }

    /// Appends an empty payload, as providers may.
    pub fn append_empty(&self, stream: StreamIndex) -> (Epoch, PayloadId) {
        self.append_raw(stream, Bytes::new())
    }

    fn set(&self, streams: impl IntoIterator<Item = StreamIndex>, change: impl Fn(&mut Faults)) {
        for stream in streams {
            self.lane(stream).update(|state| change(&mut state.faults));
        }
    }
}

impl Faults {
    /// Why the store refuses to work, if it does.
    pub(super) fn refusal(&self) -> Option<Error> {
        if let Some(kind) = self.fatal {
            return Some(Error::new(kind, "the memory store refuses this node"));
        }
        self.outage.then(|| Error::new(ErrorKind::Unavailable, "the memory store is down"))
    }
}

impl LaneState {
    /// Handles a send of `frame`; `confirmed` is the epoch of the last send of its node that was answered `Ok`, per node.
    pub(super) fn send(
        &mut self,
        frame: FrameId,
        payload: Bytes,
        asks_held: bool,
        confirmed: &mut BTreeMap<NodeId, Epoch>,
    ) -> Answer {
        if let Some(error) = self.faults.refusal() {
            return Answer::Told(Err(error));
        }
        let is_probe = frame.number == 0;
        let fault = if is_probe { None } else { self.faults.planned.pop_front() };
        match fault {
            Some(SendFault::Refused) => {
                return refuse(ErrorKind::Unavailable, "the memory store refused a send");
            }
            Some(SendFault::Lost) => {
                return refuse(ErrorKind::Timeout, "a send to the memory store was lost");
            }
            Some(SendFault::LandsLate) => {
                let epoch = self.log.epoch();
                self.faults.late.push(Late { epoch, frame, payload, landed: false });
                return refuse(ErrorKind::Timeout, "the memory store did not answer a send");
            }
            Some(SendFault::Landed | SendFault::Silent) | None => {}
        }
        let known = if asks_held {
            Some(self.log.held(frame.node))
        } else {
            // Such a store tells nothing: what it confirmed in this epoch is there, and in another one nothing is.
            let moved = confirmed.get(&frame.node).is_some_and(|&epoch| epoch != self.log.epoch());
            moved.then_some(0)
        };
        let result = self.accept(frame, payload, known);
        match (fault, result) {
            (Some(SendFault::Silent), Ok(())) => Answer::Silence,
            (Some(SendFault::Landed), Ok(())) => {
                refuse(ErrorKind::Unavailable, "the link to the memory store broke before its answer")
            }
            (_, Ok(())) => {
                confirmed.insert(frame.node, self.log.epoch());
                Answer::Told(Ok(()))
            }
            (_, error) => Answer::Told(error),
        }
    }

    /// Rule 9, where `known` is the greatest number that the sender knows the store to hold (`None`: enough).
    fn accept(&mut self, frame: FrameId, payload: Bytes, known: Option<u64>) -> Result<(), Error> {
        if let Some(last) =
            known.filter(|&last| last < frame.after && (frame.number == 0 || last < frame.number))
        {
            return Err(Error::from(ErrorKind::Rewound { last }));
        }
        if frame.number > self.log.held(frame.node) {
            self.append(frame, payload);
        }
        Ok(())
    }

    fn append(&mut self, frame: FrameId, payload: Bytes) {
        for late in &mut self.faults.late {
            late.landed |= (late.frame.node, late.frame.number) == (frame.node, frame.number);
        }
        self.log.append(Some((frame.node, frame.number)), payload);
    }

    fn land_late(&mut self, checked: bool) -> usize {
        let mut landed = 0;
        // One by one, since a frame that lands marks its copies.
        while !self.faults.late.is_empty() {
            let Late { epoch, frame, payload, landed: is_there } = self.faults.late.remove(0);
            let held = self.log.held(frame.node);
            let refused = held < frame.after || checked && frame.number <= held;
            if epoch == self.log.epoch() && !is_there && !refused {
                self.append(frame, payload);
                landed += 1;
            }
        }
        landed
    }
}

fn refuse(kind: ErrorKind, context: &str) -> Answer {
    Answer::Told(Err(Error::new(kind, context)))
}
