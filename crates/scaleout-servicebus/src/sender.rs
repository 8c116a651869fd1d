//! Sending to the topic of a stream: one message at a time, and a look whether the topic is still the same one.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use scaleout_core::{Epoch, Error, ErrorKind, FrameId, NodeId, StreamIndex};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    error::Failure,
    node::{CLOSING, Node, closed},
    wire::{Answer, Outgoing, Outlet},
};

/// Sends that wait behind the one that is out; the bus has one on each stream, which it may have dropped meanwhile.
const MAX_JOBS: usize = 16;

/// How often the topic is looked at again while it is deleted and created.
const MAX_LOOKS: usize = 4;

/// Bytes of a message beside its payload: its id, and what Service Bus counts in.
pub(crate) const MESSAGE_OVERHEAD_BYTES: usize = 1_024;

/// How long to leave a busy service alone, where it does not say so: doubled each time.
const BUSY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// The way to the task that sends a stream.
#[derive(Debug)]
pub(crate) struct Sends {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    what: What,
    /// Told the epoch of the topic that has it.
    reply: oneshot::Sender<Result<Epoch, Error>>,
}

enum What {
    Frame(FrameId, Bytes),
    /// A frame without payload and number.
    Probe(FrameId),
    /// An empty payload with this message id.
    Opening(String),
}

impl Sends {
    /// Starts the task that sends `stream`.
    pub(crate) fn start(node: &Arc<Node>, stream: StreamIndex) -> Self {
        let (jobs, waiting) = mpsc::channel(MAX_JOBS);
        let task = Task {
            node: Arc::clone(node),
            stream,
            outlet: None,
            sent: Sent::default(),
            busy: Busy::default(),
        };
        node.tasks.spawn(task.run(waiting));
        Self { jobs }
    }

    pub(crate) async fn frame(&self, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let what = if frame.number == 0 { What::Probe(frame) } else { What::Frame(frame, payload) };
        self.ask(what).await.map(|_| ())
    }

    /// Appends an empty payload, which comes back to all who receive the stream; the answer is the epoch of the topic.
    pub(crate) async fn opening(&self, message_id: String) -> Result<Epoch, Error> {
        self.ask(What::Opening(message_id)).await
    }

