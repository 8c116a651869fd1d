//! What a node needs in the namespace: the topics of its app, and its own subscription on each.

mod flaw;
pub(crate) mod names;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use scaleout_core::{Backoff, Epoch, Error, ErrorKind, StreamIndex};
use tokio::{sync::OnceCell, time::sleep};

pub(crate) use self::flaw::Flaw;
use crate::{
    config::{NodeTls, ServiceBusConfig},
    error::Failure,
    management::{Created, Management, SubscriptionSpec, TopicInfo, TopicSpec},
    token::Tokens,
};

/// The topics of the app, and this node's subscription on each.
///
/// With `create_entities = false` nothing is asked: they are taken to be there.
#[derive(Debug)]
pub(crate) struct Entities {
    config: Arc<ServiceBusConfig>,
    /// `None` where nothing is asked.
    management: Option<Management>,
    /// One for each stream.
    topics: Vec<Topic>,
    subscription: String,
    layout: OnceCell<()>,
    /// Whether it was said that a topic does not detect duplicates.
    warned: AtomicBool,
}

#[derive(Debug)]
struct Topic {
    name: String,
    /// For how long it recognises a message that is sent again, as it was last found.
    duplicate_window: Mutex<Option<Duration>>,
}

impl Entities {
    /// It does no I/O but reading the host's name and the certificates of the operating system.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where TLS cannot be set up.
    pub(crate) fn new(
        config: Arc<ServiceBusConfig>,
        tokens: Arc<Tokens>,
        tls: &NodeTls<'_>,
    ) -> Result<Self, Error> {
        let management =
            if config.create_entities { Some(Management::new(&config, tokens, tls)?) } else { None };
        let topic = |index| Topic {
            name: names::topic(&config, StreamIndex(index)),
            duplicate_window: Mutex::default(),
        };
        Ok(Self {
            topics: (0..config.topic_count.get()).map(topic).collect(),
            subscription: names::subscription(&config),
            management,
            config,
            layout: OnceCell::new(),
            warned: AtomicBool::new(false),
        })
    }

    /// Compares the number of topics there are with the configured one, and creates those that are missing.
    ///
    /// It is done once; after an error the next call does it again.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), which names both numbers where they differ; others as of requests.
    ///
    /// # Cancel safety
    /// Some topics may have been created; the next call creates the others.
    pub(crate) async fn ensure_layout(&self) -> Result<(), Error> {
        let Some(management) = &self.management else { return Ok(()) };
        self.layout.get_or_try_init(|| self.make_layout(management)).await.copied()
    }

    /// The epoch of a topic, asked for once; `None` where the topic is missing.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where it is partitioned or disabled; others as of requests.
    pub(crate) async fn epoch(&self, stream: StreamIndex) -> Result<Option<Epoch>, Error> {
        let Some(management) = &self.management else { return Ok(Some(Epoch(self.config.epoch))) };
        let topic = self.of(stream)?;
        let found = self
            .retried(&format!("looking for topic {}", topic.name), || management.topic(&topic.name))
            .await?;
        let Some(info) = found else { return Ok(None) };
        self.accept(&info)?;
        let window = info.duplicate_window.filter(|_| info.detects_duplicates);
        *topic.duplicate_window.lock().unwrap_or_else(PoisonError::into_inner) = window;
        Ok(Some(Epoch(info.created_at_micros)))
    }

    /// The epoch of a topic, which is created if it is missing.
    ///
    /// # Errors
    /// As [`epoch`](Self::epoch).
    ///
    /// # Cancel safety
    /// The topic may have been created.
    pub(crate) async fn ensure_topic(&self, stream: StreamIndex) -> Result<Epoch, Error> {
        // Twice, since it may be deleted in between.
        for _ in 0..2 {
            if let Some(epoch) = self.epoch(stream).await? {
                return Ok(epoch);
            }
            self.recreate(stream).await?;
        }
        let topic = self.topic(stream);
        self.epoch(stream).await?.ok_or_else(|| {
            let context = format!("creating topic {topic}: it is deleted again and again");
            Error::new(ErrorKind::Unavailable, context)
        })
    }

    /// Creates a subscription of this node on the stream's topic if it is missing; whether it was.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) where no subscription is configured and none may be created, or it is disabled;
    /// [`Unavailable`](ErrorKind::Unavailable) where the topic is missing; others as of requests.
    ///
    /// # Cancel safety
    /// It may have been created.
    pub(crate) async fn ensure_subscription(&self, stream: StreamIndex, name: &str) -> Result<bool, Error> {
        let Some(management) = &self.management else { return self.require_subscription() };
        let topic = self.of(stream)?;
        let spec = self.subscription_spec();
        let doing = format!("creating subscription {name} of topic {}", topic.name);
        let create = || management.create_subscription(&topic.name, name, &spec);
        let created = self.retried(&doing, create).await? == Created::New;
        if !created {
            self.look_at_subscription(management, topic, name).await?;
        }
        Ok(created)
    }

