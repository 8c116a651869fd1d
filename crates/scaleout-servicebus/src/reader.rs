//! Receiving a stream: one subscription, one link, from one `Opened` to the next.

use std::{convert::Infallible, sync::Arc, time::Duration};

use scaleout_core::{Backoff, Epoch, Error, ErrorKind, StreamIndex, provider::Outbox};
use tokio::{
    sync::Notify,
    time::{Instant, error::Elapsed, sleep, sleep_until, timeout, timeout_at},
};
use uuid::Uuid;

use crate::{
    config::Reception,
    course::Course,
    error::Failure,
    node::{CLOSING, Node, Owner},
    pulse::Pulse,
    wire::{Delivery, Inlet},
};

/// Messages that the service may send ahead; the outbox of a reception has room for twice as many.
const ROOM: u32 = 64;

/// How long a link has to live until its end counts as the first failure again.
const LASTING: Duration = Duration::from_secs(1);

/// Receives `stream` for a reception until it is dropped or the backplane is closed.
pub(crate) async fn run(owner: Arc<Owner>, stream: StreamIndex, outbox: Arc<Outbox>, changed: Arc<Notify>) {
    let node = &owner.0;
    let room = Notify::new();
    let watch = async {
        loop {
            changed.notified().await;
            if outbox.is_dropped() {
                return;
            }
            room.notify_one();
        }
    };
    let mut reader = Reader::new(Arc::clone(node), stream, Arc::clone(&outbox));
    tokio::select! {
        biased;
        () = node.closing() => {}
        () = watch => {}
        never = reader.read(&room) => match never {},
    }
    outbox.end();
    reader.release().await;
}

struct Reader {
    node: Arc<Node>,
    stream: StreamIndex,
    outbox: Arc<Outbox>,
    backoff: Backoff,
    course: Course,
    /// What came behind the message that a fresh reception begins with, before that was known to be in this topic.
    behind: Vec<Delivery>,
    subscription: Option<Subscription>,
    inlet: Option<Box<dyn Inlet>>,
}

/// A subscription of this reception, which may have to be created.
struct Subscription {
    name: String,
    /// Whether it is the one that the node has on all topics.
    is_own: bool,
    /// The epoch of the topic on which it was created; `None` while it has to be.
    epoch: Option<Epoch>,
    /// It may be there, so that it has to be deleted at the end.
    may_exist: bool,
    /// Another one was there since the reception opened last, so that what came before this one is lost.
    is_new: bool,
}

impl Reader {
    fn new(node: Arc<Node>, stream: StreamIndex, outbox: Arc<Outbox>) -> Self {
        let config = &node.config;
        let lock = (config.reception == Reception::PeekLock).then_some(config.lock_duration);
        Self {
            backoff: Backoff::new(config.min_backoff, config.max_backoff, fastrand::u64(..)),
            course: Course::new(lock),
            behind: Vec::new(),
            subscription: None,
            inlet: None,
            node,
            stream,
            outbox,
        }
    }

    async fn read(&mut self, room: &Notify) -> Infallible {
        loop {
            let error = match self.open().await {
                Ok(()) => {
                    let opened = Instant::now();
                    let failure = self.pump(room).await;
                    if opened.elapsed() >= LASTING {
                        self.backoff.reset();
                    }
                    self.told(failure)
                }
                Err(error) => error,
            };
            self.inlet = None;
            self.course.lost(Instant::now());
            let app = &self.node.config.app;
            tracing::debug!(%app, stream = self.stream.0, %error, "reception from Service Bus is interrupted");
            let delay = match error.is_fatal() {
                true => self.node.config.fatal_retry,
                false => self.backoff.next_delay(),
            };
            self.outbox.fault(error);
            sleep(delay).await;
        }
    }