    async fn ask(&self, what: What) -> Result<Epoch, Error> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { what, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// The task that sends a stream. It goes on with a send that nobody waits for any more.
struct Task {
    node: Arc<Node>,
    stream: StreamIndex,
    /// The link, and the epoch of the topic it leads to.
    outlet: Option<(Box<dyn Outlet>, Epoch)>,
    sent: Sent,
    busy: Busy,
}

impl Task {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let node = Arc::clone(&self.node);
        loop {
            let job = tokio::select! {
                biased;
                () = node.closing() => break,
                job = waiting.recv() => job,
                () = ended(&mut self.outlet) => {
                    // Service Bus ends links that are idle for ten minutes.
                    tracing::debug!(app = %node.config.app, stream = self.stream.0, "the link to send has ended");
                    self.outlet = None;
                    continue;
                }
            };
            let Some(job) = job else { break };
            if job.reply.is_closed() {
                continue;
            }
            // At the close it is given up: what is out may be in the store.
            let done = tokio::select! {
                biased;
                () = node.closing() => Err(closed()),
                done = self.work(&job.what) => done,
            };
            let _ = job.reply.send(done);
        }
        if let Some((outlet, _)) = self.outlet.take() {
            outlet.close(node.config.operation_timeout.min(CLOSING)).await;
        }
    }

    async fn work(&mut self, what: &What) -> Result<Epoch, Error> {
        self.busy.check()?;
        let mut is_first = true;
        loop {
            let was_there = self.has_link();
            let epoch = self.attached().await?;
            let message = match what {
                What::Probe(frame) => {
                    if was_there && is_first && !self.is_proved(epoch).await? {
                        is_first = false;
                        continue;
                    }
                    self.sent.check(*frame, epoch)?;
                    self.sent.confirm(*frame, epoch);
                    return Ok(epoch);
                }
                What::Frame(frame, payload) => {
                    self.sent.check(*frame, epoch)?;
                    if self.sent.has(*frame, epoch) {
                        return Ok(epoch);
                    }
                    // An attempt may be on its way for two time-outs.
                    let window = self.node.entities.duplicate_window(self.stream);
                    self.sent.trying(
                        *frame,
                        epoch,
                        window.saturating_sub(2 * self.node.config.operation_timeout),
                    )?;
                    let message_id = format!("{:032x}-{}", frame.node.0, frame.number);
                    Outgoing { message_id, payload: payload.clone() }
                }
                What::Opening(message_id) => {
                    Outgoing { message_id: message_id.clone(), payload: Bytes::new() }
                }
            };
            match self.send(message).await {
                Ok(Answer::Accepted) => {
                    self.busy = Busy::default();
                    if !self.is_still(epoch).await? {
                        // It may be in another topic, which is why it is not confirmed.
                        self.outlet = None;
                        continue;
                    }
                    if let What::Frame(frame, _) = what {
                        self.sent.confirm(*frame, epoch);
                    }
                    return Ok(epoch);
                }
                Ok(Answer::Refused(failure)) => {
                    if failure.is_busy() {
                        self.busy.note(&failure);
                    }
                    return Err(self.told(failure));
                }
                // The link may have ended a while ago, and the topic be another one: the next attempt finds out.
                Err(failure) if was_there && is_first && !matches!(failure, Failure::TimedOut { .. }) => {
                    tracing::debug!(app = %self.node.config.app, stream = self.stream.0, ?failure, "a link to send failed");
                    is_first = false;
                }
                Err(failure) => return Err(self.told(failure)),
            }
        }
    }

    /// Whether the service still answers on the link, and the topic is the one that it leads to.
    async fn is_proved(&mut self, epoch: Epoch) -> Result<bool, Error> {
        let Some((outlet, _)) = &mut self.outlet else { return Ok(false) };
        let proved = timeout(self.node.config.operation_timeout, outlet.prove()).await;
        match proved {
            Ok(Ok(())) if self.node.entities.epoch(self.stream).await? == Some(epoch) => Ok(self.has_link()),
            Ok(_) => {
                self.outlet = None;
                Ok(false)
            }
            Err(_) => {
                if let Some((outlet, _)) = self.outlet.take() {
                    outlet.abandon();
                }
                Ok(false)
            }
        }
    }

    /// Whether there is a link that has not ended.
    fn has_link(&mut self) -> bool {
        if self.outlet.as_mut().is_some_and(|(outlet, _)| outlet.has_ended()) {
            self.outlet = None;
        }
        self.outlet.is_some()
    }

    /// Whether the topic is still the one of `epoch`, which is asked for where no link tells its end.
    async fn is_still(&mut self, epoch: Epoch) -> Result<bool, Error> {
        if self.outlet.as_ref().is_none_or(|(outlet, _)| outlet.is_bound()) {
            return Ok(true);
        }
        Ok(self.node.entities.epoch(self.stream).await? == Some(epoch))
    }

    /// Sees to a link to the topic; the epoch is that of the topic it leads to.
    async fn attached(&mut self) -> Result<Epoch, Error> {
        if let Some((_, epoch)) = &self.outlet {
            return Ok(*epoch);
        }
        let node = Arc::clone(&self.node);
        node.entities.ensure_layout().await?;
        let mut before = node.lane(self.stream).epoch();
        for _ in 0..MAX_LOOKS {
            let known = match before {
                Some(epoch) => epoch,
                None => node.entities.ensure_topic(self.stream).await?,
            };
            let outlet = match node.wire.outlet(node.entities.topic(self.stream)).await {
                Ok(outlet) => outlet,
                Err(failure) if failure.is_not_found() && node.config.create_entities => {
                    before = None;
                    continue;
                }
                Err(failure) => return Err(self.told(failure)),
            };
            // The same topic before and after: the link leads to it.
            let found = node.entities.epoch(self.stream).await?;
            if found == Some(known) {
                self.check_size(outlet.as_ref())?;
                node.lane(self.stream).saw_epoch(known);
                self.outlet = Some((outlet, known));
                return Ok(known);
            }
            before = found;
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "a topic is deleted and created faster than it can be looked at",
        ))
    }

