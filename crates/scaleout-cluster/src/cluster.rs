//! The handle that an application holds.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use scaleout_core::{Bus, Error, ErrorKind, Gap, NodeId, Publish, Role};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    ClusterConfig, ClusterCounters, Incoming, MemberWatch, Members, Missing, Registration, Replies,
    RequestError,
    config::check_name,
    counters::AtomicCounters,
    handlers::Handlers,
    membership::Membership,
    presence::{self, Presence},
    report,
    request::{Pending, Requests},
    router,
    wire::{self, About, MAX_TEXT_BYTES},
};

/// Who is asked, or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// All members, this node too: it gets what it sends through the store, where its place in the one order is.
    All,
    /// All members but this node.
    Others,
    /// One node.
    Node(NodeId),
}

/// A node's handle on a cluster: who is there, casts and requests, who is in which group.
///
/// A cheap clone. The last clone dropped without [`close`](Self::close) says goodbye too, if the bus still runs.
#[derive(Clone)]
pub struct Cluster {
    owner: Arc<Owner>,
}

/// Ends the tasks with the last handle.
struct Owner {
    inner: Arc<Inner>,
    tasks: [AbortHandle; 3],
}

/// What handles and tasks share.
pub(crate) struct Inner {
    pub(crate) bus: Bus,
    pub(crate) config: ClusterConfig,
    pub(crate) counters: Arc<AtomicCounters>,
    pub(crate) handlers: Handlers,
    pub(crate) requests: Requests,
    pub(crate) presence: Presence,
    /// The channel of all.
    pub(crate) channel: Arc<str>,
    pub(crate) members: watch::Sender<Arc<Members>>,
    pub(crate) ready: watch::Sender<bool>,
    /// Tells the task that lets time pass that something is due earlier.
    pub(crate) pulse: Notify,
    /// Whether a message of this node came back on the channel of all since the last tick.
    pub(crate) heard_itself: AtomicBool,
    membership: Mutex<Membership>,
    running: Arc<Semaphore>,
    started: Instant,
    closed: AtomicBool,
}

/// The clusters that this process takes part in: one node takes part once.
static JOINED: LazyLock<Mutex<HashSet<(NodeId, String)>>> = LazyLock::new(Mutex::default);

/// The life that the next cluster begins with: greater than any before it, also of another one.
static NEXT_INCARNATION: AtomicU64 = AtomicU64::new(1);

