//! Entities as the management API shows and takes them.

use std::{
    fmt::{Display, Write as _},
    time::{Duration, SystemTime},
};

use super::{
    duration,
    xml::{Element, escape},
};
use crate::namespace::{
    Counts, EntityStatus, Refusal, SubscriptionInfo, SubscriptionProperties, TopicInfo, TopicProperties,
};

/// The namespace of descriptions.
const SERVICE_BUS: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";

/// The namespace of what `CountDetails` says.
const COUNTS: &str = "http://schemas.microsoft.com/netservices/2011/06/servicebus";

/// The namespace of the attribute `type`.
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// What the service takes of a topic, in its order: what is out of order it passes over in silence.
const TOPIC_ORDER: &[&str] = &[
    "DefaultMessageTimeToLive",
    "MaxSizeInMegabytes",
    "RequiresDuplicateDetection",
    "DuplicateDetectionHistoryTimeWindow",
    "EnableBatchedOperations",
    "FilteringMessagesBeforePublishing",
    "IsAnonymousAccessible",
    "AuthorizationRules",
    "Status",
    "SupportOrdering",
    "AutoDeleteOnIdle",
    "EnablePartitioning",
    "EnableSubscriptionPartitioning",
    "EnableExpress",
    "MaxMessageSizeInKilobytes",
];

/// What the service takes of a subscription, in its order.
const SUBSCRIPTION_ORDER: &[&str] = &[
    "LockDuration",
    "RequiresSession",
    "DefaultMessageTimeToLive",
    "DeadLetteringOnMessageExpiration",
    "DeadLetteringOnFilterEvaluationExceptions",
    "DefaultRuleDescription",
    "MaxDeliveryCount",
    "EnableBatchedOperations",
    "Status",
    "ForwardTo",
    "ForwardDeadLetteredMessagesTo",
    "AutoDeleteOnIdle",
];

/// Reads a `TopicDescription`. What is not there has its default.
pub(crate) fn read_topic(document: &[u8]) -> Result<TopicProperties, Refusal> {
    let fields = Fields::read(document, "TopicDescription", TOPIC_ORDER)?;
    let unlike = TopicProperties::default();
    fields.refuse("EnablePartitioning", "A partitioned topic")?;
    fields.refuse("EnableSubscriptionPartitioning", "A partitioned topic")?;
    fields.refuse("FilteringMessagesBeforePublishing", "Filtering before publishing")?;
    fields.refuse("IsAnonymousAccessible", "Anonymous access")?;
    if fields.element("AuthorizationRules").is_some_and(|rules| !rules.children.is_empty()) {
        return Err(Refusal::NotSupported("An authorization rule of an entity".to_owned()));
    }
    Ok(TopicProperties {
        default_message_ttl: fields.duration("DefaultMessageTimeToLive", unlike.default_message_ttl)?,
        max_size_megabytes: fields.parse("MaxSizeInMegabytes", unlike.max_size_megabytes)?,
        requires_duplicate_detection: fields.parse("RequiresDuplicateDetection", false)?,
        duplicate_detection_window: fields
            .duration("DuplicateDetectionHistoryTimeWindow", unlike.duplicate_detection_window)?,
        enable_batched_operations: fields.parse("EnableBatchedOperations", true)?,
        status: fields.status()?,
        user_metadata: fields.text("UserMetadata"),
        support_ordering: fields.parse("SupportOrdering", unlike.support_ordering)?,
        auto_delete_on_idle: fields.duration("AutoDeleteOnIdle", unlike.auto_delete_on_idle)?,
        enable_partitioning: false,
        enable_express: fields.parse("EnableExpress", false)?,
        max_message_kilobytes: fields.number("MaxMessageSizeInKilobytes")?,
    })
}