    /// Deletes a subscription of this node on the stream's topic, unless it is a configured one.
    ///
    /// # Errors
    /// As of requests; what is not there is no error.
    ///
    /// # Cancel safety
    /// It may have been deleted.
    pub(crate) async fn remove_subscription(&self, stream: StreamIndex, name: &str) -> Result<(), Error> {
        let Some(management) = &self.management else { return Ok(()) };
        let topic = &self.of(stream)?.name;
        let doing = format!("deleting subscription {name} of topic {topic}");
        self.retried(&doing, || management.delete_subscription(topic, name)).await.map(drop)
    }

    /// Deletes the app's topics, however many there are; gives how many there were.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) with `create_entities = false`; others as of requests.
    ///
    /// # Cancel safety
    /// Some may have been deleted; the next call deletes the others.
    pub(crate) async fn delete_topics(&self) -> Result<usize, Error> {
        let Some(management) = &self.management else {
            return Err(Self::made_by_others());
        };
        let prefix = names::topic_prefix(&self.config);
        let mut deleted = 0;
        for index in self.indices(management).await? {
            deleted += usize::from(self.delete_topic(management, &format!("{prefix}{index}")).await?);
        }
        Ok(deleted)
    }

    /// That nothing is deleted with `create_entities = false`.
    pub(crate) fn made_by_others() -> Error {
        Error::new(
            ErrorKind::Config,
            "topics are created and deleted by somebody else with create_entities=false",
        )
    }

    /// Deletes a topic of the app; `false` if there was none.
    pub(crate) async fn delete_topic(&self, management: &Management, name: &str) -> Result<bool, Error> {
        self.retried(&format!("deleting topic {name}"), || management.delete_topic(name)).await
    }

    /// The name of the stream's topic; empty where there is no such stream.
    pub(crate) fn topic(&self, stream: StreamIndex) -> &str {
        self.topics.get(stream.index()).map_or("", |topic| topic.name.as_str())
    }

    /// The name of this node's subscription, the same on every topic; empty where none is configured nor created.
    pub(crate) fn subscription(&self) -> &str {
        &self.subscription
    }

    /// A name for one more subscription of this node.
    pub(crate) fn another_subscription(&self) -> String {
        names::subscription(&self.config)
    }

    /// For how long the stream's topic recognises a message that is sent again: as configured, or less where
    /// [`epoch`](Self::epoch) found that somebody has created it with less.
    pub(crate) fn duplicate_window(&self, stream: StreamIndex) -> Duration {
        let configured = self.config.duplicate_window;
        let topic = self.topics.get(stream.index());
        let found =
            topic.and_then(|topic| *topic.duplicate_window.lock().unwrap_or_else(PoisonError::into_inner));
        found.map_or(configured, |found| found.min(configured))
    }

    /// Creates a topic that was deleted, and before it those above it that were, too.
    async fn recreate(&self, stream: StreamIndex) -> Result<(), Error> {
        let Some(management) = &self.management else { return Ok(()) };
        let there = self.indices(management).await?;
        self.create_missing(management, &there, stream.index()).await
    }

    async fn make_layout(&self, management: &Management) -> Result<(), Error> {
        // Nodes start together.
        sleep(self.config.start_jitter.mul_f64(fastrand::f64())).await;
        let mut there = self.indices(management).await?;
        // Where some were deleted, other nodes are about to create them again.
        for _ in 0..LOOKS {
            if there.is_empty() || there.iter().any(|index| index + 1 >= self.topics.len()) {
                break;
            }
            sleep(LOOK_AGAIN).await;
            there = self.indices(management).await?;
        }
        self.compare(&there)?;
        if (0..self.topics.len()).all(|index| there.contains(&index)) {
            return Ok(());
        }
        self.create_missing(management, &there, 0).await?;
        // A node of another count may have listed them just before as well.
        self.compare(&self.indices(management).await?)
    }

    /// Creates the topics that are not `there`, down to the one with the index `lowest`.
    ///
    /// From the highest to the lowest, so that whoever lists them meanwhile sees how many there are.
    async fn create_missing(
        &self,
        management: &Management,
        there: &[usize],
        lowest: usize,
    ) -> Result<(), Error> {
        for (index, topic) in self.topics.iter().enumerate().skip(lowest).rev() {
            if !there.contains(&index) {
                self.create_topic(management, &topic.name).await?;
            }
        }
        Ok(())
    }

    /// The indices of the topics that there are, in ascending order.
    pub(crate) async fn indices(&self, management: &Management) -> Result<Vec<usize>, Error> {
        let prefix = names::topic_prefix(&self.config);
        let titles = self.retried("listing the topics", || management.topics(&prefix)).await?;
        Ok(names::indices(&self.config, &titles))
    }

