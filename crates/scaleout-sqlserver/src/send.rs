//! Appending a frame, once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use scaleout_core::{Error, ErrorKind, FrameId, NodeId, provider::Place};

use crate::{
    error::Failure,
    link::{Call, Link, Values},
    look,
    node::{Confirmed, Lane, Node, Sent, to_sql},
    store::place_of,
};

/// How often a send looks at the store again before it leaves it to the next one.
const MAX_LOOKS: usize = 8;

/// How often a publish that the server chose as the victim of a deadlock is repeated: it was rolled back as a whole.
const MAX_DEADLOCKS: usize = 4;

/// SQL Server's number for that.
const DEADLOCK: u32 = 1205;

/// Our number for a call that names an epoch which is not that of the store.
pub(crate) const OTHER_EPOCH: u32 = 50010;

/// What became of an append.
enum Outcome {
    At(Place),
    /// It is there already, as is all of the node up to this number.
    Held(u64),
    /// The store holds less than it should.
    Rewound(u64),
}

impl Node {
    /// Appends `payload` to the stream at place `lane`, or does nothing if it is there (rule 9 of the contract).
    ///
    /// # Cancel safety
    /// When it is dropped with the append under way, the connection ends, and the frame may be in the store; the
    /// procedure finds it there when it is sent again, even if both arrive at once.
    pub(crate) async fn send(&self, lane: usize, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let lane = &self.lanes[lane];
        let mut sent = lane.sending.lock().await;
        let mut link = self.pool.lease().await?;
        if frame.number == 0 {
            return self.probe(&mut link, lane, frame, &mut sent).await;
        }
        let (mut looks, mut deadlocks) = (0, 0);
        loop {
            let epoch = self.epoch();
            match self.publish(&mut link, lane, epoch, frame, &payload).await {
                Ok(Outcome::At(place)) => {
                    sent.confirm(frame.node, epoch, frame.number);
                    lane.saw(place, payload.len());
                    self.appended.notify_one();
                    return Ok(());
                }
                Ok(Outcome::Held(number)) => {
                    sent.confirm(frame.node, epoch, number);
                    return Ok(());
                }
                Ok(Outcome::Rewound(held)) => {
                    if looks < MAX_LOOKS
                        && sent.has_more_of(frame.node, epoch, held, self.config.sender_expiry)
                    {
                        looks += 1;
                        lane.forked(epoch);
                        self.open(&mut link).await?;
                        continue;
                    }
                    return Err(Error::from(ErrorKind::Rewound { last: held }));
                }
                Err(failure) if failure.number() == Some(DEADLOCK) && deadlocks < MAX_DEADLOCKS => {
                    deadlocks += 1;
                }
                Err(failure) if failure.number() == Some(OTHER_EPOCH) && looks < MAX_LOOKS => {
                    looks += 1;
                    self.open(&mut link).await?;
                }
                Err(failure) if look::is_missing(&failure) && looks < MAX_LOOKS => {
                    looks += 1;
                    self.forget_objects().await;
                    self.open(&mut link).await?;
                }
                Err(failure) => return Err(self.failed(&link, failure, "appending a frame")),
            }
        }
    }

    /// Makes the checks of a send without appending anything.
    async fn probe(
        &self,
        link: &mut Link,
        lane: &Lane,
        frame: FrameId,
        sent: &mut Sent,
    ) -> Result<(), Error> {
        for _ in 0..MAX_LOOKS {
            let epoch = self.open(link).await?.streams[lane.stream.index()].epoch;
            let stream = i16::try_from(lane.stream.0).unwrap_or(i16::MAX);
            let call =
                Call::new(&self.names.held).with("@stream", stream).with("@node", node_bytes(frame.node));
            let held = async { Values::first(link.call(call).await?, "held")?.number() }.await;
            let held = held
                .map_err(|failure| self.failed(link, failure, "asking what a stream holds of this node"))?;
            if held >= frame.after {
                return Ok(());
            }
            if !sent.has_more_of(frame.node, epoch, held, self.config.sender_expiry) {
                return Err(Error::from(ErrorKind::Rewound { last: held }));
            }
            lane.forked(epoch);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the epoch of the store changes faster than it can be looked at",
        ))
    }

    async fn publish(
        &self,
        link: &mut Link,
        lane: &Lane,
        epoch: u64,
        frame: FrameId,
        payload: &Bytes,
    ) -> Result<Outcome, Failure> {
        let call = Call::new(&self.names.publish[lane.stream.index()])
            .with("@epoch", to_sql(epoch))
            .with("@node", node_bytes(frame.node))
            .with("@number", to_sql(frame.number))
            .with("@after", to_sql(frame.after))
            .with("@payload", payload.as_ref());
        let mut values = Values::first(link.call(call).await?, "publish")?;
        let (outcome, _seq) = (values.number()?, values.integer()?);
        let (id, held) = (values.number_if_any()?, values.number()?);
        match (outcome, place_of(Some(epoch), id)) {
            (0, Some(place)) => {
                if let Some(number) = values.number_if_any()? {
                    tracing::debug!(app = %self.config.app, number, "a frame was appended, and ringing the doorbell failed");
                }
                Ok(Outcome::At(place))
            }
            (1, _) => Ok(Outcome::Held(held)),
            (2, _) => Ok(Outcome::Rewound(held)),
            _ => Err(Failure::Answer(format!("publish yields the outcome {outcome}"))),
        }
    }

    /// What a failure says of the other connections, and as an error.
    pub(crate) fn failed(&self, link: &Link, failure: Failure, doing: &str) -> Error {
        if !link.is_clean() {
            self.pool.end_idle();
        }
        failure.into_error(doing, &self.config)
    }
}

impl Sent {
    /// The store holds a node's frames up to `number` in this epoch.
    fn confirm(&mut self, node: NodeId, epoch: u64, number: u64) {
        self.confirmed.insert(node, Confirmed { epoch, number, renewed: Instant::now() });
    }

    /// Whether the store confirmed more of a node in this epoch, and has no right to have forgotten it since.
    fn has_more_of(&self, node: NodeId, epoch: u64, held: u64, expiry: Duration) -> bool {
        self.confirmed.get(&node).is_some_and(|confirmed| {
            confirmed.epoch == epoch && confirmed.number > held && confirmed.renewed.elapsed() < expiry / 2
        })
    }
}

pub(crate) fn node_bytes(node: NodeId) -> Vec<u8> {
    node.0.to_be_bytes().to_vec()
}
