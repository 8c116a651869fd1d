//! A node with a mutant in front of it: what goes to the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::BoxFuture,
    stream::{BoxStream, StreamExt},
};
use scaleout_core::{
    Backplane, Capabilities, Error, ErrorKind, Event, FrameId, NodeId, Retained, Start, StreamIndex,
};

use crate::{
    fixture::RETAINED,
    mutants::{
        Mutant,
        reception::{Lane, Reception},
    },
};

#[derive(Debug)]
pub(super) struct MutantNode {
    inner: Arc<dyn Backplane>,
    mutant: Option<Mutant>,
    /// 0, 1, … in the order of construction.
    index: usize,
    shared: Arc<Shared>,
}

/// What a node's sends and receptions share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Held for one step, never across an await.
    state: Mutex<State>,
    /// The one place through which the receptions of [`Mutant::BlocksOtherStreams`] pass.
    pub(super) lane: Arc<Lane>,
}

#[derive(Debug, Default)]
struct State {
    sent: BTreeSet<Bytes>,
    tried: BTreeSet<(StreamIndex, NodeId, u64)>,
    rewound: BTreeSet<(NodeId, u64)>,
    held_back: BTreeMap<(StreamIndex, NodeId), Bytes>,
    received: BTreeSet<StreamIndex>,
}

impl Shared {
    pub(super) fn has_sent(&self, bytes: &Bytes) -> bool {
        self.lock().sent.contains(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MutantNode {
    pub(super) fn new(inner: Arc<dyn Backplane>, mutant: Option<Mutant>, index: usize) -> Self {
        if mutant == Some(Mutant::ConnectsInConstruction) {
            let frame = FrameId { node: NodeId::random(), number: 0, after: 0 };
            let answer = inner.send(StreamIndex(0), frame, Bytes::new()).now_or_never();
            assert!(!matches!(answer, Some(Err(_))), "the store cannot be reached: {answer:?}");
        }
        Self { inner, mutant, index, shared: Arc::default() }
    }

    async fn mutated_send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let FrameId { node, number, after } = frame;
        let limit = self.inner.capabilities().max_payload_bytes;
        let is_retry = {
            let mut state = self.shared.lock();
            state.sent.insert(payload.clone());
            !state.tried.insert((stream, node, number)) && number > 0
        };
        let alone = FrameId { node: NodeId::random(), number: 1, after: 0 };
        let send = |frame, payload| self.inner.send(stream, frame, payload);
        match self.mutant {
            Some(Mutant::AcceptsTooLarge) if payload.len() > limit => Ok(()),
            Some(Mutant::SendsTooLargeInPart) if payload.len() > limit => {
                send(alone, payload.slice(..limit)).await?;
                send(frame, payload).await
            }
            Some(Mutant::SwapsFrames) if number % 2 == 1 => {
                self.shared.lock().held_back.insert((stream, node), payload);
                Ok(())
            }
            Some(Mutant::SwapsFrames) => {
                let held_back = self.shared.lock().held_back.remove(&(stream, node));
                let Some(held_back) = held_back else { return send(frame, payload).await };
                let before = FrameId { node, number: number - 1, after: after.saturating_sub(1) };
                send(before, payload).await?;
                send(FrameId { after: number - 1, ..frame }, held_back).await
            }
            Some(Mutant::RetriesBehind) => {
                let held_back = self.shared.lock().held_back.remove(&(stream, node));
                if let Some(held_back) = held_back {
                    let before = FrameId { node, number: number - 1, after: after.saturating_sub(1) };
                    send(before, payload).await?;
                    return send(FrameId { after: number - 1, ..frame }, held_back).await;
                }
                let answer = send(frame, payload.clone()).await;
                let is_lost = answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout);
                if is_lost && number > 0 {
                    self.shared.lock().held_back.insert((stream, node), payload);
                    return Ok(());
                }
                answer
            }
            Some(Mutant::AppendsEverySend) if number > 0 => send(alone, payload).await,
            Some(Mutant::AppendsLateCopies) => {
                let answer = send(frame, payload.clone()).await;
                let is_late = answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout);
                if is_late {
                    self.shared.lock().held_back.insert((stream, node), payload);
                    return answer;
                }
                let late = self.shared.lock().held_back.remove(&(stream, node));
                if let Some(late) = late {
                    send(alone, late).await?;
                }
                answer
            }
            Some(Mutant::DropsRetries) if is_retry => Ok(()),
            Some(Mutant::HidesRewound) => match send(frame, payload).await {
                Err(error) if is_rewound(&error) => Ok(()),
                answer => answer,
            },
            Some(Mutant::RewindsOnce) => {
                let is_told = !self.shared.lock().rewound.insert((node, after));
                match send(frame, payload.clone()).await {
                    Err(error) if is_rewound(&error) && is_told => {
                        send(FrameId { after: 0, ..frame }, payload).await
                    }
                    answer => answer,
                }
            }
            Some(Mutant::RewindsToNothing) => match send(frame, payload).await {
                Err(error) if is_rewound(&error) => Err(ErrorKind::Rewound { last: 0 }.into()),
                answer => answer,
            },
            Some(Mutant::AddsWhatIsRewound) => {
                let answer = send(frame, payload.clone()).await;
                if answer.as_ref().is_err_and(is_rewound) && number > 0 {
                    send(alone, payload).await?;
                }
                answer
            }
            Some(Mutant::RefusesHoles) if number > after + 1 => {
                Err(ErrorKind::Rewound { last: after }.into())
            }
            Some(Mutant::SharesNumbers) => send(FrameId { node: NodeId(1), ..frame }, payload).await,
            Some(Mutant::MixesStreams) => self.inner.send(StreamIndex(0), alone, payload).await,
            Some(Mutant::AnswersWhenClosed) => match send(frame, payload).await {
                Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
                answer => answer,
            },
            Some(Mutant::HidesFatalErrors) => send(frame, payload).await.map_err(hide),
            Some(Mutant::AppendsProbes) if number == 0 => send(alone, Bytes::from_static(b"probe")).await,
            Some(Mutant::RefusesProbes) if number == 0 => Err(ErrorKind::Config.into()),
            Some(Mutant::AnswersProbesItself) if number == 0 => Ok(()),
            _ => send(frame, payload).await,
        }
    }
}