/// The number of the next request: a bus that joins again still gets answers to those it made before.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Cluster {
    /// Joins a cluster in the background, and returns at once.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for settings that cannot work, where this bus has joined a cluster of that name
    /// already, and where it only publishes: then see [`Caster`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(bus: &Bus, config: ClusterConfig) -> Result<Self, Error> {
        // Panics before anything is noted that would stay.
        let runtime = Handle::current();
        config.check()?;
        if bus.config().role == Role::PublishOnly {
            let problem =
                "a node that only publishes hears nobody, and cannot join a cluster: use a `Caster`";
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let place = (bus.node(), config.name.clone());
        if !JOINED.lock().unwrap_or_else(PoisonError::into_inner).insert(place) {
            let problem =
                format!("this bus has joined the cluster `{}` already: share that handle", config.name);
            return Err(Error::new(ErrorKind::Config, problem));
        }
        let about = About {
            started_at_micros: micros_since_1970(),
            lease: config.lease,
            label: config.label.clone(),
            role: config.role.clone(),
            version: config.version.clone(),
        };
        let incarnation =
            NEXT_INCARNATION.update(Ordering::Relaxed, Ordering::Relaxed, |next| next.saturating_add(1));
        let (interval, join_wait) = (config.heartbeat_interval, config.join_wait);
        let channel: Arc<str> = channel(&config.name).into();
        // Before the first message goes out, so that nothing that follows it is missed.
        let subscription = bus.subscribe([&*channel, &inbox(bus, &config.name, bus.node())]);
        let inner = Arc::new(Inner {
            membership: Mutex::new(Membership::new(bus.node(), incarnation, about, interval, join_wait)),
            bus: bus.clone(),
            presence: Presence::new(bus.node(), incarnation, config.max_presence_entries),
            running: Arc::new(Semaphore::new(config.max_running_handlers.min(Semaphore::MAX_PERMITS))),
            config,
            counters: Arc::default(),
            handlers: Handlers::default(),
            requests: Requests::default(),
            channel,
            members: watch::Sender::new(Arc::default()),
            ready: watch::Sender::new(false),
            pulse: Notify::new(),
            heard_itself: AtomicBool::new(false),
            started: Instant::now(),
            closed: AtomicBool::new(false),
        });
        presence::register(&inner);
        report::register(&inner);
        #[cfg(feature = "metrics")]
        bus.export_counters(inner.counters.clone());
        let tasks = [
            runtime.spawn(router::receive(Arc::clone(&inner), subscription)).abort_handle(),
            runtime.spawn(router::pass_time(Arc::clone(&inner))).abort_handle(),
            runtime.spawn(presence::run(Arc::clone(&inner))).abort_handle(),
        ];
        Ok(Self { owner: Arc::new(Owner { inner, tasks }) })
    }

    /// Joins a cluster, and returns when its members are known.
    ///
    /// # Errors
    /// As [`start`](Self::start). While the store is away it waits.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the cluster.
    pub async fn join(bus: &Bus, config: ClusterConfig) -> Result<Self, Error> {
        let cluster = Self::start(bus, config)?;
        cluster.ready().await;
        Ok(cluster)
    }

    /// Waits until the members that were there before this node are known, or the cluster is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn ready(&self) {
        let mut ready = self.inner().ready.subscribe();
        // The sender lives as long as this handle.
        drop(ready.wait_for(|ready| *ready).await);
    }

    /// Whether [`ready`](Self::ready) would return at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.inner().ready.borrow()
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.inner().bus
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner().bus.node()
    }

    /// The channel that carries what its members cast and ask.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.inner().channel
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.inner().config
    }

    /// The members as of now, this node among them once its first message has come back.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.inner().members.borrow())
    }

    /// Follows the members from now on.
    #[must_use]
    pub fn watch(&self) -> MemberWatch {
        MemberWatch::new(self.inner().members.subscribe())
    }

    /// Handles what comes of `subject`, in the order of the channel; what was registered before gets nothing any more.
    ///
    /// The handler runs on the task that receives, and holds up everything behind it: what takes time, it spawns, or see
    /// [`serve`](Self::serve). Subjects that begin with `$` are those of the cluster itself.
    pub fn handle(&self, subject: &str, handler: impl Fn(Incoming) + Send + Sync + 'static) -> Registration {
        self.inner().register(subject, Arc::new(handler))
    }

    /// Calls `handler` with every gap on the cluster's channels, in its place: casts and requests to this node may be missing.
    ///
    /// It runs where handlers do, and holds up everything behind it.
    pub fn on_gap(&self, handler: impl Fn(&Gap) + Send + Sync + 'static) -> Registration {
        self.inner().register_gap(Arc::new(handler))
    }

    /// Answers requests of `subject`, each in a task of its own, up to
    /// [`max_running_handlers`](ClusterConfig::max_running_handlers) at a time.
    ///
    /// A handler that is not done at the deadline is dropped.
    pub fn serve<F>(
        &self,
        subject: &str,
        handler: impl Fn(NodeId, Bytes) -> F + Send + Sync + 'static,
    ) -> Registration
    where
        F: Future<Output = Result<Bytes, String>> + Send + 'static,
    {
        let running = Arc::clone(&self.inner().running);
        self.handle(subject, move |incoming| {
            let Ok(permit) = Arc::clone(&running).try_acquire_owned() else {
                incoming.responder.fail("busy: too many handlers are running");
                return;
            };
            let node = incoming.node;
            let (payload, responder) = incoming.into_parts();
            let answer = handler(node, payload);
            tokio::spawn(async move {
                let answer = match responder.deadline() {
                    Some(deadline) => tokio::time::timeout_at(deadline, answer).await,
                    None => Ok(answer.await),
                };
                match answer {
                    Ok(Ok(payload)) => responder.reply(&payload),
                    Ok(Err(why)) => responder.fail(&why),
                    // Nobody waits any more.
                    Err(_) => drop(responder),
                }
                drop(permit);
            });
        })
    }

    /// Tells nodes something, without an answer.
    ///
    /// What one node casts and requests reaches every other one in the order of its calls. It resolves to `Ok` when the
    /// store has it, which says nothing of handlers; dropping it withdraws nothing.
    ///
    /// # Errors
    /// The future yields those of [`Bus::publish`]. [`InvalidChannel`](ErrorKind::InvalidChannel) is not among them.
    ///
    /// # Panics
    /// If `subject` is empty or longer than 255 bytes.
    pub fn cast(&self, subject: &str, payload: &[u8], target: Target) -> Publish {
        self.inner().cast(subject, payload, target)
    }

    /// Asks nodes something, and gives their answers as they come, until `deadline` has passed.
    ///
    /// Those who are asked are the members of now. One that goes is not waited for.
    ///
    /// # Errors
    /// [`NoSuchNode`](RequestError::NoSuchNode), [`TooMany`](RequestError::TooMany),
    /// [`InvalidSubject`](RequestError::InvalidSubject), [`Closed`](RequestError::Closed). What fails later is told by
    /// [`Replies::missing`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with a timer; any will do, also another one than the bus's.
    pub fn request(
        &self,
        subject: &str,
        payload: &[u8],
        target: Target,
        deadline: Duration,
    ) -> Result<Replies, RequestError> {
        self.inner().request(subject, payload, target, deadline)
    }

    /// Asks one node something, and waits for its answer: all its parts, put together.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`Deadline`](RequestError::Deadline), [`NotSent`](RequestError::NotSent),
    /// [`Failed`](RequestError::Failed).
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait; the node may have been asked.
    pub async fn ask(
        &self,
        node: NodeId,
        subject: &str,
        payload: &[u8],
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        self.inner().ask(node, subject, payload, deadline).await
    }

    /// Who is in which group.
    #[must_use]
    pub fn presence(&self) -> &Presence {
        &self.inner().presence
    }

    /// What this node has counted since it joined.
    #[must_use]
    pub fn counters(&self) -> ClusterCounters {
        self.inner().counters.snapshot()
    }

    /// Says goodbye, and takes part no longer: requests end, handlers get nothing more. The bus stays open.
    ///
    /// It waits until the store has the goodbye, or `deadline` has passed; the others then give this node up when its
    /// lease ends.
    pub async fn close(&self, deadline: Duration) {
        let goodbye = self.inner().leave();
        self.owner.tasks.iter().for_each(AbortHandle::abort);
        if let Some(goodbye) = goodbye {
            drop(tokio::time::timeout(deadline, goodbye).await);
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.owner.inner
    }
}