/// Reads a `SubscriptionDescription`. What is not there has its default.
pub(crate) fn read_subscription(document: &[u8]) -> Result<SubscriptionProperties, Refusal> {
    let fields = Fields::read(document, "SubscriptionDescription", SUBSCRIPTION_ORDER)?;
    let unlike = SubscriptionProperties::default();
    fields.refuse("RequiresSession", "A subscription with sessions")?;
    for (name, what) in
        [("ForwardTo", "Forwarding"), ("ForwardDeadLetteredMessagesTo", "Forwarding of dead letters")]
    {
        if fields.text(name).is_some() {
            return Err(Refusal::NotSupported(what.to_owned()));
        }
    }
    if let Some(filter) = fields.element("DefaultRuleDescription").and_then(|rule| rule.find("Filter")) {
        check_filter(filter)?;
    }
    Ok(SubscriptionProperties {
        lock_duration: fields.duration("LockDuration", unlike.lock_duration)?,
        default_message_ttl: fields.duration("DefaultMessageTimeToLive", unlike.default_message_ttl)?,
        dead_lettering_on_message_expiration: fields.parse("DeadLetteringOnMessageExpiration", false)?,
        dead_lettering_on_filter_evaluation_exceptions: fields
            .parse("DeadLetteringOnFilterEvaluationExceptions", true)?,
        max_delivery_count: fields.parse("MaxDeliveryCount", unlike.max_delivery_count)?,
        enable_batched_operations: fields.parse("EnableBatchedOperations", true)?,
        status: fields.status()?,
        user_metadata: fields.text("UserMetadata"),
        auto_delete_on_idle: fields.duration("AutoDeleteOnIdle", unlike.auto_delete_on_idle)?,
    })
}

/// A topic as an entry.
pub(crate) fn topic_entry(origin: &str, topic: &TopicInfo) -> String {
    let TopicInfo { name, properties, times, .. } = topic;
    let mut inner = Writer::default();
    inner
        .put("DefaultMessageTimeToLive", duration::format(properties.default_message_ttl))
        .put("MaxSizeInMegabytes", properties.max_size_megabytes)
        .put("RequiresDuplicateDetection", properties.requires_duplicate_detection)
        .put("DuplicateDetectionHistoryTimeWindow", duration::format(properties.duplicate_detection_window))
        .put("EnableBatchedOperations", properties.enable_batched_operations)
        .put("SizeInBytes", topic.size_bytes)
        .put("FilteringMessagesBeforePublishing", false)
        .put("IsAnonymousAccessible", false)
        .raw("<AuthorizationRules></AuthorizationRules>")
        .put("Status", status_name(properties.status))
        .put("CreatedAt", time(times.created_at))
        .put("UpdatedAt", time(times.updated_at))
        .put("AccessedAt", time(times.accessed_at))
        .put("SupportOrdering", properties.support_ordering)
        .counts(&Counts::default())
        .put("SubscriptionCount", topic.subscriptions)
        .put("AutoDeleteOnIdle", duration::format(properties.auto_delete_on_idle))
        .put("EnablePartitioning", properties.enable_partitioning)
        .put("EntityAvailabilityStatus", "Available")
        .put("EnableSubscriptionPartitioning", false)
        .put("EnableExpress", properties.enable_express);
    inner.maybe("UserMetadata", properties.user_metadata.as_ref());
    inner.put("MaxMessageSizeInKilobytes", properties.max_message_kilobytes.unwrap_or(256));
    entry(origin, name, name, "TopicDescription", times.created_at, times.updated_at, &inner.text)
}

