//! What entities are like.

use std::time::{Duration, SystemTime};

use crate::namespace::Refusal;

/// Says that something never happens: the greatest `TimeSpan` of .NET, 10,675,199 days and some hours.
pub const FOREVER: Duration = Duration::new(922_337_203_685, 477_580_700);

const MIN_TTL: Duration = Duration::from_secs(1);
const MIN_WINDOW: Duration = Duration::from_secs(20);
const MAX_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
const MIN_IDLE: Duration = Duration::from_secs(5 * 60);
const MIN_LOCK: Duration = Duration::from_secs(5);
const MAX_LOCK: Duration = Duration::from_secs(5 * 60);
const MAX_DELIVERY_COUNT: u32 = 2_000;

/// What a topic is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicProperties {
    /// Of messages that do not say it themselves, and the longest of those that do.
    pub default_message_ttl: Duration,
    /// What it may hold, in MiB.
    pub max_size_megabytes: u32,
    /// Whether a `MessageId` is taken once only.
    pub requires_duplicate_detection: bool,
    /// How long a `MessageId` is remembered.
    pub duplicate_detection_window: Duration,
    /// Kept and shown; nothing else.
    pub enable_batched_operations: bool,
    /// What can be done with it.
    pub status: EntityStatus,
    /// The owner's words.
    pub user_metadata: Option<String>,
    /// Kept and shown; nothing else.
    pub support_ordering: bool,
    /// When nobody used it for so long, it goes.
    pub auto_delete_on_idle: Duration,
    /// Kept and shown, where a test says so; there are no partitions, and clients cannot ask for them.
    pub enable_partitioning: bool,
    /// Kept and shown; nothing else.
    pub enable_express: bool,
    /// Of the namespace's limit, what this topic takes, in KiB.
    pub max_message_kilobytes: Option<u64>,
}

impl Default for TopicProperties {
    fn default() -> Self {
        Self {
            default_message_ttl: FOREVER,
            max_size_megabytes: 1024,
            requires_duplicate_detection: false,
            duplicate_detection_window: Duration::from_secs(10 * 60),
            enable_batched_operations: true,
            status: EntityStatus::Active,
            user_metadata: None,
            support_ordering: true,
            auto_delete_on_idle: FOREVER,
            enable_partitioning: false,
            enable_express: false,
            max_message_kilobytes: None,
        }
    }
}

/// What a subscription is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionProperties {
    /// How long a message is locked: 5 s to 5 min.
    pub lock_duration: Duration,
    /// As of the topic; the shorter holds.
    pub default_message_ttl: Duration,
    /// Whether messages that lived too long go to the dead-letter queue.
    pub dead_lettering_on_message_expiration: bool,
    /// Kept and shown; there are no filters that could fail.
    pub dead_lettering_on_filter_evaluation_exceptions: bool,
    /// A message whose deliveries failed so often goes to the dead-letter queue.
    pub max_delivery_count: u32,
    /// Kept and shown; nothing else.
    pub enable_batched_operations: bool,
    /// What can be done with it.
    pub status: EntityStatus,
    /// The owner's words.
    pub user_metadata: Option<String>,
    /// When nobody received from it for so long, it goes.
    pub auto_delete_on_idle: Duration,
}

impl Default for SubscriptionProperties {
    fn default() -> Self {
        Self {
            lock_duration: Duration::from_secs(60),
            default_message_ttl: FOREVER,
            dead_lettering_on_message_expiration: false,
            dead_lettering_on_filter_evaluation_exceptions: true,
            max_delivery_count: 10,
            enable_batched_operations: true,
            status: EntityStatus::Active,
            user_metadata: None,
            auto_delete_on_idle: FOREVER,
        }
    }
}

impl TopicProperties {
    /// What the service refuses to make.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        within("DefaultMessageTimeToLive", self.default_message_ttl, MIN_TTL, FOREVER)?;
        within(
            "DuplicateDetectionHistoryTimeWindow",
            self.duplicate_detection_window,
            MIN_WINDOW,
            MAX_WINDOW,
        )?;
        within("AutoDeleteOnIdle", self.auto_delete_on_idle, MIN_IDLE, FOREVER)
    }
}

impl SubscriptionProperties {
    /// What the service refuses to make.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        within("LockDuration", self.lock_duration, MIN_LOCK, MAX_LOCK)?;
        within("DefaultMessageTimeToLive", self.default_message_ttl, MIN_TTL, FOREVER)?;
        within("AutoDeleteOnIdle", self.auto_delete_on_idle, MIN_IDLE, FOREVER)?;
        if self.max_delivery_count == 0 || self.max_delivery_count > MAX_DELIVERY_COUNT {
            return Err(Refusal::Invalid(format!("MaxDeliveryCount must be 1 to {MAX_DELIVERY_COUNT}.")));
        }
        Ok(())
    }
}

/// What can be done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EntityStatus {
    /// Everything.
    #[default]
    Active,
    /// Nothing.
    Disabled,
    /// Everything but sending.
    SendDisabled,
    /// Everything but receiving.
    ReceiveDisabled,
}

impl EntityStatus {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Self::Active | Self::ReceiveDisabled)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::Active | Self::SendDisabled)
    }
}

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// As it was created.
    pub name: String,
    /// What it is like.
    pub properties: TopicProperties,
    /// Its age and use.
    pub times: Times,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// What its subscriptions hold, in bytes.
    pub size_bytes: u64,
}

/// A subscription as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// As its topic was created.
    pub topic: String,
    /// As it was created.
    pub name: String,
    /// What it is like.
    pub properties: SubscriptionProperties,
    /// Its age and use.
    pub times: Times,
    /// What it holds.
    pub counts: Counts,
    /// Receivers that are open.
    pub receivers: usize,
}

/// When an entity was created, changed and used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Never the same for two topics of one namespace.
    pub created_at: SystemTime,
    /// By a management call.
    pub updated_at: SystemTime,
    /// By whoever sends or receives.
    pub accessed_at: SystemTime,
}

/// What a subscription holds, in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting to be delivered.
    pub active: usize,
    /// Delivered and not settled yet, of both queues.
    pub locked: usize,
    /// Deferred.
    pub deferred: usize,
    /// In the dead-letter queue.
    pub dead_letter: usize,
}

fn within(what: &str, value: Duration, least: Duration, most: Duration) -> Result<(), Refusal> {
    if value < least || value > most {
        return Err(Refusal::Invalid(format!(
            "{what} must be {} s to {} s.",
            least.as_secs(),
            most.as_secs()
        )));
    }
    Ok(())
}