/// Casts to the members of a cluster without being one: for processes that only publish.
///
/// Such a process is nobody's member, is not counted, and cannot be asked.
#[derive(Debug, Clone)]
pub struct Caster {
    bus: Bus,
    channel: Arc<str>,
}

impl Caster {
    /// Casts on `bus` to the cluster of that name.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for what is no name.
    pub fn new(bus: &Bus, name: &str) -> Result<Self, Error> {
        check_name(name)?;
        Ok(Self { bus: bus.clone(), channel: channel(name).into() })
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Tells nodes something, as [`Cluster::cast`] does.
    ///
    /// # Errors
    /// As [`Cluster::cast`].
    ///
    /// # Panics
    /// If `subject` is empty or longer than 255 bytes.
    pub fn cast(&self, subject: &str, payload: &[u8], target: Target) -> Publish {
        cast(&self.bus, &self.channel, subject, payload, target)
    }
}

#[inline]
fn cast(bus: &Bus, channel: &str, subject: &str, payload: &[u8], target: Target) -> Publish {
    assert!(is_subject(subject), "a subject is 1 to {MAX_TEXT_BYTES} bytes, not {}", subject.len());
    bus.publish(channel, wire::cast(target, subject, payload))
}

/// The next id of a request or a registration of this process.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

fn is_subject(subject: &str) -> bool {
    (1..=MAX_TEXT_BYTES).contains(&subject.len())
}

/// The channel of all members.
pub(crate) fn channel(name: &str) -> String {
    format!("$cluster/{name}")
}

/// The channel of what is answered to one node: the first of its names that is on the stream of the channel of all.
///
/// So everything of a cluster is on one stream: who hears what it asked hears what is answered, also where streams open on
/// demand.
pub(crate) fn inbox(bus: &Bus, name: &str, node: NodeId) -> String {
    let stream = bus.stream_of(&channel(name));
    // Each name has one chance in as many as there are streams; that all of these fail does not happen.
    let tries = 64 * u32::from(bus.stream_count().get());
    let names = (0..tries).map(|n| format!("$cluster/{name}/{node}/{n}"));
    let mut names = names.skip_while(|name| bus.stream_of(name) != stream);
    names.next().unwrap_or_else(|| format!("$cluster/{name}/{node}"))
}

impl Inner {
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_id(&self) -> u64 {
        next_id()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Sends what a full queue must not refuse.
    pub(crate) fn control(&self, channel: &str, message: &[u8]) {
        if let Err(error) = self.try_control(channel, message) {
            self.note_unsent(&error);
        }
    }

    /// As [`control`](Self::control), and tells whether the bus refuses it at once; the rest is said again sooner or later.
    pub(crate) fn try_control(&self, channel: &str, message: &[u8]) -> Result<(), Error> {
        let mut sent = self.bus.publish_control(channel, message);
        futures_util::FutureExt::now_or_never(&mut sent).unwrap_or(Ok(()))
    }

    pub(crate) fn note_unsent(&self, error: &Error) {
        if self.counters.unsent.add_first() {
            tracing::warn!(%error, cluster = %self.config.name, "a message of the cluster was not sent");
        }
    }

    pub(crate) fn cast(&self, subject: &str, payload: &[u8], target: Target) -> Publish {
        cast(&self.bus, &self.channel, subject, payload, target)
    }

    pub(crate) fn request(
        self: &Arc<Self>,
        subject: &str,
        payload: &[u8],
        target: Target,
        deadline: Duration,
    ) -> Result<Replies, RequestError> {
        if !is_subject(subject) {
            return Err(RequestError::InvalidSubject);
        }
        let limit = self.config.max_pending_requests;
        // Whoever goes between the question who is there and the place among the requests would be waited for in vain.
        let members_stay = self.membership();
        if self.is_closed() {
            return Err(RequestError::Closed);
        }
        let pending = Arc::new(self.pending(target, subject != presence::SUBJECT)?);
        if !self.requests.add(&pending, limit) {
            return Err(RequestError::TooMany { limit });
        }
        drop(members_stay);
        self.counters.requested.add(1);
        let sent = pending.is_open().then(|| {
            let message = wire::request(target, pending.id(), deadline, subject, payload);
            self.bus.publish(&*self.channel, message)
        });
        Ok(Replies::new(self, pending, sent, deadline))
    }

    pub(crate) async fn ask(
        self: &Arc<Self>,
        node: NodeId,
        subject: &str,
        payload: &[u8],
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let collected = self.request(subject, payload, Target::Node(node), deadline)?.collect().await;
        if let Some((node, why)) = collected.missing.into_iter().next() {
            return Err(match why {
                Missing::Deadline => RequestError::Deadline(node),
                Missing::NotSent(error) => RequestError::NotSent(error),
                why => RequestError::Failed { node, why },
            });
        }
        let mut parts = collected.replies.into_iter().map(|reply| reply.payload);
        let first = parts.next().unwrap_or_default();
        Ok(parts
            .fold(None, |all: Option<Vec<u8>>, part| {
                let mut all = all.unwrap_or_else(|| first.to_vec());
                all.extend_from_slice(&part);
                Some(all)
            })
            .map_or_else(|| first.clone(), Bytes::from))
    }

    /// Who is asked.
    fn pending(&self, target: Target, counts: bool) -> Result<Pending, RequestError> {
        let (me, ready, max_unread) = (self.bus.node(), *self.ready.borrow(), self.config.max_unread_parts);
        let members = Arc::clone(&self.members.borrow());
        let pending = |nodes: &mut dyn Iterator<Item = NodeId>, joining| {
            Pending::new(self.next_id(), nodes, joining, max_unread, counts)
        };
        let others = members.iter().map(|member| member.node()).filter(|node| *node != me);
        match target {
            Target::Node(node) if !members.contains(node) && (ready || node == me) => {
                Err(RequestError::NoSuchNode(node))
            }
            Target::Node(node) => Ok(pending(&mut [node].into_iter(), false)),
            Target::Others => Ok(pending(&mut { others }, !ready)),
            Target::All => Ok(pending(&mut others.chain([me]), !ready)),
        }
    }

    /// Notes the life that this node is in, for whoever joins after it.
    pub(crate) fn note_incarnation(&self, incarnation: u64) {
        NEXT_INCARNATION.fetch_max(incarnation.saturating_add(1), Ordering::Relaxed);
    }

    /// Ends everything; the goodbye, if it was not said.
    pub(crate) fn leave(&self) -> Option<Publish> {
        // Nothing of this life is said behind the goodbye, and nobody shown.
        let membership = self.membership();
        if self.closed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let goodbye = self.bus.publish_control(&*self.channel, wire::goodbye(membership.incarnation()));
        self.requests.close();
        self.presence.close();
        self.members.send_replace(Arc::new(Members::closed()));
        self.ready.send_replace(true);
        drop(membership);
        // Nothing comes for them any more, and one that holds a handle of this cluster would keep it for ever.
        self.handlers.clear();
        self.pulse.notify_one();
        let place = (self.bus.node(), self.config.name.clone());
        JOINED.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        Some(goodbye)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.inner.leave());
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("node", &self.bus.node()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.inner().config.name)
            .field("node", &self.node())
            .field("members", &self.members().len())
            .finish_non_exhaustive()
    }
}

fn micros_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