    /// Sees to a subscription and a link to it, and tells the `Opened` of that link.
    async fn open(&mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        node.entities.ensure_layout().await?;
        let (name, epoch) = self.subscribe().await?;
        let topic = node.entities.topic(self.stream);
        match node.wire.inlet(topic, &name, node.config.reception).await {
            Ok(inlet) => self.inlet = Some(inlet),
            Err(failure) => return Err(self.told(failure)),
        }
        let is_fresh = !self.course.has_begun()
            || self.course.position().is_some_and(|(known, _)| known != epoch)
            || self.subscription.as_ref().is_some_and(|subscription| subscription.is_new);
        // What else waits in the same subscription comes all the same.
        let unbroken = !self.may_have_lost();
        let head = self.head(epoch, is_fresh).await?;
        let opened = match is_fresh {
            true => {
                let unbroken = !self.course.has_begun();
                let opened = self.course.begin(epoch, head, unbroken);
                self.behind.drain(..).for_each(|delivery| self.course.take(delivery));
                opened
            }
            false => self.course.go_on(epoch, head, unbroken),
        };
        self.course.heard(Instant::now());
        if let Some(subscription) = &mut self.subscription {
            subscription.is_new = false;
        }
        node.lane(self.stream).saw_epoch(epoch);
        self.outbox.push(&mut vec![opened]);
        Ok(())
    }

    /// Whether something that was sent meanwhile is in the subscription no more, although that is the same one.
    fn may_have_lost(&self) -> bool {
        let config = &self.node.config;
        let is_over = self.course.silence(Instant::now()) >= config.message_ttl;
        config.reception == Reception::ReceiveAndDelete || is_over
    }