fn is_rewound(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Rewound { .. })
}

/// Tells a fatal error as one that goes away.
pub(super) fn hide(error: Error) -> Error {
    if error.is_fatal() { ErrorKind::Unavailable.into() } else { error }
}

#[deny(clippy::missing_trait_methods)]
impl Backplane for MutantNode {
    fn stream_count(&self) -> NonZeroU16 {
        let count = self.inner.stream_count();
        let is_odd = self.index % 2 == 1;
        if self.mutant == Some(Mutant::CountsPerNode) && is_odd { count.saturating_add(1) } else { count }
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.mutated_send(stream, frame, payload).boxed()
    }

    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event> {
        let start = match (self.mutant, start) {
            (Some(Mutant::ShortensTheBacklog), Start::Backlog { payloads }) => {
                Start::Backlog { payloads: payloads.saturating_sub(1) }
            }
            (Some(Mutant::CutsTheBacklogShort), Start::Backlog { .. }) => {
                Start::Backlog { payloads: RETAINED / 2 }
            }
            (Some(Mutant::ReplaysOnce), _) if !self.shared.lock().received.insert(stream) => Start::Latest,
            (Some(Mutant::StartsInThePast), Start::Latest) => Start::Backlog { payloads: 100 },
            (_, start) => start,
        };
        let mut events = self.inner.receive(stream, start);
        let Some(mutant) = self.mutant else { return events };
        if mutant == Mutant::BlocksOtherStreams {
            events = Arc::clone(&self.shared.lane).pass(events);
        }
        let is_backlog = matches!(start, Start::Backlog { .. });
        Reception::new(events, mutant, self.index, is_backlog, Arc::clone(&self.shared)).into_stream().boxed()
    }

    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        let Some(Mutant::TellsLessThanIsRetained | Mutant::TellsMoreThanIsRetained) = self.mutant else {
            return self.inner.retained(stream);
        };
        async move {
            let mut told = self.inner.retained(stream).await?;
            if let Some(Retained { first: Some(first), last: Some(last), .. }) = &mut told {
                match self.mutant {
                    Some(Mutant::TellsLessThanIsRetained) => last.0 = last.0.saturating_sub(1),
                    _ => first.0 = 0,
                }
            }
            Ok(told)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        match self.mutant {
            Some(Mutant::IgnoresClose) => std::future::ready(Ok(())).boxed(),
            _ => self.inner.close(),
        }
    }
}