/// A subscription as an entry.
pub(crate) fn subscription_entry(origin: &str, subscription: &SubscriptionInfo) -> String {
    let SubscriptionInfo { topic, name, properties, times, counts, .. } = subscription;
    let mut inner = Writer::default();
    inner
        .put("LockDuration", duration::format(properties.lock_duration))
        .put("RequiresSession", false)
        .put("DefaultMessageTimeToLive", duration::format(properties.default_message_ttl))
        .put("DeadLetteringOnMessageExpiration", properties.dead_lettering_on_message_expiration)
        .put(
            "DeadLetteringOnFilterEvaluationExceptions",
            properties.dead_lettering_on_filter_evaluation_exceptions,
        )
        .put("MessageCount", counts.active + counts.locked + counts.deferred + counts.dead_letter)
        .put("MaxDeliveryCount", properties.max_delivery_count)
        .put("EnableBatchedOperations", properties.enable_batched_operations)
        .put("Status", status_name(properties.status))
        .put("CreatedAt", time(times.created_at))
        .put("UpdatedAt", time(times.updated_at))
        .put("AccessedAt", time(times.accessed_at))
        .counts(counts);
    inner.maybe("UserMetadata", properties.user_metadata.as_ref());
    inner
        .put("AutoDeleteOnIdle", duration::format(properties.auto_delete_on_idle))
        .put("EntityAvailabilityStatus", "Available");
    let path = format!("{topic}/Subscriptions/{name}");
    entry(origin, &path, name, "SubscriptionDescription", times.created_at, times.updated_at, &inner.text)
}

/// The only rule that there is: everything comes.
pub(crate) fn rule_entry(origin: &str, subscription: &SubscriptionInfo) -> String {
    let created = subscription.times.created_at;
    let mut inner = Writer::default();
    inner
        .raw(
            "<Filter i:type=\"TrueFilter\"><SqlExpression>1=1</SqlExpression><CompatibilityLevel>20\
             </CompatibilityLevel></Filter><Action i:type=\"EmptyRuleAction\"/>",
        )
        .put("CreatedAt", time(created))
        .put("Name", "$Default");
    let path = format!("{}/Subscriptions/{}/Rules/$Default", subscription.topic, subscription.name);
    entry(origin, &path, "$Default", "RuleDescription", created, created, &inner.text)
}

/// What the namespace says of itself.
pub(crate) fn namespace_entry(origin: &str, now: SystemTime) -> String {
    let mut inner = Writer::default();
    inner
        .put("Alias", "")
        .put("CreatedTime", time(now))
        .put("MessagingSKU", "Standard")
        .put("ModifiedTime", time(now))
        .put("Name", "emulator")
        .put("NamespaceType", "Messaging");
    entry(origin, "$namespaceinfo", "emulator", "NamespaceInfo", now, now, &inner.text)
}

/// Entries together. `next` is the query that asks for those that follow, where some may.
pub(crate) fn feed(origin: &str, path: &str, title: &str, entries: &[String], next: Option<&str>) -> String {
    let next = next
        .map(|query| format!("<link rel=\"next\" href=\"{}\"/>", escape(format!("{origin}/{path}?{query}"))));
    let (id, title, updated) = (escape(format!("{origin}/{path}")), escape(title), time(SystemTime::now()));
    format!(
        "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title type=\"text\">{title}</title><id>{id}</id>\
         <updated>{updated}</updated><link rel=\"self\" href=\"{id}\"/>{}{}</feed>",
        next.unwrap_or_default(),
        entries.concat()
    )
}

/// Whether a rule's filter is one that there is.
pub(crate) fn check_filter(filter: &Element) -> Result<(), Refusal> {
    match filter.kind.as_deref() {
        Some(kind) if kind.ends_with("TrueFilter") => Ok(()),
        _ => Err(Refusal::NotSupported("A filter other than TrueFilter".to_owned())),
    }
}

fn entry(
    origin: &str,
    path: &str,
    title: &str,
    kind: &str,
    created: SystemTime,
    updated: SystemTime,
    inner: &str,
) -> String {
    let id = escape(format!("{origin}/{path}?api-version=2021-05"));
    let (title, created, updated) = (escape(title), time(created), time(updated));
    format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><id>{id}</id><title type=\"text\">{title}</title>\
         <published>{created}</published><updated>{updated}</updated><author><name>emulator</name></author>\
         <link rel=\"self\" href=\"{id}\"/><content type=\"application/xml\"><{kind} xmlns=\"{SERVICE_BUS}\" \
         xmlns:i=\"{INSTANCE}\">{inner}</{kind}></content></entry>"
    )
}

fn time(time: SystemTime) -> impl Display {
    humantime::format_rfc3339_micros(time)
}