    /// The name of the subscription, and the epoch of the topic it is on.
    async fn subscribe(&mut self) -> Result<(String, Epoch), Error> {
        let node = Arc::clone(&self.node);
        if self.subscription.is_none() {
            let is_own = node.lane(self.stream).take_subscription();
            let name = match (is_own, node.config.create_entities) {
                (true, _) => node.entities.subscription().to_owned(),
                (false, true) => node.entities.another_subscription(),
                (false, false) => {
                    let problem = "a stream is received twice, and with create_entities=false there is one subscription";
                    return Err(Error::new(ErrorKind::Config, problem));
                }
            };
            self.subscription =
                Some(Subscription { name, is_own, epoch: None, may_exist: false, is_new: false });
        }
        let Some(subscription) = &mut self.subscription else { unreachable!("it was made above") };
        if let Some(epoch) = subscription.epoch {
            return Ok((subscription.name.clone(), epoch));
        }
        node.entities.ensure_topic(self.stream).await?;
        subscription.may_exist = true;
        node.entities.ensure_subscription(self.stream, &subscription.name).await?;
        // Asked for afterwards: of a topic that was made anew in between, the subscription is not there.
        let epoch = node.entities.epoch(self.stream).await?.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "a topic was deleted while this node subscribed to it")
        })?;
        subscription.epoch = Some(epoch);
        // Whoever sends need not ask again.
        node.lane(self.stream).saw_epoch(epoch);
        Ok((subscription.name.clone(), epoch))
    }

    /// Appends an empty payload and waits until it is back: what was appended before it has an id below its own.
    async fn head(&mut self, epoch: Epoch, is_fresh: bool) -> Result<u64, Error> {
        let node = Arc::clone(&self.node);
        let limit = node.config.operation_timeout;
        self.behind.clear();
        let message_id = opening_id();
        let mut append = Box::pin(node.sends(self.stream).opening(message_id.clone()));
        let (mut is_appended, mut head) = (false, None);
        // Before it is appended there is nothing to wait for.
        let mut latest = None;
        loop {
            if let (true, Some(head)) = (is_appended, head) {
                return Ok(head);
            }
            // What waits in the subscription is more than can be held: it is told, and passed on, as it comes.
            if !is_fresh && self.course.is_full() {
                return Ok(self.course.last());
            }
            let Some(inlet) = &mut self.inlet else { return Err(closed_link()) };
            let by = latest.map(|latest: Instant| latest.min(Instant::now() + limit));
            let received = tokio::select! {
                biased;
                appended = &mut append, if !is_appended => {
                    if appended? != epoch {
                        self.unsubscribe();
                        return Err(Error::new(ErrorKind::Unavailable, "a topic was deleted and created again"));
                    }
                    is_appended = true;
                    latest = Some(Instant::now() + BACKLOG * limit);
                    continue;
                }
                received = returns_by(by, inlet.receive(ROOM)) => received,
            };
            let received = match received {
                Ok(Ok(received)) => received,
                Ok(Err(failure)) => return Err(self.told(failure)),
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!(
                            "a message that this node sent to topic {} did not come back on its subscription in time: \
                             is it the only one that receives there, and has the subscription the default rule?",
                            node.entities.topic(self.stream)
                        ),
                    ));
                }
            };
            for delivery in received {
                if delivery.message_id.as_deref() == Some(message_id.as_str()) {
                    self.check_order(epoch, &delivery)?;
                    head = Some(delivery.id);
                }
                // Of a fresh reception nothing counts until it is known where it begins; then ids are those of another
                // history, perhaps.
                match (is_fresh, head) {
                    (true, None) => {}
                    (true, Some(_)) => self.behind.push(delivery),
                    (false, _) => self.course.take(delivery),
                }
            }
        }
    }

    /// Where nobody can be asked when the topic was created, its ids tell whether it is still the same one.
    fn check_order(&self, epoch: Epoch, opening: &Delivery) -> Result<(), Error> {
        match self.course.position() {
            Some((known, stand)) if known == epoch && opening.id <= stand => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "topic {} was deleted and created again: it counts from {} after {stand}. Raise `epoch` on all nodes",
                    self.node.entities.topic(self.stream),
                    opening.id
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Passes on what is received, until the link fails.
    async fn pump(&mut self, room: &Notify) -> Failure {
        let node = Arc::clone(&self.node);
        let sends = node.sends(self.stream);
        let mut pulse = Pulse::new(&node.config);
        let mut events = Vec::new();
        loop {
            self.course.release(Instant::now(), &mut events);
            self.outbox.push(&mut events);
            if !self.outbox.room(ROOM as usize) {
                room.notified().await;
                pulse.pause_is_over();
                continue;
            }
            if let Some(until) = self.course.rests_until().filter(|until| *until > Instant::now()) {
                sleep_until(until).await;
                pulse.pause_is_over();
                continue;
            }
            let deadline = self.course.deadline();
            let Some(inlet) = &mut self.inlet else { return Failure::Closed };
            let received = tokio::select! {
                biased;
                received = inlet.receive(ROOM) => received,
                () = wait_until(deadline) => continue,
                is_alive = pulse.beat(sends) => match is_alive {
                    Ok(()) => continue,
                    Err(failure) => return failure,
                },
            };
            match received {
                Ok(received) => {
                    self.course.heard(Instant::now());
                    pulse.heard();
                    received.into_iter().for_each(|delivery| self.course.take(delivery));
                }
                Err(failure) => return failure,
            }
        }
    }

    /// The subscription is gone, or that of another topic: the next one is another, whoever creates it.
    fn unsubscribe(&mut self) {
        if let Some(subscription) = &mut self.subscription {
            subscription.epoch = None;
            subscription.is_new = true;
        }
    }

    fn told(&mut self, failure: Failure) -> Error {
        if failure.is_not_found() {
            self.unsubscribe();
        }
        let doing = format!("receiving from topic {}", self.node.entities.topic(self.stream));
        failure.into_error(&doing, &self.node.config)
    }

    /// Ends the link, and deletes the subscription.
    async fn release(mut self) {
        let node = &self.node;
        let limit = node.config.operation_timeout;
        if let Some(inlet) = self.inlet.take() {
            inlet.close(limit.min(CLOSING)).await;
        }
        let Some(subscription) = self.subscription else { return };
        if subscription.may_exist {
            let removed = timeout(limit, node.entities.remove_subscription(self.stream, &subscription.name));
            let removed = removed.await.unwrap_or_else(|_| {
                let problem =
                    format!("subscription {} could not be deleted within {limit:?}", subscription.name);
                Err(Error::new(ErrorKind::Timeout, problem))
            });
            if let Err(error) = removed {
                tracing::warn!(app = %node.config.app, stream = self.stream.0, %error, "a subscription stays until it is idle for long enough");
                node.could_not_release(error);
            }
        }
        if subscription.is_own {
            node.lane(self.stream).give_subscription_back();
        }
    }
}

/// The id of a message without a payload.
pub(crate) fn opening_id() -> String {
    format!("opening-{}", Uuid::new_v4().simple())
}

/// Time limits that a message of this node's own may take to come back while others come, which may be a backlog.
const BACKLOG: u32 = 6;

/// What comes until then, if there is such a time.
async fn returns_by<T>(latest: Option<Instant>, what: impl Future<Output = T>) -> Result<T, Elapsed> {
    match latest {
        Some(latest) => timeout_at(latest, what).await,
        None => Ok(what.await),
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn closed_link() -> Error {
    Error::new(ErrorKind::Unavailable, "the link to a subscription is closed")
}