    fn check_size(&self, outlet: &dyn Outlet) -> Result<(), Error> {
        let limit = self.node.config.max_payload_bytes;
        match outlet.max_message_bytes() {
            Some(max) if max < (limit + MESSAGE_OVERHEAD_BYTES) as u64 => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "topic {} takes messages of up to {max} bytes, and max_payload_bytes is {limit}, to which {MESSAGE_OVERHEAD_BYTES} \
                     bytes of properties come: lower it on all nodes, or raise the topic's maximum message size (Premium)",
                    self.node.entities.topic(self.stream)
                ),
            )),
            _ => Ok(()),
        }
    }

    async fn send(&mut self, message: Outgoing) -> Result<Answer, Failure> {
        let Some((outlet, _)) = &mut self.outlet else { return Err(Failure::Closed) };
        let limit = self.node.config.operation_timeout;
        let sent = timeout(limit, outlet.send(message)).await;
        match sent {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => {
                self.outlet = None;
                Err(failure)
            }
            Err(_) => {
                if let Some((outlet, _)) = self.outlet.take() {
                    outlet.abandon();
                }
                Err(Failure::TimedOut { after: limit })
            }
        }
    }

    fn told(&self, failure: Failure) -> Error {
        let doing = format!("sending to topic {}", self.node.entities.topic(self.stream));
        failure.into_error(&doing, &self.node.config)
    }
}

/// Ends when the link has ended; never without one.
async fn ended(outlet: &mut Option<(Box<dyn Outlet>, Epoch)>) {
    match outlet {
        Some((outlet, _)) => outlet.ended().await,
        None => std::future::pending().await,
    }
}

/// What the topics confirmed, and what was tried, by node: Service Bus cannot be asked what it holds (rule 9).
#[derive(Debug, Default)]
struct Sent {
    /// The epoch of the last send that was answered `Ok`, and the greatest number that was confirmed there.
    confirmed: HashMap<NodeId, (Epoch, u64)>,
    /// The last frame that was tried, in which epoch, and when first.
    tried: HashMap<NodeId, (u64, Epoch, Instant)>,
}

impl Sent {
    /// Whether what the frame builds on is in the topic: all of it in the epoch that confirmed it, nothing in another one.
    fn check(&self, frame: FrameId, epoch: Epoch) -> Result<(), Error> {
        let moved = self.confirmed.get(&frame.node).is_some_and(|&(confirmed, _)| confirmed != epoch);
        if moved && frame.after > 0 {
            return Err(Error::from(ErrorKind::Rewound { last: 0 }));
        }
        Ok(())
    }

    /// Whether the topic is known to have the frame: its answer came after nobody waited for it any more.
    fn has(&self, frame: FrameId, epoch: Epoch) -> bool {
        self.confirmed.get(&frame.node).is_some_and(|&(known, last)| known == epoch && frame.number <= last)
    }

    fn confirm(&mut self, frame: FrameId, epoch: Epoch) {
        let confirmed = self.confirmed.entry(frame.node).or_insert((epoch, 0));
        let last = if confirmed.0 == epoch { confirmed.1 } else { 0 };
        *confirmed = (epoch, last.max(frame.number));
    }

    /// Takes note that a frame is tried; it must not be any more once the topic may have forgotten its id.
    fn trying(&mut self, frame: FrameId, epoch: Epoch, good_for: Duration) -> Result<(), Error> {
        let now = Instant::now();
        let tried = self.tried.entry(frame.node).or_insert((frame.number, epoch, now));
        if (tried.0, tried.1) != (frame.number, epoch) {
            *tried = (frame.number, epoch, now);
        }
        if now.duration_since(tried.2) <= good_for {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unconfirmed,
            format!(
                "a frame that was first tried more than {good_for:?} ago is not sent again: the topic may have it, and \
                 would not recognise it any more"
            ),
        ))
    }
}

/// Whether the service asked to be left alone.
#[derive(Debug, Default)]
struct Busy {
    until: Option<Instant>,
    /// The pause that it was left alone for last.
    pause: Duration,
}

impl Busy {
    fn check(&self) -> Result<(), Error> {
        let Some(left) = self.until.and_then(|until| until.checked_duration_since(Instant::now())) else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("Service Bus is busy, and is left alone for another {} ms", left.as_millis()),
        ))
    }

    fn note(&mut self, failure: &Failure) {
        let asked = match failure {
            Failure::Busy { wait, .. } => *wait,
            _ => None,
        };
        let (least, most) = BUSY;
        self.pause = asked.unwrap_or_else(|| (self.pause * 2).clamp(least, most));
        self.until = Some(Instant::now() + self.pause);
    }
}