fn status_name(status: EntityStatus) -> &'static str {
    match status {
        EntityStatus::Active => "Active",
        EntityStatus::Disabled => "Disabled",
        EntityStatus::SendDisabled => "SendDisabled",
        EntityStatus::ReceiveDisabled => "ReceiveDisabled",
    }
}

/// What a client wrote of an entity.
struct Fields {
    description: Element,
}

impl Fields {
    fn read(document: &[u8], kind: &str, order: &[&str]) -> Result<Self, Refusal> {
        let document = Element::parse(document).map_err(|why| {
            Refusal::Invalid(format!("The request body is not the XML that is expected: {why}."))
        })?;
        if document.find("QueueDescription").is_some() {
            return Err(Refusal::NotSupported("A queue".to_owned()));
        }
        let Some(description) = take(document, kind) else {
            return Err(Refusal::Invalid(format!("The request body has no {kind}.")));
        };
        let mut least = 0;
        for child in &description.children {
            let Some(place) = order.iter().position(|name| *name == child.name) else { continue };
            if place < least {
                // The service would take the entity and forget this: nobody would know why it is not what was asked for.
                let what =
                    format!("The element {} is out of order: the service would ignore it.", child.name);
                return Err(Refusal::Invalid(what));
            }
            least = place;
        }
        Ok(Self { description })
    }

    fn element(&self, name: &str) -> Option<&Element> {
        self.description.children.iter().find(|child| child.name == name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.element(name).map(|element| element.text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn parse<T: std::str::FromStr>(&self, name: &str, unlike: T) -> Result<T, Refusal> {
        match self.text(name) {
            None => Ok(unlike),
            Some(text) => text.to_lowercase().parse().map_err(|_| invalid(name, &text)),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.text(name).map(|text| text.parse().map_err(|_| invalid(name, &text))).transpose()
    }

    fn duration(&self, name: &str, unlike: Duration) -> Result<Duration, Refusal> {
        match self.text(name) {
            None => Ok(unlike),
            Some(text) => duration::parse(&text).ok_or_else(|| invalid(name, &text)),
        }
    }

    fn status(&self) -> Result<EntityStatus, Refusal> {
        match self.text("Status").as_deref() {
            None | Some("Active") => Ok(EntityStatus::Active),
            Some("Disabled") => Ok(EntityStatus::Disabled),
            Some("SendDisabled") => Ok(EntityStatus::SendDisabled),
            Some("ReceiveDisabled") => Ok(EntityStatus::ReceiveDisabled),
            Some(text) => Err(invalid("Status", text)),
        }
    }

    /// Refuses what this emulator cannot do.
    fn refuse(&self, name: &str, what: &str) -> Result<(), Refusal> {
        if self.parse(name, false)? { Err(Refusal::NotSupported(what.to_owned())) } else { Ok(()) }
    }
}

fn take(element: Element, name: &str) -> Option<Element> {
    if element.name == name {
        return Some(element);
    }
    element.children.into_iter().find_map(|child| take(child, name))
}

fn invalid(name: &str, text: &str) -> Refusal {
    Refusal::Invalid(format!("The value '{text}' of {name} is none that it may have."))
}

/// Elements one after the other.
#[derive(Debug, Default)]
struct Writer {
    text: String,
}

impl Writer {
    fn put(&mut self, name: &str, value: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "<{name}>{}</{name}>", escape(value.to_string()));
        self
    }

    fn maybe(&mut self, name: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn raw(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn counts(&mut self, counts: &Counts) -> &mut Self {
        let _ = write!(self.text, "<CountDetails xmlns:d2p1=\"{COUNTS}\">");
        self.put("d2p1:ActiveMessageCount", counts.active + counts.locked + counts.deferred)
            .put("d2p1:DeadLetterMessageCount", counts.dead_letter)
            .put("d2p1:ScheduledMessageCount", 0)
            .put("d2p1:TransferMessageCount", 0)
            .put("d2p1:TransferDeadLetterMessageCount", 0)
            .raw("</CountDetails>")
    }
}