    /// Compares the topics that there are with the configured count.
    fn compare(&self, indices: &[usize]) -> Result<(), Error> {
        match Flaw::of_count(&self.config, indices) {
            Some(flaw) => Err(flaw.into_error("listing the topics")),
            None => Ok(()),
        }
    }

    async fn create_topic(&self, management: &Management, name: &str) -> Result<(), Error> {
        let spec = self.topic_spec();
        let doing = format!("creating topic {name}");
        if self.retried(&doing, || management.create_topic(name, &spec)).await? == Created::New {
            tracing::info!(topic = name, "created a topic");
        }
        Ok(())
    }

    /// What is there already may still be of no use.
    async fn look_at_subscription(
        &self,
        management: &Management,
        topic: &Topic,
        name: &str,
    ) -> Result<(), Error> {
        let doing = format!("looking for subscription {name} of topic {}", topic.name);
        let found = self.retried(&doing, || management.subscription(&topic.name, name)).await?;
        match found.map(|found| found.status) {
            None => Err(Error::new(
                ErrorKind::Unavailable,
                format!("{doing}: it is neither there nor can be created yet"),
            )),
            Some(status) if matches!(status.as_str(), "Disabled" | "ReceiveDisabled") => Err(Error::new(
                ErrorKind::Config,
                format!("{doing}: it is disabled; delete it, or set its status to Active in the portal"),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Refuses a topic that is of no use, and warns of one that is of less.
    fn accept(&self, info: &TopicInfo) -> Result<(), Error> {
        if let Some(flaw) = Flaw::refused(&self.config, info) {
            return Err(flaw.into_error(""));
        }
        if let Some(flaw) = Flaw::of_duplicates(&self.config, info)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(topic = info.name, "{}: {}", flaw.what, flaw.fix);
        }
        Ok(())
    }

    /// Without the right to create one, a subscription must be configured.
    fn require_subscription(&self) -> Result<bool, Error> {
        if self.subscription.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "subscription is missing: with create_entities=false a node that receives needs one of its own on every \
                 topic, and its name in subscription",
            ));
        }
        Ok(false)
    }

    fn of(&self, stream: StreamIndex) -> Result<&Topic, Error> {
        self.topics.get(stream.index()).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("there is no stream {stream} of {}", self.topics.len()))
        })
    }

    fn topic_spec(&self) -> TopicSpec {
        // Properties and header come on top of the payload.
        let kilobytes = (self.config.max_payload_bytes as u64).div_ceil(1_024) + 64;
        TopicSpec {
            message_ttl: self.config.message_ttl,
            max_megabytes: self.config.max_topic_megabytes,
            duplicate_window: self.config.duplicate_window,
            max_message_kilobytes: (kilobytes > PREMIUM_DEFAULT_KILOBYTES)
                .then(|| kilobytes.min(PREMIUM_LARGEST_KILOBYTES)),
        }
    }

    fn subscription_spec(&self) -> SubscriptionSpec {
        SubscriptionSpec {
            lock_duration: self.config.lock_duration,
            message_ttl: self.config.message_ttl,
            max_delivery_count: self.config.max_delivery_count,
            idle_expiry: self.config.subscription_idle_expiry,
        }
    }

    /// Asks until there is an answer, but only a few times: whoever waits for it has a back-off as well.
    ///
    /// All that is asked for here may be asked for twice.
    pub(crate) async fn retried<T, F>(&self, doing: &str, ask: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut backoff = Backoff::new(self.config.min_backoff, self.config.max_backoff, fastrand::u64(..));
        loop {
            let failure = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let delay = backoff.next_delay();
            if !is_passing(&failure) || backoff.attempts() >= ATTEMPTS {
                return Err(failure.into_error(doing, &self.config));
            }
            tracing::debug!(doing, ?failure, "asking again");
            // All nodes are told to wait for the same time.
            let jitter = self.config.start_jitter.mul_f64(fastrand::f64());
            sleep(failure.asked_wait().map_or(delay, |wait| delay.max(wait + jitter))).await;
        }
    }
}

/// Whether Service Bus itself may answer otherwise in a moment. A connection that cannot be made is left to whoever asks.
fn is_passing(failure: &Failure) -> bool {
    failure.is_busy() || matches!(failure, Failure::Http { status: 408 | 500..=599, .. })
}

/// How often, and after what pause, to look again for topics that others are about to create again.
const LOOKS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// With the back-off between them, some seconds at most where no wait is asked for.
const ATTEMPTS: u32 = 5;

/// What a topic of the tier Premium takes unless told otherwise.
const PREMIUM_DEFAULT_KILOBYTES: u64 = 1_024;

/// What it can be told to take.
const PREMIUM_LARGEST_KILOBYTES: u64 = 102_400;

#[cfg(test)]
mod tests;
