//! [`Faulty`]: a backplane whose links and sends fail by plan, on the client's side of the seam.
//!
//! The store behind it stays well, and the contract is kept: a reception that loses its link is made anew, goes on
//! where it stood, and says so where it cannot.

use std::{
    fmt,
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use scaleout_core::{
    Backplane, Capabilities, Epoch, Error, ErrorKind, Event, FrameId, PayloadId, Retained, Start, StreamIndex,
};

/// A decorator that adds the faults of a [`FaultPlan`] to the sends and receptions of a backplane.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Backplane>,
    plan: FaultPlan,
}

impl Faulty {
    /// Adds the faults of `plan` to `inner`. Nodes may share a plan.
    pub fn new(inner: Arc<dyn Backplane>, plan: FaultPlan) -> Self {
        Self { inner, plan }
    }

    async fn faulty_send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let fate = self.plan.next_send();
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        if fate.is_refused {
            return Err(Error::new(ErrorKind::Unavailable, "a send was refused by plan"));
        }
        let answer = self.inner.send(stream, frame, payload).await;
        if fate.is_answer_lost && answer.is_ok() {
            return Err(Error::new(ErrorKind::Timeout, "the answer to a send was lost by plan"));
        }
        answer
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backplane for Faulty {
    fn stream_count(&self) -> NonZeroU16 {
        self.inner.stream_count()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.faulty_send(stream, frame, payload).boxed()
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let reception = Reception {
            events: self.inner.receive(stream, start),
            inner: Arc::clone(&self.inner),
            plan: self.plan.clone(),
            stream,
            start,
            epoch: Epoch(0),
            passed: None,
            is_remade: false,
        };
        let next = async |mut reception: Reception| Some((reception.next().await?, reception));
        stream::unfold(reception, next).boxed()
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        self.inner.retained(stream)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.close()
    }
}

/// How often what fails: a seeded plan, shared by its clones, changeable at any time.
#[derive(Clone)]
pub struct FaultPlan {
    /// Held for one draw, never across an await.
    state: Arc<Mutex<PlanState>>,
}

struct PlanState {
    random: fastrand::Rng,
    rates: FaultRates,
    counts: FaultCounts,
}

/// The faults of a [`FaultPlan`]; each rate is the share of sends or events, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct FaultRates {
    /// Sends that fail and never reach the store. Defaults to 0.
    pub refused_sends: f64,
    /// Sends that reach the store, and fail all the same. Defaults to 0.
    pub lost_answers: f64,
    /// Events that are lost with the link that they come by. Defaults to 0.
    pub broken_links: f64,
    /// Sends take up to this long before they reach the store. Defaults to nothing.
    pub max_send_delay: Duration,
}

impl FaultRates {
    /// Sets [`refused_sends`](Self::refused_sends).
    #[must_use]
    pub fn with_refused_sends(mut self, rate: f64) -> Self {
        self.refused_sends = rate;
        self
    }

    /// Sets [`lost_answers`](Self::lost_answers).
    #[must_use]
    pub fn with_lost_answers(mut self, rate: f64) -> Self {
        self.lost_answers = rate;
        self
    }

    /// Sets [`broken_links`](Self::broken_links).
    #[must_use]
    pub fn with_broken_links(mut self, rate: f64) -> Self {
        self.broken_links = rate;
        self
    }

    /// Sets [`max_send_delay`](Self::max_send_delay).
    #[must_use]
    pub fn with_max_send_delay(mut self, delay: Duration) -> Self {
        self.max_send_delay = delay;
        self
    }
}

/// How many faults a [`FaultPlan`] has made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Sends that never reached the store.
    pub refused_sends: u64,
    /// Sends picked to lose their answer; those that the store refused by itself lost nothing.
    pub lost_answers: u64,
    /// Links broken.
    pub broken_links: u64,
}

struct SendFate {
    is_refused: bool,
    is_answer_lost: bool,
    delay: Duration,
}

impl FaultPlan {
    /// A plan without faults, that draws from `seed` once it has some.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let state = PlanState { random, rates: FaultRates::default(), counts: FaultCounts::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Goes on with other rates; `FaultRates::default()` ends the faults.
    pub fn set(&self, rates: FaultRates) {
        self.lock().rates = rates;
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.lock().counts
    }

    fn next_send(&self) -> SendFate {
        let PlanState { random, rates, counts } = &mut *self.lock();
        let is_refused = random.f64() < rates.refused_sends;
        let is_answer_lost = !is_refused && random.f64() < rates.lost_answers;
        let delay = rates.max_send_delay.mul_f64(random.f64());
        counts.refused_sends += u64::from(is_refused);
        counts.lost_answers += u64::from(is_answer_lost);
        SendFate { is_refused, is_answer_lost, delay }
    }

    fn breaks_link(&self) -> bool {
        let PlanState { random, rates, counts } = &mut *self.lock();
        let breaks = random.f64() < rates.broken_links;
        counts.broken_links += u64::from(breaks);
        breaks
    }

    fn lock(&self) -> MutexGuard<'_, PlanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FaultPlan").field("rates", &state.rates).field("counts", &state.counts).finish()
    }
}

/// A reception that is made anew where its link breaks.
struct Reception {
    inner: Arc<dyn Backplane>,
    plan: FaultPlan,
    stream: StreamIndex,
    start: Start,
    events: BoxStream<'static, Event>,
    /// Of the last `Opened` that came from the store.
    epoch: Epoch,
    /// What is up to here is not to be yielded again; `None` where a new reception may begin as the first one.
    passed: Option<(Epoch, Option<PayloadId>)>,
    is_remade: bool,
}

impl Reception {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.events.next().await?;
            let Some(event) = self.keep(event) else { continue };
            if self.plan.breaks_link() {
                self.remake();
                let error = Error::new(ErrorKind::Unavailable, "a link was broken by plan");
                return Some(Event::Faulted(error));
            }
            self.pass(&event);
            return Some(event);
        }
    }

    /// What is left of an event of a reception that may yield again what was yielded before.
    fn keep(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Opened { epoch, after, head, mut unbroken } => {
                self.epoch = epoch;
                if let (true, Some((passed, _))) = (self.is_remade, self.passed) {
                    if epoch < passed {
                        return None;
                    }
                    // Only ids without holes, or what the epoch continues, show what a new reception begins behind.
                    let Capabilities { replay, dense_ids, .. } = self.inner.capabilities();
                    unbroken &= replay && dense_ids && (epoch == passed || after.is_some());
                }
                Some(Event::Opened { epoch, after, head, unbroken })
            }
            Event::Payload { id, .. } if Some((self.epoch, Some(id))) <= self.passed => None,
            event => Some(event),
        }
    }

    fn pass(&mut self, event: &Event) {
        match event {
            Event::Opened { head, .. } if self.passed.is_none() && self.start == Start::Latest => {
                self.passed = Some(*head);
            }
            Event::Payload { id, .. } => self.passed = Some((self.epoch, Some(*id))),
            _ => {}
        }
    }

    fn remake(&mut self) {
        let start = match self.passed {
            Some(_) if self.inner.capabilities().replay => Start::Backlog { payloads: usize::MAX },
            _ => self.start,
        };
        let start = if self.inner.capabilities().replay { start } else { Start::Latest };
        self.events = self.inner.receive(self.stream, start);
        self.is_remade = true;
    }
}
